package storetest

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tailfold/tailfold/snapshotstore"
)

// TestTheSuiteCatchesBrokenStores has each check of caughtBy fail for a store that breaks the contract in one way.
func TestTheSuiteCatchesBrokenStores(t *testing.T) {
	// What is meant to fail need not be kept to be tried again.
	if err := flag.Set("rapid.nofailfile", "true"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { flag.Set("rapid.nofailfile", "false") })
	for _, broken := range []struct {
		name     string
		open     func(*Memory) snapshotstore.Store
		caughtBy []string
	}{
		{"no compare-and-set", func(m *Memory) snapshotstore.Store { return noCompare{m} }, []string{
			"ACommitFromAnotherMarkIsRefused", "ANewEpochFencesTheOldOwner", "ACheckpointSentAgainAfterTheNextOneIsRefused",
			"OfManyWritersOneWinsEachStep", "ManyFirstCommitsAreOne", "ALateCommitFromBeforeADropIsRefused",
			"RandomCallsMatchTheModel",
		}},
		{"conflicts compare only the seq", func(m *Memory) snapshotstore.Store { return comparesSeq{m} }, []string{
			"ACommitFromAnotherMarkIsRefused", "ANewEpochFencesTheOldOwner", "RandomCallsMatchTheModel",
		}},
		{"values, then the mark", func(m *Memory) snapshotstore.Store { return twoSteps{m, false} }, []string{
			"AReadShowsOneMoment", "ACrashUnderCommitsLeavesAllOfOneOrNothing",
		}},
		{"the mark, then values", func(m *Memory) snapshotstore.Store { return twoSteps{m, true} }, []string{
			"AReadShowsOneMoment", "ACrashUnderCommitsLeavesAllOfOneOrNothing",
		}},
		{"the same checkpoint again is a conflict", func(m *Memory) snapshotstore.Store { return notIdempotent{m} }, []string{
			"TheSameCheckpointTwiceIsAppliedOnce", "AnUnknownOutcomeIsSettledBySendingAgain",
			"ACrashBetweenCallsLosesNothing", "RandomCallsMatchTheModel",
		}},
		{"the same checkpoint again is applied again", func(m *Memory) snapshotstore.Store { return appliesTwice{m} }, []string{
			"TheSameCheckpointTwiceIsAppliedOnce", "RandomCallsMatchTheModel",
		}},
		{"a reply is given before the step is kept", func(m *Memory) snapshotstore.Store { return &writesBehind{Memory: m} },
			[]string{"ACrashBetweenCallsLosesNothing", "ACrashUnderCommitsLeavesAllOfOneOrNothing"}},
		{"a conflict does not say what is held", func(m *Memory) snapshotstore.Store { return silentConflict{m} }, []string{
			"ACommitFromAnotherMarkIsRefused", "RandomCallsMatchTheModel",
		}},
		{"Get reads mark and values apart", func(m *Memory) snapshotstore.Store { return readsApart{m} }, []string{
			"AReadShowsOneMoment",
		}},
		{"a key can be the mark", func(m *Memory) snapshotstore.Store { return sharedNames{m} }, []string{
			"KeysAreAnyBytes", "RandomCallsMatchTheModel",
		}},
		{"the mark is written anew when it is read", func(m *Memory) snapshotstore.Store { return sealsAgain{m} }, []string{
			"AMarkComesBackByteForByte",
		}},
		{"a scan stops at 512", func(m *Memory) snapshotstore.Store { return stopsEarly{m} }, []string{"AScanIsComplete"}},
		{"a scan goes by numbers", func(m *Memory) snapshotstore.Store { return countsOff{m} }, []string{
			"AScanUnderWritesHasAllThatStays",
		}},
		{"a scan takes all out first", func(m *Memory) snapshotstore.Store { return takesAll{m} }, []string{"AScanIsBounded"}},
		{"a drop leaves records", func(m *Memory) snapshotstore.Store { return dropsValues{m} }, []string{"DropLeavesNothing"}},
		{"contexts are not looked at", func(m *Memory) snapshotstore.Store { return noContext{m} }, []string{
			"ACallWhoseContextHasEndedDoesNothing", "AScanEndsWithItsContext",
		}},
		{"values without a mark are new", func(m *Memory) snapshotstore.Store { return trusting{m} }, []string{
			"ValuesWithoutAMarkAreCorrupt",
		}},
		{"a promote does not compare", func(m *Memory) snapshotstore.Store { return promotesAll{m} }, []string{
			"PromoteComparesAndSets", "OfManyPromotesOneWins", "RandomCallsMatchTheModel",
		}},
		{"workers are never forgotten", func(m *Memory) snapshotstore.Store { return remembers{m} }, []string{
			"AWorkerThatFallsSilentIsForgotten",
		}},
	} {
		for _, name := range broken.caughtBy {
			t.Run(broken.name+"/"+name, func(t *testing.T) {
				failure := failureOf(t, name, harnessOf(NewMemory(), broken.open))
				if failure == "" {
					t.Fatalf("the check %s passed a store that is broken: %s", name, broken.name)
				}
				t.Logf("caught: %.300s", failure)
			})
		}
	}
}

// TestTheRecorderPassesAWholeStore is the other half of it: what fails above fails because of what is broken there.
func TestTheRecorderPassesAWholeStore(t *testing.T) {
	for _, c := range checks() {
		whole := harnessOf(NewMemory(), func(m *Memory) snapshotstore.Store { return m })
		if failure := failureOf(t, c.name, whole); failure != "" {
			t.Errorf("%s failed for the reference store: %s", c.name, failure)
		}
	}
}

// harnessOf has every handle made by open. A crash ends the handles that were given out.
func harnessOf(memory *Memory, open func(*Memory) snapshotstore.Store) Harness {
	handles := []snapshotstore.Store{open(memory)}
	another := func(testing.TB) snapshotstore.Store {
		handles = append(handles, open(memory.Handle()))
		return handles[len(handles)-1]
	}
	return Harness{
		Store:   handles[0],
		Another: another,
		Crash: func(t testing.TB) snapshotstore.Store {
			for _, handle := range handles {
				handle.Close()
			}
			handles = nil
			return another(t)
		},
		SetMark: func(_ testing.TB, unit snapshotstore.Unit, raw []byte) { memory.SetMark(unit, raw) },
	}
}

// failureOf runs one check and returns what it reported, "" if it passed.
func failureOf(t *testing.T, name string, h Harness) string {
	i := slices.IndexFunc(checks(), func(c check) bool { return c.name == name })
	if i < 0 {
		t.Fatalf("there is no check %s", name)
	}
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() { // FailNow ends the goroutine
		defer close(done)
		checks()[i].run(r, h)
	}()
	<-done
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.failures, "; ")
}

// recorder is a test whose failures are kept instead of told.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failures []string
}

func (r *recorder) fail(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, what)
}

func (r *recorder) Helper()                           {}
func (r *recorder) Log(args ...any)                   {}
func (r *recorder) Logf(format string, args ...any)   {}
func (r *recorder) Error(args ...any)                 { r.fail(fmt.Sprint(args...)) }
func (r *recorder) Errorf(format string, args ...any) { r.fail(fmt.Sprintf(format, args...)) }
func (r *recorder) Fail()                             { r.fail("failed") }
func (r *recorder) FailNow()                          { r.fail("failed"); runtime.Goexit() }
func (r *recorder) Fatal(args ...any)                 { r.Error(args...); runtime.Goexit() }
func (r *recorder) Fatalf(format string, args ...any) { r.Errorf(format, args...); runtime.Goexit() }
func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.failures) > 0
}
