package faults

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
)

// The tests of this file do to Redis what operators, other programs and full machines do, while a worker is live.

func gone(model string) func(line) bool {
	return func(x line) bool {
		return x.Projection == model && x.Level == "warn" && strings.Contains(x.Why, "is gone from the store")
	}
}

func anew(model string) func(line) bool {
	return func(x line) bool { return x.Projection == model && strings.HasPrefix(x.Msg, "no snapshot") }
}

// begunAgain is any line of a model that was made to begin again.
func begunAgain(model string) func(line) bool {
	return func(x line) bool { return x.Projection == model && x.Why != "" }
}

func (s *scene) purgeBelow(seq uint64) {
	s.t.Helper()
	stream, err := natstest.JetStream(s.t, s.nats.Connect()).Stream(s.t.Context(), "EVENTS")
	if err == nil {
		err = stream.Purge(s.t.Context(), jetstream.WithPurgeSequence(seq))
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestAFlushedRedisIsFoldedAgainFromTheLogsBeginning(t *testing.T) {
	s := newScene(t)
	w := s.startWorker("")
	s.awaitSeq(500, allModels...)
	s.mayGoBack()
	s.redis.Do("FLUSHALL")
	for _, model := range allModels {
		w.says("that the snapshot is gone", gone(model))
	}
	s.finish()
	for _, model := range allModels {
		if n := len(w.lines(anew(model))); n != 2 {
			t.Errorf("%s was begun %d times, want twice", model, n)
		}
	}
	w.mustNotHalt()
}

func TestADeletedSnapshotIsFoldedAgainAndTheOthersAreUntouched(t *testing.T) {
	s := newScene(t)
	w := s.startWorker("")
	s.awaitSeq(500, allModels...)
	s.redis.Do("DEL", keyOf("accounts"))
	w.says("that the snapshot is gone", gone("accounts"))
	s.awaitSeq(s.published(), allModels...)
	for _, model := range []string{"total", "ids"} {
		if lines := w.lines(begunAgain(model)); len(lines) > 0 || s.mark(model).Epoch != 1 {
			t.Errorf("%s was touched: %+v", model, lines)
		}
	}
	w.mustNotHalt()

	// Once the log has lost its beginning, the same is a GAP, and no other unit's.
	s.purgeBelow(100)
	s.redis.Do("DEL", keyOf("accounts"))
	x := w.says("GAP", halts("accounts", "GAP"))
	if !strings.Contains(x.Evidence, "begins at seq 100 now") || !strings.Contains(x.WayOut, "first-available") {
		t.Errorf("the verdict says %+v", x)
	}
	s.finishAll("total", "ids")
	if n := len(w.lines(func(x line) bool { return x.Msg == "halted" })); n != 1 {
		t.Errorf("%d units were halted, want one", n)
	}
}

func TestARedisAtItsMemoryLimitIsWaitedFor(t *testing.T) {
	s := newScene(t)
	w := s.startWorker("")
	s.awaitSeq(500, allModels...)
	s.redis.Do("CONFIG", "SET", "maxmemory", "1mb") // less than it uses
	for _, model := range allModels {
		x := w.says("STORE_UNAVAILABLE", func(x line) bool { return x.Projection == model && waitsFor("STORE_UNAVAILABLE")(x) })
		if !strings.Contains(x.Evidence, "OOM") || !strings.Contains(x.WayOut, "maxmemory") {
			t.Errorf("the verdict says %+v", x)
		}
	}
	at := s.seqs() // intact
	s.awaitEvents(1000)
	for model, seq := range s.seqs() {
		if seq != at[model] {
			t.Errorf("%s went from seq %d to %d with a Redis that takes no writes", model, at[model], seq)
		}
	}
	s.redis.Do("CONFIG", "SET", "maxmemory", "0")
	for _, model := range allModels {
		w.says("that the store is back", func(x line) bool {
			return x.Projection == model && strings.Contains(x.Msg, "STORE_UNAVAILABLE is over")
		})
	}
	s.finish()
	w.mustNotHalt()
}

// TestADamagedValueHaltsItsUnitAlone damages values of keys that are folded again and again, in ways that can be told.
func TestADamagedValueHaltsItsUnitAlone(t *testing.T) {
	for name, damage := range map[string]string{"not JSON": "\x01\x02", "truncated": `{"moves":3,"bal`, "of another shape": `[1,2,3]`, "empty": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			s := newScene(t)
			w := s.live("TAILFOLD_FAULTS_CACHE=-1") // it reads each value again
			s.worker = w
			s.awaitSeq(300, allModels...)
			for i := range 40 { // one of them is read at once, and none is written before it is read
				s.redis.Do("HSET", keyOf("accounts"), fmt.Sprint("b", i), damage)
			}
			x := w.says("CORRUPT", halts("accounts", "CORRUPT"))
			if !strings.HasPrefix(x.Key, "b") && !strings.Contains(x.Evidence, `key "b`) || !strings.Contains(x.Evidence, "accounts/v1/0") {
				t.Errorf("the verdict says %+v: it does not name unit and key", x)
			}
			s.awaitEvents(500)
			s.awaitSeq(s.published(), "total", "ids")
			if n := len(w.lines(func(x line) bool { return x.Msg == "halted" })); n != 1 {
				t.Errorf("%d units were halted, want one", n)
			}
			s.redis.Do("DEL", keyOf("accounts")) // the way out that the verdict names
			s.finish()
		})
	}
}

// TestADamagedMarkHaltsItsUnitUntilItIsMended damages the mark of a live unit, and puts it right again.
func TestADamagedMarkHaltsItsUnitUntilItIsMended(t *testing.T) {
	for name, damage := range map[string]func(s *scene, key string, mark string){
		"not JSON":       func(s *scene, key, _ string) { s.redis.Do("HSET", key, "$mark", "\x00") },
		"truncated":      func(s *scene, key, mark string) { s.redis.Do("HSET", key, "$mark", mark[:len(mark)/2]) },
		"another format": func(s *scene, key, _ string) { s.redis.Do("HSET", key, "$mark", `{"format":99}`) },
		"empty":          func(s *scene, key, _ string) { s.redis.Do("HSET", key, "$mark", "") },
		"gone":           func(s *scene, key, _ string) { s.redis.Do("HDEL", key, "$mark") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			s := newScene(t)
			w := s.startWorker("")
			s.awaitSeq(300, allModels...)
			key := keyOf("accounts")
			s.stopPublishing() // so that the mark that is read is the last
			s.awaitSeq(s.published(), allModels...)
			mark := s.redis.Do("HGET", key, "$mark").(string)
			damage(s, key, mark)
			s.startPublishing()
			x := w.says("CORRUPT", halts("accounts", "CORRUPT"))
			if !strings.Contains(x.Evidence, "accounts/v1/0") || !strings.Contains(x.Evidence, "mark") {
				t.Errorf("the verdict says %+v", x)
			}
			s.awaitEvents(300)
			s.awaitSeq(s.published(), "total", "ids")
			s.redis.Do("HSET", key, "$mark", mark)
			s.finish()
			if n := len(w.lines(func(x line) bool { return x.Msg == "halted" })); n != 1 {
				t.Errorf("%d units were halted, want one", n)
			}
		})
	}
}

func TestAForeignKeyAtTheNameOfASnapshotIsCorruptUntilItIsRemoved(t *testing.T) {
	s := newScene(t)
	w := s.startWorker("")
	s.awaitSeq(300, allModels...)
	s.redis.Do("SET", keyOf("accounts"), "of somebody else")
	x := w.says("CORRUPT", halts("accounts", "CORRUPT"))
	if !strings.Contains(x.Evidence, "not a hash") {
		t.Errorf("the verdict says %+v", x)
	}
	s.awaitSeq(s.published(), "total", "ids")
	if got := s.redis.Do("GET", keyOf("accounts")); got != "of somebody else" {
		t.Errorf("the foreign key holds %v now", got)
	}
	s.redis.Do("DEL", keyOf("accounts"))
	s.finish()
}

// staleness watches, until stop is called, how old the oldest event is that a model lacks, and returns the most.
func (s *scene) staleness(model string) (stop func() time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	most := make(chan time.Duration, 1)
	s.helpers.Go(func() {
		type moment struct {
			at   time.Time
			seqs uint64
		}
		var history []moment
		var worst time.Duration
		client := s.server().Client()
		for pause(ctx, 10*time.Millisecond) == nil {
			now := time.Now()
			history = append(history, moment{now, s.published()})
			raw, err := client.HGet(ctx, keyOf(model), "$mark").Result()
			if err != nil {
				continue
			}
			seq, _ := seqOf(raw)
			for len(history) > 0 && history[0].seqs <= seq {
				history = history[1:]
			}
			if len(history) > 0 {
				worst = max(worst, now.Sub(history[0].at))
			}
		}
		most <- worst
	})
	s.t.Cleanup(cancel) // also of a test that fails before it asks: the scene waits for it
	return func() time.Duration { cancel(); return <-most }
}

func TestASlowRedisMakesModelsStaleByABoundedTime(t *testing.T) {
	s := newScene(t)
	slow := startBrake(t, s.redis.Addr())
	s.redisURL = "redis://" + slow.addr()
	w := s.startWorker("")
	s.awaitSeq(300, allModels...)
	slow.slow(200 * time.Millisecond) // each way
	stop := s.staleness("accounts")
	s.await(max(4*time.Second, *away/4))
	stale := stop()
	slow.slow(0)
	t.Logf("with 200 ms each way, models were %v old at most", stale.Round(time.Millisecond))
	if stale < 300*time.Millisecond || stale > 8*time.Second {
		t.Errorf("models were %v old at most: the debt is not bounded, or Redis was not slow", stale)
	}
	w.mustNotHalt()
	s.finish()
}

func TestAStoppedRedisIsWaitedFor(t *testing.T) {
	s := newScene(t)
	w := s.startWorker("")
	s.awaitSeq(300, allModels...)
	s.redis.Pause()
	w.says("STORE_UNAVAILABLE", waitsFor("STORE_UNAVAILABLE"))
	s.await(*away / 5)
	s.redis.Continue()
	continued := time.Now()
	s.awaitSeq(s.published(), allModels...)
	if took := time.Since(continued); took > 10*time.Second {
		t.Errorf("it took %v to catch up once Redis was back", took)
	}
	w.mustNotHalt()
	s.finish()
}

// TestAWorkerWithTheWrongDatabaseFoldsAgainAndSaysItsCost starts a worker again with another database of the same Redis, which
// is empty.
func TestAWorkerWithTheWrongDatabaseFoldsAgainAndSaysItsCost(t *testing.T) {
	s := newScene(t)
	s.startWorker("")
	s.awaitSeq(500, allModels...)
	last := s.stopPublishing()
	s.awaitSeq(last, allModels...)
	s.killWorker()
	before := s.redis.Do("DEBUG", "DIGEST-VALUE", keyOf("total"), keyOf("accounts"), keyOf("ids"))

	s.redisURL = "redis://" + s.redis.Addr() + "/1"
	w := s.startWorker("")
	other := redis.NewClient(&redis.Options{Addr: s.redis.Addr(), DB: 1})
	defer other.Close()
	for _, model := range allModels {
		w.says("that it has no snapshot", anew(model))
		w.says("that it is live", is(model, "live"))
	}
	if n := strings.Count(w.output.String(), fmt.Sprintf(`"events_to_read":%d`, last)); n != len(allModels) {
		t.Errorf("%d of its lines say that there are %d events to read, want %d", n, last, len(allModels))
	}
	for _, model := range allModels {
		var values map[string]string
		s.redis.Await("the other database has all of "+model, func(*redis.Client) bool {
			values = other.HGetAll(context.Background(), keyOf(model)).Val()
			seq, err := seqOf(values["$mark"])
			return err == nil && seq == last
		})
		maps.DeleteFunc(values, func(field, _ string) bool { return strings.HasPrefix(field, "$") })
		if diff := differences(replay(s.events)[model], values); diff != "" {
			t.Errorf("%s in the other database differs from a full replay:\n%s", model, diff)
		}
	}
	if after := s.redis.Do("DEBUG", "DIGEST-VALUE", keyOf("total"), keyOf("accounts"), keyOf("ids")); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the right database was touched: %v, then %v", before, after)
	}
	w.mustNotHalt()
	s.killWorker()
	s.redisURL = s.redis.URL()
	s.startPublishing()
	s.awaitEvents(100)
	s.finish() // with the right one it goes on where it was
	if len(s.worker.lines(anew("total"))) > 0 {
		t.Error("with the right database it began anew")
	}
}

// TestAnEvictedSnapshotIsFoldedAgain has Redis run short of memory for a moment, with a policy that removes any key.
func TestAnEvictedSnapshotIsFoldedAgain(t *testing.T) {
	s := newScene(t, "--maxmemory-policy", "allkeys-random")
	w := s.startWorker("")
	s.awaitSeq(500, allModels...)
	s.mayGoBack()
	isGone := func(x line) bool { return gone(x.Projection)(x) }
	for deadline := time.Now().Add(20 * time.Second); len(w.lines(isGone)) == 0; time.Sleep(50 * time.Millisecond) { // polls a process
		if time.Now().After(deadline) {
			t.Fatal("no snapshot was evicted")
		}
		s.redis.Do("CONFIG", "SET", "maxmemory", "1mb") // less than it uses
		s.redis.Do("CONFIG", "SET", "maxmemory", "0")
	}
	if stats := s.redis.Do("INFO", "stats").(string); strings.Contains(stats, "evicted_keys:0\r") {
		t.Error("Redis has evicted nothing")
	}
	s.finish()
	for _, model := range allModels {
		lost, begun := len(w.lines(gone(model))), w.lines(anew(model))
		if len(begun) != 1+lost {
			t.Errorf("%s was lost %d times and begun %d times", model, lost, len(begun))
		}
		if lost == 0 && s.mark(model).Epoch != 1 {
			t.Errorf("%s was touched, and not lost", model)
		}
	}
	if n, begun := strings.Count(w.output.String(), `"events_to_read":`), len(w.lines(func(x line) bool { return anew(x.Projection)(x) })); n != begun {
		t.Errorf("%d units were begun anew, %d lines say what it costs", begun, n)
	}
	w.mustNotHalt()
}
