package read

import (
	"fmt"

	"github.com/tailfold/tailfold/snapshotstore"
)

// StaleError is a snapshot that does not hold the events that were asked for, also not after waiting.
type StaleError struct {
	Unit snapshotstore.Unit
	Want uint64 // the seq that was asked for
	Seq  uint64 // the seq that was reached
}

func (e *StaleError) Error() string {
	return fmt.Sprintf("%s holds the events up to seq %d, %d was asked for: its worker is behind or does not run "+
		"(`tailfold status` shows it)", e.Unit, e.Seq, e.Want)
}

// NoSnapshotError is a unit of which the store has nothing: the projection has not begun there, the store lost it, or
// projection, version, partition or the store's prefix are not what the worker has.
type NoSnapshotError struct {
	Unit snapshotstore.Unit
}

func (e *NoSnapshotError) Error() string {
	return fmt.Sprintf("the store has no snapshot of %s: either no worker has folded it yet, or name, version, partitions "+
		"or the store's prefix differ from the worker's (`tailfold status` shows what there is)", e.Unit)
}

// NotServedError is a projection of which no version is served.
type NotServedError struct {
	Projection string
}

func (e *NotServedError) Error() string {
	return fmt.Sprintf("no version of %s is served: either no worker has folded it yet, or its name or the store's prefix "+
		"differ from the worker's (`tailfold status` shows what there is)", e.Projection)
}

// SeveralError is a key that is in several partitions. Results has all of them, for a caller who knows what to make of
// them.
type SeveralError struct {
	Projection string
	Key        string
	Results    []Result // by partition
}

func (e *SeveralError) Error() string {
	partitions := make([]int, len(e.Results))
	for i, result := range e.Results {
		partitions[i] = result.Partition
	}
	return fmt.Sprintf("key %q of %s is in partitions %v: the stream is partitioned by something else than the key; "+
		"use Find, or give the projection a key that has the partition in it", e.Key, e.Projection, partitions)
}
