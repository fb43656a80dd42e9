package consumer_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/logtest"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/storetest"
)

// order is an event of about 120 bytes as JSON.
type order struct {
	Type     string `json:"type"`
	Customer string `json:"customer"`
	Amount   int    `json:"amount"`
}

type totals struct {
	Orders int `json:"orders"`
	Total  int `json:"total"`
}

func customerTotals() projections.Keyed[totals] {
	return projections.Keyed[totals]{Name: "customer-totals", Version: 1, Stream: "ORDERS",
		Key: func(e projections.Event) (string, error) {
			o, err := projections.JSON[order](e)
			return o.Customer, err
		},
		Step: func(_ string, v totals, e projections.Event) (totals, error) {
			o, err := projections.JSON[order](e)
			return totals{v.Orders + 1, v.Total + o.Amount}, err
		}}
}

func orders(n, keys int) *logtest.Memory {
	log := logtest.NewMemory("ORDERS", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	for i := range n {
		log.Append("orders.placed", projections.Header{}, fmt.Appendf(nil,
			`{"type":"OrderPlaced","customer":"c-%d","amount":%d,"order":"o-%d","note":"to make it about 120 bytes long, all in all"}`, i*7919%keys, i%1000, i))
	}
	return log
}

// BenchmarkReplay folds a log in memory with the whole worker: what the engine itself costs per event, decoding of a
// struct by json/v2 and checkpoints into a store in memory included. Compare with BenchmarkDecodeAlone in one run.
func BenchmarkReplay(b *testing.B) {
	const events = 200_000
	log := orders(events, 10_000)
	var mallocs uint64
	b.ReportAllocs()
	for b.Loop() {
		mallocs += replayOnce(b, log, events)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*events), "ns/event")
	b.ReportMetric(float64(mallocs)/float64(b.N*events), "allocs/event")
}

func replayOnce(tb testing.TB, log consumer.Log, events uint64) (mallocs uint64) {
	registry := &projections.Registry{}
	if err := registry.Add(customerTotals()); err != nil {
		tb.Fatal(err)
	}
	store := storetest.NewMemory()
	w, err := consumer.New(consumer.Config{Name: "bench", Registry: registry, Store: store,
		Logs: func(consumer.Stream, int) (consumer.Log, error) { return log, nil }})
	if err != nil {
		tb.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.Run(ctx); err != nil {
			tb.Error(err)
		}
	})
	for w.Status()[0].Seq < events {
		time.Sleep(100 * time.Microsecond)
	}
	cancel()
	wg.Wait()
	runtime.ReadMemStats(&after)
	mark, err := store.Head(context.Background(), snapshotstore.Unit{Projection: "customer-totals", Version: 1})
	if err != nil || mark.Seq != events {
		tb.Fatalf("the mark is at %d (%v)", mark.Seq, err)
	}
	return after.Mallocs - before.Mallocs
}

// BenchmarkDecodeAlone is the decoding that BenchmarkReplay does per event, and nothing else.
func BenchmarkDecodeAlone(b *testing.B) {
	data := []byte(`{"type":"OrderPlaced","customer":"c-4711","amount":300,"order":"o-4711","note":"to make it about 120 bytes long, all in all"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := projections.JSON[order](projections.Event{Data: data}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAReplayAllocatesAtMostTwicePerEvent(t *testing.T) {
	const events = 100_000
	log := orders(events, 1000)
	replayOnce(t, log, events) // warm
	per := float64(replayOnce(t, log, events)) / events
	t.Logf("%.2f allocations per event, decoding included", per)
	most := 2.0
	if consumer.UnderRace {
		most = 6
	}
	if per > most {
		t.Errorf("%.2f allocations per event, at most %.0f are allowed", per, most)
	}
}
