package redisstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// BenchmarkCommit makes checkpoints of 1,000 keys in a snapshot of 10,000. "held" is what Redis itself says that its
// other clients waited.
func BenchmarkCommit(b *testing.B) {
	server := redistest.Start(b)
	store := open(b, server.URL())
	ctx := context.Background()
	const keys, changed = 10_000, 1000
	all := entries(keys, `{"orders":1,"total":100}`)
	to := mark(1)
	if err := store.Commit(ctx, unit, snapshotstore.Checkpoint{To: to, Put: all}); err != nil {
		b.Fatal(err)
	}
	var held time.Duration
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		from := to
		to = mark(uint64(n + 2))
		put := make([]snapshotstore.Entry, changed)
		for i := range put {
			put[i] = snapshotstore.Entry{Key: all[(n*changed+i*7)%keys].Key, Data: fmt.Appendf(nil, `{"orders":%d,"total":100}`, n)}
		}
		h, err := store.CommitWithReceipt(ctx, unit, snapshotstore.Checkpoint{From: from, To: to, Put: put})
		if err != nil {
			b.Fatal(err)
		}
		held += h.Held
		n++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*changed), "ns/key")
	b.ReportMetric(float64(held.Nanoseconds())/float64(n*changed), "held-ns/key")
}
