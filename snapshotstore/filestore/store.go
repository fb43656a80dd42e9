package filestore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tailfold/tailfold/snapshotstore"
	"go.etcd.io/bbolt"
)

// Options say which file and how.
type Options struct {
	// Path of the file. It is made, with mode 0600, where it does not exist; its folder must exist.
	Path string

	// NoSync leaves syncing to the operating system: faster, and safe while only processes die. For tests and trials.
	NoSync bool

	// Wait is how long Open waits for another process to let go of the file. Default 1 s.
	Wait time.Duration

	// Now is the clock by which announcements run out. Default time.Now.
	Now func() time.Time

	maxSize int // of the file, in bytes, 0 for no bound: a full disk in tests
}

// Store is a snapshotstore.Store in one file. One process holds the file; within it, all workers share one Store.
type Store struct {
	path     string
	db       *bbolt.DB
	file     file
	now      func() time.Time
	requests chan *request
	stop     chan struct{} // closed by Close
	stopped  chan struct{} // closed by the writer when it has ended
	broken   atomic.Pointer[error]
	board    board
	close    func() error
}

var _ snapshotstore.Store = (*Store)(nil)

// Open opens a file, which it holds until Close. It fails where another process holds it (after Options.Wait), where
// the file is another program's, and with a *DamagedError where it can't be read.
func Open(options Options) (*Store, error) {
	if options.Path == "" {
		return nil, errors.New("the file store needs a path")
	}
	path, err := filepath.Abs(options.Path)
	if err != nil {
		return nil, err
	}
	options.Path = path
	if options.Wait <= 0 {
		options.Wait = time.Second
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	f, err := openFile(options)
	if err != nil {
		return nil, openError(err)
	}
	if f, err = compact(f, options); err == nil {
		err = prepare(f, path)
	}
	if err != nil {
		f.close(isDamage(err))
		return nil, openError(err)
	}
	s := &Store{
		path: path, db: f.db, file: f, now: options.Now,
		requests: make(chan *request), stop: make(chan struct{}), stopped: make(chan struct{}),
		board: board{said: map[string]announcement{}},
	}
	s.close = sync.OnceValue(func() error {
		close(s.stop)
		<-s.stopped
		return s.file.close(s.broken.Load() != nil)
	})
	go s.write()
	return s, nil
}

func openError(err error) error {
	if isDamage(err) {
		return fmt.Errorf("the store can't be opened: %w (%s)", err, wayOut)
	}
	return fmt.Errorf("the store can't be opened: %w", err)
}

// Close waits for the transactions under way, ends all calls that still wait for theirs with an error, and lets go of
// the file. Calls after it fail. It may be called more than once.
func (s *Store) Close() error { return s.close() }

// Head implements snapshotstore.Store.
func (s *Store) Head(ctx context.Context, unit snapshotstore.Unit) (mark snapshotstore.Mark, err error) {
	err = s.view(ctx, "head", func(tx *bbolt.Tx) error {
		snap, err := find(tx, unit)
		if err != nil {
			return err
		}
		mark, err = snap.mark()
		return err
	})
	return mark, err
}

// Get implements snapshotstore.Store.
func (s *Store) Get(ctx context.Context, unit snapshotstore.Unit, keys []string) (
	mark snapshotstore.Mark, values []snapshotstore.Value, err error,
) {
	err = s.view(ctx, "get", func(tx *bbolt.Tx) error {
		snap, err := find(tx, unit)
		if err != nil {
			return err
		}
		if mark, err = snap.mark(); err != nil {
			return err
		}
		values = make([]snapshotstore.Value, len(keys))
		if !snap.exists() {
			return nil
		}
		for i, key := range keys {
			if err := ctx.Err(); err != nil {
				return err
			}
			if values[i], err = snap.value(key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return snapshotstore.Mark{}, nil, err
	}
	return mark, values, nil
}

// Definition implements snapshotstore.Store.
func (s *Store) Definition(ctx context.Context, unit snapshotstore.Unit) (text string, err error) {
	err = s.view(ctx, "definition", func(tx *bbolt.Tx) error {
		snap, err := find(tx, unit)
		if err != nil || !snap.exists() {
			return err
		}
		framed := snap.bucket.Get(definitionField)
		if framed == nil {
			return nil
		}
		_, data, err := unframe(framed)
		if err != nil {
			return &snapshotstore.CorruptError{Unit: unit, Key: "$definition", Why: err.Error()}
		}
		text = string(data)
		return nil
	})
	return text, err
}

// Drop implements snapshotstore.Store. It takes as long for a big snapshot as for a small one.
func (s *Store) Drop(ctx context.Context, unit snapshotstore.Unit) error {
	return s.update(ctx, "drop", 0, func(tx *bbolt.Tx) error { return drop(tx, unit) })
}

// Served implements snapshotstore.Store.
func (s *Store) Served(ctx context.Context, projection string) (version int, err error) {
	err = s.view(ctx, "served", func(tx *bbolt.Tx) error {
		version, err = s.served(tx, projection)
		return err
	})
	return version, err
}

// Promote implements snapshotstore.Store.
func (s *Store) Promote(ctx context.Context, projection string, from, to int) error {
	return s.update(ctx, "promote", 0, func(tx *bbolt.Tx) error {
		version, err := s.served(tx, projection)
		if err != nil {
			return err
		}
		if version != from {
			return &snapshotstore.ServedError{Projection: projection, Served: version}
		}
		return tx.Bucket(servedBucket).Put([]byte(projection), []byte(strconv.Itoa(to)))
	})
}

func (s *Store) served(tx *bbolt.Tx, projection string) (int, error) {
	text := tx.Bucket(servedBucket).Get([]byte(projection))
	if text == nil {
		return 0, nil
	}
	version, err := strconv.Atoi(string(text))
	if err != nil {
		why := fmt.Sprintf("the served version of %s is %q, which is no number", projection, text)
		return 0, &DamagedError{Path: s.path, Why: why}
	}
	return version, nil
}
