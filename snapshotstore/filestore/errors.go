package filestore

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/tailfold/tailfold/snapshotstore"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

var errClosed = errors.New("the store is closed")

// DamagedError is a file that is not what it was when it was written: cut short, overwritten, or on a failing disk.
type DamagedError struct {
	Path string
	Why  string
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the file %s is damaged: %s", e.Path, e.Why)
}

// wayOut is what can be done about a file that can't be read.
const wayOut = "stop this worker, keep the file for the inquiry under another name, and start again: " +
	"the values are then folded again from the log's beginning, where the log still has it; or put back a copy of the file, " +
	"from which the tail is replayed"

// explain classes an error for the caller of op. Errors of the contract pass as they are.
func (s *Store) explain(op string, err error) error {
	if err == nil || isAnswer(err) {
		return err
	}
	if _, ok := errors.AsType[*snapshotstore.Error](err); ok {
		return err
	}
	e := &snapshotstore.Error{Class: snapshotstore.Again, Op: op, Err: err}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
	case errors.Is(err, errClosed), errors.Is(err, berrors.ErrDatabaseNotOpen):
		e.Class, e.Err = snapshotstore.Stop, errClosed
	case isDamage(err):
		e.Class, e.Fix = snapshotstore.Stop, wayOut
	case is(err, syscall.ENOSPC), is(err, syscall.EDQUOT), is(err, syscall.EFBIG), errors.Is(err, berrors.ErrMaxSizeReached):
		e.Class, e.Fix = snapshotstore.Wait, "make room on the disk that holds "+s.path+"; the snapshots in it are whole"
	case is(err, syscall.EROFS), is(err, syscall.EACCES), is(err, syscall.EPERM):
		e.Class, e.Fix = snapshotstore.Wait, "let this process write to "+s.path
	case is(err, syscall.EIO):
		e.Class, e.Fix = snapshotstore.Wait, "look into the system's log for faults of the disk that holds "+s.path
	}
	return e
}

// isAnswer tells what is an answer of the contract and no failure of the file: nothing was changed.
func isAnswer(err error) bool {
	if _, ok := errors.AsType[*snapshotstore.ConflictError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*snapshotstore.CorruptError](err); ok {
		return true
	}
	_, ok := errors.AsType[*snapshotstore.ServedError](err)
	return ok
}

func isDamage(err error) bool {
	_, ok := errors.AsType[*DamagedError](err)
	return ok
}

// is looks also at the text: bbolt passes on the causes of failed growth as text only.
func is(err error, cause syscall.Errno) bool {
	return errors.Is(err, cause) || strings.Contains(err.Error(), cause.Error())
}

// guard runs fn, which reads the file through memory, and turns what a damaged file does there (a page beyond its end
// faults; bbolt panics at pages that make no sense) into a *DamagedError.
func guard(path string, fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = &DamagedError{Path: path, Why: fmt.Sprintf("it could not be read: %v", p)}
		}
	}()
	return fn()
}

// view runs fn in a reading transaction, also where the writer has met damage: what can be read is read.
func (s *Store) view(ctx context.Context, op string, fn func(tx *bbolt.Tx) error) error {
	err := ctx.Err()
	if err == nil {
		err = guard(s.path, func() error { return s.db.View(fn) })
	}
	return s.explain(op, err)
}
