package consumer

import (
	"flag"
	"testing"
)

var (
	modelEventsFlag = flag.Int("model.events", 2, "events that the model's log is given, at the most")
	modelUpsetsFlag = flag.Int("model.upsets", 1, "how often the model's log is deleted, restored or trimmed, at the most")
	modelDropsFlag  = flag.Int("model.drops", 0, "how often a snapshot of the model is dropped, at the most")
	modelUnitsFlag  = flag.Int("model.units", 1, "units of the model")
)

func TestModelTry(t *testing.T) {
	m := model{steps: engineSteps(), units: *modelUnitsFlag, events: *modelEventsFlag, upsets: *modelUpsetsFlag, drop: *modelDropsFlag}
	r := m.explore()
	t.Log(r)
	if r.wrong != "" {
		t.Fatal(r.told())
	}
}
