package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

// runner folds one unit from what the store holds, until something makes it begin again. All of it but the busy
// fields is used by its own goroutine.
type runner struct {
	u    *unit
	fold projections.Fold
	care suspects
	pace pace

	held    snapshotstore.Mark // what the store holds, as far as is known
	fresh   bool               // there was no snapshot when it was claimed
	flight  *flight            // the checkpoint under way, nil if there is none
	skips   map[uint64]bool    // events that are recorded as skipped
	skipped []snapshotstore.Skipped
	seq     uint64  // folded up to and including
	only    uint64  // the one event that was folded since the last commit, 0 where there were more or none
	last    Witness // of the message at seq; zero seq: not known
	created time.Time
	target  uint64 // the log's last seq when it started
	began   time.Time
	heard   time.Time // when the store last said what it holds
	place   *subscription
	judged  bool      // since it took this place
	rest    Batch     // what was taken of the feed and is not folded yet
	ends    int       // how many readers ended, one after the other, before they handed out anything new
	reads   time.Time // since when it reads again after the last of them
	timer   *time.Timer

	died  death       // what the last owners noted and died at, zero if there is none
	atBar atomic.Bool // it has the worker's bar

	stopSending context.CancelFunc // of what send was given

	spent time.Duration // by the fold

	// What the watch needs: since when the fold is busy (nanoseconds since began, 0 idle, -1 given up), with which events.
	busy           atomic.Int64
	busyPlace      atomic.Pointer[subscription]
	busyLo, busyHi atomic.Uint64
	busyAlone      atomic.Bool
	goroutine      atomic.Pointer[string]
}

func newRunner(u *unit, care suspects) *runner {
	c := u.worker.config
	return &runner{u: u, care: care, began: time.Now(),
		fold: u.projection.NewFold(projections.FoldOptions{Subjects: u.subjects, MaxKey: c.MaxKey, MaxValue: c.MaxValue})}
}

// run goes from the store's mark to the log's head and follows it.
func (r *runner) run(ctx context.Context) outcome {
	r.noteGoroutine()
	r.timer = time.NewTimer(time.Hour)
	defer r.timer.Stop()
	defer r.leave()
	defer r.leaveBar()
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.stopSending = cancel
	defer r.waitFlight()
	defer cancel()
	if out := r.begin(ctx); out != nil {
		return *out
	}
	for {
		out := r.turn(ctx, sending)
		if out == nil {
			continue
		}
		switch {
		case out.stopped:
			out = r.finish(ctx, sending)
		case out.verdict != nil:
			r.clearAttempt(ctx, sending)
		}
		return *out
	}
}

// begin finds out where to go on: the snapshot, whether it is ours to go on with, and whether the log is the one that
// it was folded from; then it claims the unit.
func (r *runner) begin(ctx context.Context) *outcome {
	u := r.u
	if u.state() != Halted {
		u.set(Starting, nil)
	}
	mark, err := keepTrying(ctx, u, StoreUnavailable, u.head)
	if err != nil {
		return r.failed(ctx, err)
	}
	u.sawMark(mark)
	if out := r.sameDefinition(ctx, mark); out != nil {
		return out
	}
	bounds, out := r.recognise(ctx, positionOf(mark))
	if out != nil {
		return out
	}
	u.checkSubjects(bounds)
	if out := r.loadSkips(ctx, mark); out != nil {
		return out
	}
	if out := r.claim(ctx, mark, bounds); out != nil {
		return out
	}
	r.seq, r.created, r.target = r.held.Seq, r.held.Created, bounds.Last
	r.last = lastOf(r.held)
	r.care = r.care.orFrom(mark)
	u.started(r)
	return nil
}

// recognise judges the log by what is folded so far, trying again while the log is away.
func (r *runner) recognise(ctx context.Context, at position) (Bounds, *outcome) {
	type ruling struct {
		bounds  Bounds
		proof   Proof
		verdict *Verdict
	}
	got, err := keepTrying(ctx, r.u, LogUnavailable, func(ctx context.Context) (ruling, error) {
		bounds, proof, verdict, err := r.u.judge(ctx, at)
		return ruling{bounds, proof, verdict}, err
	})
	switch {
	case err != nil:
		return Bounds{}, r.failed(ctx, err)
	case got.verdict != nil && onlyTail(r.held, at.seq):
		return Bounds{}, &outcome{reload: "what was folded since the last checkpoint is not of this log: " + got.verdict.Evidence}
	case got.verdict != nil:
		return Bounds{}, &outcome{verdict: got.verdict}
	}
	r.u.recognised(got.proof, got.bounds)
	if !at.created.IsZero() && !at.created.Equal(got.bounds.Created) && at.seq > 0 {
		r.u.log.Warn("the stream says that it was made at another time, but its messages are those that were folded: the new time is noted",
			zap.Time("was", at.created), zap.Time("is", got.bounds.Created))
	}
	return got.bounds, nil
}

// loadSkips gets the events after the mark that are recorded as skipped.
func (r *runner) loadSkips(ctx context.Context, mark snapshotstore.Mark) *outcome {
	list, err := keepTrying(ctx, r.u, StoreUnavailable, func(ctx context.Context) ([]snapshotstore.Skipped, error) {
		_, list, err := r.u.worker.config.Store.Skipped(ctx, r.u.id)
		return list, err
	})
	if err != nil {
		return r.failed(ctx, err)
	}
	r.skips = map[uint64]bool{}
	for _, s := range list {
		if s.Seq > mark.Seq {
			r.skips[s.Seq] = true
		}
	}
	for _, s := range r.u.toSkip {
		r.skip(s) // recorded by the claim
	}
	return nil
}

// turn does one thing: takes the outcome of a commit, folds a batch, commits, or waits for one of them to be due.
func (r *runner) turn(ctx, sending context.Context) *outcome {
	if ctx.Err() != nil {
		return &outcome{stopped: true}
	}
	more := len(r.rest.Events) > 0
	if r.place == nil {
		r.place, r.judged = r.u.feeds.join(r.u.worker.ctx, r.seq, r.created), false
	} else if !more {
		if better := r.u.feeds.better(r.place, r.seq); better != nil {
			r.leave()
			r.place, r.judged = better, false
		}
	}
	now := time.Now()
	drained, head := r.place.drained()
	reached := r.u.follows(r.seq, head)
	r.pace.bounds, r.pace.gentle = r.u.worker.bounds(), r.u.besideNear()
	r.pace.crowd = r.u.worker.crowd()
	keys, bytes := r.fold.Dirty()
	waiting := load{keys: keys, bytes: bytes, drained: !more && drained && reached, inFlight: r.flight != nil}
	var input <-chan struct{}
	if !r.pace.full(now, waiting) {
		input = r.place.ready
	}
	var done <-chan error
	if r.flight != nil {
		done = r.flight.done
	}
	wait, due := r.pace.due(now, waiting)
	if due && wait == 0 {
		return r.commit(sending)
	}
	if r.flight == nil {
		look := idleLook - now.Sub(r.heard)
		if look <= 0 {
			return r.look(ctx, now)
		}
		if !due || look < wait {
			wait, due = look, true
		}
	}
	var timer <-chan time.Time
	if due {
		r.timer.Reset(wait)
		timer = r.timer.C
	}
	select { // what is there already is taken in this order, not in a random one: the same run can be had again
	case err := <-done:
		return r.settle(err)
	default:
	}
	select {
	case <-r.u.squeeze:
		r.u.worker.cache.trim(r.u, r.fold)
		return nil
	default:
	}
	select {
	case <-ctx.Done():
		return &outcome{stopped: true}
	case err := <-done:
		return r.settle(err)
	case <-input:
		return r.input(ctx, sending)
	case <-timer:
		return nil
	case <-r.u.squeeze:
		r.u.worker.cache.trim(r.u, r.fold)
		return nil
	}
}

// look asks the store whether it still holds what was left there, so that an idle unit too learns that its snapshot was
// dropped, or that another worker has it.
func (r *runner) look(ctx context.Context, now time.Time) *outcome {
	r.heard = now
	if r.judged && now.Sub(r.reads) >= idleLook { // the reader stays, though there is nothing to read
		r.readsAgain()
	}
	mark, err := keepTrying(ctx, r.u, StoreUnavailable, r.u.head)
	switch {
	case err != nil:
		return r.failed(ctx, err)
	case !sameMark(r.held, mark):
		return r.conflict(mark)
	}
	return nil
}

// input takes one batch from the unit's place in the feed and folds it, or goes on with the last one.
func (r *runner) input(ctx, sending context.Context) *outcome {
	if len(r.rest.Events) > 0 {
		return r.foldSome(ctx, sending)
	}
	batch, ok, err := r.place.take()
	switch {
	case err != nil:
		return r.readerEnded(ctx, err)
	case !ok:
		return nil
	}
	if !r.judged {
		bounds, out := r.recognise(ctx, r.position())
		if out != nil {
			return out
		}
		if r.created = bounds.Created; !sameLog(r.place.feed.created, bounds.Created) {
			r.place.end(errRemade)
			r.leave()
			return nil
		}
		r.judged = true
	}
	r.u.sawHead(batch.Head)
	if !continues(batch.From, r.seq) {
		r.leave() // read alone until caught up
		return nil
	}
	if batch.To > r.seq {
		r.readsAgain()
	}
	r.rest = batch
	return r.foldSome(ctx, sending)
}

// foldSome folds the next events of the batch that was taken: as many as take a moment, so that a commit, a stop and the
// cache get their turn in between, and the time that steps take is that of few of them.
func (r *runner) foldSome(ctx, sending context.Context) *outcome {
	token(r.place.ready) // there may be more, of this batch or behind it
	part := r.rest
	if n := r.u.portion; n < len(part.Events) {
		last := part.Events[n-1]
		part.Events, part.To, part.Last = part.Events[:n], last.Seq, witnessOf(last)
		r.rest.Events = r.rest.Events[n:]
	} else {
		r.rest = Batch{}
	}
	r.spent = 0
	if part.To > r.seq {
		if out := r.foldBatch(ctx, sending, part); out != nil {
			return out
		}
	}
	switch {
	case r.spent < moment/2 && len(part.Events) == r.u.portion:
		r.u.portion *= 2
	case r.spent > moment:
		r.u.portion = max(1, r.u.portion/2)
	}
	r.reached(part.Head)
	return nil
}

// readerEnded leaves the feed, to join one anew and judge the log again.
func (r *runner) readerEnded(ctx context.Context, err error) *outcome {
	r.leave()
	if ctx.Err() != nil {
		return &outcome{stopped: true}
	}
	if errors.Is(err, errBehind) || errors.Is(err, errRefiltered) || errors.Is(err, context.Canceled) {
		return nil
	}
	r.u.meters.resets.Inc()
	if r.ends++; r.ends == 1 {
		level := zap.InfoLevel
		if errors.Is(err, ErrIncomplete) {
			level = zap.WarnLevel
		}
		r.u.log.Log(level, "the reader ended: reading again from the last folded event", zap.Uint64("seq", r.seq), zap.Error(err))
	}
	bounds, out := r.recognise(ctx, r.position())
	if out != nil {
		return out
	}
	r.created = bounds.Created
	if r.ends > 1 { // the log answers, but can't be read
		r.u.passing(unavailable(LogUnavailable, r.u.stream.Name, err))
	}
	if sleep(ctx, r.u.backoff(r.ends-1)) != nil { // a reader that ends at once, again and again, must not be made in a tight loop
		return &outcome{stopped: true}
	}
	r.reads = time.Now()
	return nil
}

// readsAgain notes that the reader is one that lasts.
func (r *runner) readsAgain() {
	r.ends = 0
	r.u.back(LogUnavailable)
}

// position is what the unit has folded, committed or not, with what proves it.
func (r *runner) position() position {
	return position{seq: r.seq, created: r.created, witnesses: witnessesWith(r.held.Witnesses, r.last)}
}

// reached notes that the unit follows the head, when it does.
func (r *runner) reached(head uint64) {
	if (r.seq >= r.target || r.seq >= head) && r.u.state() != Live {
		r.u.becameLive(r)
	}
}

// failed makes an outcome of an error of the log or the store.
func (r *runner) failed(ctx context.Context, err error) *outcome {
	if ctx.Err() != nil {
		return &outcome{stopped: true}
	}
	if c, ok := errors.AsType[*snapshotstore.ConflictError](err); ok {
		return r.conflict(c.Held)
	}
	return &outcome{verdict: r.u.verdictOf(err)}
}

// conflict decides what to do about a mark in the store that is not the one that was left there.
func (r *runner) conflict(held snapshotstore.Mark) *outcome {
	u := r.u
	u.meters.conflicts.Inc()
	what, highest := afterConflict(u.worker.config.Name, r.held, held, u.highest)
	u.highest = highest
	switch what {
	case responseRefold:
		return &outcome{reload: fmt.Sprintf("the snapshot of %s (seq %d) is gone from the store: it is folded again from the log's beginning", u.id, r.held.Seq)}
	case responseStandBy:
		u.meters.fenced.Inc()
		return &outcome{standby: &held}
	default:
		return &outcome{reload: fmt.Sprintf("the store holds seq %d with epoch %d, seq %d with epoch %d was left there: it went back by %d", held.Seq, held.Epoch, r.held.Seq, r.held.Epoch, int64(r.held.Seq)-int64(held.Seq))}
	}
}

func (r *runner) leave() {
	if r.place != nil {
		r.place.leave()
		r.place = nil
	}
}
