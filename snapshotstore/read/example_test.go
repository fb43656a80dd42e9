package read_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/read"
	"github.com/tailfold/tailfold/snapshotstore/storetest"
)

// Customer is the value of the projection customer-totals.
type Customer struct {
	Orders int `json:"orders"`
	Total  int `json:"total"`
}

// folded is a store in which a worker has folded the log up to seq 42. A service opens redisstore or filestore instead.
func folded() snapshotstore.Store {
	ctx := context.Background()
	store := storetest.NewMemory()
	unit := snapshotstore.Unit{Projection: "customer-totals", Version: 1}
	err := store.Commit(ctx, unit, snapshotstore.Checkpoint{
		To: snapshotstore.Mark{Seq: 42, Stream: "ORDERS"}.Seal("x"),
		Put: []snapshotstore.Entry{
			{Key: "c-77", Data: []byte(`{"orders":2,"total":150}`)},
			{Key: "c-78", Data: []byte(`{"orders":1,"total":20}`)},
		},
	})
	if err == nil {
		err = store.Promote(ctx, "customer-totals", 0, 1)
	}
	if err != nil {
		log.Fatal(err)
	}
	return store
}

func Example() {
	ctx := context.Background()
	reader, err := read.New(folded(), read.Options{Projection: "customer-totals"})
	if err != nil {
		log.Fatal(err)
	}
	result, err := reader.Get(ctx, "c-77")
	if err != nil {
		log.Fatal(err)
	}
	customer, err := read.JSON[Customer](result)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d orders, %d in all, as of seq %d\n", customer.Orders, customer.Total, result.Seq)
	// Output: 2 orders, 150 in all, as of seq 42
}

// Read your own write: wait until the projection has reached the event that was just published.
func ExampleReader_After() {
	ctx := context.Background()
	reader, err := read.New(folded(), read.Options{Projection: "customer-totals"})
	if err != nil {
		log.Fatal(err)
	}
	const published = 43 // PubAck.Sequence
	_, err = reader.After(published, 10*time.Millisecond).Get(ctx, "c-77")
	fmt.Println(err)
	// Output: customer-totals/v1/0 holds the events up to seq 42, 43 was asked for: its worker is behind or does not run (`tailfold status` shows it)
}

func ExampleReader_All() {
	ctx := context.Background()
	reader, err := read.New(folded(), read.Options{Projection: "customer-totals"})
	if err != nil {
		log.Fatal(err)
	}
	for result, err := range reader.All(ctx, "c-") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(result.Key, string(result.Value))
	}
	// Unordered output:
	// c-77 {"orders":2,"total":150}
	// c-78 {"orders":1,"total":20}
}
