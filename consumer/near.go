package consumer

const (
	farBehind = 50_000 // seqs behind the head: a live unit has to catch up
	nearAgain = 1_000  // seqs behind the head: it has
)

// follows notes how far a live unit is behind the log's head, as last known. Far behind, after an outage or a flood, it
// checkpoints by the bounds of a replay until it has caught up; between the two limits nothing changes, so that a unit at
// one of them does not go back and forth. It stays live: what depends on its state does not flap with its lag.
func (u *unit) follows(seq, head uint64) {
	if head == 0 { // nothing has been read yet
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch lag := max(head, seq) - seq; {
	case lag > farBehind:
		u.behind = true
	case lag <= nearAgain:
		u.behind = false
	default:
		return
	}
	u.countNear()
}

// countNear keeps the worker's number of units near the head. u.mu is held.
func (u *unit) countNear() {
	near := u.status.State == Live && !u.behind
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
