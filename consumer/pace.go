package consumer

import "time"

const (
	leastPause  = 5 * time.Millisecond // between two commits of a unit that keeps draining its input
	restFactor  = 4                    // and this many times as long as the last one held the store: at most a fifth of the store's time
	gentleShare = 5                    // of max_pause, for a replay beside a live unit: reading the command and waiting for a core take longer than the script
	fullFactor  = 4                    // folding stops at this many times the bounds with a commit under way
	shortPause  = 10 * time.Second     // until a unit in which nothing changes asks again for the replicas that its last commit did not reach

	firstPerKey  = 700 * time.Nanosecond // a guess of what a key costs in the store's script, until commits tell
	firstPerByte = 4 * time.Nanosecond

	// A commit that is longer on its way than a store waits for one never arrives. It is to take a second of it, and four
	// where changes piled up meanwhile; but a single commit tells little where it is small or the way long.
	wayShare = time.Second
	leastWay = 256 << 10 // bytes that any way is good for
	wayTells = 4 << 10   // bytes from which on a commit tells something of the way
)

// pace decides when a unit commits. It is told what happens and asked what is due: it has no clock of its own.
type pace struct {
	bounds CheckpointBounds

	changedAt time.Time     // when the first change after the last commit was folded; zero: nothing has changed
	endedAt   time.Time     // when the last commit ended; zero: none yet
	held      time.Duration // the store, by the last commit
	perKey    time.Duration // of a commit in the store, by the last ones
	perKiB    time.Duration // of the last commit, from sending it to its answer
	eager     bool          // the first commit after a claim is made at once: progress is kept early
	gentle    bool          // it replays beside a unit that is near the head, which waits for the same store
	short     bool          // fewer replicas of the store have the last commit than were asked for
	crowd     int           // units that replay together where none is near the head; 0: it does not matter
}

// load is what waits to be committed.
type load struct {
	keys, bytes int
	drained     bool // no input is waiting
	inFlight    bool // a commit is under way
}

func (p *pace) changed(now time.Time) {
	if p.changedAt.IsZero() {
		p.changedAt = now
	}
}

func (p *pace) started() { p.changedAt, p.eager = time.Time{}, false }

// ended is told of a commit, and for how long it held the store. What it waited for others is not its own.
func (p *pace) ended(now time.Time, held time.Duration, keys int) {
	p.endedAt, p.held = now, held
	if keys == 0 {
		return
	}
	switch per := held / time.Duration(keys); {
	case keys < 100: // says more about the round trip than about the script: no more than a bound
		if p.perKey > 0 {
			p.perKey = min(p.perKey, max(per, 1))
		}
	case p.perKey == 0:
		p.perKey = per
	default:
		p.perKey += (per - p.perKey) / 4
	}
}

// sent is told how long a commit was under way, by the try that succeeded.
func (p *pace) sent(took time.Duration, bytes int) {
	if bytes >= wayTells {
		p.perKiB = took / time.Duration(bytes>>10)
	}
}

// maxBytes is how large a commit may be.
func (p *pace) maxBytes() int {
	if p.perKiB <= 0 {
		return p.bounds.MaxBytes
	}
	return min(p.bounds.MaxBytes, max(leastWay, int(wayShare/p.perKiB)<<10))
}

// pause is how long a commit of l would hold the store.
func (p *pace) pause(l load) time.Duration {
	if p.perKey > 0 {
		return time.Duration(l.keys) * p.perKey
	}
	return time.Duration(l.keys)*firstPerKey + time.Duration(l.bytes)*firstPerByte
}

// due tells when l is to be committed: at once (zero wait), after a wait, or not at all (false).
func (p *pace) due(now time.Time, l load) (wait time.Duration, ok bool) {
	switch {
	case l.inFlight, p.changedAt.IsZero() && !p.short:
		return 0, false
	case p.changedAt.IsZero(): // a commit of nothing new tells whether they have all by now
		return max(0, p.endedAt.Add(shortPause).Sub(now)), true
	}
	if p.eager {
		return 0, true
	}
	by := p.changedAt.Add(p.every(l))
	switch {
	case l.keys == 0: // only the position has moved
	case l.bytes >= p.maxBytes() || p.pause(l) >= p.maxPause():
		if !p.gentle {
			return 0, true
		}
		if rested := p.rested(); rested.Before(by) {
			by = rested
		}
	case l.drained:
		if rested := p.rested(); rested.Before(by) {
			by = rested
		}
	}
	return max(0, by.Sub(now)), true
}

// every is how long changes wait at the most. Those that replay together would keep the store busy all the time, and write
// hot keys again and again: they keep their checkpoints back so long that all of them, the one that is due and those like it,
// take a fifth of the store's time, but no longer than folding may go on without one.
func (p *pace) every(l load) time.Duration {
	if p.crowd < 2 || p.gentle {
		return p.bounds.Every
	}
	shared := restFactor * time.Duration(p.crowd) * max(p.held, p.pause(l))
	return min(max(p.bounds.Every, shared), fullFactor*p.bounds.Every)
}

// maxPause is how long a commit may hold the store.
func (p *pace) maxPause() time.Duration {
	if p.gentle {
		return p.bounds.MaxPause / gentleShare
	}
	return p.bounds.MaxPause
}

// rested is when the store has had enough time for others since the last commit.
func (p *pace) rested() time.Time { return p.endedAt.Add(max(leastPause, restFactor*p.held)) }

// full tells whether folding has to wait for a commit: for the one under way, or, beside a live unit, for one that is
// not to be larger than the bounds.
func (p *pace) full(now time.Time, l load) bool {
	switch {
	case p.changedAt.IsZero():
		return false
	case p.gentle && (l.bytes >= p.maxBytes() || p.pause(l) >= p.maxPause()):
		return true
	case !l.inFlight:
		return false
	}
	return l.bytes >= fullFactor*p.maxBytes() || p.pause(l) >= fullFactor*p.bounds.MaxPause ||
		now.Sub(p.changedAt) >= fullFactor*p.bounds.Every
}
