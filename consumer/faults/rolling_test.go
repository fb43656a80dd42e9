package faults

import (
	"bufio"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// TestAZombieUnderLeasesIsFenced stops a worker (SIGSTOP) for longer than its lease, under load. The others take its units;
// when it goes on, nothing of it reaches a snapshot, which it counts as being fenced, and it takes its share again as any
// worker that joins.
func TestAZombieUnderLeasesIsFenced(t *testing.T) {
	const ttl = time.Second
	s := newSwarm(t, ttl)
	_, finish := s.underLoad()
	workers := []*life{s.start(), s.start()}
	s.awaitSeq(1, time.Minute)
	fenced := 0.0
	for rounds := 0; rounds < 3 || fenced < 1 && rounds < 10; rounds++ { // one that had nothing on its way leaves without being told
		s.awaitShared(workers)
		zombie := workers[s.rng.IntN(2)]
		before := metric(t, s.ports[zombie], "tailfold_fenced_total")
		zombie.pause()
		s.awaitOwner(func(o ownership) bool { return !strings.HasPrefix(o.writer, zombie.name+"-") })
		time.Sleep(*zombieFor) // the time is what is tested
		zombie.continueOn()
		s.awaitShared(workers)
		fenced += metric(t, s.ports[zombie], "tailfold_fenced_total") - before
	}
	if t.Logf("fenced %v times", fenced); fenced < 1 {
		t.Error("no worker counts that it was fenced")
	}
	finish()
	for _, w := range workers {
		w.mustNotHalt()
	}
}

// metric is the sum of a metric over all its labels, as the worker's HTTP server tells it.
func metric(t *testing.T, address, name string) (sum float64) {
	t.Helper()
	response, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		value, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		sum += value
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return sum
}

// awaitOwner waits until the owners of all partitions are as wanted.
func (s *swarm) awaitOwner(wanted func(ownership) bool) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		s.mu.Lock()
		owners := s.owners
		s.mu.Unlock()
		all := true
		for _, o := range owners {
			all = all && wanted(o)
		}
		if all {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the owners are %v", owners)
		}
		time.Sleep(5 * time.Millisecond) // polls another goroutine
	}
}

// statusAnswer is what a worker's HTTP server says of all units and workers.
type statusAnswer struct {
	Units   []consumer.UnitStatus `json:"units"`
	Workers []struct {
		Worker string   `json:"worker"`
		Runs   []string `json:"runs"`
	} `json:"workers"`
}

func statusOf(t *testing.T, address string) (answer statusAnswer) {
	t.Helper()
	response, err := http.Get("http://" + address + "/api/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.UnmarshalRead(response.Body, &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// TestARollingDeploymentRunsEachVersionWhereItIsKnown has an old and a new program at work at once: the new one knows one
// version more. No unit stops for it, each version has a snapshot of its own, and readers stay with the first.
func TestARollingDeploymentRunsEachVersionWhereItIsKnown(t *testing.T) {
	const partitions = 4
	server, store := natstest.StartProcess(t), redistest.Start(t)
	createPartitioned(t, natstest.JetStream(t, server.Connect()), partitions)
	fill(t, server, 4000)
	entry := func(version int, step string) string {
		return fmt.Sprintf("- {name: sums, version: %d, stream: EVENTS, key: event.from, seed: 0, value: %s}\n", version, step)
	}
	more := "assign: leases\nleases: {ttl: 1s}\nprojections:\n"
	old := configFor(t, server.URL(), store.URL(), partitions, more+entry(1, "value + event.amount"))
	next := configFor(t, server.URL(), store.URL(), partitions, more+entry(1, "value + event.amount")+entry(2, "value + 1"))
	first, _ := startProgram(t, "old", old)
	owners := func(version int) map[string]bool {
		found := map[string]bool{}
		for p := range partitions {
			raw, err := store.Client().HGet(t.Context(), fmt.Sprintf("tailfold:{sums/v%d/%d}", version, p), "$mark").Result()
			var mark struct {
				Writer string `json:"writer"`
				Seq    uint64 `json:"seq"`
			}
			if err == nil {
				err = json.Unmarshal([]byte(raw), &mark)
			}
			if err == nil && mark.Seq >= 3990 {
				found[mark.Writer[:strings.LastIndex(mark.Writer, "-")]] = true
			} else {
				found["nobody"] = true
			}
		}
		return found
	}
	await := func(what string, so func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !so(); time.Sleep(10 * time.Millisecond) { // polls other processes
			if time.Now().After(deadline) {
				t.Fatalf("not %s: version 1 is of %v, version 2 of %v", what, owners(1), owners(2))
			}
		}
	}
	await("folded by the old one", func() bool { o := owners(1); return o["old"] && len(o) == 1 })
	second, address := startProgram(t, "new", next)
	await("version 2 by the new one alone, version 1 by both", func() bool {
		one, two := owners(1), owners(2)
		return two["new"] && len(two) == 1 && one["old"] && one["new"] && len(one) == 2
	})
	if served := store.Client().Get(t.Context(), "tailfold:served:sums").Val(); served != "1" {
		t.Errorf("readers were moved to version %s", served)
	}
	// Each unit of the system has a row, whichever worker is asked, and each worker says what it runs.
	var status statusAnswer
	await("live by the word of status", func() bool {
		status = statusOf(t, address)
		live := 0
		for _, unit := range status.Units {
			if unit.State == "live" && unit.Owner != "" {
				live++
			}
		}
		return live == partitions*(3+2)
	})
	if len(status.Units) != partitions*(3+2) || len(status.Workers) != 2 {
		t.Errorf("status has %d units and %d workers, want %d and 2", len(status.Units), len(status.Workers), partitions*5)
	}
	for _, w := range status.Workers {
		if knows := slices.Contains(w.Runs, "sums/v2"); knows != strings.HasPrefix(w.Worker, "new-") {
			t.Errorf("%s runs %v", w.Worker, w.Runs)
		}
	}
	first.terminate(20 * time.Second)
	await("all by the new one", func() bool { o := owners(1); return o["new"] && len(o) == 1 })
	second.mustNotHalt()
	total := 0
	for p := range partitions {
		values, err := store.Client().HGetAll(t.Context(), fmt.Sprintf("tailfold:{sums/v2/%d}", p)).Result()
		if err != nil {
			t.Fatal(err)
		}
		for key, value := range values {
			var n int
			if !strings.HasPrefix(key, "$") {
				if _, err := fmt.Sscan(value, &n); err != nil {
					t.Fatal(err)
				}
				total += n
			}
		}
	}
	if total != 4000 {
		t.Errorf("version 2 has counted %d events of 4000", total)
	}
}
