package consumer

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// A change of one unit's state once removed the series of all other units.
func TestStatesOfUnitsAreKeptApart(t *testing.T) {
	registry := prometheus.NewRegistry()
	all, err := newMeters(registry)
	if err != nil {
		t.Fatal(err)
	}
	totals, days := all.of("totals", 1, 0), all.of("days", 2, 1)
	totals.state(Live, nil)
	days.state(Replaying, nil)
	days.state(Halted, &Verdict{Reason: Gap})
	totals.state(Halted, &Verdict{Reason: Poison})
	totals.state(Live, nil)
	want := `
# HELP tailfold_unit_state 1 for the state that the unit is in.
# TYPE tailfold_unit_state gauge
tailfold_unit_state{partition="0",projection="totals",state="live",version="1"} 1
tailfold_unit_state{partition="1",projection="days",state="halted",version="2"} 1
# HELP tailfold_unit_verdict 1 for the verdict that the unit has; none while it runs.
# TYPE tailfold_unit_verdict gauge
tailfold_unit_verdict{partition="1",projection="days",verdict="GAP",version="2"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "tailfold_unit_state", "tailfold_unit_verdict"); err != nil {
		t.Error(err)
	}
}
