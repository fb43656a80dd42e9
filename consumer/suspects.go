package consumer

import (
	"math"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

const (
	parts          = 16  // a wide range of suspects is folded in so many parts, to find the one that fails
	deathTries     = 3   // from this claim without progress on, events are folded in parts that the mark tells of
	deathPart      = 256 // of so many events, at first
	deathSuspects  = 1 << 16
	everythingLeft = math.MaxUint64
)

// suspects is a range of seqs in which an event can't be folded: it failed, its result could not be encoded, a step did
// not return, or workers died. Before it the unit commits; in it, it folds in small parts, each committed, until a
// single event is left that fails alone: that one is to blame.
type suspects struct {
	lo, hi uint64 // hi 0: none
	cause  error
	stack  string
	stuck  bool // a step did not return
	alone  bool // and it was the only one that was being folded
	deaths bool // workers died: each part is noted in the mark before it is folded
	left   int  // with deaths: how many events are folded so
}

func (s suspects) any() bool { return s.hi > 0 }

// orFrom returns s, or the suspicion that a mark tells of: an owner died in a part that it had noted, or several owners
// died since the mark moved.
func (s suspects) orFrom(mark snapshotstore.Mark) suspects {
	switch {
	case s.any():
		return s
	case mark.Attempt > mark.Seq:
		return suspects{lo: mark.Seq + 1, hi: mark.Attempt, deaths: true, left: deathSuspects}
	case mark.Tries+1 >= deathTries:
		return suspects{lo: mark.Seq + 1, hi: everythingLeft, deaths: true, left: deathSuspects}
	}
	return s
}

// next cuts off the events that are to be folded together, and tells whether they are among the suspects.
func (s *suspects) next(events []projections.Event) (n int, suspected bool) {
	first := events[0].Seq
	if s.deaths && first > s.hi { // this range was none of it: the next one may be
		s.lo, s.hi = first, everythingLeft
	}
	switch {
	case s.hi == 0:
		return len(events), false
	case first > s.hi || s.deaths && s.left <= 0:
		*s = suspects{} // past them, and nothing has failed
		return len(events), false
	case first < s.lo:
		for n < len(events) && events[n].Seq < s.lo {
			n++
		}
		return n, false
	}
	// By seqs, not by events: where these are few and far between, a part must still be less than the whole.
	step := max(1, (s.hi-s.lo+1)/parts)
	switch {
	case s.hi == everythingLeft:
		step = deathPart
	case s.deaths && s.hi-s.lo < deathPart: // a commit for each costs less than one more death
		step = 1
	}
	for n < len(events) && events[n].Seq <= s.hi && (n == 0 || events[n].Seq-first < step) {
		n++
	}
	s.left -= n
	return n, true
}
