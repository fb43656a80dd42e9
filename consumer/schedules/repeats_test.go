//go:build !race

package schedules

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var twice = flag.Int("twice", 200, "how many schedules are run twice, to see that a seed repeats")

// TestASeedRepeatsExactly runs schedules twice and compares all that their workers asked and were told, to the nanosecond
// of the bubble's time.
//
// Where the machine takes the processor away in the midst of a moment, Go's runtime may let another goroutine of that
// moment go first (seen once in 8,000 schedules, beside other work): a schedule that differs is run a third time, which
// must be one of the two, and few may be such ones. Under the race detector the runtime draws lots which goroutine goes
// first, on purpose: this is not built there.
func TestASeedRepeatsExactly(t *testing.T) {
	alone(t)
	n, at, disturbed := *twice, from(), 0
	for i := range n {
		seed := at + uint64(i)
		one, _ := play(t, seed)
		two, _ := play(t, seed)
		if slices.Equal(one, two) {
			continue
		}
		disturbed++
		three, _ := play(t, seed)
		if where := difference(seed, one, two); !slices.Equal(three, one) && !slices.Equal(three, two) {
			t.Errorf("three runs are three: %s", where)
		} else {
			t.Log(where)
		}
	}
	t.Logf("%d of %d schedules from seed %d repeat exactly", n-disturbed, n, at)
	if disturbed > 1+n/200 {
		t.Error("too few")
	}
}

// difference is where two traces of one seed part.
func difference(seed uint64, one, two []string) string {
	for i := range min(len(one), len(two)) {
		if one[i] != two[i] {
			return fmt.Sprintf("seed %d differs at line %d of its trace:\n%s\n-- and then\n%s", seed, i,
				strings.Join(one[max(0, i-5):i+1], "\n"), strings.Join(two[max(0, i-5):i+1], "\n"))
		}
	}
	return fmt.Sprintf("seed %d has %d lines, and then %d", seed, len(one), len(two))
}
