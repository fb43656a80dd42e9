package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/logtest"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/projections/projectiontest"
	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/storetest"
)

// deed is the event of these tests: it adds N to each of Keys, or deletes them, or fails.
type deed struct {
	Keys []string `json:"keys"`
	N    int      `json:"n"`
	Do   string   `json:"do"` // "" add; "delete"; "fail", "panic", "hang", "big", "mutate" at the last key
}

type sums struct {
	Events int            `json:"events"`
	Sum    int            `json:"sum"`
	Last   uint64         `json:"last"`
	By     map[string]int `json:"by"`
	Blob   string         `json:"blob,omitempty"`
}

// sumsByKey is a projection whose values hold a map, so that a step can change them in place.
func sumsByKey(hang <-chan struct{}) projections.Keyed[sums] {
	return projections.Keyed[sums]{
		Name: "sums", Version: 1, Stream: "DEEDS",
		Keys: func(e projections.Event) ([]string, error) {
			d, err := projections.JSON[deed](e)
			return d.Keys, err
		},
		Seed: func() sums { return sums{By: map[string]int{}} },
		Step: func(key string, v sums, e projections.Event) (sums, error) {
			d, err := projections.JSON[deed](e)
			if err != nil {
				return v, err
			}
			v.By[e.Subject] += d.N // in place
			v.Events, v.Sum, v.Last = v.Events+1, v.Sum+d.N, e.Seq
			if key != d.Keys[len(d.Keys)-1] {
				return v, nil
			}
			switch d.Do {
			case "fail":
				return v, errors.New("it is a bad deed")
			case "panic":
				panic("at the deed")
			case "hang":
				<-hang
			case "big":
				v.Blob = strings.Repeat("x", 2<<20)
			case "delete":
				v.Sum = -1 << 40
			}
			return v, nil
		},
		Gone: func(v sums) bool { return v.Sum < -1<<30 },
	}
}

// countAll is a Single over the same stream: a plain count.
func countAll() projections.Single[int] {
	return projections.Single[int]{Name: "count", Version: 1, Stream: "DEEDS",
		Step: func(n int, _ projections.Event) (int, error) { return n + 1, nil }}
}

// house is a log, a store and the workers on them.
type house struct {
	t      *testing.T
	log    *logtest.Memory
	store  *storetest.Memory
	events []projections.Event // as they were appended
	names  int
	tune   func(*consumer.Config)
	lines  *observer.ObservedLogs
	core   *zap.Logger
}

func newHouse(t *testing.T) *house {
	core, lines := observer.New(zap.InfoLevel)
	return &house{t: t, log: logtest.NewMemory("DEEDS", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)), store: storetest.NewMemory(), lines: lines, core: zap.New(core)}
}

func (h *house) publish(subject, format string, args ...any) uint64 {
	data := fmt.Appendf(nil, format, args...)
	seq := h.log.Append(subject, projections.Header{}, data)
	h.events = append(h.events, projections.Event{Seq: seq, Subject: subject, Time: time.Now().UTC(), Data: data})
	return seq
}

func (h *house) add(n int, keys ...string) uint64 {
	return h.publish("deeds.add", `{"keys":["%s"],"n":%d}`, strings.Join(keys, `","`), n)
}

// running is a worker that runs.
type running struct {
	*consumer.Worker
	name  string
	store *cuttable
	stop  func()
}

// start runs a worker with the given projections.
func (h *house) start(ps ...projections.Projection) *running {
	h.t.Helper()
	h.names++
	name := fmt.Sprintf("worker-%d", h.names)
	registry := &projections.Registry{}
	if err := registry.Add(ps...); err != nil {
		h.t.Fatal(err)
	}
	store := &cuttable{Store: h.store.Handle()}
	config := consumer.Config{Name: name, Registry: registry, Store: store, Logger: h.core,
		Logs: func(consumer.Stream, int) (consumer.Log, error) { return h.log, nil }}
	if h.tune != nil {
		h.tune(&config)
	}
	w, err := consumer.New(config)
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.Run(ctx); err != nil {
			h.t.Error(err)
		}
	})
	stop := func() { cancel(); wg.Wait() }
	h.t.Cleanup(stop) // also of a test that has failed: a bubble must not be left with goroutines
	return &running{Worker: w, name: name, store: store, stop: stop}
}

// kill ends a worker as SIGKILL does: from now on nothing of it reaches the store.
func (r *running) kill() {
	r.store.cut()
	r.stop()
}

// cuttable is a store that a test can cut off from one worker, or make fail.
type cuttable struct {
	snapshotstore.Store
	mu     sync.Mutex
	dead   bool
	before func(op string) error // may fail a call before it is made
	after  func(op string) error // may lose its reply
}

func (c *cuttable) cut() { c.mu.Lock(); c.dead = true; c.mu.Unlock() }

func (c *cuttable) hooks(before, after func(op string) error) {
	c.mu.Lock()
	c.before, c.after = before, after
	c.mu.Unlock()
}

func (c *cuttable) call(op string, hook func() func(string) error) error {
	c.mu.Lock()
	dead, h := c.dead, hook()
	c.mu.Unlock()
	if dead {
		return &snapshotstore.Error{Op: op, Err: errors.New("connection cut")}
	}
	if h != nil {
		return h(op)
	}
	return nil
}

func (c *cuttable) enter(op string) error {
	return c.call(op, func() func(string) error { return c.before })
}
func (c *cuttable) leave(op string) error {
	return c.call(op, func() func(string) error { return c.after })
}

func (c *cuttable) Head(ctx context.Context, u snapshotstore.Unit) (snapshotstore.Mark, error) {
	if err := c.enter("head"); err != nil {
		return snapshotstore.Mark{}, err
	}
	return c.Store.Head(ctx, u)
}

func (c *cuttable) Get(ctx context.Context, u snapshotstore.Unit, keys []string) (snapshotstore.Mark, []snapshotstore.Value, error) {
	if err := c.enter("get"); err != nil {
		return snapshotstore.Mark{}, nil, err
	}
	return c.Store.Get(ctx, u, keys)
}

func (c *cuttable) Commit(ctx context.Context, u snapshotstore.Unit, cp snapshotstore.Checkpoint) error {
	if err := c.enter("commit"); err != nil {
		return err
	}
	if err := c.Store.Commit(ctx, u, cp); err != nil {
		return err
	}
	return c.leave("commit")
}

// settle lets everything happen that can happen within d of the bubble's time.
func settle(d time.Duration) {
	time.Sleep(d) // in a bubble: no waiting
	synctest.Wait()
}

// values are a unit's stored keys and its mark.
func (h *house) values(p projections.Projection) (map[string]string, snapshotstore.Mark) {
	h.t.Helper()
	d := p.Definition()
	unit := snapshotstore.Unit{Projection: d.Name, Version: d.Version}
	mark, err := h.store.Head(context.Background(), unit)
	if err != nil {
		h.t.Fatal(err)
	}
	got := map[string]string{}
	for e, err := range h.store.Scan(context.Background(), unit) {
		if err != nil {
			h.t.Fatal(err)
		}
		got[e.Key] = string(e.Data)
	}
	return got, mark
}

// mustEqualReplay compares what is stored with an independent full replay of the events up to the mark.
func (h *house) mustEqualReplay(p projections.Projection, upTo uint64, skip map[uint64]bool) {
	h.t.Helper()
	got, mark := h.values(p)
	if mark.Seq != upTo {
		h.t.Fatalf("%s: the mark is at seq %d, want %d", p.Definition().Name, mark.Seq, upTo)
	}
	var events []projections.Event
	for _, e := range h.events {
		if e.Seq <= upTo {
			events = append(events, e)
		}
	}
	replayed, err := projectiontest.Replay(p, events, skip)
	if err != nil {
		h.t.Fatal(err)
	}
	want := map[string]string{}
	for k, v := range replayed {
		want[k] = string(v)
	}
	if !maps.Equal(got, want) {
		h.t.Fatalf("%s at seq %d differs from a full replay (-want +got):\n%s", p.Definition().Name, upTo, cmp.Diff(want, got))
	}
}

func (r *running) row(t *testing.T, projection string) consumer.UnitStatus {
	t.Helper()
	for _, row := range r.Status() {
		if row.Projection == projection {
			return row
		}
	}
	t.Fatalf("no unit of %s", projection)
	return consumer.UnitStatus{}
}

func TestWorkerFoldsAndResumesFromTheTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums, count := sumsByKey(nil), countAll()
		for i := range 500 {
			h.add(i, fmt.Sprintf("k%d", i%7), "all")
		}
		w := h.start(sums, count)
		settle(3 * time.Second)
		h.mustEqualReplay(sums, 500, nil)
		h.mustEqualReplay(count, 500, nil)
		if row := w.row(t, "sums"); row.State != consumer.Live || row.Seq != 500 || row.Lag != 0 || row.Verdict != "" {
			t.Errorf("status is %+v", row)
		}
		if err := w.Ready(); err != nil {
			t.Error(err)
		}
		w.kill()
		for i := range 50 {
			h.add(i, "late")
		}
		w = h.start(sums, count)
		settle(3 * time.Second)
		h.mustEqualReplay(sums, 550, nil)
		if row := w.row(t, "sums"); row.ResumedAt != 500 || row.Folded != 50 {
			t.Errorf("resumed at %d and folded %d events, want 500 and 50", row.ResumedAt, row.Folded)
		}
		h.add(1, "live")
		settle(time.Second)
		h.mustEqualReplay(sums, 551, nil)
		h.add(1, "at the end")
		settle(time.Millisecond)
		w.stop()
		h.mustEqualReplay(sums, 552, nil)
	})
}
