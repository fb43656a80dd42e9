package projections_test

import (
	"testing"

	"github.com/tailfold/tailfold/projections"
)

// A step that leaves a key as it was makes no key and writes nothing.
func TestAStepMayLeaveAKeyUnchanged(t *testing.T) {
	p := projections.Keyed[int]{Name: "p", Version: 1, Stream: "S",
		Key: func(event projections.Event) (string, error) { return event.Subject, nil },
		Step: func(_ string, n int, event projections.Event) (int, error) {
			if len(event.Data) == 0 {
				return 99, projections.Unchanged
			}
			return n + 1, nil
		}}
	fold := p.NewFold(projections.FoldOptions{})
	events := []projections.Event{{Seq: 1, Subject: "a"}, {Seq: 2, Subject: "b", Data: []byte("x")}, {Seq: 3, Subject: "b"}}
	for _, key := range fold.Plan(events) {
		if err := fold.Load(key, nil, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := fold.Step(); err != nil {
		t.Fatal(err)
	}
	changes, err := fold.Changes()
	if err != nil {
		t.Fatal(err)
	}
	if len(changes.Put) != 1 || len(changes.Delete) != 0 || changes.Put[0].Key != "b" || string(changes.Put[0].Value) != "1" {
		t.Errorf("changes are %v", changes)
	}
}
