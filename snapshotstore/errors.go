package snapshotstore

import (
	"errors"
	"fmt"
)

// ConflictError is a commit that came from another mark than the store holds: someone else is ahead, or the store has
// gone back. Nothing was changed.
type ConflictError struct {
	Unit Unit
	Held Mark // the zero Mark: the snapshot is gone
}

func (e *ConflictError) Error() string {
	if e.Held.IsZero() {
		return fmt.Sprintf("%s: the store holds no snapshot", e.Unit)
	}
	return fmt.Sprintf("%s: the store holds seq %d, epoch %d, written by %s", e.Unit, e.Held.Seq, e.Held.Epoch, e.Held.Writer)
}

// CorruptError is a snapshot that can't be trusted: values without a mark, a mark that can't be read, a foreign type
// at a name of ours.
type CorruptError struct {
	Unit Unit
	Key  string // the field, where one is to blame
	Why  string
}

func (e *CorruptError) Error() string {
	if e.Key != "" {
		return fmt.Sprintf("%s, key %q: %s", e.Unit, e.Key, e.Why)
	}
	return fmt.Sprintf("%s: %s", e.Unit, e.Why)
}

// ServedError is a Promote whose from is not what readers use.
type ServedError struct {
	Projection string
	Served     int // 0: none
}

func (e *ServedError) Error() string {
	return fmt.Sprintf("%s: readers use version %d", e.Projection, e.Served)
}

// Class says what to do about an error of a store.
type Class int

// Again: a passing fault (connection lost, time-out, fail-over under way): try again soon. Wait: the store can't take
// writes for now (out of memory, disk full, read-only replica, too few replicas) or refuses us (password,
// permissions, which rotate): keep folding within bounds, try again slowly, tell the operator. Stop: a fault of
// set-up that no retry mends (no scripting, cluster slots): a verdict.
const (
	Again Class = iota
	Wait
	Stop
)

// Error is a store that could not do what it was asked.
type Error struct {
	Class Class
	Op    string // what was asked: "commit", "get", …
	Fix   string // what an operator can do about it, "" if nothing but wait
	Err   error
}

func (e *Error) Error() string {
	if e.Fix != "" {
		return fmt.Sprintf("store: %s: %v (%s)", e.Op, e.Err, e.Fix)
	}
	return fmt.Sprintf("store: %s: %v", e.Op, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// ClassOf is the class of an error of a store; Again where it has none.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return Again
}
