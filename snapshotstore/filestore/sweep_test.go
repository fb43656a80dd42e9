package filestore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/filestore"
)

func sizeOf(t testing.TB, path string) int64 {
	t.Helper()
	stat, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return stat.Size()
}

// swept waits until all that was dropped is given back.
func swept(t testing.TB, store *filestore.Store) {
	for store.Dropped(t) {
		if t.Context().Err() != nil {
			t.Fatal("the test ended first")
		}
		runtime.Gosched()
	}
}

// The drop itself is one short transaction, however big the snapshot; its pages are used again.
func TestWhatWasDroppedIsGivenBack(t *testing.T) {
	options := filestore.Options{Path: filepath.Join(t.TempDir(), "tailfold.db"), NoSync: true}
	store := open(t, options)
	var size int64
	for round := range 6 {
		commit(t, store, totals, first(fmt.Sprint(round), values(10_000, 200)...))
		if err := store.Drop(t.Context(), totals); err != nil {
			t.Fatal(err)
		}
		commit(t, store, partition(round+1), first("beside", values(1, 10)...)) // does not wait for the sweep's end
		swept(t, store)
		switch now := sizeOf(t, options.Path); {
		case round == 1:
			size = now
		case round > 1 && now > size:
			t.Fatalf("the file has %d bytes after round %d, %d after the second", now, round, size)
		}
	}
}

func TestWhatWasDroppedBeforeARestartIsGivenBackAfterIt(t *testing.T) {
	options := filestore.Options{Path: filepath.Join(t.TempDir(), "tailfold.db"), NoSync: true}
	store := open(t, options)
	commit(t, store, totals, first("a", values(20_000, 100)...))
	commit(t, store, partition(1), first("stays", values(10, 100)...))
	if err := store.Drop(t.Context(), totals); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store = open(t, options)
	swept(t, store)
	if mark, err := store.Head(t.Context(), partition(1)); err != nil || mark.ID != "stays" {
		t.Fatalf("the unit beside: %q, %v", mark.ID, err)
	}
	if mark, err := store.Head(t.Context(), totals); err != nil || !mark.IsZero() {
		t.Fatalf("the dropped unit: %+v, %v", mark, err)
	}
}

func TestOpenCompactsAFileOfWhichMostIsFree(t *testing.T) {
	options := filestore.Options{Path: filepath.Join(t.TempDir(), "tailfold.db")}
	store := open(t, options)
	all := values(30_000, 500)
	mark := commit(t, store, totals, first("a", all...))
	if err := store.Promote(t.Context(), "totals", 0, 1); err != nil {
		t.Fatal(err)
	}
	var gone []string
	for _, entry := range all[100:] {
		gone = append(gone, entry.Key)
	}
	last := snapshotstore.Checkpoint{
		From: mark, To: snapshotstore.Mark{Seq: 2}.Seal("b"), Delete: gone, Skipped: []snapshotstore.Skipped{{Seq: 2}},
	}
	commit(t, store, totals, last)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	before := sizeOf(t, options.Path)
	left := options.Path + ".compact" // by a process that was killed while it compacted
	if err := os.WriteFile(left, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}

	store = open(t, options)
	if after := sizeOf(t, options.Path); after > before/10 {
		t.Errorf("the file had %d bytes, nearly all of them free, and has %d after it was opened", before, after)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", left, err)
	}
	commit(t, store, totals, last) // the mark is the same, byte for byte
	found := 0
	for _, err := range store.Scan(t.Context(), totals) {
		if err != nil {
			t.Fatal(err)
		}
		found++
	}
	_, skipped, err := store.Skipped(t.Context(), totals)
	version, served := store.Served(t.Context(), "totals")
	if found != 100 || len(skipped) != 1 || version != 1 || err != nil || served != nil {
		t.Errorf("after compaction: %d keys, %v, version %d, %v, %v", found, skipped, version, err, served)
	}
	if _, err := filestore.Open(options); err == nil {
		t.Error("the new file is not held: a second Open succeeded")
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store = open(t, options)
	commit(t, store, totals, snapshotstore.Checkpoint{From: last.To, To: snapshotstore.Mark{Seq: 3}.Seal("c")})
	if mode := modeOf(t, options.Path); mode != 0o600 {
		t.Errorf("the new file has mode %o", mode)
	}
}

func modeOf(t testing.TB, path string) os.FileMode {
	t.Helper()
	stat, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return stat.Mode().Perm()
}
