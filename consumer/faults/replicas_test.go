package faults

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// TestReplicasThatLackCheckpointsAreToldAndWhatTheyHaveIsThere stops the replica that is to have each checkpoint, while
// events come: they are folded all the same, and log, status, metrics and HTTP tell. Once it is back they tell that too,
// though nothing is folded. Then the primary dies, and the replica has what it was said to have.
func TestReplicasThatLackCheckpointsAreToldAndWhatTheyHaveIsThere(t *testing.T) {
	const partitions, events = 2, 3000
	t.Setenv("TAILFOLD_STORE_REPLICAS", "1")
	server, primary := natstest.StartProcess(t), redistest.Start(t)
	replica := redistest.StartReplica(t, primary)
	createPartitioned(t, natstest.JetStream(t, server.Connect()), partitions)
	fill(t, server, events)
	w, address := startProgram(t, "worker", configFor(t, server.URL(), primary.URL(), partitions, ""))
	awaitReady(t, w, address, time.Minute)

	// told waits until each unit has folded all and its last checkpoint is on so many replicas, and returns the units' seqs.
	told := func(have int) map[string]uint64 {
		t.Helper()
		for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(20 * time.Millisecond) { // polls another process
			rows := statusOf(t, address).Units
			seqs := map[string]uint64{}
			for _, row := range rows {
				if row.Lag == 0 && row.State == "live" && row.Replicas == (snapshotstore.Replicas{Asked: 1, Have: have}) {
					seqs[fmt.Sprintf("%s/v%d/%d", row.Projection, row.Version, row.Partition)] = row.Seq
				}
			}
			if len(seqs) == len(rows) && len(rows) == partitions*len(allModels) {
				if missing := metric(t, address, "tailfold_checkpoint_replicas_missing"); missing != float64((1-have)*len(rows)) {
					t.Errorf("the metric tells of %v replicas that are missing, for %d units", missing, len(rows))
				}
				return seqs
			}
			if time.Now().After(deadline) {
				t.Fatalf("after 40 seconds these have folded all, with %d of 1 replicas: %v; the others: %+v; the worker said:\n%s", have, seqs, rows, w.output.end())
			}
		}
	}
	fewer := func(x line) bool { return strings.HasPrefix(x.Msg, "fewer replicas of the store") }
	enough := func(x line) bool { return strings.HasPrefix(x.Msg, "as many replicas of the store") }

	told(1)
	replica.Pause()
	began := time.Now()
	for n := range 3 {
		fillFrom(t, server, events*(1+n)+1, events)
	}
	told(0)
	t.Logf("%d events folded in %v while the replica stood still", 3*events, time.Since(began).Round(time.Millisecond))
	if x := w.says("that replicas are missing", fewer); x.Level != "warn" || !strings.Contains(x.WayOut, "store.replicas") {
		t.Errorf("it says %+v", x)
	}
	response, err := http.Get("http://" + address + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	if _ = response.Body.Close(); response.StatusCode != http.StatusOK {
		t.Errorf("/readyz is %d for a replica that is missing", response.StatusCode)
	}

	before := len(w.lines(enough))
	replica.Continue()
	seqs := told(1) // nothing is published
	if len(w.lines(enough)) == before {
		t.Error("it does not say that the replicas are back")
	}
	w.mustNotHalt()
	primary.Kill()
	replica.Do("REPLICAOF", "NO", "ONE")
	replica.Await("it is a primary", func(client *redis.Client) bool {
		return client.InfoMap(t.Context(), "replication").Val()["Replication"]["role"] == "master"
	})
	for unit, seq := range seqs {
		raw, err := replica.Client().HGet(t.Context(), "tailfold:{"+unit+"}", "$mark").Result()
		if err != nil {
			t.Fatalf("%s: %v", unit, err)
		}
		if got, err := seqOf(raw); err != nil || got != seq {
			t.Errorf("%s: the replica has seq %d, %v; it was said to have %d", unit, got, err, seq)
		}
	}
}
