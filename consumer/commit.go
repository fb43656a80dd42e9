package consumer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

// flight is a checkpoint under way. Its outcome is unknown until done has it; until then nothing else is sent.
type flight struct {
	checkpoint snapshotstore.Checkpoint
	sealed     atomic.Pointer[snapshotstore.Mark] // what it leads to; nil while its witness is being asked for
	done       chan error
	began      time.Time
	took       time.Duration // by the try that succeeded, less the wait for replicas
	held       time.Duration // of that, the store's own part: nobody else could use it; took where the store does not tell
	replicas   snapshotstore.Replicas
	keys       int
	bytes      int
}

// receiptStore is a store that knows how long a checkpoint kept others from it, and of replicas that have it.
type receiptStore interface {
	CommitWithReceipt(ctx context.Context, unit snapshotstore.Unit, checkpoint snapshotstore.Checkpoint) (snapshotstore.Receipt, error)
}

// is tells whether raw is the mark that the flight leads to.
func (f *flight) is(raw string) bool {
	if f == nil {
		return false
	}
	to := f.sealed.Load()
	return to != nil && string(to.Raw) == raw
}

// commit encodes what has changed and sends it off.
func (r *runner) commit(sending context.Context) *outcome {
	var changes projections.Changes
	if r.fold != nil {
		err := r.guard(max(r.held.Seq+1, r.only), r.seq, r.only > 0, func() (err error) {
			changes, err = r.fold.Changes()
			return err
		})
		switch {
		case errors.Is(err, errAbandoned):
			return &outcome{}
		case err != nil:
			return r.unencodable(err)
		}
	}
	to := checkpointOf(r.held, position{seq: r.seq, created: r.created}, r.last)
	c := snapshotstore.Checkpoint{From: r.held, To: to, Delete: changes.Delete, Skipped: r.skipped,
		Put: make([]snapshotstore.Entry, 0, len(changes.Put))}
	for _, e := range changes.Put {
		c.Put = append(c.Put, snapshotstore.Entry{Key: e.Key, Data: e.Value})
	}
	r.skipped, r.only = nil, 0
	r.send(sending, c)
	return nil
}

// unencodable decides about a value that can't be stored. Only when it is known which event made it so is the unit halted.
func (r *runner) unencodable(err error) *outcome {
	if r.only > 0 {
		var key string
		if v, ok := errors.AsType[*projections.ValueError](err); ok {
			key = v.Key
		}
		v := r.u.poison(err, r.only, key)
		if v.Reason == Poison && r.u.definition.OnPoison == projections.Skip {
			return &outcome{skip: &snapshotstore.Skipped{Seq: r.only, Key: key, Cause: r.u.worker.text(err), At: r.u.worker.config.Now().UTC()}}
		}
		return &outcome{verdict: v}
	}
	return &outcome{fault: &suspects{lo: r.held.Seq + 1, hi: r.seq, cause: err}}
}

// send sends a checkpoint, again and again while its outcome is unknown, in a goroutine that the worker waits for.
func (r *runner) send(sending context.Context, c snapshotstore.Checkpoint) {
	f := &flight{checkpoint: c, done: make(chan error, 1), began: time.Now(), keys: len(c.Put) + len(c.Delete)}
	for i := range c.Put {
		f.bytes += len(c.Put[i].Key) + len(c.Put[i].Data)
	}
	r.flight = f
	r.pace.started()
	config := &r.u.worker.config
	r.u.worker.wg.Go(func() {
		c := f.checkpoint
		c.To.Witnesses = r.u.proven(sending, c.To.Witnesses)
		c.To.Writer, c.To.At = config.Name, config.Now().UTC()
		c.To = c.To.Seal(rand.Text())
		f.sealed.Store(&c.To)
		config.Failpoint("before-commit")
		receipts, _ := config.Store.(receiptStore)
		_, err := keepTrying(sending, r.u, StoreUnavailable, func(ctx context.Context) (struct{}, error) {
			began := time.Now()
			var receipt snapshotstore.Receipt
			var err error
			if receipts != nil {
				receipt, err = receipts.CommitWithReceipt(ctx, r.u.id, c)
			} else {
				err = config.Store.Commit(ctx, r.u.id, c)
			}
			f.took = time.Since(began) - receipt.Waited
			f.held, f.replicas = f.took, receipt.Replicas
			if receipt.Held > 0 {
				f.held = min(receipt.Held, f.took)
			}
			return struct{}{}, err
		})
		config.Failpoint("after-commit")
		f.done <- err
	})
}

// proven asks the log for the newest witness's hash where it is not known. One that can't be had is left out.
func (u *unit) proven(ctx context.Context, witnesses []Witness) []Witness {
	if len(witnesses) == 0 || witnesses[0].Hash != "" {
		return witnesses
	}
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	w, err := u.feeds.log.Witness(ctx, witnesses[0].Seq)
	if err != nil || !w.Time.Equal(witnesses[0].Time) {
		return witnesses[1:]
	}
	return append([]Witness{w}, witnesses[1:]...)
}

// settle takes the outcome of the checkpoint under way.
func (r *runner) settle(err error) *outcome {
	f := r.flight
	r.flight = nil
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return &outcome{stopped: true}
		}
		return r.failed(context.Background(), err)
	}
	now := time.Now()
	r.held, r.heard = *f.sealed.Load(), now
	if r.fold != nil {
		r.fold.Acked()
	}
	r.last = afterSettled(r.last, r.held)
	r.pace.ended(now, f.held, f.keys)
	r.pace.short = f.replicas.Short()
	r.pace.sent(f.took, f.bytes)
	r.u.settled(r.held, f, now)
	return nil
}

// commitNow commits all that is folded and waits for it.
func (r *runner) commitNow(ctx, sending context.Context) *outcome {
	for {
		if r.flight != nil {
			select {
			case <-ctx.Done():
				return &outcome{stopped: true}
			case err := <-r.flight.done:
				if out := r.settle(err); out != nil {
					return out
				}
			}
			continue
		}
		if r.seq == r.held.Seq && !r.changed() {
			return nil
		}
		if out := r.commit(sending); out != nil {
			return out
		}
	}
}

func (r *runner) changed() bool {
	if len(r.skipped) > 0 {
		return true
	}
	if r.fold == nil {
		return false
	}
	keys, _ := r.fold.Dirty()
	return keys > 0
}

// noteAttempt leaves word in the mark that the events up to seq are about to be folded, so that a death while doing so
// is told from any other. Nothing else is uncommitted. Only one unit of a worker does so at a time: a process that ends
// has one to blame.
func (r *runner) noteAttempt(ctx, sending context.Context, seq uint64, alone bool) *outcome {
	select {
	case <-ctx.Done():
		return &outcome{stopped: true}
	case r.u.worker.bar <- struct{}{}:
		r.atBar.Store(true)
	}
	r.send(sending, snapshotstore.Checkpoint{From: r.held, To: attemptOf(r.held, seq, alone, r.died)})
	return r.commitNow(ctx, sending)
}

// leaveBar lets other units of the worker fold what they suspect.
func (r *runner) leaveBar() {
	if r.atBar.CompareAndSwap(true, false) {
		<-r.u.worker.bar
	}
}

// clearAttempt takes the word back where the worker lives: the event failed in a way that has a verdict of its own.
func (r *runner) clearAttempt(ctx, sending context.Context) {
	if r.flight != nil || !attempted(r.held) {
		return
	}
	r.send(sending, snapshotstore.Checkpoint{From: r.held, To: withoutAttempt(r.held)})
	select {
	case <-ctx.Done():
	case err := <-r.flight.done:
		r.settle(err) // if it fails, the next owner counts a death too many: a few are not enough for a verdict
	}
}

// claim makes this worker the unit's owner: the same seq under a higher epoch. From now on the checkpoints of whoever
// had it are refused.
func (r *runner) claim(ctx context.Context, mark snapshotstore.Mark, log Bounds) *outcome {
	u := r.u
	died, blamed := deaths(mark)
	if died.times > 0 {
		r.died = died
	}
	if blamed && !r.skips[mark.Attempt] {
		err := fmt.Errorf("%d workers, one after the other, died while they folded it alone", died.times)
		v := u.poison(err, mark.Attempt, "")
		if u.definition.OnPoison != projections.Skip {
			return &outcome{verdict: v}
		}
		r.skip(snapshotstore.Skipped{Seq: mark.Attempt, Cause: r.u.worker.text(err), At: r.u.worker.config.Now().UTC()})
	}
	to := claimOf(mark, u.highest, log, u.fingerprint)
	c := snapshotstore.Checkpoint{From: mark, To: to, Skipped: r.skipped}
	r.skipped = nil
	if mark.IsZero() {
		c.Definition = u.text
		u.log.Info("no snapshot: folding from the beginning", zap.Uint64("since", to.Since), zap.Uint64("events_to_read", log.Last+1-min(log.First, log.Last+1)))
	}
	r.send(ctx, c)
	err := <-r.flight.done // ends with ctx
	if conflict, ok := errors.AsType[*snapshotstore.ConflictError](err); ok {
		r.flight = nil
		what, highest := afterRefusedClaim(u.worker.config.Name, mark, to, conflict.Held, u.highest)
		switch u.highest = highest; what {
		case responseStandBy:
			return &outcome{standby: &conflict.Held}
		case responseClaimAgain:
			if out := r.loadSkips(ctx, conflict.Held); out != nil {
				return out
			}
			return r.claim(ctx, conflict.Held, log)
		}
		return &outcome{again: true}
	}
	if err != nil {
		r.flight = nil
		return r.failed(ctx, err)
	}
	if out := r.settle(nil); out != nil {
		return out
	}
	u.highest = max(u.highest, r.held.Epoch)
	r.fresh = mark.IsZero()
	r.pace = pace{eager: true}
	u.worker.config.Failpoint("after-claim")
	return r.serve(ctx)
}

// serve points readers to this version if they are pointed to none.
func (r *runner) serve(ctx context.Context) *outcome {
	u := r.u
	served, err := keepTrying(ctx, u, StoreUnavailable, func(ctx context.Context) (int, error) {
		served, err := u.worker.config.Store.Served(ctx, u.id.Projection)
		if err != nil || served != 0 {
			return served, err
		}
		err = u.worker.config.Store.Promote(ctx, u.id.Projection, 0, u.id.Version)
		if other, ok := errors.AsType[*snapshotstore.ServedError](err); ok {
			return other.Served, nil
		}
		return u.id.Version, err
	})
	if err != nil {
		return r.failed(ctx, err)
	}
	u.mu.Lock()
	u.status.Served = served == u.id.Version
	u.mu.Unlock()
	return nil
}

// finish makes the last checkpoint before the worker stops, within its grace.
func (r *runner) finish(ctx, sending context.Context) *outcome {
	stopped := &outcome{stopped: true}
	if r.held.IsZero() {
		return stopped
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.u.worker.config.Grace)
	defer cancel()
	out := r.commitNow(grace, sending)
	if out == nil && (r.held.Tries > 0 || attempted(r.held)) { // who stops in good order has not died at the next event
		r.send(sending, snapshotstore.Checkpoint{From: r.held, To: withoutAttempt(r.held)})
		out = r.commitNow(grace, sending)
	}
	if out != nil {
		if r.seq > r.held.Seq {
			r.u.log.Warn("stopped without a last checkpoint: the next start replays what lacks", zap.Uint64("seq", r.held.Seq), zap.Uint64("folded", r.seq))
		}
		return stopped
	}
	r.u.log.Info("stopped, all that was folded is committed", zap.Uint64("seq", r.held.Seq))
	return stopped
}

// waitFlight waits for the goroutine that sends, whose context is done by now.
func (r *runner) waitFlight() {
	if r.flight != nil {
		<-r.flight.done
		r.flight = nil
	}
}
