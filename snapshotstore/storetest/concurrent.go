package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tailfold/tailfold/snapshotstore"
	"golang.org/x/sync/errgroup"
)

func concurrent() []check {
	return []check{
		{"OfManyWritersOneWinsEachStep", oneWriterWins},
		{"ManyFirstCommitsAreOne", oneFirstCommit},
		{"AReadShowsOneMoment", readsShowOneMoment},
		{"ACrashBetweenCallsLosesNothing", crashBetweenCalls},
		{"ACrashUnderCommitsLeavesAllOfOneOrNothing", crashUnderCommits},
		{"CloseUnderCallsEndsThem", closeUnderCalls},
	}
}

// Several writers count in one value. Each adds one to what it read beside the mark that it read: if ever two won the
// same step, or one wrote over another, the count would be less than the number of commits that succeeded. At first all
// of them go from the same mark, then each goes as fast as it can.
func oneWriterWins(t testing.TB, h Harness) {
	const rounds, steps = 50, 200
	c := start(t, h.Store, totals, "count", "0")
	writers := []snapshotstore.Store{h.Store}
	for len(writers) < 6 {
		writers = append(writers, h.Another(t))
	}
	for range rounds {
		mark, values, err := h.Store.Get(t.Context(), totals, []string{"count"})
		if err != nil {
			t.Fatal(err)
		}
		var wins atomic.Int64
		group, ctx := errgroup.WithContext(t.Context())
		for _, writer := range writers {
			group.Go(func() error { return countOn(ctx, writer, mark, values[0], &wins) })
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		if wins.Load() != 1 {
			t.Fatalf("%d of %d writers that went from the mark of seq %d won", wins.Load(), len(writers), mark.Seq)
		}
	}
	var wins atomic.Int64
	group, ctx := errgroup.WithContext(t.Context())
	for _, writer := range writers {
		group.Go(func() error {
			for wins.Load() < steps {
				mark, values, err := writer.Get(ctx, totals, []string{"count"})
				if err != nil {
					return err
				}
				if err := countOn(ctx, writer, mark, values[0], &wins); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	got := look(t, h.Store, totals)
	won := rounds + wins.Load()
	if got.Values["count"] != strconv.FormatInt(won, 10) || got.Mark.Seq != c.Mark.Seq+uint64(won) {
		t.Fatalf("%d commits succeeded, the count is %s, the mark's seq %d", won, got.Values["count"], got.Mark.Seq)
	}
}

// countOn commits one more than was read, and counts a win if that succeeds; a conflict must be with another mark.
func countOn(
	ctx context.Context, store snapshotstore.Store, from snapshotstore.Mark, read snapshotstore.Value, wins *atomic.Int64,
) error {
	count, err := strconv.Atoi(string(read.Data))
	if err != nil {
		return err
	}
	checkpoint := snapshotstore.Checkpoint{From: from, To: markAt(from.Seq + 1), Put: entries("count", strconv.Itoa(count+1))}
	err = store.Commit(ctx, totals, checkpoint)
	if conflict, ok := errors.AsType[*snapshotstore.ConflictError](err); ok {
		if bytes.Equal(conflict.Held.Raw, from.Raw) {
			return fmt.Errorf("a commit from seq %d conflicts with that same mark", from.Seq)
		}
		return nil
	}
	if err == nil {
		wins.Add(1)
	}
	return err
}

func oneFirstCommit(t testing.TB, h Harness) {
	for round := range 20 {
		unit := snapshotstore.Unit{Projection: "first", Version: 1, Partition: round}
		var wins atomic.Int64
		var winner atomic.Pointer[snapshotstore.Checkpoint]
		group, ctx := errgroup.WithContext(t.Context())
		for range 4 {
			store, checkpoint := h.Another(t), snapshotstore.Checkpoint{To: markAt(1)}
			checkpoint.Put = entries("by", checkpoint.To.ID)
			group.Go(func() error {
				err := store.Commit(ctx, unit, checkpoint)
				if _, conflict := errors.AsType[*snapshotstore.ConflictError](err); conflict {
					return nil
				}
				if err == nil {
					wins.Add(1)
					winner.Store(&checkpoint)
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		if wins.Load() != 1 {
			t.Fatalf("%d of 4 first commits succeeded", wins.Load())
		}
		wantContents(t, h.Store, unit, contents{}.after(*winner.Load()))
	}
}

// flipFlop is a checkpoint after which every value, and the number of skipped events, tells the seq of the mark.
// Odd seqs have a key that even ones lack.
func flipFlop(from snapshotstore.Mark) snapshotstore.Checkpoint {
	seq := from.Seq + 1
	checkpoint := snapshotstore.Checkpoint{
		From: from, To: markAt(seq), Put: numbered(20, strconv.FormatUint(seq, 10)),
		Skipped: []snapshotstore.Skipped{{Seq: seq}}, Definition: strconv.FormatUint(seq, 10),
	}
	if seq%2 == 1 {
		checkpoint.Put = append(checkpoint.Put, entries("odd", strconv.FormatUint(seq, 10))...)
	} else {
		checkpoint.Delete = []string{"odd"}
	}
	return checkpoint
}

// torn tells how a read contradicts itself, where flipFlop wrote.
func torn(mark snapshotstore.Mark, values []snapshotstore.Value, odd snapshotstore.Value) error {
	seq := strconv.FormatUint(mark.Seq, 10)
	for i, value := range values {
		if string(value.Data) != seq {
			return fmt.Errorf("value %d is of seq %q, the mark of seq %s", i, value.Data, seq)
		}
	}
	if odd.Exists != (mark.Seq%2 == 1) || (odd.Exists && string(odd.Data) != seq) {
		return fmt.Errorf("the key of odd seqs: %t %q, the mark of seq %s", odd.Exists, odd.Data, seq)
	}
	return nil
}

func readsShowOneMoment(t testing.TB, h Harness) {
	first := flipFlop(snapshotstore.Mark{})
	commit(t, h.Store, totals, first)
	keys := append(keysOf(numbered(20, "")), "odd")
	writing, stop := context.WithCancel(t.Context())
	var readers errgroup.Group
	var moments atomic.Int64 // how many the readers have seen
	for range 2 {
		store := h.Another(t)
		readers.Go(func() error {
			defer stop()
			for last := uint64(0); writing.Err() == nil; {
				mark, values, err := store.Get(t.Context(), totals, keys)
				if err != nil {
					return err
				}
				if err := torn(mark, values[:20], values[20]); err != nil {
					return err
				}
				if mark.Seq < last {
					return fmt.Errorf("seq %d was read after seq %d", mark.Seq, last)
				}
				if mark.Seq > last {
					moments.Add(1)
				}
				last = mark.Seq
				mark, skipped, err := store.Skipped(t.Context(), totals)
				if err != nil {
					return err
				}
				if uint64(len(skipped)) != mark.Seq {
					return fmt.Errorf("%d events are told skipped beside the mark of seq %d", len(skipped), mark.Seq)
				}
			}
			return nil
		})
	}
	var failed error
	enough := func(mark snapshotstore.Mark, took time.Duration) bool { // on a busy machine readers may have no turn for long
		return (mark.Seq >= 500 || took > time.Second) && moments.Load() >= 200 || took > 10*time.Second
	}
	for mark, began := first.To, time.Now(); failed == nil && writing.Err() == nil && !enough(mark, time.Since(began)); {
		checkpoint := flipFlop(mark)
		failed = h.Store.Commit(t.Context(), totals, checkpoint)
		mark = checkpoint.To
	}
	stop()
	if err := errors.Join(failed, readers.Wait()); err != nil {
		t.Fatal(err)
	}
}

func crashBetweenCalls(t testing.TB, h Harness) {
	store := h.Store
	var c contents
	for i, checkpoint := range []snapshotstore.Checkpoint{
		{Put: entries("a", "1", "", "1", "b", "1"), Definition: "text"},
		{Put: entries("a", "2"), Delete: []string{"b"}, Skipped: []snapshotstore.Skipped{{Seq: 2}}},
		{},
		{Put: numbered(700, "value"), Skipped: []snapshotstore.Skipped{{Seq: 4}}},
		{Delete: keysOf(numbered(650, "")), Definition: "another"},
	} {
		checkpoint.From, checkpoint.To = c.Mark, markAt(uint64(i+1))
		commit(t, store, totals, checkpoint)
		c = c.after(checkpoint)
		store = h.Crash(t)
		wantContents(t, store, totals, c)
		commit(t, store, totals, checkpoint) // its reply may have been lost with the crash
		wantContents(t, store, totals, c)
	}
	if err := store.Promote(t.Context(), "totals", 0, 1); err != nil {
		t.Fatal(err)
	}
	store = h.Crash(t)
	if version, err := store.Served(t.Context(), "totals"); version != 1 || err != nil {
		t.Fatalf("Served after a crash: %d, %v; want 1", version, err)
	}
	if err := store.Drop(t.Context(), totals); err != nil {
		t.Fatal(err)
	}
	store = h.Crash(t)
	wantContents(t, store, totals, contents{})
	start(t, store, totals, "a", "anew")
}

func crashUnderCommits(t testing.TB, h Harness) {
	store := h.Store
	first := flipFlop(snapshotstore.Mark{})
	commit(t, store, totals, first)
	mark := first.To
	keys := append(keysOf(numbered(20, "")), "odd")
	for range 30 {
		var told atomic.Uint64 // the last seq whose commit succeeded
		told.Store(mark.Seq)
		begun, done := make(chan struct{}), make(chan error, 1)
		go func(store snapshotstore.Store, mark snapshotstore.Mark) {
			var once sync.Once
			for {
				checkpoint := flipFlop(mark)
				err := store.Commit(t.Context(), totals, checkpoint)
				once.Do(func() { close(begun) })
				if err != nil {
					done <- err
					return
				}
				mark = checkpoint.To
				told.Store(mark.Seq)
			}
		}(store, mark)
		<-begun
		spin(rand.N(2 * time.Millisecond))
		store = h.Crash(t)
		if err := <-done; !isOfStore(err) {
			t.Fatalf("the commit under way at a crash returned %v; want an error of a store", err)
		}
		got, values, err := store.Get(t.Context(), totals, keys)
		if err != nil {
			t.Fatalf("Get after a crash: %v", err)
		}
		if err := torn(got, values[:20], values[20]); err != nil {
			t.Fatalf("after a crash: %v", err)
		}
		if got.Seq < told.Load() {
			t.Fatalf("seq %d was committed, after a crash the store holds seq %d", told.Load(), got.Seq)
		}
		if c := look(t, store, totals); uint64(len(c.Skipped)) != got.Seq || c.Definition != strconv.FormatUint(got.Seq, 10) {
			t.Fatalf("after a crash %d events are told skipped, and definition %q, beside the mark of seq %d",
				len(c.Skipped), c.Definition, got.Seq)
		}
		mark = got
	}
}

func closeUnderCalls(t testing.TB, h Harness) {
	c := start(t, h.Store, totals, "a", "1")
	var workers errgroup.Group
	begun := make(chan struct{}, 100)
	for range 3 {
		for _, call := range calls(c.Mark, c.Mark) {
			if call.name == "Drop" {
				continue
			}
			workers.Go(func() error {
				for {
					err := call.do(t.Context(), h.Store)
					select {
					case begun <- struct{}{}:
					default:
					}
					if _, served := errors.AsType[*snapshotstore.ServedError](err); err == nil || served {
						continue
					}
					if !isOfStore(err) {
						return fmt.Errorf("%s when the store was closed: %w; want an *Error", call.name, err)
					}
					return nil
				}
			})
		}
	}
	for range cap(begun) {
		<-begun
	}
	h.Store.Close()
	if err := workers.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, call := range calls(c.Mark, markAt(2)) {
		if err := call.do(t.Context(), h.Store); !isOfStore(err) {
			t.Fatalf("%s on a closed store returned %v; want an *Error", call.name, err)
		}
	}
	h.Store.Close()
	wantContents(t, h.Crash(t), totals, c)
}
