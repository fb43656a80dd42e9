package consumer_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/logtest"
	"github.com/tailfold/tailfold/projections"
)

// pulses counts the events of a stream that stays quiet: its unit is always near the head.
func pulses() projections.Single[int] {
	return projections.Single[int]{Name: "pulses", Version: 1, Stream: "PULSES",
		Step: func(n int, _ projections.Event) (int, error) { return n + 1, nil }}
}

// toil counts all events, and takes its time.
func toil() projections.Single[int] {
	return projections.Single[int]{Name: "count", Version: 1, Stream: "DEEDS",
		Step: func(n int, _ projections.Event) (int, error) {
			time.Sleep(20 * time.Microsecond)
			return n + 1, nil
		}}
}

func TestALiveUnitFarBehindCheckpointsAsOneThatReplays(t *testing.T) {
	short, long := 250*time.Millisecond, time.Second
	tests := []struct {
		name   string
		behind int
		beside []projections.Projection
		wants  bool // the long bounds at some checkpoint
	}{
		{"a burst", 40_000, nil, false},
		{"a flood", 120_000, nil, true},
		{"a flood beside a unit near the head", 120_000, []projections.Projection{pulses()}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				quiet := logtest.NewMemory("PULSES", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
				h.tune = func(c *consumer.Config) {
					c.Logs = func(s consumer.Stream, _ int) (consumer.Log, error) {
						if s.Name == "PULSES" {
							return quiet, nil
						}
						return h.log, nil
					}
				}
				quiet.Append("pulse", projections.Header{}, nil)
				h.add(1, "first")
				w := h.start(append(test.beside, toil())...)
				settle(3 * time.Second)
				if every := w.Bounds().Every; every != short {
					t.Fatalf("live, the bounds are %v", every)
				}
				var mu sync.Mutex
				seen, states := map[time.Duration]int{}, map[consumer.UnitState]int{}
				w.store.hooks(func(op string) error {
					if op == "commit" {
						mu.Lock()
						defer mu.Unlock()
						seen[w.Bounds().Every]++
						states[w.row(t, "count").State]++
					}
					return nil
				}, nil)
				h.log.Disconnect()
				settle(time.Second)
				for range test.behind {
					h.log.Append("deeds.add", projections.Header{}, []byte(`{}`))
				}
				h.log.Reconnect()
				settle(time.Minute)
				mu.Lock()
				defer mu.Unlock()
				if (seen[long] > 0) != test.wants {
					t.Errorf("checkpoints by their bounds: %v", seen)
				}
				if len(states) != 1 || states[consumer.Live] == 0 {
					t.Errorf("the unit's states were %v, and it is to stay live", states)
				}
				row := w.row(t, "count")
				if row.Seq != uint64(test.behind)+1 || w.Bounds().Every != short {
					t.Errorf("afterwards it is at %d, with bounds of %v", row.Seq, w.Bounds().Every)
				}
			})
		})
	}
}
