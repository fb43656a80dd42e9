package consumer_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/logtest"
)

// A worker whose wall clock is set, or stands still, folds and takes over as ever; its clock is in the marks, and there only.
func TestAWorkersWallClockDecidesNothing(t *testing.T) {
	monday := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	for name, clock := range map[string]func(calls int) time.Time{
		"jumps an hour to and fro": func(calls int) time.Time { return monday.Add(time.Duration(calls%3-1) * time.Hour) },
		"runs backwards":           func(calls int) time.Time { return monday.Add(-time.Duration(calls) * time.Minute) },
		"stands still":             func(int) time.Time { return monday },
		"has never been set":       func(int) time.Time { return time.Time{} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, members := newHouse(t), logtest.NewMembers()
				last := make(chan time.Time, 1)
				h.tune = func(c *consumer.Config) {
					calls := 0
					c.Now = func() time.Time { // one goroutine at a time: a unit has one commit under way
						calls++
						now := clock(calls)
						select {
						case <-last:
						default:
						}
						select {
						case last <- now:
						default:
						}
						return now
					}
					c.Membership = members.Of()
				}
				first := h.start(sumsByKey(nil))
				for range 50 {
					h.add(1, "a", "b")
					settle(100 * time.Millisecond)
				}
				if _, mark := h.values(sumsByKey(nil)); !mark.At.Equal(<-last) {
					t.Errorf("the mark has the time %v, which is not the worker's", mark.At)
				}
				second := h.start(sumsByKey(nil))
				first.kill()
				settle(20 * time.Second)
				seq := h.add(1, "a", "c")
				settle(time.Second)
				h.mustEqualReplay(sumsByKey(nil), seq, nil)
				second.stop()
				h.mustEqualReplay(sumsByKey(nil), seq, nil)
			})
		})
	}
}
