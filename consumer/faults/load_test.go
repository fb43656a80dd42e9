package faults

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

var rateEvents = flag.Int("rate-events", 100_000, "how many events are folded to compare one worker with two")

// TestManyIdleUnitsCostNextToNothing has 64 partitions of 3 projections on one worker, and nothing to fold.
func TestManyIdleUnitsCostNextToNothing(t *testing.T) {
	server, store := natstest.StartProcess(t), redistest.Start(t)
	createPartitioned(t, natstest.JetStream(t, server.Connect()), 64)
	fill(t, server, 10_000)
	idle := func(partitions int) (share float64, mib int) {
		if err := store.Client().FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		file := configFor(t, server.URL(), store.URL(), partitions, "")
		worker, address := startProgram(t, fmt.Sprint("idle-", partitions), file)
		awaitReady(t, worker, address, time.Minute)
		time.Sleep(2 * time.Second) // the time is what is measured: first what starting leaves behind, then an idle worker
		before, began := worker.cpu(), time.Now()
		time.Sleep(8 * time.Second)
		share = float64(worker.cpu()-before) / float64(time.Since(began))
		_, mib = worker.memory()
		worker.terminate(20 * time.Second)
		return share, mib
	}
	share, mib := idle(64)
	_, few := idle(1)
	t.Logf("192 idle units: %.1f %% of a core, %d MiB; 3 units: %d MiB", 100*share, mib, few)
	if share > 0.05 {
		t.Errorf("192 idle units take %.1f %% of a core, the bound is 5 %%", 100*share)
	}
	if mib-few > 64 {
		t.Errorf("192 idle units take %d MiB more than 3 do, the bound is 64", mib-few)
	}
}

// TestHundredsOfUnitsStartAtOnce starts a worker on 501 units of which none has a snapshot.
func TestHundredsOfUnitsStartAtOnce(t *testing.T) {
	const partitions, events = 167, 100_000
	server, store := natstest.StartProcess(t), redistest.Start(t)
	createPartitioned(t, natstest.JetStream(t, server.Connect()), partitions)
	fill(t, server, events)
	file := configFor(t, server.URL(), store.URL(), partitions, "cache: {max_bytes: 64MiB}\n")
	began := time.Now()
	worker, address := startProgram(t, "many", file)
	worker.says("that a unit is live", func(x line) bool { return x.Msg == "is live" })
	first := time.Since(began)
	ready := awaitReady(t, worker, address, 2*time.Minute)
	most, _ := worker.memory()
	t.Logf("501 units over %d events: the first one is live after %v, all after %v; at most %d MiB", events,
		first.Round(time.Millisecond), (first + ready).Round(time.Millisecond), most)
	if first > 3*time.Second { // the aim is 1 s, measured on a quiet machine; this is the bound of a busy one
		t.Errorf("the first unit is live after %v", first)
	}
	if most > 512 {
		t.Errorf("the worker took %d MiB, the bound is 512", most)
	}
	counted := 0
	for p := range partitions {
		var value total
		raw, err := store.Client().HGet(t.Context(), swarmKey("total", p), "").Result()
		if err == nil {
			err = json.Unmarshal([]byte(raw), &value)
		}
		if err == nil {
			counted += value.Events
		}
	}
	if counted != events {
		t.Errorf("all partitions together have counted %d events of %d", counted, events)
	}
}

// TestTwoWorkersFoldAsFastAsOne lets one worker fold two partitions, then two workers one each, in turns. All servers and
// workers share the machine's cores: the second worker can win nothing here, and must not lose much.
func TestTwoWorkersFoldAsFastAsOne(t *testing.T) {
	server, store := natstest.StartProcess(t), redistest.Start(t)
	createPartitioned(t, natstest.JetStream(t, server.Connect()), 2)
	fill(t, server, *rateEvents)
	file := configFor(t, server.URL(), store.URL(), 2, "")
	round := func(shards ...string) time.Duration {
		if err := store.Client().FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var workers []*life
		for _, shard := range shards {
			t.Setenv("TAILFOLD_SHARD", shard)
			worker, _ := startProgram(t, "shard-"+strings.ReplaceAll(shard, "/", "-"), file)
			workers = append(workers, worker)
		}
		deadline := began.Add(2 * time.Minute)
		for done := false; !done; {
			done = true
			for p := range 2 {
				for _, model := range allModels {
					raw, err := store.Client().HGet(t.Context(), swarmKey(model, p), "$mark").Result()
					seq := uint64(0)
					if err == nil {
						seq, err = seqOf(raw)
					}
					done = done && err == nil && seq >= uint64(*rateEvents)
				}
			}
			if !done && time.Now().After(deadline) {
				t.Fatalf("not folded within two minutes; %s", workers[0].output.end())
			}
			time.Sleep(time.Millisecond) // polls other processes
		}
		took := time.Since(began)
		for _, worker := range workers {
			worker.terminate(20 * time.Second)
		}
		return took
	}
	var ratios []float64
	for range 5 {
		one, two := round("0/1"), round("0/2", "1/2")
		ratios = append(ratios, float64(one)/float64(two))
		t.Logf("one worker: %v, two: %v", one.Round(time.Millisecond), two.Round(time.Millisecond))
	}
	slices.Sort(ratios)
	t.Logf("two workers to one, rates of folding %d events into 3 projections on 2 partitions: median %.2f of %.2f", *rateEvents, ratios[2], ratios)
	if ratios[2] < 0.6 { // the aim is 0.9, measured on a quiet machine; this is the bound of a busy one
		t.Errorf("two workers fold %.2f times as fast as one", ratios[2])
	}
}
