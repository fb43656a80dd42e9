// Package storetest is the contract of snapshotstore.Store as tests: every store runs them from its own, with
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storetest.Harness { … })
//	}
//
// It also has Memory, the reference store, for tests of what uses a store.
package storetest

import (
	"slices"
	"testing"

	"github.com/tailfold/tailfold/snapshotstore"
)

// Harness is an empty store to be tested and what can be done to it from outside. Who makes it also closes, by
// t.Cleanup, all handles that it gave out; Close may be called more than once.
type Harness struct {
	// Store is the first handle.
	Store snapshotstore.Store

	// Another opens a further handle on the same data, as another worker would, to be used beside the first. A store
	// that one process holds, and where all its workers share one handle, returns that.
	Another func(t testing.TB) snapshotstore.Store

	// Crash ends all handles, with what they have under way, as nearly to a SIGKILL as can be had, and opens a new one
	// on what was kept.
	Crash func(t testing.TB) snapshotstore.Store

	// SetMark damages a snapshot behind the store's back: raw stands where its mark was, or, where raw is nil, nothing.
	// The values stay. Like Another it works after Crash, too.
	SetMark func(t testing.TB, unit snapshotstore.Unit, raw []byte)

	// LoseReply has the next Commit on Store applied, but its reply lost: it returns an error that is not a
	// *ConflictError. Optional.
	LoseReply func(t testing.TB)
}

// check is one part of the contract. It reports to a testing.TB, so that broken stores can be shown to fail it.
type check struct {
	name string
	run  func(t testing.TB, h Harness)
}

// Run checks the whole contract, each part on a store of its own that open makes.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

func checks() []check {
	return slices.Concat(reading(), committing(), concurrent(), scanning(), telling(), []check{
		{"RandomCallsMatchTheModel", randomCallsMatchTheModel},
	})
}
