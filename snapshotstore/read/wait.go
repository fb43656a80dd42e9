package read

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tailfold/tailfold/snapshotstore"
)

// Pauses between two looks at a snapshot that is behind: from a worker's shortest checkpoint on, growing by half.
const (
	firstPause = 2 * time.Millisecond
	lastPause  = 100 * time.Millisecond
)

// enough tells whether a snapshot holds what is wanted.
func (r *Reader) enough(unit snapshotstore.Unit, mark snapshotstore.Mark) error {
	switch {
	case mark.IsZero():
		return &NoSnapshotError{Unit: unit}
	case mark.Seq < r.minSeq:
		return &StaleError{Unit: unit, Want: r.minSeq, Seq: mark.Seq}
	}
	return nil
}

// await calls try with the version to be read until it returns something else than that the snapshot is behind, or the
// reader's timeout has passed.
func (r *Reader) await(ctx context.Context, try func(version int) error) error {
	timeout := time.NewTimer(r.timeout)
	defer timeout.Stop()
	again := true // a version that was promoted away and dropped is no reason to wait, but to ask which is served now
	for pause := firstPause; ; {
		version, err := r.served.version(ctx)
		if err == nil {
			err = try(version)
		}
		if err == nil || !behind(err) {
			return err
		}
		if _, ok := errors.AsType[*NoSnapshotError](err); ok && r.served.forget(version) && again {
			again = false
			continue
		}
		if r.timeout <= 0 {
			return err
		}
		wait := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			wait.Stop()
			return fmt.Errorf("%w while waiting: %w", ctx.Err(), err)
		case <-timeout.C:
			wait.Stop()
			return err
		case <-wait.C:
		}
		pause = min(pause+pause/2, lastPause)
	}
}

// behind tells errors that time may mend.
func behind(err error) bool {
	_, stale := errors.AsType[*StaleError](err)
	_, missing := errors.AsType[*NoSnapshotError](err)
	_, unserved := errors.AsType[*NotServedError](err)
	return stale || missing || unserved
}

// served knows the version to be read, and asks the store for it where it follows the served one.
type served struct {
	store   snapshotstore.Store
	options Options

	mu    sync.Mutex
	known int // 0: ask
	until time.Time
}

func newServed(store snapshotstore.Store, options Options) *served {
	return &served{store: store, options: options}
}

func (s *served) version(ctx context.Context) (int, error) {
	if s.options.Version != 0 {
		return s.options.Version, nil
	}
	s.mu.Lock()
	if s.known != 0 && time.Now().Before(s.until) {
		defer s.mu.Unlock()
		return s.known, nil
	}
	s.mu.Unlock()
	version, err := s.store.Served(ctx, s.options.Projection)
	if err != nil {
		return 0, err
	}
	if version == 0 {
		return 0, &NotServedError{Projection: s.options.Projection}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known, s.until = version, time.Now().Add(s.options.Refresh)
	return version, nil
}

// forget has the version asked anew, and tells whether that may give another one.
func (s *served) forget(version int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == version {
		s.known = 0
	}
	return s.options.Version == 0
}
