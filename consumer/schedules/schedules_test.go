package schedules

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	seedFlag = flag.Uint64("seed", 0, "run the one schedule of this seed and print its trace")
	first    = flag.Uint64("first", 0, "the first seed; 0: a random one")
	seeds    = flag.Int("seeds", 500, "how many schedules are run; a tenth under the race detector")
	twice    = flag.Int("twice", 60, "how many schedules are run twice, to see that a seed repeats")
)

// play runs the schedule of one seed and returns its trace.
func play(t *testing.T, seed uint64) (trace []string, fault string) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(seed)
		defer func() {
			w.close()
			trace, fault = w.told(), w.fault
		}()
		w.run()
	})
	return trace, fault
}

// alone has the test's goroutines take turns on one processor, so that those which become runnable in the same moment
// of the bubble's time run in the same order each time.
func alone(t *testing.T) {
	before := runtime.GOMAXPROCS(1)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

func from() uint64 {
	if *first != 0 {
		return *first
	}
	return uint64(time.Now().UnixNano())
}

// TestSchedules runs random schedules; a failing one is repeated with -seed.
func TestSchedules(t *testing.T) {
	alone(t)
	if *seedFlag != 0 {
		trace, fault := play(t, *seedFlag)
		t.Log("\n" + strings.Join(trace, "\n"))
		if fault != "" {
			t.Errorf("seed %d: %s", *seedFlag, fault)
		}
		return
	}
	n := *seeds
	if underRace {
		n /= 10
	}
	began, at := time.Now(), from()
	for i := range n {
		if _, fault := play(t, at+uint64(i)); fault != "" {
			t.Fatalf("seed %d: %s\nrepeat with: go test ./consumer/schedules -run TestSchedules -seed %d", at+uint64(i), fault, at+uint64(i))
		}
	}
	t.Logf("%d schedules from seed %d: %.0f a minute", n, at, float64(n)/time.Since(began).Minutes())
}

// TestASeedRepeatsExactly runs schedules twice and compares all that their workers asked and were told, to the nanosecond
// of the bubble's time.
//
// A few in a hundred do not repeat: two units of a worker that ask the log the same at the same moment get their answers
// at the same moment, package synctest wakes them in a random order, and the order tells where they go on to share
// something: the bar, or the cache's budget.
func TestASeedRepeatsExactly(t *testing.T) {
	alone(t)
	n, at, same := *twice, from(), 0
	if underRace {
		n /= 10
	}
	var differs string
	for i := range n {
		seed := at + uint64(i)
		one, _ := play(t, seed)
		two, _ := play(t, seed)
		if slices.Equal(one, two) {
			same++
			continue
		}
		for j := range min(len(one), len(two)) {
			if one[j] != two[j] {
				differs = fmt.Sprintf("seed %d differs at line %d of its trace:\n%s\n-- and then\n%s", seed, j, strings.Join(one[max(0, j-5):j+1], "\n"), strings.Join(two[max(0, j-5):j+1], "\n"))
				break
			}
		}
	}
	t.Logf("%d of %d schedules from seed %d repeat exactly", same, n, at)
	if same < n-max(3, n/15) {
		t.Errorf("too few; the last that does not: %s", differs)
	}
}
