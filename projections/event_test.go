package projections_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tailfold/tailfold/projections"
)

// trail is a step that no two orders and no two sets of events agree on.
func trail(value string, event projections.Event) (string, error) {
	return fmt.Sprintf("%s %d:%s", value, event.Seq, event.Data), nil
}

// drawEvents draws a log with holes in its seqs.
func drawEvents(t *rapid.T) []projections.Event {
	var events []projections.Event
	seq := uint64(0)
	for range rapid.IntRange(0, 20).Draw(t, "events") {
		seq += rapid.Uint64Range(1, 3).Draw(t, "step")
		events = append(events, projections.Event{Seq: seq, Data: rapid.SliceOfN(rapid.ByteRange('a', 'c'), 0, 2).Draw(t, "data")})
	}
	return events
}

func TestSnapshotPlusTailEqualsFullReplayAtEverySplitPoint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := drawEvents(t)
		full, err := projections.Project(trail, "seed", events)
		if err != nil {
			t.Fatal(err)
		}
		for split := range len(events) + 1 {
			snapshot, err := projections.Project(trail, "seed", events[:split])
			if err != nil {
				t.Fatal(err)
			}
			for from := range split + 1 { // a tail that overlaps the snapshot makes no difference
				resumed, err := projections.Resume(trail, snapshot, events[from:])
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(full, resumed); diff != "" {
					t.Fatalf("snapshot of %d events, tail from %d: %s", split, from, diff)
				}
			}
		}
	})
}

func TestResumeReturnsTheStateBeforeTheEventThatFails(t *testing.T) {
	bad := errors.New("no amount")
	step := func(sum int, event projections.Event) (int, error) {
		if len(event.Data) == 0 {
			return -1, bad
		}
		return sum + len(event.Data), nil
	}
	events := []projections.Event{{Seq: 3, Data: []byte("ab")}, {Seq: 7, Subject: "orders.1"}, {Seq: 8, Data: []byte("c")}}
	state, err := projections.Resume(step, projections.State[int]{Value: 1, Seq: 2}, events)
	if diff := cmp.Diff(projections.State[int]{Value: 3, Seq: 3}, state); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("event 7 (orders.1): no amount", fmt.Sprint(err)); diff != "" {
		t.Error(diff)
	}
	if !errors.Is(err, bad) {
		t.Error("the step's own error is not to be found in it")
	}
}

func TestProjectOfNoEventsIsTheSeedAtZero(t *testing.T) {
	state, err := projections.Project(trail, "seed", nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(projections.State[string]{Value: "seed"}, state); diff != "" {
		t.Error(diff)
	}
}
