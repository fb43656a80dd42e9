package bench

import (
	"context"
	"io"
	"runtime"
	"testing"

	"github.com/tailfold/tailfold/cmd"
	"github.com/tailfold/tailfold/cmd/bench/contenders"
	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// TestAWorkerOnRealServersAllocatesAtMostOncePerEvent counts what a whole worker allocates from its start to its end, over
// servers that are processes of their own: connections, reading, decoding, folding, checkpoints, and the start itself. Rates
// depend on the machine; this does not. Two is what is allowed; one more for each event than today is to be noticed.
func TestAWorkerOnRealServersAllocatesAtMostOncePerEvent(t *testing.T) {
	const events, most = 100_000, 1.0
	server, store := natstest.StartProcess(t), redistest.Start(t)
	conn := server.Connect()
	b := &bench{options: &Command{}, name: "alloc", js: natstest.JetStream(t, conn)}
	log, err := b.makeStream(t.Context(), "orders", orders{keys: 10_000, size: 120})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.publish(t.Context(), log, events); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	for _, name := range []string{"go", "declared"} {
		t.Run(name, func(t *testing.T) {
			s := spec{Contender: "go", Prefix: "alloc-" + name,
				Task: contenders.Task{NATS: server.URL(), Stream: log.name, Redis: store.URL(), Events: events}}
			if name == "declared" {
				b.dir = t.TempDir()
				if s.Config, err = b.declared(log); err != nil {
					t.Fatal(err)
				}
			}
			app := &cmd.App{Name: "tailfold", Stdout: io.Discard, Stderr: t.Output(), Context: t.Context()}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			folded, err := tailfold(t.Context(), app, s)
			runtime.ReadMemStats(&after)
			if err != nil || folded != events {
				t.Fatalf("it folded %d events: %v", folded, err)
			}
			mark, err := store.Client().HLen(context.Background(), s.hashOf("totals")).Result()
			if err != nil || mark < 9000 {
				t.Fatalf("the snapshot has %d fields (%v): it did not fold", mark, err)
			}
			per := float64(after.Mallocs-before.Mallocs) / events
			t.Logf("%.3f allocations per event", per)
			if per > most {
				t.Errorf("%.2f allocations per event, at most %.0f are allowed", per, most)
			}
		})
	}
}
