package filestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// file is an open database and its descriptor.
type file struct {
	db *bbolt.DB
	os *os.File
}

// close lets go of the file; of one in which bbolt has panicked, as far as can be done.
func (f file) close(broken bool) error {
	if !broken {
		return f.db.Close()
	}
	release(f.os)
	return nil
}

// openFile opens the database at a path, made if need be, and holds it until it is closed.
func openFile(options Options) (file, error) {
	path := options.Path
	// A file that was compacted by the process that held it before us is another one than we opened and waited for.
	for range 10 {
		if err := checkLength(path); err != nil {
			return file{}, err
		}
		f, err := openDatabase(path, options)
		if err != nil {
			return file{}, err
		}
		mine, err := isAt(f.os, path)
		if err != nil {
			f.db.Close()
			return file{}, err
		}
		if mine {
			return f, nil
		}
		f.db.Close()
	}
	return file{}, fmt.Errorf("the file %s was replaced each time that it was opened: does another program move it about?", path)
}

func openDatabase(path string, options Options) (file, error) {
	var f file
	err := guard(path, func() (err error) {
		f.db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout:      options.Wait,
			FreelistType: bbolt.FreelistMapType,
			NoSync:       options.NoSync,
			MaxSize:      options.maxSize,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				var err error
				f.os, err = os.OpenFile(name, flag, mode)
				return f.os, err
			},
		})
		return err
	})
	switch {
	case err == nil:
		return f, nil
	case isDamage(err):
		release(f.os) // bbolt has it half open
	case errors.Is(err, berrors.ErrTimeout):
		err = fmt.Errorf("the file %s is held by another process: is a tailfold already running? "+
			"Ask that one (tailfold status, tailfold get), stop it, or give this one another file", path)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		err = &DamagedError{Path: path, Why: err.Error()}
	}
	return file{}, err
}

// isAt tells whether a path still leads to f.
func isAt(f *os.File, path string) (bool, error) {
	held, err := f.Stat()
	if err != nil {
		return false, err
	}
	at, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(held, at), err
}

// The two headers of a bbolt file are the beginnings of its first two pages: 16 bytes of every page, then these fields.
const (
	metaMagicAt    = 16
	metaPageSizeAt = metaMagicAt + 8
	metaPagesAt    = metaMagicAt + 40
	metaSumAt      = metaMagicAt + 56
	metaSize       = metaMagicAt + 64

	metaMagic = 0xED0CDAED
)

// readHeader returns the size of a page and how many pages the file has by the header at an offset, false where there is
// no whole header.
func readHeader(f *os.File, offset int64) (pageSize, pages int64, whole bool) {
	header := make([]byte, metaSize)
	if _, err := f.ReadAt(header, offset); err != nil {
		return 0, 0, false
	}
	sum := fnv.New64a()
	sum.Write(header[metaMagicAt:metaSumAt])
	if binary.NativeEndian.Uint32(header[metaMagicAt:]) != metaMagic ||
		binary.NativeEndian.Uint64(header[metaSumAt:]) != sum.Sum64() {
		return 0, 0, false
	}
	return int64(binary.NativeEndian.Uint32(header[metaPageSizeAt:])),
		int64(binary.NativeEndian.Uint64(header[metaPagesAt:])), true
}

// checkLength tells a file that was cut short from its headers, before it is read through memory, where what is missing
// would be met at any time later. It is bbolt that judges everything else. The file may be another process's, which
// makes it longer before it says so in a header: so the length is read last.
func checkLength(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	pageSize, pages, whole := readHeader(f, 0)
	if !whole {
		return nil
	}
	if _, second, whole := readHeader(f, pageSize); whole {
		pages = max(pages, second)
	}
	stat, err := f.Stat()
	if err != nil {
		return err
	}
	if want := pages * pageSize; stat.Size() < want {
		return &DamagedError{Path: path, Why: fmt.Sprintf("it has %d bytes, and had at least %d", stat.Size(), want)}
	}
	return nil
}

// Compaction pays for a file of some size of which most is free. A third in use is the bound, since a file whose every
// page is rewritten by a commit is half free all the time, and must not be written anew at every start.
const compactFrom = 4 << 20

// compact writes a file of which more than two thirds are free anew and puts that in its place. A crash at any moment leaves
// one of the two under the name. It fails only where it can no longer be told which; where compaction itself fails, as
// for want of room, f stays as it is.
func compact(f file, options Options) (file, error) {
	var size int64
	if err := f.db.View(func(tx *bbolt.Tx) error { size = tx.Size(); return nil }); err != nil {
		return f, err
	}
	if free := int64(f.db.Stats().FreePageN) * int64(f.db.Info().PageSize); size < compactFrom || free <= size/3*2 {
		return f, nil
	}
	beside := options.Path + ".compact"
	if err := os.Remove(beside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return f, nil
	}
	small, err := copyInto(beside, f, options)
	if err != nil {
		os.Remove(beside)
		if isDamage(err) {
			return f, err
		}
		return f, nil
	}
	if err := os.Rename(beside, options.Path); err != nil {
		small.db.Close()
		os.Remove(beside)
		return f, nil
	}
	if err := syncFolder(options.Path); err != nil {
		small.db.Close()
		return f, err
	}
	// Both are held until here: nobody else can have opened the new one under the old one's name before us.
	f.db.Close()
	return small, nil
}

// copyInto writes all of f into a new file and syncs it.
func copyInto(path string, f file, options Options) (file, error) {
	small, err := openDatabase(path, Options{Path: path, NoSync: true, Wait: time.Second})
	if err != nil {
		return file{}, err
	}
	err = guard(options.Path, func() error { return bbolt.Compact(small.db, f.db, 4<<20) })
	if err == nil {
		err = small.db.Sync()
	}
	if isDamage(err) {
		release(small.os) // bbolt may hold locks of its own for ever
		return file{}, err
	}
	if err != nil {
		small.db.Close()
		return file{}, err
	}
	small.db.NoSync = options.NoSync
	small.db.MaxSize = options.maxSize
	return small, nil
}

// release gives up the lock on a file that bbolt can't close any more, because it panicked in the middle of something.
// Its memory stays mapped until the process ends.
func release(f *os.File) {
	if f == nil {
		return
	}
	syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
	f.Close()
}

func syncFolder(path string) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// prepare makes what every file has and refuses a database of something else.
func prepare(f file, path string) error {
	err := guard(path, func() error {
		var have string
		var others bool
		err := f.db.View(func(tx *bbolt.Tx) error {
			if head := tx.Bucket(headBucket); head != nil {
				have = string(head.Get(formatField))
			}
			name, _ := tx.Cursor().First()
			others = name != nil
			return nil
		})
		switch {
		case err != nil:
			return err
		case have == format:
			return nil
		case have != "":
			return fmt.Errorf("the file %s has format %q, this Tailfold reads format %s: "+
				"start the version that wrote it, or give this one another file", path, have, format)
		case others:
			return fmt.Errorf("the file %s is a database of another program: give Tailfold a file of its own", path)
		}
		return f.db.Update(func(tx *bbolt.Tx) error {
			for _, name := range [][]byte{headBucket, unitsBucket, snapshotsBucket, droppedBucket, servedBucket} {
				if _, err := tx.CreateBucket(name); err != nil {
					return err
				}
			}
			return tx.Bucket(headBucket).Put(formatField, []byte(format))
		})
	})
	if err != nil {
		return err
	}
	return syncFolder(path) // of a file that was just made, the name
}
