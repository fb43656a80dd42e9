package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

// foldBatch folds what is new in a batch. Most batches are folded as a whole; where an event is suspected of something,
// or recorded as skipped, in parts.
func (r *runner) foldBatch(ctx, sending context.Context, batch Batch) *outcome {
	events := tailOf(batch.Events, r.seq)
	for len(events) > 0 {
		n, suspected := r.care.next(events)
		part := events[:n]
		events = events[n:]
		if suspected { // what is folded so far must not be lost with it
			if out := r.commitNow(ctx, sending); out != nil {
				return out
			}
		}
		if suspected && r.care.deaths && slices.ContainsFunc(part, r.wants) {
			if out := r.noteAttempt(ctx, sending, part[n-1].Seq, n == 1); out != nil {
				return out
			}
		}
		if out := r.foldPart(ctx, sending, part, suspected); out != nil {
			return out
		}
		if r.only = 0; suspected && n == 1 {
			r.only = part[0].Seq
		}
		if len(events) > 0 || suspected {
			r.moveTo(part[n-1].Seq, witnessOf(part[n-1]))
		}
		if suspected {
			if out := r.commitNow(ctx, sending); out != nil {
				return out
			}
			r.leaveBar()
		}
	}
	if batch.To > r.seq {
		r.moveTo(batch.To, batch.Last)
	}
	return nil
}

// foldPart folds events, leaving out those that are recorded as skipped.
func (r *runner) foldPart(ctx, sending context.Context, events []projections.Event, suspected bool) *outcome {
	for len(events) > 0 {
		n := len(events)
		if len(r.skips) > 0 {
			for n = 0; n < len(events) && !r.skips[events[n].Seq]; n++ {
			}
		}
		rest, err := r.foldEvents(ctx, events[:n], suspected)
		switch {
		case err == nil && n < len(events): // events[n] is recorded as skipped
			r.moveTo(events[n].Seq, witnessOf(events[n])) // never values without the position that they belong to
			delete(r.skips, events[n].Seq)                // they get fewer again
			events = events[n+1:]
		case err == nil:
			events = nil
		case errors.Is(err, errAbandoned):
			return &outcome{}
		default:
			out := r.poisoned(ctx, sending, err, events[:n], suspected)
			if out != nil {
				return out
			}
			events = events[n-len(rest):] // skipped: on with those behind it
		}
	}
	return nil
}

// foldEvents loads what the events need and folds them. With an *EventError it returns the events behind that one.
func (r *runner) foldEvents(ctx context.Context, events []projections.Event, alone bool) ([]projections.Event, error) {
	if len(events) == 0 {
		return nil, nil
	}
	lo, hi := events[0].Seq, events[len(events)-1].Seq
	alone = alone && len(events) == 1
	config := &r.u.worker.config
	config.Failpoint("before-fold")
	var missing []string
	if err := r.guard(lo, hi, alone, func() error { missing = r.fold.Plan(events); return nil }); err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		if err := r.load(ctx, missing, lo, hi, alone); err != nil {
			return nil, err
		}
	}
	err := r.guard(lo, hi, alone, r.fold.Step)
	if errors.Is(err, errAbandoned) {
		return nil, err
	}
	folded := events
	if failed, ok := errors.AsType[*projections.EventError](err); ok {
		for i := range events {
			if events[i].Seq == failed.Seq {
				folded = events[:i]
				break
			}
		}
	}
	if _, bytes := r.fold.Dirty(); bytes > 0 {
		r.pace.changed(time.Now())
	}
	r.u.folded(len(folded))
	r.u.worker.cache.trim(r.u, r.fold)
	config.Failpoint("after-fold")
	if err != nil {
		return events[min(len(folded)+1, len(events)):], err
	}
	return nil, nil
}

// load gets the values of keys from the store, with the mark that they belong to.
func (r *runner) load(ctx context.Context, keys []string, lo, hi uint64, alone bool) error {
	type read struct {
		mark   snapshotstore.Mark
		values []snapshotstore.Value
	}
	config := &r.u.worker.config
	config.Failpoint("during-load")
	if r.fresh && r.fold.Whole() { // all that the snapshot has was folded here, and is here: there is nothing to ask for
		return r.guard(lo, hi, alone, func() error {
			for _, key := range keys {
				if err := r.fold.Load(key, nil, false); err != nil {
					return err
				}
			}
			return nil
		})
	}
	got, err := keepTrying(ctx, r.u, StoreUnavailable, func(ctx context.Context) (read, error) {
		mark, values, err := config.Store.Get(ctx, r.u.id, keys)
		return read{mark, values}, err
	})
	if err != nil {
		return err
	}
	// Values that belong to another mark are another prefix's: an owner ahead of us, or a store that went back.
	if !sameMark(r.held, got.mark) && !r.flight.is(string(got.mark.Raw)) {
		return &snapshotstore.ConflictError{Unit: r.u.id, Held: got.mark}
	}
	return r.guard(lo, hi, alone, func() error {
		for i, v := range got.values {
			if err := r.fold.Load(keys[i], v.Data, v.Exists); err != nil {
				return &snapshotstore.CorruptError{Unit: r.u.id, Key: keys[i], Why: r.u.worker.text(err)}
			}
		}
		return nil
	})
}

// poisoned decides about an error of folding events. nil means that the event was skipped and folding goes on behind it.
func (r *runner) poisoned(ctx, sending context.Context, err error, events []projections.Event, suspected bool) *outcome {
	failed, ok := errors.AsType[*projections.EventError](err)
	if !ok {
		return r.failed(ctx, err)
	}
	at := 0
	for i := range events {
		if events[i].Seq == failed.Seq {
			at = i
		}
	}
	if !failed.Intact && !(suspected && len(events) == 1 && r.seq == r.held.Seq) { // what is folded and not committed would be lost with it
		return &outcome{fault: &suspects{lo: failed.Seq, hi: failed.Seq, cause: err}}
	}
	if at > 0 { // what is folded goes up to the event before
		r.moveTo(events[at-1].Seq, witnessOf(events[at-1]))
	}
	verdict := r.u.poison(err, failed.Seq, failed.Key)
	if verdict.Reason != Poison || r.u.definition.OnPoison != projections.Skip {
		if failed.Intact {
			if out := r.commitNow(ctx, sending); out != nil {
				return out
			}
		}
		return &outcome{verdict: verdict}
	}
	r.skip(snapshotstore.Skipped{Seq: failed.Seq, Subject: failed.Subject, Key: failed.Key, Cause: r.u.worker.text(failed.Err), At: r.u.worker.config.Now().UTC()})
	r.moveTo(failed.Seq, witnessOf(events[at]))
	if failed.Intact {
		return nil
	}
	// The values are undefined now. Those up to the event before are committed: record the event and begin again from there.
	r.fold = nil
	if out := r.commitNow(ctx, sending); out != nil {
		return out
	}
	return &outcome{again: true}
}

// skip leaves an event out for good: with the next checkpoint it stands in the record.
func (r *runner) skip(s snapshotstore.Skipped) {
	r.skips[s.Seq] = true
	r.skipped = append(r.skipped, s)
	r.u.skippedOne()
	r.u.log.Warn("skipped an event that can't be folded", zap.Uint64("event_seq", s.Seq), zap.String("subject", s.Subject), zap.String("key", s.Key), zap.String("cause", s.Cause))
}

// poison is the verdict about an event that can't be folded.
func (u *unit) poison(err error, seq uint64, key string) *Verdict {
	v := &Verdict{Reason: Poison, Seq: seq, Key: key}
	if tooLarge, ok := errors.AsType[*projections.TooLargeError](err); ok {
		v.Reason, v.Key = TooLarge, tooLarge.Key
	}
	if panicked, ok := errors.AsType[*projections.PanicError](err); ok {
		v.Stack = string(panicked.Stack)
	}
	v.Evidence = fmt.Sprintf("%s can't fold event %d of stream %s: %s", u.id, seq, u.definition.Stream, u.worker.text(err))
	v.WayOut = u.waysOut(v.Reason)
	return v
}

// text is an error's text, without data of events and values unless that is asked for.
func (w *Worker) text(err error) string {
	if w.config.Payloads {
		return projections.Quoted(err)
	}
	return err.Error()
}

// stuck is the verdict about a step that does not return.
func (u *unit) stuck(s suspects) *Verdict {
	return &Verdict{Reason: Stuck, Seq: s.lo, Stack: s.stack, WayOut: u.waysOut(Stuck),
		Evidence: fmt.Sprintf("%s: the step for event %d of stream %s has not returned for %v", u.id, s.lo, u.definition.Stream, u.worker.config.StepTimeout)}
}

// wants tells whether an event is of a subject that the unit folds.
func (r *runner) wants(event projections.Event) bool {
	subjects, ok := projections.NarrowSubjects(r.u.definition.Subjects, r.u.subjects)
	if !ok {
		return false
	}
	for _, s := range subjects {
		if projections.MatchSubject(s, event.Subject) {
			return true
		}
	}
	return len(subjects) == 0
}

func (r *runner) moveTo(seq uint64, last Witness) {
	r.seq, r.last = seq, last
	r.pace.changed(time.Now())
}

// witnessOf is the witness of an event that was handed out. Where it has a header its hash is not known: readers need
// not keep the header as it was stored.
func witnessOf(e projections.Event) Witness {
	w := Witness{Seq: e.Seq, Time: e.Time}
	if e.Header.Empty() {
		w.Hash = WitnessHash(e.Subject, nil, e.Data)
	}
	return w
}
