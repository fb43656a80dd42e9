package consumer

import (
	"testing"

	"github.com/tailfold/tailfold/projections"
)

// TestSuspectsAreFewerEachTimeAlsoWhereEventsAreFewAndFarBetween follows a range in which one event fails: each time its
// part is the next range, until it is alone.
func TestSuspectsAreFewerEachTimeAlsoWhereEventsAreFewAndFarBetween(t *testing.T) {
	for _, distance := range []uint64{1, 7, 100, 5000} {
		var events []projections.Event
		for i := range uint64(256) {
			events = append(events, projections.Event{Seq: 1000 + i*distance})
		}
		for _, deaths := range []bool{false, true} {
			bad := events[77].Seq
			lo, hi := events[0].Seq, events[255].Seq
			for round := 1; ; round++ {
				if round > 8 {
					t.Fatalf("with events %d apart it is not found in 8 rounds", distance)
				}
				care := suspects{lo: lo, hi: hi, deaths: deaths, left: deathSuspects}
				rest, part := events, events[:0]
				for rest[0].Seq < lo {
					rest = rest[1:]
				}
				for len(part) == 0 || part[len(part)-1].Seq < bad {
					n, suspected := care.next(rest)
					if !suspected {
						t.Fatalf("event %d is not suspected", rest[0].Seq)
					}
					part, rest = rest[:n], rest[n:]
				}
				if len(part) == 1 {
					break
				}
				lo, hi = part[0].Seq, part[len(part)-1].Seq
			}
		}
	}
}
