package filestore_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/filestore"
)

// A checkpoint brings values and mark from one state to the next; a read tells both, of one moment.
func Example() {
	folder, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	store, err := filestore.Open(filestore.Options{Path: filepath.Join(folder, "tailfold.db")})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	ctx := context.Background()
	unit := snapshotstore.Unit{Projection: "customer-totals", Version: 1}
	held, err := store.Head(ctx, unit) // the zero Mark: there is no snapshot yet
	if err != nil {
		log.Fatal(err)
	}
	err = store.Commit(ctx, unit, snapshotstore.Checkpoint{
		From: held,
		To:   snapshotstore.Mark{Seq: 41, Stream: "ORDERS", Epoch: 1, Writer: "worker-1"}.Seal("a random id"),
		Put:  []snapshotstore.Entry{{Key: "c-77", Data: []byte(`{"orders":3}`)}},
	})
	if err != nil {
		log.Fatal(err)
	}
	mark, values, err := store.Get(ctx, unit, []string{"c-77"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s at seq %d\n", values[0].Data, mark.Seq)

	// Whoever goes on from another mark than the store holds is told what it holds.
	fmt.Println(store.Commit(ctx, unit, snapshotstore.Checkpoint{To: snapshotstore.Mark{Seq: 1}.Seal("another id")}))
	// Output:
	// {"orders":3} at seq 41
	// customer-totals/v1/0: the store holds seq 41, epoch 1, written by worker-1
}
