package consumer

import (
	"time"

	"github.com/tailfold/tailfold/projections"
)

const (
	filterSample = 10_000 // events read before a feed is judged for a filter

	// A server's filter costs by how many subjects there are: with thousands of them, nats-server takes tens of
	// microseconds to find the next message that matches, and one to hand out any. A feed that is far from the head and
	// waits longer for what its filter lets through than all would take reads all for as long.
	tollSample = 20_000               // seqs read before the filter's cost is judged
	tollWhole  = 2 * time.Microsecond // what a message costs without a filter, about
	tollFar    = 100_000              // seqs from the head: from there on
	tollNear   = nearBy               // and to there
)

// filter is the subjects that the reader is to ask for; none: all. f.mu is held.
func (f *feeds) filter() []string {
	switch {
	case f.whole:
		return nil
	case f.filtered:
		return f.subjects
	}
	return f.base
}

// turns tells whether the reader is to be opened again with the filter, or without one.
func (f *feeds) turns(t *toll, batch Batch, waited time.Duration) bool {
	if t.off {
		return false
	}
	left := batch.Head - min(batch.Head, batch.To)
	if left < tollNear { // what is waited for there is the next event
		t.seqs, t.waited = 0, 0
		if !t.whole {
			return false
		}
	}
	t.seqs += batch.To - batch.From
	t.waited += waited
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case t.whole && left < tollNear:
		f.whole = false
		return true
	case t.seqs < tollSample:
		return false
	case t.whole && t.perSeq() > f.toll: // the way to the server is what is slow
		f.whole, f.kept = false, true
		return true
	case !t.whole && left > tollFar && !f.kept && t.perSeq() > 2*tollWhole:
		f.whole, f.toll = true, t.perSeq()
		return true
	}
	t.seqs, t.waited = 0, 0
	return false
}

// toll is how long a reader was waited for.
type toll struct {
	off, whole bool
	seqs       uint64
	waited     time.Duration
}

// perSeq is the wait for each message of the log, those that were not handed out among them.
func (t *toll) perSeq() time.Duration { return t.waited / time.Duration(t.seqs) }

// sampler finds out whether the units want less than a tenth of what is read.
type sampler struct {
	wanted     []string
	off        bool
	read, hits int
}

func (s *sampler) few(events []projections.Event) bool {
	if s.off {
		return false
	}
	for i := range events {
		if projections.MatchSubject(s.wanted[0], events[i].Subject) {
			s.hits++
		}
	}
	if s.read += len(events); s.read < filterSample {
		return false
	}
	few := s.hits < s.read/10
	s.read, s.hits = 0, 0
	return few
}
