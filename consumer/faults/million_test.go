package faults

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
)

const tail = 2000 // events between the snapshot and the log's end

// TestARestartDoesNotLoadTheKeys restarts a worker on a snapshot of a thousand keys and on one of -keys, each with the
// same short tail, and compares time and memory.
func TestARestartDoesNotLoadTheKeys(t *testing.T) {
	few, fewMiB := restartOn(t, 1000)
	many, manyMiB := restartOn(t, *keys)
	t.Logf("1,000 keys: %v, %d MiB; %d keys: %v, %d MiB; ratios: time %.2f, memory %.2f", few.Round(time.Millisecond), fewMiB,
		*keys, many.Round(time.Millisecond), manyMiB, float64(many)/float64(few), float64(manyMiB)/float64(fewMiB))
	if bound := 3*few + 100*time.Millisecond; many > bound {
		t.Errorf("with %d keys it took %v to catch up, with 1,000 %v: more than %v", *keys, many, few, bound)
	}
	if bound := fewMiB*3/2 + 32; manyMiB > bound {
		t.Errorf("with %d keys it took %d MiB, with 1,000 %d: more than %d", *keys, manyMiB, fewMiB, bound)
	}
}

// restartOn makes a snapshot of n accounts, publishes a tail to some of them, and starts a worker on it: from its start
// to the moment at which the mark is at the log's end, and the most memory that it took.
func restartOn(t *testing.T, n int) (took time.Duration, mib int) {
	s := newScene(t)
	s.startWorker("")
	s.awaitSeq(100, allModels...)
	first := s.stopPublishing()
	s.awaitSeq(first, allModels...)
	s.worker.terminate(13 * time.Second)
	s.worker = nil
	s.fill(n)

	took = time.Hour
	for range 4 { // the best of them: other processes may hold one up
		last := s.publishTail(n)
		s.worker = s.live("TAILFOLD_FAULTS_CACHE=0") // the default
		took = min(took, s.untilCaughtUp(n, last))
		most, _ := s.worker.memory()
		mib = max(mib, most)
		s.awaitSeq(last, allModels...)
		s.worker.mustNotHalt()
		s.worker.terminate(13 * time.Second)
	}
	s.mustHaveFolded(n)
	return took, mib
}

func (s *scene) untilCaughtUp(n int, last uint64) time.Duration {
	s.t.Helper()
	for began := time.Now(); ; {
		raw, err := s.redis.Client().HGet(s.t.Context(), keyOf("accounts"), "$mark").Result()
		if err != nil {
			s.t.Fatal(err)
		}
		if seq, err := seqOf(raw); err != nil || seq >= last {
			return time.Since(began)
		}
		if time.Since(began) > time.Minute {
			s.t.Fatalf("with %d keys it does not catch up within a minute:\n%s", n, s.said())
		}
		time.Sleep(time.Millisecond) // polls another process
	}
}

func accountKey(i int) string { return "k" + strconv.Itoa(i) }

// fill puts accounts that nothing has touched yet beside those of the snapshot. Its mark stays what it is.
func (s *scene) fill(n int) {
	s.t.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.redis.Addr(), ReadTimeout: time.Minute})
	defer client.Close()
	value := text(account{With: map[string]int{}})
	const chunk = 5000
	for from := 0; from < n; from += chunk {
		var fields []any
		for i := from; i < min(n, from+chunk); i++ {
			fields = append(fields, accountKey(i), value)
		}
		if err := client.HSet(s.t.Context(), keyOf("accounts"), fields...).Err(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// publishTail publishes events between accounts that lie all over the snapshot, and returns the last seq.
func (s *scene) publishTail(n int) uint64 {
	s.t.Helper()
	return s.publishAtOnce(tail, nil, s.between(n))
}

// between draws two of n accounts.
func (s *scene) between(n int) func(*event) {
	return func(x *event) { x.From, x.To, x.Amount = accountKey(s.rng.IntN(n)), "to "+accountKey(s.rng.IntN(n)), 1 }
}

// publishAtOnce publishes so many events, as drawn, without waiting for each, and returns the last seq.
func (s *scene) publishAtOnce(events int, header nats.Header, draw func(*event)) uint64 {
	s.t.Helper()
	conn, err := nats.Connect(s.serversURL)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for range events {
		x := event{ID: len(s.events) + 1}
		draw(&x)
		if _, err := js.PublishMsgAsync(&nats.Msg{Subject: "events.tail", Header: header, Data: []byte(text(x))}); err != nil {
			s.t.Fatal(err)
		}
		s.events = append(s.events, x)
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(30 * time.Second):
		s.t.Fatal("the events are not acknowledged after half a minute")
	}
	return uint64(len(s.events))
}

// mustHaveFolded compares all accounts with a full replay, those that were put beside it among them.
func (s *scene) mustHaveFolded(n int) {
	s.t.Helper()
	want := map[string]string{}
	untouched := text(account{With: map[string]int{}})
	for i := range n {
		want[accountKey(i)] = untouched
	}
	maps.Copy(want, replay(s.events)["accounts"])
	got := map[string]string{}
	iterator := s.redis.Client().HScan(context.Background(), keyOf("accounts"), 0, "", 2000).Iterator()
	for iterator.Next(context.Background()) {
		field := iterator.Val()
		if !iterator.Next(context.Background()) {
			s.t.Fatal("a field without a value")
		}
		if field == "" || field[0] != '$' {
			got[field] = iterator.Val()
		}
	}
	if err := iterator.Err(); err != nil {
		s.t.Fatal(err)
	}
	if diff := differences(want, got); diff != "" {
		s.t.Errorf("with %d keys, accounts differ from a full replay:\n%s", n, diff)
	}
}

// TestMemoryIsBoundedWhileRedisIsAwayUnderLoad stops Redis, floods the stream, and watches the worker's memory.
func TestMemoryIsBoundedWhileRedisIsAwayUnderLoad(t *testing.T) {
	s := newScene(t)
	w := s.live("TAILFOLD_FAULTS_CACHE=0") // the default
	s.worker = w
	s.awaitSeq(300, allModels...)
	s.stopPublishing()
	s.awaitSeq(s.published(), allModels...)
	_, before := w.memory()
	s.redis.Pause()
	paused := time.Now()
	flooded := s.flood(*away)
	flood := time.Since(paused)
	w.says("STORE_UNAVAILABLE", waitsFor("STORE_UNAVAILABLE"))
	time.Sleep(time.Until(paused.Add(*away)))
	most, now := w.memory()
	s.redis.Continue()
	continued := time.Now()
	t.Logf("%d events came in %v, Redis was away for %v; memory was %d MiB before, %d MiB at most, %d MiB then",
		flooded, flood.Round(time.Millisecond), continued.Sub(paused).Round(time.Millisecond), before, most, now)
	if most > before+150 {
		t.Errorf("memory grew from %d MiB to %d MiB", before, most)
	}
	s.awaitSeq(s.published(), allModels...)
	t.Logf("caught up %v after Redis was back", time.Since(continued).Round(time.Millisecond))
	w.mustNotHalt()
	s.finish()
}

// flood publishes as fast as the server takes it, for d or 300,000 events, and returns how many.
func (s *scene) flood(d time.Duration) int {
	s.t.Helper()
	conn, err := nats.Connect(s.nats.URL())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.events)
	for until := time.Now().Add(d); time.Now().Before(until) && len(s.events)-before < 300_000; {
		x := event{ID: len(s.events) + 1, From: fmt.Sprint("a", s.rng.IntN(5000)), To: fmt.Sprint("b", s.rng.IntN(5000)), Amount: s.rng.IntN(1000), Close: s.rng.IntN(25) == 0}
		if _, err := js.PublishAsync("events.flood", []byte(text(x)), jetstream.WithStallWait(30*time.Second)); err != nil {
			s.t.Fatal(err)
		}
		s.events = append(s.events, x)
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(30 * time.Second):
		s.t.Fatal("the flood is not acknowledged after half a minute")
	}
	return len(s.events) - before
}
