package storetest_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/storetest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		memory := storetest.NewMemory()
		store := &forgetful{Memory: memory}
		return storetest.Harness{
			Store:   store,
			Another: func(testing.TB) snapshotstore.Store { return memory.Handle() },
			Crash: func(testing.TB) snapshotstore.Store {
				memory.Close()
				memory = memory.Handle()
				return memory
			},
			SetMark:   func(_ testing.TB, unit snapshotstore.Unit, raw []byte) { memory.SetMark(unit, raw) },
			LoseReply: func(testing.TB) { store.lose = true },
		}
	})
}

// forgetful loses the reply of a commit where it is told to.
type forgetful struct {
	*storetest.Memory
	lose bool
}

func (f *forgetful) Commit(ctx context.Context, unit snapshotstore.Unit, checkpoint snapshotstore.Checkpoint) error {
	err := f.Memory.Commit(ctx, unit, checkpoint)
	if err == nil && f.lose {
		f.lose = false
		return &snapshotstore.Error{Class: snapshotstore.Again, Op: "commit", Err: io.ErrUnexpectedEOF}
	}
	return err
}

// The engine's tests let hours pass in a bubble; announcements run out by that clock, to the moment.
func TestMemoryGoesByTheClockOfABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory()
		if err := store.Announce(t.Context(), "worker-1", []byte("{}"), time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3*time.Minute - 1)
		workers, err := store.Workers(t.Context())
		if err != nil || len(workers) != 1 || workers[0].Age != 3*time.Minute-1 {
			t.Fatalf("just before three renewals: %v, %v; want worker-1", workers, err)
		}
		time.Sleep(1)
		if workers, err := store.Workers(t.Context()); err != nil || len(workers) != 0 {
			t.Fatalf("after three renewals: %v, %v; want none", workers, err)
		}
	})
}
