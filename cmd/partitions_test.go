package cmd

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/storetest"
)

var secondUnit = snapshotstore.Unit{Projection: "totals", Version: 1, Partition: 1}

// A publisher's own write is in one partition: the others need not have come so far.
func TestMinSeqWaitsForThePartitionOfTheEvent(t *testing.T) {
	store := storetest.NewMemory()
	commit(t, store, totalsUnit, 10, map[string]string{"a": "1"})
	commit(t, store, secondUnit, 20, map[string]string{"b": "2"})
	a := newAPI(store, &fakeWorker{})
	subjects := map[uint64]string{15: "orders.1.b", 16: "orders.0.a"}
	a.subject = func(_ context.Context, _ string, seq uint64) (string, error) {
		if subject, ok := subjects[seq]; ok {
			return subject, nil
		}
		return "", consumer.ErrNoMessage
	}
	code, body := ask(a, http.MethodGet, "/api/v1/projections/totals/keys/b?min_seq=15&timeout=10s")
	if code != 200 || !strings.Contains(body, `"seq":20`) {
		t.Errorf("an event of partition 1: %d %s", code, body)
	}
	code, body = ask(a, http.MethodGet, "/api/v1/projections/totals/keys/a?min_seq=16&timeout=50ms")
	if code != 504 || !strings.Contains(body, `"partition":0`) || !strings.Contains(body, `"seq":10`) {
		t.Errorf("an event of partition 0, which has not come so far: %d %s", code, body)
	}
	code, body = ask(a, http.MethodGet, "/api/v1/projections/totals/keys/b?min_seq=17&timeout=50ms")
	if code != 504 || !strings.Contains(body, `"partition":0`) {
		t.Errorf("an event that is gone: %d %s", code, body)
	}
}

// Whoever runs a unit, any worker tells what is wrong with it.
func TestAnyWorkerTellsTheVerdictOfAUnit(t *testing.T) {
	store := storetest.NewMemory()
	commit(t, store, totalsUnit, 10, map[string]string{"a": "1"})
	commit(t, store, secondUnit, 20, map[string]string{"b": "2"})
	announce(t, store, "w-2", consumer.UnitStatus{Projection: "totals", Version: 1, Partition: 1, Stream: "ORDERS",
		State: consumer.Halted, Verdict: "POISON", Detail: "event 21", Owner: "w-2"})
	a := newAPI(store, &fakeWorker{rows: []consumer.UnitStatus{{Projection: "totals", Version: 1, State: consumer.Live, Head: 20}}})
	code, body := ask(a, http.MethodGet, "/api/v1/projections/totals/keys/b")
	if code != 200 || !strings.Contains(body, `"verdict":"POISON"`) || !strings.Contains(body, `"detail":"event 21"`) {
		t.Errorf("of another worker's unit: %d %s", code, body)
	}
	if code, body = ask(a, http.MethodGet, "/api/v1/projections/totals/keys/a"); code != 200 || strings.Contains(body, "verdict") {
		t.Errorf("of its own: %d %s", code, body)
	}
}

func TestStatusTellsOfWorkersAndOfKeysThatCrossPartitions(t *testing.T) {
	store := storetest.NewMemory()
	commit(t, store, totalsUnit, 10, map[string]string{"a": "1", "b": "2"})
	commit(t, store, secondUnit, 20, map[string]string{"c": "3"})
	single := snapshotstore.Unit{Projection: "count", Version: 1}
	for p := range 2 { // one value in each partition, as there has to be
		single.Partition = p
		commit(t, store, single, 10, map[string]string{"": "1"})
	}
	var units []unit
	for p := range 2 {
		for _, projection := range []string{"count", "totals"} {
			units = append(units, unit{snapshotstore.Unit{Projection: projection, Version: 1, Partition: p}, "ORDERS", nil})
		}
	}
	for worker, report := range map[string]consumer.Report{
		"w-1": {Worker: "w-1", Version: "v1", Units: []consumer.UnitStatus{{Projection: "totals", Version: 1, Stream: "ORDERS", State: consumer.Live, Owner: "w-1"},
			{Projection: "count", Version: 1, Stream: "ORDERS", State: consumer.Live, Owner: "w-1"}}},
		"w-2": {Worker: "w-2", Version: "v2", Lease: "not allowed to renew"},
	} {
		text, err := json.Marshal(report)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Announce(t.Context(), worker, text, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	reader := &statusReader{store: store, units: units, bounds: func(context.Context, string) (consumer.Bounds, error) { return consumer.Bounds{Last: 20}, nil }}
	answer, err := reader.all(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Crossing) > 0 {
		t.Errorf("no key crosses, and it names %v", answer.Crossing)
	}
	commit(t, store, secondUnit, 21, map[string]string{"b": "4"})
	if answer, err = reader.all(t.Context()); err != nil || len(answer.Crossing) != 1 {
		t.Fatalf("crossing keys: %v, %v", answer.Crossing, err)
	}
	var text bytes.Buffer
	writeTable(&text, answer.Units)
	writeWorkers(&text, answer)
	got := text.String()
	for _, want := range []string{`totals/v1: keys cross partitions: "b" is in [0 1]`,
		"totals/v1/1  unowned", "no worker has this unit: worker w-2 has no lease: not allowed to renew",
		"WORKER  UNITS  VERSION     RUNS\nw-1         2  v1          count/v1 totals/v1\nw-2         0  v2\n    has no lease: not allowed to renew\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("status does not say %q:\n%s", want, got)
		}
	}
}
