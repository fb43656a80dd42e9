package projections

import (
	"errors"
	"fmt"
)

// Unchanged is what the Step of a Single or Keyed returns where the event leaves the key as it was: a key that does
// not exist is not made, and nothing is written.
var Unchanged = errors.New("unchanged")

// Fold is the working memory of one unit: the values that it holds, decoded, and which of them have changed since they
// were last committed. It is used by one goroutine at a time, in this order:
//
//	missing := fold.Plan(events)   // which values it needs and does not hold
//	fold.Load(key, …)              // each of them, from the store
//	fold.Step()                    // fold what was planned
//	fold.Changes(), fold.Acked()   // now and then: what a checkpoint has to write; when it is known to be written
//
// After an error of Step (but an *EventError that is Intact) or Changes its values are undefined: drop it and make a new
// one from the store.
type Fold interface {
	// Plan takes a run of events in order and returns the keys whose value must be loaded before Step, each once.
	// Events of other subjects than the unit's are left out. An event whose keys can't be told ends the plan; Step
	// reports it when it has folded those before. A Plan that is not followed by Step is forgotten at the next one.
	Plan(events []Event) (missing []string)
	// Load gives a key's stored value; exists is false where the store has none. The bytes are kept by the value.
	Load(key string, stored []byte, exists bool) error
	// Step folds the planned events. An *EventError names the first that can't be folded; those before it are folded.
	// It recovers panics.
	Step() error
	// Changes encodes what has changed since the last call. Until Acked is called it may not be called again. The
	// error is a *TooLargeError or a *ValueError and names the key.
	Changes() (Changes, error)
	// Acked says that the store holds the last Changes.
	Acked()
	// Dirty is how many keys have changed since the last Changes, and an estimate of their bytes when encoded.
	Dirty() (keys, bytes int)
	// Bytes is an estimate of the memory that the held values take.
	Bytes() int
	// Evict forgets values that the store holds until at most keep bytes are left, or none can be forgotten. Between
	// Plan and Step it forgets nothing.
	Evict(keep int)
	// Whole tells whether it has forgotten nothing yet: what it does not have was never folded by it.
	Whole() bool
}

// FoldOptions are the bounds of one unit.
type FoldOptions struct {
	Subjects []string // of the unit's partition, narrowing the projection's own; none: no narrowing
	MaxKey   int      // longest key in bytes; 0: no bound
	MaxValue int      // largest encoded value in bytes; 0: no bound
}

// Changes is what a checkpoint writes: all or nothing.
type Changes struct {
	Put    []Entry
	Delete []string
}

// Entry is a key and its encoded value.
type Entry struct {
	Key   string
	Value []byte
}

// EventError is an event that can't be folded.
type EventError struct {
	Seq     uint64
	Subject string
	Key     string // the key at which it failed; "" for a Single, or where the keys themselves could not be told
	Err     error  // what the step returned, or a *PanicError
	Intact  bool   // the fold's values are those of the event before: it can go on with the events behind this one
}

func (e *EventError) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("event %d (%s): %v", e.Seq, e.Subject, e.Err)
	}
	return fmt.Sprintf("event %d (%s), key %q: %v", e.Seq, e.Subject, e.Key, e.Err)
}

func (e *EventError) Unwrap() error { return e.Err }

// PanicError is a panic of a fold's code.
type PanicError struct {
	Value any
	Stack []byte
}

// ValueError is a stored value that can't be decoded, or a value that can't be encoded.
type ValueError struct {
	Key string
	Err error
}

func (e *ValueError) Error() string { return fmt.Sprintf("value of key %q: %v", e.Key, e.Err) }

func (e *ValueError) Unwrap() error { return e.Err }

// TooLargeError is a key or an encoded value beyond its bound.
type TooLargeError struct {
	What  string // "key" or "value"
	Key   string // cut to 64 bytes where the key itself is too large
	Size  int    // bytes
	Limit int    // bytes
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%s of %d bytes is over the limit of %d (key %q)", e.What, e.Size, e.Limit, e.Key)
}
