package filestore_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/filestore"
)

var totals = snapshotstore.Unit{Projection: "totals", Version: 1}

func partition(n int) snapshotstore.Unit {
	return snapshotstore.Unit{Projection: "totals", Version: 1, Partition: n}
}

// first is a checkpoint from no snapshot.
func first(id string, puts ...snapshotstore.Entry) snapshotstore.Checkpoint {
	return snapshotstore.Checkpoint{To: snapshotstore.Mark{Seq: 1}.Seal(id), Put: puts}
}

// values are n entries of a size.
func values(n, size int) []snapshotstore.Entry {
	all := make([]snapshotstore.Entry, n)
	for i := range all {
		all[i] = snapshotstore.Entry{Key: fmt.Sprintf("k%06d", i), Data: []byte(strings.Repeat("v", size))}
	}
	return all
}

func commit(t testing.TB, store snapshotstore.Store, unit snapshotstore.Unit, c snapshotstore.Checkpoint) snapshotstore.Mark {
	t.Helper()
	if err := store.Commit(t.Context(), unit, c); err != nil {
		t.Fatal(err)
	}
	return c.To
}

func wantClass(t testing.TB, err error, class snapshotstore.Class, says ...string) {
	t.Helper()
	e, ok := errors.AsType[*snapshotstore.Error](err)
	if !ok || e.Class != class {
		t.Fatalf("the error is %v; want an *Error of class %d", err, class)
	}
	for _, part := range says {
		if !strings.Contains(err.Error(), part) {
			t.Fatalf("the error says %q; want it to say %q", err, part)
		}
	}
}

// Syncs are what a commit costs: units that wait at the same time share them.
func TestCommitsThatWaitShareATransaction(t *testing.T) {
	options := filestore.Options{Path: filepath.Join(t.TempDir(), "tailfold.db")}
	synctest.Test(t, func(t *testing.T) {
		store := open(t, options)
		held := commit(t, store, partition(0), first("held"))
		before := store.Transactions(t)
		release := store.Busy(t)
		errs := make([]error, 20)
		for i := range errs { // the first one is refused, which is nothing to the others
			go func() { errs[i] = store.Commit(t.Context(), partition(i), first(fmt.Sprint(i))) }()
		}
		synctest.Wait()
		release()
		synctest.Wait()
		if took := store.Transactions(t) - before; took != 2 {
			t.Errorf("one busy transaction and 20 commits took %d transactions; want 2", took)
		}
		conflict, ok := errors.AsType[*snapshotstore.ConflictError](errs[0])
		if !ok || conflict.Held.ID != held.ID {
			t.Errorf("the first of them returned %v; want a conflict", errs[0])
		}
		for i, err := range errs[1:] {
			if err != nil {
				t.Errorf("commit %d: %v", i+1, err)
			}
			if mark, err := store.Head(t.Context(), partition(i+1)); err != nil || mark.ID != fmt.Sprint(i+1) {
				t.Errorf("partition %d holds %q, %v", i+1, mark.ID, err)
			}
		}
	})
}

// One unit's checkpoint that does not fit must not fail those that shared its transaction.
func TestACommitThatFailsDoesNotFailItsNeighbours(t *testing.T) {
	options := filestore.LimitTo(2<<20, filestore.Options{Path: filepath.Join(t.TempDir(), "tailfold.db"), NoSync: true})
	synctest.Test(t, func(t *testing.T) {
		store := open(t, options)
		release := store.Busy(t)
		errs := make([]error, 4)
		for i := range errs {
			size := 10
			if i == 1 {
				size = 4 << 20
			}
			go func() { errs[i] = store.Commit(t.Context(), partition(i), first(fmt.Sprint(i), values(1, size)...)) }()
		}
		synctest.Wait()
		release()
		synctest.Wait()
		wantClass(t, errs[1], snapshotstore.Wait, "make room")
		for i, err := range errs {
			mark, held := store.Head(t.Context(), partition(i))
			if i == 1 && !mark.IsZero() || i != 1 && (err != nil || mark.ID != fmt.Sprint(i)) || held != nil {
				t.Errorf("commit %d: %v; the store holds %q, %v", i, err, mark.ID, held)
			}
		}
	})
}

func TestACallEndsWithItsContextWhileTheWriterIsBusy(t *testing.T) {
	options := filestore.Options{Path: filepath.Join(t.TempDir(), "tailfold.db"), NoSync: true}
	synctest.Test(t, func(t *testing.T) {
		store := open(t, options)
		release := store.Busy(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := store.Commit(ctx, totals, first("late"))
		wantClass(t, err, snapshotstore.Again, "commit")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v is not the context's error", err)
		}
		if mark, err := store.Head(t.Context(), totals); err != nil || !mark.IsZero() { // readers do not wait
			t.Errorf("beside a busy writer Head returned %+v, %v", mark, err)
		}
		release()
	})
}

func TestCloseEndsCallsThatWait(t *testing.T) {
	options := filestore.Options{Path: filepath.Join(t.TempDir(), "tailfold.db"), NoSync: true}
	synctest.Test(t, func(t *testing.T) {
		store := open(t, options)
		release := store.Busy(t)
		var err error
		go func() { err = store.Commit(t.Context(), totals, first("late")) }()
		closed := false
		go func() { store.Close(); closed = true }()
		synctest.Wait()
		wantClass(t, err, snapshotstore.Stop, "the store is closed")
		if closed {
			t.Error("Close did not wait for the transaction under way")
		}
		release()
		synctest.Wait()
		if !closed {
			t.Error("Close did not return")
		}
	})
}

// The snapshot stays whole while there is no room, and commits go on by themselves when there is some again.
func TestAFullDiskIsWaitedFor(t *testing.T) {
	options := filestore.LimitTo(8<<20, filestore.Options{Path: filepath.Join(t.TempDir(), "tailfold.db"), NoSync: true})
	store := open(t, options)
	held := commit(t, store, totals, first("held", values(100, 1_000)...))
	commit(t, store, partition(1), first("other", values(2_000, 1_000)...))

	big := snapshotstore.Checkpoint{From: held, To: snapshotstore.Mark{Seq: 2}.Seal("big"), Put: values(2_000, 1_000)}
	for range 3 {
		err := store.Commit(t.Context(), totals, big)
		wantClass(t, err, snapshotstore.Wait, options.Path, "make room on the disk")
		mark, got, err := store.Get(t.Context(), totals, []string{"k000099", "k000100"})
		if err != nil || mark.ID != "held" || !got[0].Exists || got[1].Exists {
			t.Fatalf("after a commit that did not fit: %q, %v, %v", mark.ID, got, err)
		}
	}
	if err := store.Drop(t.Context(), partition(1)); err != nil {
		t.Fatal(err)
	}
	for store.Commit(t.Context(), totals, big) != nil {
		if !store.Dropped(t) {
			break // all is given back: now it must fit
		}
	}
	commit(t, store, totals, big)
	if mark, got, err := store.Get(t.Context(), totals, []string{"k001999"}); err != nil || mark.ID != "big" || !got[0].Exists {
		t.Fatalf("after there was room again: %q, %v, %v", mark.ID, got, err)
	}
}
