package main

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/examples/flights"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/projections/declared"
)

// The declared projections come to what plain Go comes to, on all 20,000 flights, with values kept in memory and with
// values forgotten and read back after each batch.
func TestTheProjectionsComeToWhatPlainGoComesTo(t *testing.T) {
	known, err := load()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("projections.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all, err := declared.Parse("projections.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	for _, keep := range []int{1 << 30, 0} {
		got := map[string]object{}
		for _, p := range all {
			got[p.Definition().Name] = fold(t, p, events(t), keep)
		}
		if diff := cmp.Diff(plain(t, expected(known)), plain(t, got)); diff != "" {
			t.Errorf("keeping %d bytes in memory: %s", keep, diff)
		}
	}
}

func events(t *testing.T) []projections.Event {
	all, err := flights.Lines()
	if err != nil {
		t.Fatal(err)
	}
	events := make([]projections.Event, len(all))
	for i, line := range all {
		events[i] = projections.Event{Seq: uint64(i + 1), Subject: "flights", Data: line}
	}
	return events
}

// fold folds events in batches, as a worker does with a store.
func fold(t *testing.T, p projections.Projection, events []projections.Event, keep int) object {
	stored := map[string][]byte{}
	memory := p.NewFold(projections.FoldOptions{})
	for len(events) > 0 {
		batch := events[:min(777, len(events))]
		events = events[len(batch):]
		projections.Share(batch)
		for _, key := range memory.Plan(batch) {
			value, ok := stored[key]
			if err := memory.Load(key, value, ok); err != nil {
				t.Fatal(err)
			}
		}
		if err := memory.Step(); err != nil {
			t.Fatal(err)
		}
		changes, err := memory.Changes()
		if err != nil {
			t.Fatal(err)
		}
		for _, put := range changes.Put {
			stored[put.Key] = put.Value
		}
		memory.Acked()
		memory.Evict(keep)
	}
	values := object{}
	for key, value := range stored {
		values[key] = json.RawMessage(value)
	}
	return values
}

// plain is models as JSON has them.
func plain(t *testing.T, models map[string]object) any {
	text, err := json.Marshal(models)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
