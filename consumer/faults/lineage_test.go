package faults

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

// texts keeps all events, so that a snapshot tells which log it is of.
var texts = projections.Single[[]string]{Name: "texts", Version: 1, Stream: "S",
	Step: func(all []string, e projections.Event) ([]string, error) {
		return append(slices.Clone(all), string(e.Data)), nil
	}}

// twoLogs are two servers from copies of one store, as the two halves of a cluster that was split and brought up again
// each by itself: the stream's name and its time of creation are the same, and its first events.
type twoLogs struct {
	*logScene
	sides map[string]*nats.Conn
	want  map[string][]string
}

func newTwoLogs(t *testing.T) *twoLogs {
	s := &twoLogs{logScene: newLogScene(t), sides: map[string]*nats.Conn{}, want: map[string][]string{}}
	s.logScene.publish(10, "s.mine", "of both")
	_, stop := s.startOn(s.conn, texts)
	s.awaitEvents(10)
	stop()
	s.server.Stop()
	dir := t.TempDir()
	copyTree(t, filepath.Join(s.server.Dir(), "store"), filepath.Join(dir, "store"))
	s.restart()
	s.sides["left"], s.sides["right"] = s.conn, natstest.Start(t, natstest.Options{Dir: dir}).Connect()
	for side := range s.sides {
		for i := range 10 {
			s.want[side] = append(s.want[side], fmt.Sprintf("of both %d", i))
		}
		s.add(side, 20)
	}
	s.add("right", 5) // one of them is longer
	return s
}

// add publishes events to one of the logs.
func (s *twoLogs) add(side string, n int) {
	s.t.Helper()
	js := natstest.JetStream(s.t, s.sides[side])
	for range n {
		text := fmt.Sprintf("of the %s %d", side, len(s.want[side]))
		if _, err := js.Publish(s.t.Context(), "s.mine", []byte(text)); err != nil {
			s.t.Fatal(err)
		}
		s.want[side] = append(s.want[side], text)
	}
}

// folded is the snapshot, and which log it is of: "" where both begin so.
func (s *twoLogs) folded() (side string, seq uint64) {
	s.t.Helper()
	mark, values, err := s.store.Get(s.t.Context(), snapshotstore.Unit{Projection: "texts", Version: 1}, []string{""})
	if err != nil {
		s.t.Fatal(err)
	}
	var got []string
	if len(values[0].Data) > 0 {
		if err := json.Unmarshal(values[0].Data, &got); err != nil {
			s.t.Fatal(err)
		}
	}
	if len(got) != int(mark.Seq) {
		s.t.Fatalf("at seq %d there are %d events: %q", mark.Seq, len(got), got)
	}
	var of []string
	for side, all := range s.want {
		if len(got) <= len(all) && slices.Equal(got, all[:len(got)]) {
			of = append(of, side)
		}
	}
	switch len(of) {
	case 0:
		s.t.Fatalf("the snapshot at seq %d is of neither log: %q", mark.Seq, got)
	case 1:
		side = of[0]
	}
	return side, mark.Seq
}

// awaitEvents waits until so many events are folded.
func (s *twoLogs) awaitEvents(n uint64) {
	s.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); ; {
		mark, _, err := s.store.Get(s.t.Context(), snapshotstore.Unit{Projection: "texts", Version: 1}, []string{""})
		if err == nil && mark.Seq >= n {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%d of %d events are folded (%v)", mark.Seq, n, err)
		}
		time.Sleep(5 * time.Millisecond) // polls what another goroutine does
	}
}

func other(side string) string { return map[string]string{"left": "right", "right": "left"}[side] }

// TestTwoLogsOfOneOriginAreNeverMerged has a worker on each of two servers whose logs have parted, and one store for both.
// Whoever folds first decides: the other log is DIVERGED, whether it is longer or shorter, for as long as the snapshot is
// there.
func TestTwoLogsOfOneOriginAreNeverMerged(t *testing.T) {
	for _, first := range []string{"left", "right"} {
		t.Run("one after the other, "+first+" first", func(t *testing.T) {
			s := newTwoLogs(t)
			w, stop := s.startOn(s.sides[first], texts)
			s.await(w, "the head", liveAt(uint64(len(s.want[first]))))
			stop()
			s.mustBeDivergedFor(other(first), first)
		})
	}
	for round := range 1 + *kills/50 {
		t.Run(fmt.Sprintf("both at once, round %d", round), func(t *testing.T) {
			s := newTwoLogs(t)
			workers, stops := map[string]*consumer.Worker{}, map[string]func(){}
			for side, conn := range s.sides {
				workers[side], stops[side] = s.startOn(conn, texts)
			}
			s.awaitEvents(30)
			side, _ := s.folded()
			if side == "" {
				t.Fatal("30 events are folded, of which the last 20 are of both logs")
			}
			t.Logf("the %s log is folded", side)
			s.add(side, 3)
			s.add(other(side), 9)
			s.await(workers[side], "the head", liveAt(uint64(len(s.want[side]))))
			stops[side]()
			row := s.await(workers[other(side)], "DIVERGED", haltedBy(consumer.Diverged))
			if !strings.Contains(row.Detail, "is not the one that was folded") {
				t.Errorf("the detail says: %s", row.Detail)
			}
			stops[other(side)]()
			s.mustBeDivergedFor(other(side), side)
		})
	}
}

// mustBeDivergedFor demands that a worker on one log is halted by the other one's snapshot, which stays what it is, and goes
// on on its own.
func (s *twoLogs) mustBeDivergedFor(side, folded string) {
	s.t.Helper()
	_, before := s.folded()
	w, stop := s.startOn(s.sides[side], texts)
	s.await(w, "DIVERGED", haltedBy(consumer.Diverged))
	stop()
	if of, seq := s.folded(); of != folded || seq != before {
		s.t.Errorf("the snapshot of the %s log at seq %d is now one of %q at seq %d", folded, before, of, seq)
	}
	s.add(folded, 4)
	w, stop = s.startOn(s.sides[folded], texts)
	s.await(w, "the head", liveAt(uint64(len(s.want[folded]))))
	stop()
	if of, seq := s.folded(); of != folded || seq != uint64(len(s.want[folded])) {
		s.t.Errorf("the snapshot is of %q at seq %d, want the %s log's end, %d", of, seq, folded, len(s.want[folded]))
	}
}
