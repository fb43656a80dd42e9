package schedules

import (
	"flag"
	"runtime"
	"runtime/debug"
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
	seeds    = flag.Int("seeds", 1000, "how many schedules are run; a tenth under the race detector")
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
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); m.HeapAlloc > collectFrom {
		runtime.GC()
	}
	return trace, fault
}

// collectFrom is the heap at which it is collected between two schedules.
const collectFrom = 256 << 20

// alone has the test's goroutines take turns on one processor, so that those which become runnable in the same moment
// of the bubble's time run in the same order each time. The collector would stop one or the other for a while: it runs
// between schedules.
func alone(t *testing.T) {
	processors, percent := runtime.GOMAXPROCS(1), debug.SetGCPercent(-1)
	t.Cleanup(func() {
		runtime.GOMAXPROCS(processors)
		debug.SetGCPercent(percent)
	})
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
