package consumer_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/projections"
)

// slowCount is countAll whose step takes a while.
func slowCount(name string, each time.Duration) projections.Single[int] {
	p := countAll()
	p.Name = name
	p.Step = func(n int, _ projections.Event) (int, error) {
		time.Sleep(each) // in a bubble
		return n + 1, nil
	}
	return p
}

func TestASlowUnitHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		slow, quick := slowCount("slow", 10*time.Millisecond), countAll()
		h.log.SetMaxBatch(10)
		for i := range 60_000 {
			h.add(i, "a")
		}
		w := h.start(slow, quick)
		settle(10 * time.Second)
		if row := w.row(t, "count"); row.Seq != 60_000 {
			t.Errorf("the quick unit is at seq %d of 60000: %+v", row.Seq, row)
		}
		row := w.row(t, "slow")
		if row.Seq == 0 || row.Seq > 2_000 || row.State != consumer.Replaying {
			t.Errorf("the slow unit shows %+v", row)
		}
		settle(time.Hour)
		h.mustEqualReplay(slowCount("slow", 0), 60_000, nil)
		// Once it has caught up, both are read by one reader again.
		for i := range 50 {
			h.add(i, "a")
			settle(100 * time.Millisecond)
		}
		if n := h.log.OpenReaders(); n != 1 {
			t.Errorf("%d readers, want 1", n)
		}
		h.mustEqualReplay(slowCount("slow", 0), 60_050, nil)
		w.stop()
		if n := h.log.OpenReaders(); n != 0 {
			t.Errorf("%d readers are left", n)
		}
	})
}

func TestUnitsThatBeginTogetherShareOneReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		for i := range 1000 {
			h.add(i, "a")
		}
		var opened atomic.Int64
		h.log.Before(func(op string) error {
			if op == "open" {
				opened.Add(1)
			}
			return nil
		})
		var ps []projections.Projection
		for i := range 16 {
			p := countAll()
			p.Name = fmt.Sprintf("count-%d", i)
			ps = append(ps, p)
		}
		w := h.start(ps...)
		settle(2 * time.Second)
		for _, p := range ps {
			h.mustEqualReplay(p, 1000, nil)
		}
		if opened.Load() != 1 {
			t.Errorf("%d readers were opened, want 1", opened.Load())
		}
		// A reset brings them all together again.
		h.log.EndReaders(errors.New("a delivery was missed"))
		settle(2 * time.Second)
		h.add(1, "a")
		settle(2 * time.Second)
		for _, p := range ps {
			h.mustEqualReplay(p, 1001, nil)
		}
		if opened.Load() != 2 || h.log.OpenReaders() != 1 {
			t.Errorf("%d readers were opened and %d are open, want 2 and 1", opened.Load(), h.log.OpenReaders())
		}
		w.stop()
	})
}

func TestAFeedIsFilteredWhereItsUnitsWantLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		rare := countAll()
		rare.Subjects = []string{"rare"}
		want := uint64(0)
		for i := range 30_000 {
			if i%50 == 0 {
				h.publish("rare", "{}")
				want++
				continue
			}
			h.publish("common", "{}")
		}
		var opened atomic.Int64
		h.log.Before(func(op string) error {
			if op == "open" {
				opened.Add(1)
			}
			return nil
		})
		w := h.start(rare)
		settle(5 * time.Second)
		h.mustEqualReplay(rare, 30_000, nil)
		if opened.Load() != 2 {
			t.Errorf("%d readers were opened, want 2: one to find out, one with the filter", opened.Load())
		}
		// Its position follows the log, though nothing of interest happens.
		for range 100 {
			h.publish("common", "{}")
		}
		settle(2 * time.Second)
		h.mustEqualReplay(rare, 30_100, nil)
		w.stop()
	})
}

func TestTwoWorkersInOneProcessDoNotMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newHouse(t), newHouse(t)
		for i := range 100 {
			a.add(i, "a")
			b.add(2*i, "b")
		}
		v, w := a.start(sumsByKey(nil)), b.start(sumsByKey(nil), countAll())
		settle(time.Second)
		a.mustEqualReplay(sumsByKey(nil), 100, nil)
		b.mustEqualReplay(sumsByKey(nil), 100, nil)
		v.stop()
		b.add(1, "c")
		settle(time.Second)
		b.mustEqualReplay(countAll(), 101, nil)
		w.stop()
	})
}
