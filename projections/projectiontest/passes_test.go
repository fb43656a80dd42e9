package projectiontest_test

import (
	"testing"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/projections/projectiontest"
)

func TestCheckPassesASoundProjection(t *testing.T) {
	projectiontest.Check(t, totals, orders)
}

func TestCheckPassesInASubtestWithAnOddName(t *testing.T) {
	for _, name := range []string{"a (b) [c] $", "a (b) [c] $ and more"} {
		t.Run(name, func(t *testing.T) {
			first := projections.Single[int]{Name: "first", Version: 1, Stream: "S",
				Step: func(n int, event projections.Event) (int, error) { return n + len(event.Data), nil }}
			second := first
			second.Version = 2
			projectiontest.Check(t, first, projectiontest.Events("s", "a", "bc"))
			projectiontest.Check(t, second, projectiontest.Events("s", "a", "bc", "d"))
		})
	}
}
