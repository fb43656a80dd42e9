package consumer_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

var (
	schedules = flag.Int("schedules", 500, "how many random schedules TestRandomSchedules runs; a tenth under the race detector")
	seedFlag  = flag.Uint64("seed", 0, "run the one schedule of this seed; 0: random ones")
)

// TestRandomSchedules runs the engine on the log and the store in memory under random crashes, lost replies, absences
// and rivals, and compares the bytes of what it leaves behind with an independent full replay.
//
// A failing schedule is repeated by: go test ./consumer -run TestRandomSchedules -seed N
func TestRandomSchedules(t *testing.T) {
	first := uint64(time.Now().UnixNano())
	n := *schedules
	if consumer.UnderRace {
		n /= 10
	}
	if *seedFlag != 0 {
		first, n = *seedFlag, 1
	}
	for i := range n {
		seed := first + uint64(i)
		ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runSchedule(t, seed) })
		})
		if !ok {
			t.Fatalf("repeat with: go test ./consumer -run TestRandomSchedules -seed %d", seed)
		}
	}
}

// schedule is one random run.
type schedule struct {
	*house
	rng     *rand.Rand
	sums    projections.Keyed[sums]
	count   projections.Single[int]
	workers []*running
	skip    map[uint64]bool
	seen    uint64 // highest seq that was read
}

func runSchedule(t *testing.T, seed uint64) {
	s := &schedule{house: newHouse(t), rng: rand.New(rand.NewPCG(seed, 1)), sums: sumsByKey(nil), count: countAll(), skip: map[uint64]bool{}}
	s.sums.OnPoison = projections.Skip
	cache := []int{-1, 500, 0}[s.rng.IntN(3)] // nothing, about one key, the default
	s.log.SetMaxBatch(1 + s.rng.IntN(64))
	s.tune = func(c *consumer.Config) {
		c.Cache, c.Grace = cache, 50*time.Millisecond
		c.Checkpoint.MaxBytes = 200 + s.rng.IntN(4000)
		c.Checkpoint.Replay.MaxBytes = 200 + s.rng.IntN(4000)
	}
	defer func() { // also when the schedule has failed: a bubble must not be left with goroutines
		for _, w := range s.workers {
			w.stop()
		}
		if t.Failed() {
			for _, line := range s.lines.All() {
				t.Log(line.Time.Format("04:05.000"), line.Message, line.ContextMap())
			}
		}
	}()
	for range 10 + s.rng.IntN(30) {
		s.act()
		s.read()
	}
	// All is healed, and one worker is left.
	s.log.Reconnect()
	for _, w := range s.workers {
		w.store.hooks(nil, nil)
	}
	if len(s.workers) == 0 {
		s.begin()
	}
	settle(time.Minute)
	last := uint64(len(s.events))
	if last > 0 {
		s.mustEqualReplay(s.sums, last, s.skip)
		s.mustEqualReplay(s.count, last, nil)
	}
}

func (s *schedule) begin() { s.workers = append(s.workers, s.start(s.sums, s.count)) }

func (s *schedule) act() {
	switch n := s.rng.IntN(100); {
	case n < 40:
		for range s.rng.IntN(1 + s.rng.IntN(150)) {
			s.publishSome()
		}
	case n < 60:
		settle(time.Duration(s.rng.IntN(800)) * time.Millisecond)
	case n < 68:
		if len(s.workers) < 2 {
			s.begin()
		}
	case n < 78:
		if len(s.workers) > 0 {
			i := s.rng.IntN(len(s.workers))
			if s.rng.IntN(3) > 0 {
				s.workers[i].kill()
			} else {
				s.workers[i].stop()
			}
			s.workers = append(s.workers[:i], s.workers[i+1:]...)
		}
	case n < 84:
		s.trouble()
	case n < 88:
		for _, w := range s.workers {
			w.store.hooks(nil, nil)
		}
	case n < 92:
		s.log.Disconnect()
	case n < 96:
		s.log.Reconnect()
	case n < 98:
		s.log.EndReaders(errors.New("a delivery was missed"))
	default: // the snapshot is flushed, or an operator drops it
		unit := snapshotstore.Unit{Projection: "sums", Version: 1}
		if err := s.store.Drop(context.Background(), unit); err != nil {
			s.t.Fatal(err)
		}
	}
}

// trouble makes a worker's store fail by chance, before a call or after it was applied.
func (s *schedule) trouble() {
	if len(s.workers) == 0 {
		return
	}
	w := s.workers[s.rng.IntN(len(s.workers))]
	fails, loses := s.rng.Float64()*0.5, s.rng.Float64()*0.5
	dice := rand.New(rand.NewPCG(s.rng.Uint64(), 2)) // used under the hook's lock only
	chance := func(p float64, what string) func(string) error {
		return func(op string) error {
			w.store.mu.Lock()
			defer w.store.mu.Unlock()
			if dice.Float64() < p {
				return &snapshotstore.Error{Op: op, Err: errors.New(what)}
			}
			return nil
		}
	}
	w.store.hooks(chance(fails, "refused"), chance(loses, "the reply was lost"))
}

func (s *schedule) publishSome() {
	keys := make([]string, 0, 3)
	for range 1 + s.rng.IntN(3) {
		key := "k" + strconv.Itoa(s.rng.IntN(6))
		if !strings.Contains(strings.Join(keys, " "), key) {
			keys = append(keys, key)
		}
	}
	names := strings.Join(keys, `","`)
	switch n := s.rng.IntN(60); {
	case n < 6:
		s.publish("deeds.delete", `{"keys":["%s"],"do":"delete"}`, names)
	case n == 6:
		s.skip[s.publish("deeds.bad", `{"keys":["%s"],"n":5,"do":"fail"}`, names)] = true
	case n == 7:
		s.skip[s.publish("deeds.bad", `{"keys":["%s"],"n":5,"do":"panic"}`, names)] = true
	case n == 8:
		s.skip[s.publish("deeds.bad", `{"keys":[`)] = true
	default:
		s.publish("deeds.add"+strconv.Itoa(s.rng.IntN(3)), `{"keys":["%s"],"n":%d}`, names, s.rng.IntN(100))
	}
}

// read is what a reader of the models sees at any moment: a count that is that of its mark, and marks that do not go back.
func (s *schedule) read() {
	mark, values, err := s.store.Get(context.Background(), snapshotstore.Unit{Projection: "count", Version: 1}, []string{""})
	if err != nil {
		s.t.Fatal(err)
	}
	want := strconv.FormatUint(mark.Seq, 10)
	if got := string(values[0].Data); got != want && (mark.Seq > 0 || values[0].Exists) {
		s.t.Fatalf("read %s at seq %s", got, want)
	}
	if mark.Seq < s.seen {
		s.t.Fatalf("read seq %d after %d", mark.Seq, s.seen)
	}
	s.seen = mark.Seq
}
