package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

const (
	standbyAfter = 10 * time.Second // without progress of the owner, though the log has moved: it is gone
	standbyLook  = time.Second
	deletedTail  = 100              // so many seqs at the log's end are looked at, to find whether there is something for the owner to do
	haltedLook   = 2 * time.Second  // how often a halted unit looks whether an operator has changed something
	idleLook     = 5 * time.Second  // how often a unit that commits nothing looks whether the store still holds its mark
	judgeAgain   = 10 * time.Second // how often a halted unit judges a log that was not its snapshot's, or not to be used
	opTimeout    = 15 * time.Second

	firstPortion = 64                     // of a batch, until it is known what steps take
	moment       = 200 * time.Millisecond // what a portion of a batch may take
	backoffFrom  = 50 * time.Millisecond
	backoffTo    = 5 * time.Second
)

// unit is one projection version on one partition in this worker. Its goroutine (run) decides what it is to do; the
// folding itself is done by a runner in a goroutine of its own, which can be given up when a step does not return.
type unit struct {
	id          snapshotstore.Unit
	projection  projections.Projection
	definition  projections.Definition
	text        string // canonical text of the definition on this partition
	fingerprint string
	stream      Stream
	subjects    []string // of the partition; none: the whole stream
	feeds       *feeds
	worker      *Worker
	log         *zap.Logger
	meters      meters

	chance  *chance       // of random waits
	cached  int64         // bytes that its fold held when the cache last looked
	squeeze chan struct{} // has a token when the cache is over its budget

	// Used by the unit's goroutine and its runner, never both at once.
	highest uint64                  // epoch met so far
	toSkip  []snapshotstore.Skipped // events found to be poison whose record the next claim makes
	portion int                     // events of a batch that are folded in one go

	mu         sync.Mutex
	status     UnitStatus
	committed  time.Time
	verdict    *Verdict
	unanswered *Verdict // the one that says that nobody answers for the log, if that is shown
	liveSince  time.Time
	behind     bool // live, and far behind the head
	near       bool // counted in the worker's near
	replays    bool // counted in the feeds' replaying
	startedAt  time.Time
	caughtUp   chan struct{} // closed when it has been live once
}

func (u *unit) start() projections.Start {
	if u.definition.Start == "" {
		return projections.Beginning
	}
	return u.definition.Start
}

// outcome is why a runner ended.
type outcome struct {
	verdict *Verdict               // it is to halt
	standby *snapshotstore.Mark    // another worker has it, with this mark
	fault   *suspects              // somewhere in here is an event that can't be folded: go there with care
	reload  string                 // the store holds something else than was thought: begin from what it holds
	skip    *snapshotstore.Skipped // begin again without this event
	again   bool                   // begin again
	stopped bool                   // the context is done
}

// run keeps the unit going until ctx is done.
func (u *unit) run(ctx context.Context) {
	ctx = context.WithValue(ctx, unitKey{}, u.id)
	var care suspects
	for again := 0; ctx.Err() == nil; again++ {
		out := u.runOnce(ctx, care)
		care, u.toSkip = suspects{}, nil
		switch {
		case out.stopped:
			return
		case out.skip != nil:
			u.toSkip = append(u.toSkip, *out.skip)
		case out.fault != nil && out.fault.stuck && out.fault.alone:
			u.stop(ctx, u.stuck(*out.fault))
		case out.fault != nil:
			care = *out.fault
			u.log.Warn("an event can't be folded: going back to the snapshot to find it", zap.Uint64("from_seq", care.lo), zap.Uint64("to_seq", care.hi), zap.String("error", u.worker.text(care.cause)))
		case out.reload != "":
			u.log.Warn("beginning again from what the store holds", zap.String("why", out.reload))
			u.meters.reloads.Inc()
			if sleep(ctx, u.backoff(min(again, 4))) != nil {
				return
			}
		case out.verdict != nil:
			u.stop(ctx, out.verdict)
		case out.standby != nil:
			u.standBy(ctx, *out.standby)
		}
	}
}

// runOnce runs a runner, and gives it up when a step of its fold does not return.
func (u *unit) runOnce(ctx context.Context, care suspects) outcome {
	r := newRunner(u, care)
	defer u.worker.cache.forget(u)
	result := make(chan outcome, 1)
	go func() { // waited for below, unless it is given up: then nobody can wait for it, it is counted
		out := outcome{again: true} // where a step ends its goroutine (runtime.Goexit), which the claims in the mark count as a death
		defer func() { result <- out }()
		out = r.run(ctx)
	}()
	timeout, stopped := u.worker.config.StepTimeout, min(u.worker.config.StepTimeout, u.worker.config.Grace)
	watch := time.NewTicker(max(stopped/8, time.Millisecond))
	defer watch.Stop()
	for {
		select {
		case out := <-result:
			return out
		case <-watch.C:
			if ctx.Err() != nil {
				timeout = stopped
			}
			if stack, stuck := r.abandonIfStuck(timeout); stuck {
				u.meters.abandoned.Inc()
				u.worker.abandoned.Add(1)
				u.portion = 1 // of what steps take, only this is known now
				return outcome{fault: &suspects{lo: r.busyLo.Load(), hi: r.busyHi.Load(), stuck: true, stack: stack, alone: r.busyAlone.Load(),
					cause: fmt.Errorf("a step has not returned for %v", u.worker.config.StepTimeout)}}
			}
		}
	}
}

func (u *unit) head(ctx context.Context) (snapshotstore.Mark, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	return u.worker.config.Store.Head(ctx, u.id)
}

// verdictOf makes a verdict of an error that no retry mends.
func (u *unit) verdictOf(err error) *Verdict {
	v := &Verdict{Reason: Unsuitable, Evidence: err.Error()}
	if c, ok := errors.AsType[*snapshotstore.CorruptError](err); ok {
		v.Reason, v.Key = Corrupt, c.Key
	}
	v.WayOut = u.waysOut(v.Reason)
	if cause, fix := partsOf(err); fix != "" {
		v.Evidence, v.WayOut = cause, mend(fix)
	}
	return v
}

// waysOut names the commands by which an operator gets a unit out of a verdict.
func (u *unit) waysOut(reason Reason) string {
	drop := fmt.Sprintf("`tailfold drop %s --version %d`", u.id.Projection, u.id.Version)
	refold := drop + " gives the snapshot up, and the running worker folds it again from what the log has"
	switch reason {
	case Gap:
		return "The last snapshot stays readable. Restore the missing events into the stream; or, to go on from what the log still has, set `start: first-available` and " + drop
	case Diverged:
		return "The last snapshot stays readable. If the stream is the wrong one, point the configuration to the right one; if it was remade or restored on purpose, " + refold
	case Changed:
		return fmt.Sprintf("Give the changed definition `version: %d` (both versions can run side by side), or undo the change; or, to give up what was folded, %s", u.id.Version+1, drop)
	case Corrupt:
		return "Restore the store from a backup, or " + refold
	case Stuck: // never skipped: whether a step returns in time depends on more than the event
		return fmt.Sprintf("The snapshot before the event stays readable. Mend the fold under `version: %d`; or, if the step is slow but ends, raise `step_timeout` and restart the worker", u.id.Version+1)
	case TooLarge: // never skipped: the fault is the value's, and the next event would meet it again
		return fmt.Sprintf("The snapshot before the event stays readable. Bound the value under `version: %d`, or raise `limits.max_value` (for a key `limits.max_key`) and restart the worker", u.id.Version+1)
	case Poison:
		return fmt.Sprintf("The snapshot before the event stays readable. Mend the fold under `version: %d`; or set `on_poison: skip` to leave such events out (recorded in $skipped)", u.id.Version+1)
	default:
		return ""
	}
}
