package storetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tailfold/tailfold/snapshotstore"
)

func reading() []check {
	return []check{
		{"AnEmptyStoreHasNothing", emptyStoreHasNothing},
		{"AMarkComesBackByteForByte", markComesBack},
		{"ValuesComeInTheOrderOfTheKeysAskedFor", valuesInOrder},
		{"KeysAreAnyBytes", keysAreAnyBytes},
		{"ValuesAreAnyBytes", valuesAreAnyBytes},
		{"WhatACallerDoesToBytesIsItsOwnAffair", bytesAreCopies},
		{"UnitsAreApart", unitsAreApart},
	}
}

func emptyStoreHasNothing(t testing.TB, h Harness) {
	wantContents(t, h.Store, totals, contents{})
	mark, values, err := h.Store.Get(t.Context(), totals, []string{"a", "", "a"})
	if err != nil || !mark.IsZero() || len(values) != 3 {
		t.Fatalf("Get of three keys of nothing: %+v, %v, %v", mark, values, err)
	}
	for _, value := range values {
		if value.Exists || len(value.Data) > 0 {
			t.Fatalf("a store without a snapshot has a value: %+v", value)
		}
	}
	if err := h.Store.Drop(t.Context(), totals); err != nil {
		t.Fatalf("Drop of what is not there: %v", err)
	}
	if err := h.Store.Resign(t.Context(), "nobody"); err != nil {
		t.Fatalf("Resign of a worker that was never announced: %v", err)
	}
	if version, err := h.Store.Served(t.Context(), "totals"); version != 0 || err != nil {
		t.Fatalf("Served: %d, %v; want 0", version, err)
	}
	if workers, err := h.Store.Workers(t.Context()); len(workers) != 0 || err != nil {
		t.Fatalf("Workers: %v, %v; want none", workers, err)
	}
}

// A newer Tailfold's mark has members that we do not know, and spaces that we would not write: what a commit compares is
// the bytes, so they must come back.
func markComesBack(t testing.TB, h Harness) {
	sealed := markAt(7)
	newer := append([]byte(`{ "from_the_future":["\u00e9", 1e3], `), sealed.Raw[1:]...)
	mark, err := snapshotstore.ParseMark(newer)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, h.Store, totals, snapshotstore.Checkpoint{To: mark})
	wantContents(t, h.Store, totals, contents{Mark: mark})

	next := markAt(8)
	wantConflict(t, h.Store.Commit(t.Context(), totals, snapshotstore.Checkpoint{From: sealed, To: next}), totals, mark)
	got, err := h.Another(t).Head(t.Context(), totals)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, h.Store, totals, snapshotstore.Checkpoint{From: got, To: next})
	wantContents(t, h.Store, totals, contents{Mark: next})
}

func valuesInOrder(t testing.TB, h Harness) {
	c := start(t, h.Store, totals, "a", "1", "b", "", "c", "3")
	mark, values, err := h.Another(t).Get(t.Context(), totals, []string{"c", "none", "b", "a", "c"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the mark", c.Mark, mark)
	want := []snapshotstore.Value{
		{Data: []byte("3"), Exists: true}, {}, {Exists: true}, {Data: []byte("1"), Exists: true},
		{Data: []byte("3"), Exists: true},
	}
	same(t, "the values", want, values)
	mark, values, err = h.Store.Get(t.Context(), totals, nil)
	if err != nil || len(values) != 0 {
		t.Fatalf("Get without keys: %v, %v", values, err)
	}
	same(t, "the mark of Get without keys", c.Mark, mark)
}

// oddKeys are keys that a store may take for something else.
func oddKeys() []string {
	keys := []string{
		"", "$", "$$", "$$$", "$mark", "$$mark", "$definition", "$$definition", "$skipped", "mark", "definition", "skipped",
		"values", "\x00", "\x00\x00", "a\x00b", "a\x00", "a", "\xff\xfe not UTF-8 \x80", "\xc3", "naïve", "nai\u0308ve", "日本", "🙂",
		" ", "a b", "a\nb", "\r\n", "{a}", "*", "[a]", "tailfold:{totals/v1/0}", `"`, `\`, "%s", "__offset", "1", "-1", "nil",
	}
	for _, n := range []int{255, 256, 512, 513, 32_767, 32_768, 32_769, 65_535, 65_536} {
		keys = append(keys, strings.Repeat("k", n), "$"+strings.Repeat("k", n-1))
	}
	return append(keys, strings.Repeat("k", 65_535)+"l")
}

func keysAreAnyBytes(t testing.TB, h Harness) {
	checkpoint := snapshotstore.Checkpoint{To: markAt(1), Definition: "the definition"}
	for i, key := range oddKeys() {
		value := fmt.Sprintf("value %d", i)
		checkpoint.Put = append(checkpoint.Put, snapshotstore.Entry{Key: key, Data: []byte(value)})
	}
	commit(t, h.Store, totals, checkpoint)
	c := contents{}.after(checkpoint)
	if len(c.Values) != len(checkpoint.Put) {
		t.Fatalf("the odd keys are %d, %d of them different", len(checkpoint.Put), len(c.Values))
	}
	wantContents(t, h.Another(t), totals, c)
	for i, key := range oddKeys() {
		checkpoint := snapshotstore.Checkpoint{From: c.Mark, To: markAt(uint64(i + 2)), Delete: []string{key}}
		commit(t, h.Store, totals, checkpoint)
		c = c.after(checkpoint)
		_, values, err := h.Store.Get(t.Context(), totals, []string{key})
		if err != nil || values[0].Exists {
			t.Fatalf("key %.40q was deleted, Get tells %.40q, %v", key, values[0].Data, err)
		}
	}
	wantContents(t, h.Store, totals, c)
}

func valuesAreAnyBytes(t testing.TB, h Harness) {
	var every strings.Builder
	for b := range 256 {
		every.WriteByte(byte(b))
	}
	start(t, h.Store, totals)
	c := look(t, h.Store, totals)
	checkpoint := snapshotstore.Checkpoint{From: c.Mark, To: markAt(2), Put: entries(
		"every byte", every.String(), "empty", "", "one NUL", "\x00", "not UTF-8", "\xff\x80", "number", "007", "nil", "nil",
		"JSON", `{"a":1}`, "line", "a\r\n$1\r\n",
	)}
	checkpoint.Put = append(checkpoint.Put, snapshotstore.Entry{Key: "no slice", Data: nil})
	commit(t, h.Store, totals, checkpoint)
	wantContents(t, h.Another(t), totals, c.after(checkpoint))
}

func bytesAreCopies(t testing.TB, h Harness) {
	c := start(t, h.Store, totals)
	checkpoint := snapshotstore.Checkpoint{From: c.Mark, To: markAt(2), Put: entries("a", "value")}
	commit(t, h.Store, totals, checkpoint)
	c = c.after(checkpoint)
	copy(checkpoint.Put[0].Data, "XXXXX")
	for range 2 {
		_, values, err := h.Store.Get(t.Context(), totals, []string{"a"})
		if err != nil {
			t.Fatal(err)
		}
		for entry, err := range h.Store.Scan(t.Context(), totals) {
			if err != nil {
				t.Fatal(err)
			}
			copy(entry.Data, "YYYYY")
		}
		copy(values[0].Data, "ZZZZZ")
		mark, err := h.Store.Head(t.Context(), totals)
		if err != nil {
			t.Fatal(err)
		}
		clear(mark.Raw)
	}
	wantContents(t, h.Store, totals, c)
}

func unitsAreApart(t testing.TB, h Harness) {
	units := []snapshotstore.Unit{
		{Projection: "totals", Version: 1}, {Projection: "totals", Version: 1, Partition: 1},
		{Projection: "totals", Version: 1, Partition: 11}, {Projection: "totals", Version: 11},
		{Projection: "total", Version: 1}, {Projection: "totals-v1", Version: 1}, {Projection: "served", Version: 1},
		{Projection: "workers", Version: 1},
	}
	want := map[snapshotstore.Unit]contents{}
	for _, unit := range units {
		want[unit] = start(t, h.Store, unit, "name", unit.String())
	}
	for i, gone := range units {
		for _, unit := range units {
			wantContents(t, h.Store, unit, want[unit])
		}
		if i%2 == 0 {
			if err := h.Store.Drop(t.Context(), gone); err != nil {
				t.Fatal(err)
			}
			want[gone] = contents{}
		}
	}
}
