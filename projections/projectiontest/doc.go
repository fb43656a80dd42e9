// Package projectiontest is for the tests of projections: given events, expect values; and a check that a projection
// is what Tailfold takes it for, a pure fold.
//
//	func TestTotals(t *testing.T) {
//		events := projectiontest.Events("orders.eu", Order{"c-77", 5}, Order{"c-78", 1}, Order{"c-77", 2})
//		projectiontest.Expect(t, totals, events, map[string]Total{"c-77": {2, 7}, "c-78": {1, 1}})
//		projectiontest.Check(t, totals, events)
//	}
package projectiontest
