package consumer

import "time"

const (
	nearAfter = time.Second // live for so long, a unit is one that others of its feed make way for: those that began with it are about to follow
	farBehind = 50_000      // seqs behind the head: a live unit has to catch up
	nearAgain = 1_000       // seqs behind the head: it has
)

// follows notes how far a live unit is behind the log's head, as last known. Far behind, after an outage or a flood, it
// checkpoints by the bounds of a replay until it has caught up; between the two limits nothing changes, so that a unit at
// one of them does not go back and forth. It stays live: what depends on its state does not flap with its lag.
//
// It tells whether a unit with nothing to fold has reached what there is, and not only what has been read.
func (u *unit) follows(seq, head uint64) (reached bool) {
	if head == 0 { // nothing has been read yet
		return true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	lag := max(head, seq) - seq
	switch {
	case lag > farBehind:
		u.behind = true
	case lag <= nearAgain:
		u.behind = false
	default:
		return u.near
	}
	u.countNear()
	return u.near || lag <= nearAgain
}

// stillNear counts a unit that has been live for long enough, also where it has nothing to do.
func (u *unit) stillNear() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.countNear()
}

// countNear keeps the worker's number of units near the head. u.mu is held.
func (u *unit) countNear() {
	if replays := u.status.State == Starting || u.status.State == Replaying; replays != u.replays {
		u.replays = replays
		if replays {
			u.feeds.replaying.Add(1)
		} else {
			u.feeds.replaying.Add(-1)
		}
	}
	near := u.status.State == Live && !u.behind && (u.feeds.replaying.Load() == 0 || time.Since(u.liveSince) >= nearAfter)
	if near == u.near {
		return
	}
	u.near = near
	if near {
		u.worker.near.Add(1)
	} else {
		u.worker.near.Add(-1)
	}
}

// besideNear tells whether the unit itself is not near the head while another of its worker is.
func (u *unit) besideNear() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.near && u.worker.near.Load() > 0
}
