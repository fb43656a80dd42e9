package consumer

import (
	"time"

	"go.uber.org/zap"
)

// set changes the unit's state and verdict.
func (u *unit) set(state UnitState, v *Verdict) {
	u.alter(func(UnitState, *Verdict) (UnitState, *Verdict) { return state, v })
}

// alter changes the unit's state and verdict to what decide makes of them, and logs it if it is a change. The unit's
// goroutine and the one that sends a checkpoint may both have something to say.
func (u *unit) alter(decide func(state UnitState, v *Verdict) (UnitState, *Verdict)) {
	u.mu.Lock()
	was, wasVerdict := u.status.State, u.verdict
	state, v := decide(was, wasVerdict)
	if state == was && v == wasVerdict {
		u.mu.Unlock()
		return
	}
	u.status.State, u.verdict = state, v
	if state == Live && was != Live {
		u.liveSince = time.Now()
	}
	u.countNear()
	u.status.Verdict, u.status.Detail = "", ""
	if v != nil {
		u.status.Verdict, u.status.Detail = string(v.Reason), v.Evidence
		if v.WayOut != "" {
			u.status.Detail += ". " + v.WayOut
		}
	}
	seq, head := u.status.Seq, u.status.Head
	u.mu.Unlock()
	u.meters.state(state, v)
	sameVerdict := (v == nil) == (wasVerdict == nil) && (v == nil || v.Reason == wasVerdict.Reason)
	if was == state && sameVerdict {
		return
	}
	token(u.worker.changed)
	fields := []zap.Field{zap.String("state", string(state)), zap.Uint64("seq", seq), zap.Uint64("head", head)}
	switch {
	case v == nil && wasVerdict != nil && wasVerdict.Passing() && was == state:
		u.log.Info("is back: "+string(wasVerdict.Reason)+" is over", fields...)
	case v == nil:
		u.log.Info("is "+string(state), fields...)
	case v.Passing():
		u.log.Warn("waits", append(fields, zap.String("verdict", string(v.Reason)), zap.String("evidence", v.Evidence), zap.String("way_out", v.WayOut))...)
	default:
		if v.Seq > 0 {
			fields = append(fields, zap.Uint64("event_seq", v.Seq), zap.String("key", v.Key))
		}
		if v.Stack != "" {
			fields = append(fields, zap.String("stack", v.Stack))
		}
		u.log.Error("halted", append(fields, zap.String("verdict", string(v.Reason)), zap.String("evidence", v.Evidence), zap.String("way_out", v.WayOut))...)
	}
}

func (u *unit) detail(text string) {
	u.mu.Lock()
	u.status.Detail = text
	u.mu.Unlock()
}

func (u *unit) state() UnitState {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.status.State
}

// passing shows a verdict that ends by itself, beside the state that the unit has. While log and store are both away,
// the one that went first is shown: the other will show itself when that one is back.
func (u *unit) passing(v *Verdict) {
	u.alter(func(state UnitState, was *Verdict) (UnitState, *Verdict) {
		switch {
		case was != nil && was.Passing() && was.Reason != v.Reason:
			return state, was
		case state == Halted: // it has been tried again: what halted it is to be found out anew
			state = Starting
		}
		return state, v
	})
}

// back ends a passing verdict, if that is what the unit shows.
func (u *unit) back(from Reason) {
	u.alter(func(state UnitState, v *Verdict) (UnitState, *Verdict) {
		if v != nil && v.Reason == from && v != u.unanswered {
			v = nil
		}
		return state, v
	})
}

// logDoesNotAnswer shows beside the state of a unit that reads that nobody answers for its log, though the reader may have
// signs of life: a server that is cut off from the others goes on to tell its consumers that there is nothing new. nil: it
// answers again.
func (u *unit) logDoesNotAnswer(verdict *Verdict) {
	u.alter(func(state UnitState, v *Verdict) (UnitState, *Verdict) {
		was := u.unanswered
		u.unanswered = nil
		reads := state == Live || state == Replaying
		if v != nil && v == was || v == nil && verdict != nil && reads {
			u.unanswered, v = verdict, verdict
		}
		return state, v
	})
}
