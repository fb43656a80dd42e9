package storetest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/tailfold/tailfold/snapshotstore"
)

// totals is the unit that most checks use.
var totals = snapshotstore.Unit{Projection: "totals", Version: 1}

// contents are all that a store holds of a unit. The model that stores are compared with is one, too.
type contents struct {
	Mark       snapshotstore.Mark
	Values     map[string]string
	Skipped    []snapshotstore.Skipped
	Definition string
}

// after is what a unit has after a checkpoint.
func (c contents) after(checkpoint snapshotstore.Checkpoint) contents {
	values := map[string]string{}
	maps.Copy(values, c.Values)
	for _, entry := range checkpoint.Put {
		values[entry.Key] = string(entry.Data)
	}
	for _, key := range checkpoint.Delete {
		delete(values, key)
	}
	skipped := slices.Concat(c.Skipped, checkpoint.Skipped)
	slices.SortStableFunc(skipped, func(a, b snapshotstore.Skipped) int { return cmp.Compare(a.Seq, b.Seq) })
	return contents{
		Mark: checkpoint.To, Values: values, Skipped: skipped,
		Definition: cmp.Or(checkpoint.Definition, c.Definition),
	}
}

// reporter is what the comparisons need of a test; a *rapid.T is one, too, and so prints its seed.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
	Context() context.Context
}

// look reads all that a store holds of a unit, by every way that there is to read it; they must agree. Nobody may write
// meanwhile.
func look(t reporter, store snapshotstore.Store, unit snapshotstore.Unit) contents {
	t.Helper()
	c := contents{Values: map[string]string{}}
	var err error
	if c.Mark, err = store.Head(t.Context(), unit); err != nil {
		t.Fatalf("Head of %s: %v", unit, err)
	}
	for entry, err := range store.Scan(t.Context(), unit) {
		if err != nil {
			t.Fatalf("Scan of %s: %v", unit, err)
		}
		c.Values[entry.Key] = string(entry.Data)
	}
	keys := slices.Sorted(maps.Keys(c.Values))
	mark, values, err := store.Get(t.Context(), unit, keys)
	if err != nil {
		t.Fatalf("Get of the %d keys of %s: %v", len(keys), unit, err)
	}
	same(t, "the mark that Get tells", c.Mark, mark)
	if len(values) != len(keys) {
		t.Fatalf("Get of %d keys returned %d values", len(keys), len(values))
	}
	for i, key := range keys {
		if !values[i].Exists || string(values[i].Data) != c.Values[key] {
			t.Fatalf("key %.40q: Scan told %.40q, Get tells %.40q, exists %t",
				key, c.Values[key], values[i].Data, values[i].Exists)
		}
	}
	mark, c.Skipped, err = store.Skipped(t.Context(), unit)
	if err != nil {
		t.Fatalf("Skipped of %s: %v", unit, err)
	}
	same(t, "the mark that Skipped tells", c.Mark, mark)
	if c.Definition, err = store.Definition(t.Context(), unit); err != nil {
		t.Fatalf("Definition of %s: %v", unit, err)
	}
	return c
}

// wantContents fails where a store holds of a unit anything but want.
func wantContents(t reporter, store snapshotstore.Store, unit snapshotstore.Unit, want contents) {
	t.Helper()
	if want.Values == nil {
		want.Values = map[string]string{}
	}
	got := look(t, store, unit)
	if maps.Equal(want.Values, got.Values) { // most of the time, and much faster than to look for differences
		want.Values, got.Values = nil, nil
	}
	same(t, "the contents of "+unit.String(), want, got)
}

// same compares whole values; an empty list is as good as none.
func same(t reporter, what string, want, got any) {
	t.Helper()
	if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s (-want +got):\n%.4000s", what, diff)
	}
}

// markAt is a sealed mark like no other.
func markAt(seq uint64) snapshotstore.Mark {
	at := time.Date(2026, 3, 29, 1, 59, 59, 123456789, time.UTC)
	return snapshotstore.Mark{
		Seq: seq, Since: 1, Stream: "ORDERS", Created: at.Add(-time.Hour),
		Witnesses:   []snapshotstore.Witness{{Seq: seq, Time: at, Hash: "00112233445566778899aabbccddeeff"}},
		Fingerprint: "f00d", Epoch: 1, Writer: "worker-1", At: at,
	}.Seal(rand.Text())
}

// entries are a checkpoint's puts, of key, value, key, value, …
func entries(pairs ...string) []snapshotstore.Entry {
	var all []snapshotstore.Entry
	for pair := range slices.Chunk(pairs, 2) {
		all = append(all, snapshotstore.Entry{Key: pair[0], Data: []byte(pair[1])})
	}
	return all
}

// numbered are n puts of keys that sort as they count, all of one value.
func numbered(n int, value string) []snapshotstore.Entry {
	all := make([]snapshotstore.Entry, n)
	for i := range all {
		all[i] = snapshotstore.Entry{Key: fmt.Sprintf("k%07d", i), Data: []byte(value)}
	}
	return all
}

func keysOf(entries []snapshotstore.Entry) []string {
	keys := make([]string, len(entries))
	for i, entry := range entries {
		keys[i] = entry.Key
	}
	return keys
}

// commit applies a checkpoint that must succeed, and returns its mark.
func commit(
	t testing.TB, store snapshotstore.Store, unit snapshotstore.Unit, checkpoint snapshotstore.Checkpoint,
) snapshotstore.Mark {
	t.Helper()
	if err := store.Commit(t.Context(), unit, checkpoint); err != nil {
		t.Fatalf("Commit to %s from seq %d to %d: %v", unit, checkpoint.From.Seq, checkpoint.To.Seq, err)
	}
	return checkpoint.To
}

// start commits a unit's first snapshot.
func start(t testing.TB, store snapshotstore.Store, unit snapshotstore.Unit, pairs ...string) contents {
	t.Helper()
	checkpoint := snapshotstore.Checkpoint{To: markAt(1), Put: entries(pairs...), Definition: "the definition"}
	commit(t, store, unit, checkpoint)
	return contents{}.after(checkpoint)
}

// wantConflict fails where err is anything but the refusal of a commit by a store that holds what held says.
func wantConflict(t reporter, err error, unit snapshotstore.Unit, held snapshotstore.Mark) {
	t.Helper()
	conflict, ok := errors.AsType[*snapshotstore.ConflictError](err)
	if !ok {
		t.Fatalf("the commit returned %v; want a *ConflictError", err)
	}
	same(t, "the conflict", &snapshotstore.ConflictError{Unit: unit, Held: held}, conflict)
}

// wantCorrupt fails where err is anything but a *CorruptError about unit.
func wantCorrupt(t testing.TB, op string, err error, unit snapshotstore.Unit) {
	t.Helper()
	corrupt, ok := errors.AsType[*snapshotstore.CorruptError](err)
	if !ok || corrupt.Unit != unit || corrupt.Why == "" {
		t.Fatalf("%s returned %v; want a *CorruptError about %s that says why", op, err, unit)
	}
}

// isOfStore tells an error that the contract knows.
func isOfStore(err error) bool {
	if _, ok := errors.AsType[*snapshotstore.ConflictError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*snapshotstore.CorruptError](err); ok {
		return true
	}
	_, ok := errors.AsType[*snapshotstore.Error](err)
	return ok
}

// call is one of a store's methods, with arguments.
type call struct {
	name string
	do   func(ctx context.Context, store snapshotstore.Store) error
}

// calls are one of each, those that change something first. Commit goes from a mark to the next.
func calls(from, to snapshotstore.Mark) []call {
	return []call{
		{"Commit", func(ctx context.Context, store snapshotstore.Store) error {
			return store.Commit(ctx, totals, snapshotstore.Checkpoint{From: from, To: to, Put: entries("new", "value")})
		}},
		{"Drop", func(ctx context.Context, store snapshotstore.Store) error { return store.Drop(ctx, totals) }},
		{"Promote", func(ctx context.Context, store snapshotstore.Store) error {
			return store.Promote(ctx, "totals", 0, 1)
		}},
		{"Announce", func(ctx context.Context, store snapshotstore.Store) error {
			return store.Announce(ctx, "worker-2", []byte("{}"), time.Hour)
		}},
		{"Resign", func(ctx context.Context, store snapshotstore.Store) error { return store.Resign(ctx, "worker-1") }},
		{"Head", func(ctx context.Context, store snapshotstore.Store) error {
			_, err := store.Head(ctx, totals)
			return err
		}},
		{"Get", func(ctx context.Context, store snapshotstore.Store) error {
			_, _, err := store.Get(ctx, totals, []string{"a", "b"})
			return err
		}},
		{"Scan", func(ctx context.Context, store snapshotstore.Store) error {
			for _, err := range store.Scan(ctx, totals) {
				if err != nil {
					return err
				}
			}
			return nil
		}},
		{"Skipped", func(ctx context.Context, store snapshotstore.Store) error {
			_, _, err := store.Skipped(ctx, totals)
			return err
		}},
		{"Definition", func(ctx context.Context, store snapshotstore.Store) error {
			_, err := store.Definition(ctx, totals)
			return err
		}},
		{"Served", func(ctx context.Context, store snapshotstore.Store) error {
			_, err := store.Served(ctx, "totals")
			return err
		}},
		{"Workers", func(ctx context.Context, store snapshotstore.Store) error {
			_, err := store.Workers(ctx)
			return err
		}},
	}
}
