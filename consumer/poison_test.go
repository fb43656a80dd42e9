package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

// mustHalt waits until the unit of sums is halted with a reason at an event, with the snapshot of the event before.
func (h *house) mustHalt(w *running, p projections.Projection, reason consumer.Reason, at uint64, says ...string) {
	h.t.Helper()
	settle(30 * time.Second)
	row := w.row(h.t, p.Definition().Name)
	if row.State != consumer.Halted || row.Verdict != string(reason) {
		h.t.Fatalf("status is %+v, want halted with %s", row, reason)
	}
	for _, text := range says {
		if !strings.Contains(row.Detail, text) {
			h.t.Errorf("the detail %q does not say %q", row.Detail, text)
		}
	}
	h.mustEqualReplay(p, at-1, nil)
}

func TestAPoisonEventHaltsItsUnitAloneAfterTheEventBefore(t *testing.T) {
	for _, do := range []string{"fail", "panic"} {
		t.Run(do, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				sums, count := sumsByKey(nil), countAll()
				for i := range 100 {
					h.add(i, "a", "b")
				}
				at := h.publish("deeds.bad", `{"keys":["a","b"],"n":1000,"do":"%s"}`, do)
				for i := range 100 {
					h.add(i, "a", "b")
				}
				w := h.start(sums, count)
				defer w.stop()
				h.mustHalt(w, sums, consumer.Poison, at, "event 101", `key "b"`, "version: 2")
				h.mustEqualReplay(count, 201, nil)
				if err := w.Ready(); err != nil {
					t.Errorf("a halted unit makes the worker unready: %v", err)
				}
			})
		})
	}
}

func TestBrokenDataIsPoisonWithoutAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		h.add(1, "a")
		at := h.publish("deeds.bad", `{"keys":`)
		h.add(1, "a")
		w := h.start(sums)
		defer w.stop()
		h.mustHalt(w, sums, consumer.Poison, at, "event 2")
	})
}

func TestSkippedPoisonIsRecordedAndEveryReplayDecidesTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		sums.OnPoison = projections.Skip
		skip := map[uint64]bool{}
		for i := range 300 {
			switch i % 50 {
			case 17:
				skip[h.publish("deeds.bad", `{"keys":["a","b"],"n":1000,"do":"fail"}`)] = true
			case 18:
				skip[h.publish("deeds.bad", `not json`)] = true
			case 19:
				skip[h.publish("deeds.bad", `{"keys":["a","b"],"n":7,"do":"panic"}`)] = true
			default:
				h.add(i, "a", "b")
			}
		}
		w := h.start(sums)
		settle(time.Minute)
		w.kill()
		h.mustEqualReplay(sums, 300, skip)
		_, list, err := h.store.Skipped(context.Background(), snapshotstore.Unit{Projection: "sums", Version: 1})
		if err != nil {
			t.Fatal(err)
		}
		recorded := map[uint64]bool{}
		for _, s := range list {
			recorded[s.Seq] = true
		}
		if diff := cmp.Diff(skip, recorded); diff != "" {
			t.Errorf("$skipped differs (-want +got):\n%s", diff)
		}
	})
}

func TestAStepThatDoesNotReturnIsStuckAndNeverSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		hang := make(chan struct{})
		sums, count := sumsByKey(hang), countAll()
		sums.OnPoison = projections.Skip
		for i := range 100 {
			h.add(i, "a", "b")
		}
		at := h.publish("deeds.bad", `{"keys":["a"],"n":1,"do":"hang"}`)
		h.add(1, "a")
		w := h.start(sums, count)
		settle(3 * time.Minute)
		h.mustHalt(w, sums, consumer.Stuck, at, "event 101")
		h.mustEqualReplay(count, 102, nil)
		w.stop()
		if h.log.OpenReaders() != 0 {
			t.Errorf("%d readers are left open", h.log.OpenReaders())
		}
		close(hang)
		synctest.Wait() // the goroutines that were given up end without a trace
		h.mustEqualReplay(sums, at-1, nil)
	})
}

func TestAValueOverItsBoundIsTooLargeAndNamesTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		for i := range 1000 {
			h.add(i, "a", "b")
		}
		at := h.publish("deeds.bad", `{"keys":["a","b"],"n":1,"do":"big"}`)
		for i := range 1000 {
			h.add(i, "a")
		}
		w := h.start(sums)
		defer w.stop()
		h.mustHalt(w, sums, consumer.TooLarge, at, `key "b"`, "1048576")
	})
}

func TestAKeyOverItsBoundIsTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		h.add(1, "a")
		at := h.add(1, strings.Repeat("k", 65<<10))
		w := h.start(sums)
		defer w.stop()
		h.mustHalt(w, sums, consumer.TooLarge, at, "key of 66560 bytes")
	})
}

func TestAnEventThatKillsTheProcessDoesNotKillItsSuccessorsForEver(t *testing.T) {
	h := newHouse(t)
	for i := range 300 {
		h.add(i, "a")
	}
	for life := 1; ; life++ {
		if life > 12 {
			t.Fatal("still dying after 12 lives")
		}
		if h.liveAndDie(t, 250, countAll()) {
			t.Logf("found to be poison in life %d", life)
			break
		}
	}
	h.mustEqualReplay(countAll(), 249, nil)
}

// TestAFewDeathsAtAnEventAreNoVerdict has a worker find that the last ones died while they folded an event alone: killed, or
// by another unit's event, for all units of a worker die together. The event is folded alone again.
func TestAFewDeathsAtAnEventAreNoVerdict(t *testing.T) {
	for _, deaths := range []int{1, 2} {
		t.Run(fmt.Sprint(deaths), func(t *testing.T) { aFewDeaths(t, deaths) })
	}
}

func aFewDeaths(t *testing.T, deaths int) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		for i := range 100 {
			h.add(i, "a")
		}
		w := h.start(sums)
		settle(time.Second)
		w.stop()
		unit := snapshotstore.Unit{Projection: "sums", Version: 1}
		mark, err := h.store.Head(t.Context(), unit)
		if err != nil {
			t.Fatal(err)
		}
		noted := mark
		noted.Attempt, noted.Tries = 101, deaths
		if err := h.store.Commit(t.Context(), unit, snapshotstore.Checkpoint{From: mark, To: noted.Seal("died")}); err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			h.add(i, "a", "b")
		}
		w = h.start(sums)
		defer w.stop()
		settle(time.Second)
		h.mustEqualReplay(sums, 200, nil)
		if mark, err = h.store.Head(t.Context(), unit); err != nil || mark.Attempt != 0 || mark.Tries != 0 {
			t.Errorf("the mark is %+v, %v: it still tells of deaths", mark, err)
		}
	})
}

// liveAndDie runs a worker until its fold kills it (false) or its unit is halted (true).
func (h *house) liveAndDie(t *testing.T, at uint64, p projections.Single[int]) (halted bool) {
	died := make(chan struct{})
	release := make(chan struct{})
	p.Step = func(n int, e projections.Event) (int, error) {
		if e.Seq == at {
			close(died)
			<-release
		}
		return n + 1, nil
	}
	h.tune = func(c *consumer.Config) { c.StepTimeout, c.Grace = time.Hour, time.Millisecond }
	w := h.start(p)
	for {
		select {
		case <-died:
			w.store.cut()
			close(release)
			w.stop()
			return false
		case <-time.After(10 * time.Millisecond):
			if row := w.row(t, "count"); row.State == consumer.Halted {
				if row.Verdict != string(consumer.Poison) || !strings.Contains(row.Detail, "event 250") {
					t.Errorf("status is %+v", row)
				}
				w.stop()
				return true
			}
		}
	}
}

// TestAStopInTheMiddleOfABatchKeepsValuesAndPositionTogether stops a worker while it waits for the store, with the events
// before a skipped one folded and those behind it not.
func TestAStopInTheMiddleOfABatchKeepsValuesAndPositionTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		h.add(1, "a")
		w := h.start(sums)
		settle(time.Second)
		w.stop()
		unit := snapshotstore.Unit{Projection: "sums", Version: 1}
		mark, err := h.store.Head(t.Context(), unit)
		if err != nil {
			t.Fatal(err)
		}
		skipped := snapshotstore.Checkpoint{From: mark, To: mark.Seal("with a record"), Skipped: []snapshotstore.Skipped{{Seq: 4, Cause: "by hand"}}}
		if err := h.store.Commit(t.Context(), unit, skipped); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			h.add(1, "a", "b") // 2, 3 and 4, which is skipped
		}
		h.add(1, "c")
		reads := 0
		w = h.start(sums)
		w.store.hooks(func(op string) error {
			if op == "get" {
				if reads++; reads > 1 {
					return &snapshotstore.Error{Op: op, Err: errors.New("away")}
				}
			}
			return nil
		}, nil)
		settle(time.Second)
		w.stop()
		if reads < 2 {
			t.Fatal("the worker was not stopped in the middle of the batch: the test shows nothing")
		}
		w = h.start(sums)
		settle(time.Second)
		h.mustEqualReplay(sums, 5, map[uint64]bool{4: true})
		w.stop()
	})
}
