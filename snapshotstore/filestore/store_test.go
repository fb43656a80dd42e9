package filestore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/filestore"
	"github.com/tailfold/tailfold/snapshotstore/storetest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	for order, obey := range map[string]func(path string) error{commitTo: commitUntilKilled, openOnly: openAndTell} {
		if path := os.Getenv(order); path != "" {
			fmt.Fprintln(os.Stderr, obey(path))
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m)
}

// open opens a file store that is closed when the test ends.
func open(t testing.TB, options filestore.Options) *filestore.Store {
	t.Helper()
	store, err := filestore.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return store
}

// One process holds the file, so other workers are in it and share the handle. A crash in the middle of a transaction is
// tried with a process of its own, in TestSIGKILLAtAnyMomentLeavesAWholeCheckpoint; here it is a Close under calls.
func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		options := filestore.Options{Path: filepath.Join(t.TempDir(), "tailfold.db"), NoSync: true}
		store := open(t, options)
		return storetest.Harness{
			Store:   store,
			Another: func(testing.TB) snapshotstore.Store { return store },
			Crash: func(t testing.TB) snapshotstore.Store {
				if err := store.Close(); err != nil {
					t.Fatal(err)
				}
				store = open(t, options)
				return store
			},
			SetMark: func(t testing.TB, unit snapshotstore.Unit, raw []byte) { store.SetMark(t, unit, raw) },
		}
	})
}
