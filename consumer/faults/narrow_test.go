package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const narrowRate = 1 << 20 // bytes a second in each direction

// TestANarrowWayToRedisMakesModelsStaleByABoundedTime lets 1 MB a second pass between worker and Redis: first with few keys,
// which it writes over and over, then with a flood of new ones, which is more than passes.
func TestANarrowWayToRedisMakesModelsStaleByABoundedTime(t *testing.T) {
	const flood = 5000
	s := newScene(t)
	way := startBrake(t, s.redis.Addr())
	way.narrow(narrowRate)
	s.redisURL = "redis://" + way.addr()
	s.environment = []string{"TAILFOLD_FAULTS_TIMEOUT=5s"} // half the default
	w := s.startWorker("")
	s.awaitSeq(300, allModels...)
	stop := s.staleness("accounts")
	s.await(max(4*time.Second, *away/4))
	few := stop()
	before, _ := w.memory()
	sent, began := way.to.bytes(), time.Now()

	pad := strings.Repeat("x", 400)
	s.publishAs(func(x *event) { x.From, x.To = fmt.Sprint("n", x.ID, pad), fmt.Sprint("m", x.ID, pad) })
	stop = s.staleness("accounts")
	s.awaitEvents(flood)
	s.publishAs(nil)
	s.awaitSeq(s.published(), allModels...)
	most := stop()
	took, passed := time.Since(began), way.to.bytes()-sent
	after, _ := w.memory()
	least := time.Duration(passed) * time.Second / narrowRate
	t.Logf("models were %v old at most with few keys, %v in a flood of %d new keys, whose %d bytes took %v (%v at that rate); memory %d MiB, then %d",
		few.Round(time.Millisecond), most.Round(time.Millisecond), 2*flood, passed, took.Round(time.Millisecond),
		least.Round(time.Millisecond), before, after)
	if few > 5*time.Second {
		t.Errorf("with few keys, models were %v old at most", few)
	}
	if least < 5*time.Second {
		t.Errorf("the flood was %d bytes: the way was not narrow for it", passed)
	}
	if bound := 2*least + 5*time.Second; most > bound || took > bound+5*time.Second {
		t.Errorf("models were %v old at most, and caught up after %v: the bound is %v", most, took, bound)
	}
	if after > before+192 {
		t.Errorf("the worker took %d MiB, and %d in the flood: its debt is not bounded", before, after)
	}
	for _, x := range w.lines(waitsFor("STORE_UNAVAILABLE")) {
		t.Errorf("it says of a store that is narrow: %+v", x)
	}
	w.mustNotHalt()
	s.finish()
}
