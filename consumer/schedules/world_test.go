package schedules

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/logtest"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/storetest"
)

// world is a log, a store, a membership and the workers on them, in one bubble.
type world struct {
	seed       uint64
	ctx        context.Context // of what outlives its worker
	end        context.CancelFunc
	log        *logtest.Memory
	store      *storetest.Memory
	members    *logtest.Members // nil: each worker runs everything
	partitions int
	policy     projections.OnPoison
	cache      int
	bytes      int // of a checkpoint

	workers []*worker
	names   int
	strays  sync.WaitGroup // calls whose worker is gone

	mu      sync.Mutex // of the oracle
	shadows map[snapshotstore.Unit]shadow
	lives   []*history // of the log; the last one is the present
	damaged map[snapshotstore.Unit]bool
	deleted map[uint64]bool

	clockMu sync.Mutex
	skew    time.Duration
	frozen  time.Time
	jumps   int // how often a clock was set

	faultMu sync.Mutex
	fault   string

	momentMu sync.Mutex
	moments  map[time.Duration]bool // that something waits for

	traceMu sync.Mutex
	began   time.Time
	trace   []entry
}

// entry is a line of the trace.
type entry struct {
	at   time.Duration
	text string
}

func newWorld(seed uint64) *world {
	w := &world{seed: seed, log: logtest.NewMemory("DEEDS", created), store: storetest.NewMemory(), shadows: map[snapshotstore.Unit]shadow{},
		damaged: map[snapshotstore.Unit]bool{}, deleted: map[uint64]bool{}, moments: map[time.Duration]bool{}, began: time.Now()}
	w.ctx, w.end = context.WithCancel(context.Background())
	w.log.SetClock(w.wall)
	return w
}

var created = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// wall is the clock of the servers, which may be set, or stand still.
func (w *world) wall() time.Time {
	w.clockMu.Lock()
	defer w.clockMu.Unlock()
	if !w.frozen.IsZero() {
		return w.frozen
	}
	return time.Now().Add(w.skew)
}

// wallOf is the clock of the n-th worker: one that jumps against the servers', or with them twice as far, or that stands
// still while they do not.
func (w *world) wallOf(n int) func() time.Time {
	return func() time.Time {
		w.clockMu.Lock()
		defer w.clockMu.Unlock()
		switch (n + w.jumps) % 3 {
		case 0:
			return time.Now().Add(-w.skew)
		case 1:
			return time.Now().Add(2 * w.skew)
		default:
			return created
		}
	}
}

// moment is how long it is to the first moment after so long that nothing else waits for.
func (w *world) moment(after time.Duration) time.Duration {
	w.momentMu.Lock()
	defer w.momentMu.Unlock()
	now := time.Since(w.began)
	at := now + after
	for w.moments[at] {
		at++
	}
	w.moments[at] = true
	return at - now
}

func (w *world) note(who, what, text string) {
	w.traceMu.Lock()
	defer w.traceMu.Unlock()
	w.trace = append(w.trace, entry{time.Since(w.began), who + " " + what + ": " + text})
}

// told is the trace. Within one moment of the bubble's time there is no order.
func (w *world) told() []string {
	w.traceMu.Lock()
	defer w.traceMu.Unlock()
	slices.SortStableFunc(w.trace, func(a, b entry) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return strings.Compare(a.text, b.text)
	})
	lines := make([]string, len(w.trace))
	for i, e := range w.trace {
		lines[i] = fmt.Sprint(e.at, " ", e.text)
	}
	return lines
}

// dice are thrown for one thing at one moment of the bubble's time: what is thrown for another, and in which order, makes
// no difference to them. Two units that ask the same at the same moment get the same.
func (w *world) dice(of string) *dice {
	h := fnv.New64a()
	h.Write([]byte(of))
	return &dice{mix(w.seed+0x9e3779b97f4a7c15) ^ mix(h.Sum64()+uint64(time.Since(w.began))*0xd1342543de82ef95)}
}

type dice struct{ x uint64 }

func (d *dice) next() uint64 {
	d.x += 0x9e3779b97f4a7c15
	return mix(d.x)
}

func (d *dice) below(n int) int { return int(d.next() % uint64(n)) }

func (d *dice) chance(p float64) bool { return float64(d.next()>>11)/(1<<53) < p }

func (d *dice) duration(from, to time.Duration) time.Duration {
	return from + time.Duration(d.next()%uint64(to-from))
}

// worker is one that runs.
type worker struct {
	*consumer.Worker
	line   *line
	member *logtest.MembersEnd
	stop   context.CancelFunc
	done   chan struct{}
}

func (w *world) start() {
	w.names++
	name := fmt.Sprintf("w%d", w.names)
	l := &line{w: w, name: name, known: map[snapshotstore.Unit]uint64{}}
	registry := &projections.Registry{}
	if err := registry.Add(totals(w.policy), count()); err != nil {
		w.fail("%v", err)
		return
	}
	config := consumer.Config{Name: name, Registry: registry, Store: lineStore{w.store.Handle(), l}, Seed: w.seed, Cache: w.cache, MaxValue: maxValue,
		Grace: 2 * time.Second, Renew: 20 * time.Second, Now: w.wallOf(w.names),
		Logs:    func(_ consumer.Stream, part int) (consumer.Log, error) { return lineLog{w.log, l, part}, nil },
		Streams: []consumer.Stream{{Name: "DEEDS", Partitions: w.partitions, PartitionSubjects: []string{"deeds.{partition}.>"}}},
	}
	config.Checkpoint.MaxBytes, config.Checkpoint.Replay.MaxBytes = w.bytes, w.bytes
	x := &worker{line: l, done: make(chan struct{})}
	if w.members != nil {
		x.member = w.members.Of()
		config.Membership = x.member
	}
	var err error
	if x.Worker, err = consumer.New(config); err != nil {
		w.fail("%v", err)
		return
	}
	ctx, cancel := context.WithCancel(w.ctx)
	x.stop = cancel
	go func() {
		defer close(x.done)
		if err := x.Run(ctx); err != nil {
			w.fail("%v", err)
		}
	}()
	w.workers = append(w.workers, x)
}

// leave ends a worker, in good order or as SIGKILL does: from now on nothing of it reaches anything, but what was on its
// way already may still arrive.
func (w *world) leave(i int, killed bool) {
	x := w.workers[i]
	if killed {
		x.line.cut()
		if x.member != nil {
			x.member.Lose(true)
		}
	}
	x.stop()
	if killed {
		w.strays.Go(func() { <-x.done })
	} else {
		<-x.done
	}
	w.workers = slices.Delete(w.workers, i, i+1)
}

// close ends all that runs.
func (w *world) close() {
	for len(w.workers) > 0 {
		w.leave(0, false)
	}
	w.end()
	w.strays.Wait()
}
