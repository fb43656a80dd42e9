package snapshotstore

import "bytes"

// Passage is what becomes of a checkpoint at a store.
type Passage int

// A checkpoint is refused with a *ConflictError, applied, or was applied before: sent again it is answered with success.
const (
	Refused Passage = iota
	Applies
	Applied
)

// Fence is the whole of what a store compares before it applies a checkpoint: held, the bytes of the mark that it holds
// (none where there is no snapshot), with those of Checkpoint.From and Checkpoint.To.
func Fence(held, from, to []byte) Passage {
	switch {
	case bytes.Equal(held, to):
		return Applied
	case bytes.Equal(held, from):
		return Applies
	}
	return Refused
}
