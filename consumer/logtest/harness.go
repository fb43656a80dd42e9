// Package logtest is the conformance suite that every consumer.Log passes, the log in memory on which the engine is
// tested, and logs with one fault each, which the suite must find.
package logtest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/projections"
)

// Harness makes the logs that the suite runs on.
type Harness struct {
	// New makes an empty log that takes the subjects "a.>", "b.>" and "c.>". The one made before it in the same check is
	// not used any more.
	New func(t T) Subject
	// MaxData is the size of the largest event's data that the log takes. Default 8 MiB.
	MaxData int
	// Patience is how long something may take before it counts as not happening. Default 20 s.
	Patience time.Duration
}

// Subject is the log under test, with what is done to it from outside.
type Subject struct {
	Log consumer.Log
	// Append stores entries and returns the seq of the last.
	Append func(entries ...Entry) uint64
	// Delete removes one message.
	Delete func(seq uint64)
	// Purge removes all messages up to and including seq.
	Purge func(seq uint64)
	// Drop deletes the log.
	Drop func()
	// Create makes it again, empty.
	Create func()
}

// Entry is an event to store.
type Entry struct {
	Subject string
	Header  []string // names and values in turn
	Data    []byte
}

// T is what the suite needs of *testing.T, so that it can be run where it must fail.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
	Cleanup(func())
	Context() context.Context
}

// check is one promise of a log.
type check struct {
	name string
	run  func(t T, h Harness)
}

// checks are all promises.
func checks() []check {
	return slices.Concat(readerChecks(), subjectChecks(), eventChecks(), boundsChecks(), upheavalChecks())
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	h = h.withDefaults()
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) { c.run(t, h) })
	}
}

func (h Harness) withDefaults() Harness {
	if h.MaxData == 0 {
		h.MaxData = 8 << 20
	}
	if h.Patience == 0 {
		h.Patience = 20 * time.Second
	}
	return h
}

// MemoryHarness runs the suite on the log in memory.
func MemoryHarness() Harness {
	return Harness{New: func(T) Subject {
		m := NewMemory("MEMORY", time.Now())
		return Subject{
			Log: m,
			Append: func(entries ...Entry) (seq uint64) {
				for _, e := range entries {
					seq = m.Append(e.Subject, projections.NewHeader(e.Header...), e.Data)
				}
				return seq
			},
			Delete: func(seq uint64) { m.Delete(seq) },
			Purge:  m.Purge,
			Drop:   m.Drop,
			Create: func() {
				time.Sleep(time.Millisecond) // so that it is later also on a clock that stands still
				m.Recreate(time.Now())
			},
		}
	}}
}
