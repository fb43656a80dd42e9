package projectiontest_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/projections/projectiontest"
)

// lengths keeps the sum of the lengths of the data per subject; empty data deletes the key, "!" can't be folded.
var lengths = projections.Keyed[int]{
	Name: "lengths", Version: 1, Stream: "S",
	Key: func(event projections.Event) (string, error) { return event.Subject, nil },
	Step: func(_ string, sum int, event projections.Event) (int, error) {
		if string(event.Data) == "!" {
			return 0, errors.New("an exclamation mark")
		}
		if len(event.Data) == 0 {
			return 0, nil
		}
		return sum + len(event.Data), nil
	},
	Gone: func(sum int) bool { return sum == 0 },
}

func TestReplayFoldsEveryEventFromTheBeginning(t *testing.T) {
	events := []projections.Event{
		{Seq: 1, Subject: "a", Data: []byte("xx")},
		{Seq: 3, Subject: "b", Data: []byte("x")},
		{Seq: 4, Subject: "a", Data: []byte("xxx")},
		{Seq: 5, Subject: "b"},
	}
	got, err := projectiontest.Replay(lengths, events, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]byte{"a": []byte("5")}, got); diff != "" {
		t.Error(diff)
	}
}

func TestReplayLeavesOutSkippedEventsAndStopsBeforeAPoisonOne(t *testing.T) {
	events := []projections.Event{
		{Seq: 1, Subject: "a", Data: []byte("xx")},
		{Seq: 2, Subject: "a", Data: []byte("!")},
		{Seq: 3, Subject: "a", Data: []byte("x")},
	}
	got, err := projectiontest.Replay(lengths, events, nil)
	var poison *projections.EventError
	if !errors.As(err, &poison) || poison.Seq != 2 || poison.Key != "a" {
		t.Errorf("error is %v, want one of event 2 and key a", err)
	}
	if diff := cmp.Diff(map[string][]byte{"a": []byte("2")}, got); diff != "" {
		t.Error(diff)
	}
	got, err = projectiontest.Replay(lengths, events, map[uint64]bool{2: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]byte{"a": []byte("3")}, got); diff != "" {
		t.Error(diff)
	}
}
