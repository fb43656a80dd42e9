package logtest

import (
	"testing"
	"testing/synctest"
	"time"
)

// The recorder runs in a bubble, where what never comes is known to never come at once.
func TestTheSuiteFindsEachFault(t *testing.T) {
	names := map[string]check{}
	for _, c := range checks() {
		names[c.name] = c
	}
	for _, fault := range Faults() {
		t.Run(fault.Name, func(t *testing.T) {
			c, ok := names[fault.Caught]
			if !ok {
				t.Fatalf("there is no check %q", fault.Caught)
			}
			if failures := failuresOf(t, c, fault); len(failures) == 0 {
				t.Errorf("the check %q passes", fault.Caught)
			} else {
				t.Logf("%s", clip(failures[0]))
			}
		})
	}
}

func TestTheSuiteFindsNoFaultInARightLog(t *testing.T) {
	right := Fault{Break: batches(nil)}
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			for _, failure := range failuresOf(t, c, right) {
				t.Error(failure)
			}
		})
	}
}

func failuresOf(t *testing.T, c check, fault Fault) (failures []string) {
	synctest.Test(t, func(t *testing.T) {
		h := MemoryHarness()
		h.Patience = time.Minute
		right := h.New
		h.New = func(t T) Subject {
			s := right(t)
			s.Log = fault.Break(s.Log)
			return s
		}
		r := recorder{outer: t}
		r.do(func() { c.run(&r, h.withDefaults()) })
		failures = r.failures
	})
	return failures
}
