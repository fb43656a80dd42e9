package filestore_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/filestore"
	"go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

// A byte that changed on the disk is told with unit and key; it is not folded on, and nothing else is touched.
func TestAChangedByteIsCorrupt(t *testing.T) {
	store := open(t, filestore.Options{Path: filepath.Join(t.TempDir(), "tailfold.db"), NoSync: true})
	commit(t, store, partition(1), first("well", values(10, 10)...))
	commit(t, store, totals, first("a", values(10, 10)...))
	store.Damage(t, totals, func(snap *bbolt.Bucket) error {
		at := filestore.PlaceOf("k000003")
		framed := bytes.Clone(filestore.ValuesOf(snap).Get(at))
		framed[len(framed)-1] ^= 1
		return filestore.ValuesOf(snap).Put(at, framed)
	})
	_, _, err := store.Get(t.Context(), totals, []string{"k000003"})
	corrupt, ok := errors.AsType[*snapshotstore.CorruptError](err)
	if !ok || corrupt.Unit != totals || corrupt.Key != "k000003" {
		t.Errorf("Get of it: %v; want a *CorruptError that names it", err)
	}
	if _, got, err := store.Get(t.Context(), totals, []string{"k000004"}); err != nil || !got[0].Exists {
		t.Errorf("Get of another key: %v, %v", got, err)
	}
	var failed error
	for _, err := range store.Scan(t.Context(), totals) {
		failed = err
	}
	if corrupt, ok := errors.AsType[*snapshotstore.CorruptError](failed); !ok || corrupt.Unit != totals {
		t.Errorf("Scan ended with %v; want a *CorruptError", failed)
	}
	for entry, err := range store.Scan(t.Context(), partition(1)) {
		if err != nil {
			t.Errorf("Scan of another unit at %q: %v", entry.Key, err)
		}
	}
}

// Two values that changed places, as pages may, are no better than changed ones.
func TestAValueInTheWrongPlaceIsCorrupt(t *testing.T) {
	store := open(t, filestore.Options{Path: filepath.Join(t.TempDir(), "tailfold.db"), NoSync: true})
	commit(t, store, totals, first("a", values(2, 10)...))
	store.Damage(t, totals, func(snap *bbolt.Bucket) error {
		other := bytes.Clone(filestore.ValuesOf(snap).Get(filestore.PlaceOf("k000001")))
		return filestore.ValuesOf(snap).Put(filestore.PlaceOf("k000000"), other)
	})
	_, _, err := store.Get(t.Context(), totals, []string{"k000000"})
	if corrupt, ok := errors.AsType[*snapshotstore.CorruptError](err); !ok || corrupt.Key != "k000000" {
		t.Errorf("%v; want a *CorruptError that names the key", err)
	}
}

// A file that is cut short under our feet faults when it is read; the process must outlive that.
func TestAFileThatIsCutShortWhileItIsOpenIsAnError(t *testing.T) {
	options := filestore.Options{Path: filepath.Join(t.TempDir(), "tailfold.db"), NoSync: true}
	store := open(t, options)
	mark := commit(t, store, totals, first("a", values(5_000, 100)...))
	if err := os.Truncate(options.Path, 8<<10); err != nil {
		t.Fatal(err)
	}
	_, _, err := store.Get(t.Context(), totals, []string{"k000003"})
	wantClass(t, err, snapshotstore.Stop, "is damaged", options.Path, "keep the file")
	next := snapshotstore.Checkpoint{From: mark, To: snapshotstore.Mark{Seq: 2}.Seal("b"), Put: values(10, 10)}
	for range 2 {
		err = store.Commit(t.Context(), totals, next)
		wantClass(t, err, snapshotstore.Stop, "is damaged", options.Path, "keep the file")
	}
}

// Whatever bytes change in the file: a value that is told is one that was written under its key, and all else is an
// error, not a crash.
func TestRandomDamageIsNeverToldAsAValue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tailfold.db")
	store := open(t, filestore.Options{Path: path, NoSync: true})
	want := map[string]string{}
	mark := snapshotstore.Mark{}
	for seq := range uint64(5) {
		c := snapshotstore.Checkpoint{From: mark, To: snapshotstore.Mark{Seq: seq + 1}.Seal("x"), Put: values(400, 60)}
		for i := range c.Put {
			rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}).Read(c.Put[i].Data)
			want[c.Put[i].Key] = string(c.Put[i].Data)
		}
		mark = commit(t, store, totals, c)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(t.TempDir(), "damaged.db")
	told := 0
	rapid.Check(t, func(rt *rapid.T) {
		file := bytes.Clone(whole)
		for range rapid.IntRange(1, 20).Draw(rt, "bytes") {
			file[rapid.IntRange(0, len(file)-1).Draw(rt, "at")] ^= byte(rapid.IntRange(1, 255).Draw(rt, "by"))
		}
		if err := os.WriteFile(damaged, file, 0o600); err != nil {
			rt.Fatal(err)
		}
		store, err := filestore.Open(filestore.Options{Path: damaged, NoSync: true})
		if err != nil {
			return
		}
		defer store.Close()
		for entry, err := range store.Scan(t.Context(), totals) {
			if err != nil {
				break
			}
			if told++; want[entry.Key] != string(entry.Data) {
				rt.Fatalf("key %q is told as %x; it was %x", entry.Key, entry.Data, want[entry.Key])
			}
		}
		for key, data := range want {
			_, got, err := store.Get(t.Context(), totals, []string{key})
			if err == nil && got[0].Exists && string(got[0].Data) != data {
				rt.Fatalf("key %q is told as %x; it was %x", key, got[0].Data, data)
			}
		}
		next := snapshotstore.Checkpoint{From: mark, To: snapshotstore.Mark{Seq: 9}.Seal("y"), Put: values(20, 60)}
		_ = store.Commit(t.Context(), totals, next) // whatever it says, it says it
	})
	if told == 0 {
		t.Fatal("no damaged file could be read at all: this test shows nothing")
	}
}
