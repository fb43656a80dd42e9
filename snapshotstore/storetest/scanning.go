package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/tailfold/tailfold/snapshotstore"
)

func scanning() []check {
	return []check{
		{"AScanIsComplete", scanIsComplete},
		{"AScanUnderWritesHasAllThatStays", scanUnderWrites},
		{"AScanIsBounded", scanIsBounded},
		{"AScanStopsWhenItsConsumerDoes", scanStops},
		{"AScanEndsWithItsContext", scanEndsWithContext},
	}
}

// Redis keeps a hash in one piece up to 512 fields of up to 64 bytes, and tells it at once; beyond that, only who
// follows the cursor sees the rest.
func scanIsComplete(t testing.TB, h Harness) {
	var mark snapshotstore.Mark
	for i, n := range []int{1, 2, 511, 512, 513, 600, 1_024, 5_000} {
		checkpoint := snapshotstore.Checkpoint{From: mark, To: markAt(uint64(i + 1)), Put: numbered(n, strconv.Itoa(n))}
		mark = commit(t, h.Store, totals, checkpoint)
		got := look(t, h.Store, totals)
		want := contents{}.after(checkpoint)
		if len(got.Values) != len(want.Values) {
			t.Fatalf("Scan told %d keys of %d", len(got.Values), n)
		}
		same(t, "what Scan told", want.Values, got.Values)
	}
	long := contents{}
	checkpoint := snapshotstore.Checkpoint{To: markAt(1), Put: numbered(100, strings.Repeat("long", 100))}
	unit := snapshotstore.Unit{Projection: "long", Version: 1}
	commit(t, h.Store, unit, checkpoint)
	wantContents(t, h.Another(t), unit, long.after(checkpoint))
}

func scanUnderWrites(t testing.TB, h Harness) {
	stays := numbered(2_000, "stays")
	mark := commit(t, h.Store, totals, snapshotstore.Checkpoint{To: markAt(1), Put: stays})
	writing, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	writer := h.Another(t)
	go func() {
		for round := 0; writing.Err() == nil; round++ {
			checkpoint := snapshotstore.Checkpoint{From: mark, To: markAt(mark.Seq + 1)}
			for i := range 300 { // so many that the store's order of things changes, too
				key := fmt.Sprintf("comes and goes %d", i)
				if round%2 == 0 {
					checkpoint.Put = append(checkpoint.Put, entries(key, strconv.Itoa(round))...)
				} else {
					checkpoint.Delete = append(checkpoint.Delete, key)
				}
			}
			if err := writer.Commit(t.Context(), totals, checkpoint); err != nil {
				done <- err
				return
			}
			mark = checkpoint.To
		}
		done <- nil
	}()
	var failed error
	for range 5 {
		found := map[string]bool{}
		for entry, err := range h.Store.Scan(t.Context(), totals) {
			if err != nil {
				failed = err
				break
			}
			if strings.HasPrefix(entry.Key, "comes and goes") {
				continue
			}
			if string(entry.Data) != "stays" {
				failed = fmt.Errorf("key %q has the value %.40q", entry.Key, entry.Data)
			}
			found[entry.Key] = true
		}
		if len(found) != len(stays) && failed == nil {
			failed = fmt.Errorf("a scan under writes told %d of the %d keys that stayed", len(found), len(stays))
		}
	}
	stop()
	if err := errors.Join(failed, <-done); err != nil {
		t.Fatal(err)
	}
}

// What is allocated before the first entry is there tells whether a store takes out everything at first.
func scanIsBounded(t testing.TB, h Harness) {
	const keys, size = 20_000, 2_000
	var mark snapshotstore.Mark
	all := numbered(keys, strings.Repeat("v", size))
	for part := range 4 {
		put := all[part*keys/4 : (part+1)*keys/4]
		mark = commit(t, h.Store, totals, snapshotstore.Checkpoint{From: mark, To: markAt(uint64(part + 1)), Put: put})
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, err := range h.Store.Scan(t.Context(), totals) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	runtime.ReadMemStats(&after)
	const bound = keys * size / 3
	if took := after.TotalAlloc - before.TotalAlloc; took > bound {
		t.Fatalf("Scan took %d bytes of memory to tell the first of %d keys of %d bytes; want less than %d",
			took, keys, size, bound)
	}
}

func scanStops(t testing.TB, h Harness) {
	checkpoint := snapshotstore.Checkpoint{To: markAt(1), Put: numbered(3_000, "value")}
	mark := commit(t, h.Store, totals, checkpoint)
	c := contents{}.after(checkpoint)
	for _, n := range []int{1, 10, 512, 600, 1_500} {
		told := 0
		for entry, err := range h.Store.Scan(t.Context(), totals) {
			if err != nil {
				t.Fatal(err)
			}
			if told++; told == n {
				break
			}
			if told%100 == 1 { // what is told may be used: a store holds no lock of its own meanwhile
				checkpoint := snapshotstore.Checkpoint{From: mark, To: markAt(mark.Seq + 1), Put: entries(entry.Key, "changed")}
				mark = commit(t, h.Store, totals, checkpoint)
				c = c.after(checkpoint)
			}
		}
		if told != n {
			t.Fatalf("a scan told %d of the %d entries that were asked for", told, n)
		}
	}
	wantContents(t, h.Store, totals, c)
}

func scanEndsWithContext(t testing.TB, h Harness) {
	commit(t, h.Store, totals, snapshotstore.Checkpoint{To: markAt(1), Put: numbered(5_000, "value")})
	for _, n := range []int{1, 700} {
		ctx, cancel := context.WithCancel(t.Context())
		told := 0
		var failed error
		for _, err := range h.Store.Scan(ctx, totals) {
			if failed != nil {
				t.Fatal("a scan went on after its error")
			}
			if err != nil {
				failed = err
				continue
			}
			if told++; told == n {
				cancel()
			}
		}
		cancel()
		if !errors.Is(failed, context.Canceled) || !isOfStore(failed) || told == 5_000 {
			t.Fatalf("a scan whose context ended at entry %d told %d of 5000 entries and the error %v; "+
				"want fewer, and an *Error that is context.Canceled", n, told, failed)
		}
	}
}
