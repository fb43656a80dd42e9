package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tailfold/tailfold/snapshotstore"
	"go.uber.org/zap"
)

// stop halts the unit with a verdict, and stands by if another worker turns out to have got past it.
func (u *unit) stop(ctx context.Context, v *Verdict) {
	if owner := u.halt(ctx, v); owner != nil {
		u.standBy(ctx, *owner)
	}
}

// halt keeps the unit stopped until something has changed: the snapshot (dropped, or put back), or a log that could not
// be used. If another worker has claimed the unit and moved on, it returns that one's mark. One that has only claimed it
// is about to meet the same: to claim it back would be a fight without an end.
func (u *unit) halt(ctx context.Context, v *Verdict) (owner *snapshotstore.Mark) {
	u.set(Halted, v)
	mark, err := u.head(ctx)
	known := err == nil
	for judged := time.Now(); ; {
		if sleep(ctx, haltedLook) != nil {
			return nil
		}
		u.lookAtLog(ctx)
		now, err := u.head(ctx)
		if err != nil {
			continue
		}
		switch sight := haltedSees(u.worker.config.Name, mark, now); {
		case !known:
			mark, known = now, true
			if v.Reason == Corrupt { // it can be read now
				return nil
			}
		case sight == sightClaimed:
			mark = now
			u.owned(now)
		case sight == sightOwned:
			return &now
		case sight == sightChanged:
			return nil
		case time.Since(judged) >= judgeAgain:
			if judged = time.Now(); v.Reason == Unsuitable || v.Reason == Changed && mark.IsZero() || u.putRight(ctx, v, mark) {
				return nil
			}
		}
	}
}

// lookAtLog keeps up how far the log has gone on, for status.
func (u *unit) lookAtLog(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	if bounds, err := u.feeds.log.Bounds(ctx); err == nil {
		u.sawHead(bounds.Last)
	}
}

// putRight tells whether a log that was not the snapshot's, or lacked events, is the right one now. Of one that was known
// to be another, its time of creation alone proves nothing any more.
func (u *unit) putRight(ctx context.Context, v *Verdict, mark snapshotstore.Mark) bool {
	if v.Reason != Gap && v.Reason != Diverged {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	_, proof, verdict, err := u.judge(ctx, positionOf(mark))
	return err == nil && verdict == nil && (proof != ProofCreated || v.Reason == Gap)
}

// standBy waits until the unit's owner is gone: the log has something past its mark, and the mark does not move, for long
// enough; or the owner itself says that it does not have the unit any more. Progress is the heartbeat: that the membership
// does not know the owner only makes the wait shorter, for a membership can be wrong.
func (u *unit) standBy(ctx context.Context, mark snapshotstore.Mark) {
	u.owned(mark)
	u.highest = max(u.highest, mark.Epoch)
	u.set(Standby, nil)
	when := fmt.Sprintf("stops making progress for %v", standbyAfter)
	if u.worker.config.Membership != nil {
		when = "gives it up, or " + when
	}
	u.detail(fmt.Sprintf("worker %s has it, with epoch %d: this one takes over when that one %s", mark.Writer, mark.Epoch, when))
	idle := false // there is something to do that the owner has not done since the last look
	for still := time.Now(); ; {
		if sleep(ctx, standbyLook) != nil {
			return
		}
		now, err := u.head(ctx)
		if err != nil {
			continue
		}
		presence := u.worker.presence(mark.Writer, u.id)
		switch standbySees(mark, now, time.Since(still), presence, u.worker.config.LeaseTTL) {
		case standingMoved:
			mark, still, idle = now, time.Now(), false
			u.owned(mark)
			continue
		case standingWaits:
			continue
		case standingStill:
			if !idle {
				if idle, _ = u.unread(ctx, mark.Seq); !idle {
					still = time.Now()
				}
				continue // an event that has just come is not held against the owner
			}
		}
		u.log.Info("taking over: the owner "+presence.why(), zap.String("owner", mark.Writer), zap.Uint64("seq", mark.Seq))
		return
	}
}

// unread tells whether the log has a message past seq, or has become shorter. Its last seq alone does not tell: messages
// at its end may have been deleted, and no position moves to one that can't be read.
func (u *unit) unread(ctx context.Context, seq uint64) (unread bool, head uint64) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	bounds, err := u.feeds.log.Bounds(ctx)
	if err != nil {
		return false, 0
	}
	u.sawHead(bounds.Last)
	if bounds.Last < seq {
		return true, bounds.Last
	}
	for at, left := bounds.Last, deletedTail; at > seq && at >= bounds.First; at, left = at-1, left-1 {
		if left == 0 {
			return true, bounds.Last
		}
		_, err := u.feeds.log.Witness(ctx, at)
		if err == nil {
			return true, bounds.Last
		}
		if !errors.Is(err, ErrNoMessage) {
			return false, 0
		}
	}
	return false, bounds.Last
}

// owned notes who has the unit.
func (u *unit) owned(mark snapshotstore.Mark) {
	u.sawMark(mark)
	u.mu.Lock()
	u.status.Owner = mark.Writer
	u.status.Replicas = snapshotstore.Replicas{} // of checkpoints of its own
	u.mu.Unlock()
	u.meters.missing.Set(0)
}
