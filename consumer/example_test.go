package consumer_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/logtest"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore/read"
	"github.com/tailfold/tailfold/snapshotstore/storetest"
)

// A worker inside a program of one's own: it takes no signals, has its own metrics and logger, and ends with its context.
// A real one gets its logs from natslog.New and its store from redisstore.Open or filestore.Open.
func ExampleWorker() {
	log := logtest.NewMemory("ORDERS", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	for _, customer := range []string{"ann", "bob", "ann"} {
		log.Append("orders.placed", projections.Header{}, fmt.Appendf(nil, `{"customer":%q}`, customer))
	}
	store := storetest.NewMemory()

	var registry projections.Registry
	err := registry.Add(projections.Keyed[int]{
		Name: "orders-by-customer", Version: 1, Stream: "ORDERS",
		Key: func(e projections.Event) (string, error) {
			order, err := projections.JSON[struct {
				Customer string `json:"customer"`
			}](e)
			return order.Customer, err
		},
		Step: func(_ string, orders int, _ projections.Event) (int, error) { return orders + 1, nil },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	worker, err := consumer.New(consumer.Config{
		Name:     "worker-1", // unique per process start
		Registry: &registry,
		Store:    store,
		Logs:     func(consumer.Stream, int) (consumer.Log, error) { return log, nil },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var running sync.WaitGroup
	running.Go(func() {
		if err := worker.Run(ctx); err != nil {
			fmt.Println(err)
		}
	})

	reader, err := read.New(store, read.Options{Projection: "orders-by-customer"})
	if err != nil {
		fmt.Println(err)
		return
	}
	got, err := reader.After(3, 5*time.Second).Get(ctx, "ann") // read what was published up to seq 3
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("ann has %s orders at seq %d\n", got.Value, got.Seq)
	stop()
	running.Wait()
	// Output: ann has 2 orders at seq 3
}
