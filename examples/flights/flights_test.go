package flights_test

import (
	"fmt"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/examples/flights"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/projections/projectiontest"
)

func events(t *testing.T) []projections.Event {
	t.Helper()
	lines, err := flights.Lines()
	if err != nil {
		t.Fatal(err)
	}
	var events []projections.Event
	for i, line := range lines {
		events = append(events, projections.Event{Seq: uint64(i + 1), Subject: "flights.X", Data: line})
	}
	return events
}

func TestAllFlightsAreThere(t *testing.T) {
	all := events(t)
	if len(all) != flights.Count {
		t.Fatalf("%d flights, want %d", len(all), flights.Count)
	}
	airports := map[string]bool{}
	for _, event := range all {
		var flight flights.Flight
		if err := json.Unmarshal(event.Data, &flight, json.RejectUnknownMembers(true)); err != nil {
			t.Fatalf("flight %d: %v", event.Seq, err)
		}
		airports[flight.Origin] = true
	}
	if len(airports) != 220 {
		t.Errorf("%d airports of origin, want 220", len(airports))
	}
}

func TestRoutesAgreeWithAPlainCount(t *testing.T) {
	all := events(t)
	want := map[string]flights.Route{}
	for _, event := range all {
		var f flights.Flight
		if err := json.Unmarshal(event.Data, &f); err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprintf("%s-%s", f.Origin, f.Destination)
		route, known := want[key]
		if !known || f.Delay > route.Worst {
			route.Worst = f.Delay
		}
		route.Flights, route.Delay, route.Miles, route.Last = route.Flights+1, route.Delay+f.Delay, f.Distance, f.Date
		want[key] = route
	}
	if len(want) != 2977 {
		t.Errorf("%d routes, want 2,977", len(want))
	}
	for key, route := range want {
		route.MeanDelay = float64(route.Delay) / float64(route.Flights)
		want[key] = route
	}
	values, err := projectiontest.Replay(flights.Routes(), all, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]flights.Route{}
	for key, value := range values {
		var route flights.Route
		if err := json.Unmarshal(value, &route); err != nil {
			t.Fatal(err)
		}
		got[key] = route
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
