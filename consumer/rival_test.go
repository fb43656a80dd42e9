package consumer_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

func TestOfTwoWorkersTheOneWithTheHigherEpochGoesOnAndTheOtherStandsBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		h.add(1, "a")
		first := h.start(sums)
		settle(time.Second)
		second := h.start(sums)
		for i := range 300 {
			h.add(i, "a", "b")
			settle(20 * time.Millisecond)
		}
		h.mustEqualReplay(sums, 301, nil)
		one, two := first.row(t, "sums"), second.row(t, "sums")
		if one.State != consumer.Standby || one.Owner != second.name || !strings.Contains(one.Detail, second.name) {
			t.Errorf("the first worker shows %+v", one)
		}
		if two.State != consumer.Live || two.Owner != second.name || two.Epoch <= 1 {
			t.Errorf("the second worker shows %+v", two)
		}
		if n := h.lines.FilterMessage("is standby").Len(); n != 1 {
			t.Errorf("%d times to standby: they fight", n)
		}
		// The owner dies: the other takes over when the log moves and the mark does not.
		second.kill()
		h.add(1, "c")
		settle(20 * time.Second)
		h.mustEqualReplay(sums, 302, nil)
		if one := first.row(t, "sums"); one.State != consumer.Live || one.Owner != first.name {
			t.Errorf("the first worker shows %+v", one)
		}
		first.stop()
	})
}

func TestAPausedOwnerFindsItselfFencedAndItsWritesAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		old := h.start(sums)
		h.add(1, "a")
		settle(time.Second)
		old.store.hooks(func(op string) error { // it is paused, or cut off, in the middle of a checkpoint
			if op == "commit" {
				return &snapshotstore.Error{Op: op, Err: errors.New("cut off")}
			}
			return nil
		}, nil)
		h.add(1, "a")
		settle(time.Second)
		next := h.start(sums)
		settle(time.Second)
		h.add(1, "a")
		settle(time.Second)
		old.store.hooks(nil, nil)
		settle(10 * time.Second)
		h.mustEqualReplay(sums, 3, nil)
		if row := old.row(t, "sums"); row.State != consumer.Standby {
			t.Errorf("the old owner shows %+v", row)
		}
		next.stop()
		old.stop()
	})
}

func TestADroppedSnapshotIsFoldedAgainByTheRunningWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		for i := range 100 {
			h.add(i, "a", "b")
		}
		w := h.start(sums)
		settle(time.Second)
		if err := h.store.Drop(context.Background(), snapshotstore.Unit{Projection: "sums", Version: 1}); err != nil {
			t.Fatal(err)
		}
		settle(10 * time.Second)
		h.mustEqualReplay(sums, 100, nil)
		if h.lines.FilterMessageSnippet("no snapshot").Len() != 2 {
			t.Error("that the snapshot was gone was not said")
		}
		// Once the log has lost its beginning, the same is a GAP.
		h.log.Purge(50)
		if err := h.store.Drop(context.Background(), snapshotstore.Unit{Projection: "sums", Version: 1}); err != nil {
			t.Fatal(err)
		}
		settle(10 * time.Second)
		if row := w.row(t, "sums"); row.Verdict != string(consumer.Gap) {
			t.Errorf("status is %+v, want GAP", row)
		}
		w.stop()
	})
}

func TestAChangedDefinitionHaltsAndSaysWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		h.add(1, "a")
		w := h.start(sums)
		settle(time.Second)
		w.stop()
		changed := sums
		changed.Subjects = []string{"deeds.add"}
		w = h.start(changed)
		h.add(1, "a")
		settle(time.Second)
		row := w.row(t, "sums")
		if row.Verdict != string(consumer.Changed) || !strings.Contains(row.Detail, "was [subjects: ]") || !strings.Contains(row.Detail, "is [subjects: deeds.add]") {
			t.Errorf("status is %+v", row)
		}
		h.mustEqualReplay(sums, 1, nil)
		w.stop()
	})
}

func TestAStreamThatIsNotThereYetIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		h.log.Drop()
		w := h.start(sums)
		settle(time.Minute)
		if row := w.row(t, "sums"); row.Verdict != string(consumer.LogUnavailable) || !strings.Contains(row.Detail, "does not exist") {
			t.Errorf("status is %+v", row)
		}
		if w.Ready() == nil || w.Alive() != nil {
			t.Errorf("ready: %v, alive: %v", w.Ready(), w.Alive())
		}
		if n := h.lines.FilterMessage("waits").Len(); n != 1 {
			t.Errorf("%d log lines about waiting, want one", n)
		}
		h.log.Recreate(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC))
		h.add(1, "a")
		settle(20 * time.Second)
		h.mustEqualReplay(sums, 1, nil)
		w.stop()
	})
}

func TestARemadeStreamIsDivergedWhileTheWorkerIsLive(t *testing.T) {
	for name, publish := range map[string]int{"empty": 0, "shorter": 5, "as long": 10, "longer": 50} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				sums := sumsByKey(nil)
				for i := range 10 {
					h.add(i, "a")
				}
				w := h.start(sums)
				settle(time.Second)
				h.log.Recreate(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC))
				for range publish {
					h.log.Append("deeds.foreign", projections.Header{}, []byte(`{"keys":["foreign"],"n":1}`))
				}
				settle(10 * time.Second)
				if row := w.row(t, "sums"); row.State != consumer.Halted || row.Verdict != string(consumer.Diverged) {
					t.Errorf("status is %+v", row)
				}
				h.mustEqualReplay(sums, 10, nil)
				w.stop()
			})
		})
	}
}

func TestARestoredStreamIsDivergedAlsoWhereTheProjectionsOwnLastEventIsOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		sums.Subjects = []string{"deeds.add"}
		h.add(1, "a")
		for range 20 { // of no interest to the projection
			h.publish("other", `{}`)
		}
		w := h.start(sums)
		settle(time.Second)
		w.stop()
		h.log.RestoreTo(10)
		for range 20 {
			h.log.Append("other", projections.Header{}, []byte(`{"different":1}`))
		}
		w = h.start(sums)
		settle(5 * time.Second)
		if row := w.row(t, "sums"); row.Verdict != string(consumer.Diverged) || !strings.Contains(row.Detail, "tailfold drop sums --version 1") {
			t.Errorf("status is %+v", row)
		}
		w.stop()
	})
}

func TestAPurgedStreamWithTheSnapshotAtItsEndResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		for i := range 10 {
			h.add(i, "a")
		}
		w := h.start(sums)
		settle(time.Second)
		w.kill()
		h.log.PurgeAll()
		w = h.start(sums)
		settle(time.Second)
		if row := w.row(t, "sums"); row.Proof != "created" || row.State != consumer.Live {
			t.Errorf("status is %+v", row)
		}
		h.add(5, "b")
		settle(time.Second)
		h.mustEqualReplay(sums, 11, nil)
		w.stop()
	})
}

func TestAStoreThatIsAwayForTenMinutesIsWaitedForWithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		w := h.start(sums)
		h.add(1, "a")
		settle(time.Second)
		w.store.hooks(func(op string) error {
			return &snapshotstore.Error{Op: op, Err: errors.New("connection refused")}
		}, nil)
		h.log.SetMaxBatch(10)
		for i := range 20_000 {
			h.add(i, "a", "b")
			if i%200 == 0 {
				settle(6 * time.Second)
			}
		}
		row := w.row(t, "sums")
		if row.Verdict != string(consumer.StoreUnavailable) || row.Folded > 5_000 {
			t.Errorf("status is %+v: folding has to wait for the store", row)
		}
		if w.Alive() != nil || w.Ready() == nil {
			t.Errorf("alive: %v, ready: %v", w.Alive(), w.Ready())
		}
		w.store.hooks(nil, nil)
		settle(time.Minute)
		h.mustEqualReplay(sums, 20_001, nil)
		if n := h.lines.FilterMessage("waits").Len(); n != 1 {
			t.Errorf("%d log lines about waiting, want one", n)
		}
		w.stop()
	})
}
