package schedules

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/snapshotstore"
)

// weather is how bad a worker's lines to its log and store are; probabilities.
type weather struct {
	fail float64 // a call does not arrive
	lose float64 // its reply does not
	late float64 // a commit arrives long after its caller has given it up
	dup  float64 // a commit arrives twice
	read float64 // a batch comes twice, after the next one, or not at all
}

// line is one worker's way to the log and the store. Each call takes a time of its own, so that in one moment of the
// bubble's time one thing happens.
type line struct {
	w    *world
	name string

	mu      sync.Mutex
	dead    bool
	weather weather
	known   map[snapshotstore.Unit]uint64 // seqs of the marks that the store has told it of
	readers int
}

var errCut = errors.New("connection cut")

func (l *line) now() (weather, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.weather, l.dead
}

func (l *line) set(weather weather) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.weather = weather
}

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
}

func (l *line) knows(unit snapshotstore.Unit, seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known[unit] = seq
}

// pass takes a call over the line. Its reply is lost where lost is set.
func (l *line) pass(ctx context.Context, op string) (lost bool, err error) {
	asker := l.name
	if unit, ok := consumer.UnitOf(ctx); ok {
		asker += " " + unit.String()
	}
	d := l.w.dice(asker + " " + op)
	weather, _ := l.now()
	wait := d.duration(20*time.Microsecond, 3*time.Millisecond)
	fails, lost := d.chance(weather.fail), d.chance(weather.lose)
	if err := l.w.rest(ctx, wait); err != nil {
		return false, err
	}
	if _, dead := l.now(); dead || fails {
		l.w.note(l.name, op, "does not arrive")
		return false, errCut
	}
	return lost, nil
}

// rest waits in the bubble's time, until a moment at which nothing else does: package synctest wakes those that wait for
// the same one in a random order.
func (w *world) rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(w.moment(d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// lineStore is the store as one worker reaches it.
type lineStore struct {
	snapshotstore.Store
	*line
}

func ask[T any](ctx context.Context, l *line, op string, call func() (T, error)) (T, error) {
	var zero T
	lost, err := l.pass(ctx, op)
	if err != nil {
		return zero, &snapshotstore.Error{Op: op, Err: err}
	}
	got, err := call()
	l.w.note(l.name, op, "")
	if lost {
		l.w.note(l.name, op, "the reply is lost")
		return zero, &snapshotstore.Error{Op: op, Err: errCut}
	}
	if err != nil {
		l.w.note(l.name, op, "error")
	}
	return got, err
}

func (s lineStore) Head(ctx context.Context, u snapshotstore.Unit) (snapshotstore.Mark, error) {
	mark, err := ask(ctx, s.line, "head "+u.String(), func() (snapshotstore.Mark, error) { return s.Store.Head(ctx, u) })
	if err == nil {
		s.knows(u, mark.Seq)
		s.w.note(s.name, "head "+u.String(), fmt.Sprint(mark.Seq, " ", mark.Epoch))
	}
	return mark, err
}

func (s lineStore) Get(ctx context.Context, u snapshotstore.Unit, keys []string) (snapshotstore.Mark, []snapshotstore.Value, error) {
	type read struct {
		mark   snapshotstore.Mark
		values []snapshotstore.Value
	}
	got, err := ask(ctx, s.line, "get "+u.String(), func() (read, error) {
		mark, values, err := s.Store.Get(ctx, u, keys)
		return read{mark, values}, err
	})
	s.w.note(s.name, "get "+u.String(), fmt.Sprint(keys, " ", got.mark.Seq))
	return got.mark, got.values, err
}

func (s lineStore) Skipped(ctx context.Context, u snapshotstore.Unit) (mark snapshotstore.Mark, list []snapshotstore.Skipped, err error) {
	list, err = ask(ctx, s.line, "skipped "+u.String(), func() (list []snapshotstore.Skipped, err error) {
		mark, list, err = s.Store.Skipped(ctx, u)
		return list, err
	})
	return mark, list, err
}

func (s lineStore) Served(ctx context.Context, projection string) (int, error) {
	return s.Store.Served(ctx, projection)
}

func (s lineStore) Announce(ctx context.Context, worker string, report []byte, renew time.Duration) error {
	if _, dead := s.now(); dead {
		return errCut
	}
	return s.Store.Announce(ctx, worker, report, renew)
}

// Commit takes a checkpoint to the store: perhaps twice, perhaps long after its caller, or the caller's process, is gone.
func (s lineStore) Commit(ctx context.Context, u snapshotstore.Unit, c snapshotstore.Checkpoint) error {
	op := "commit " + u.String()
	weather, _ := s.now()
	d := s.w.dice(s.name + " fate of " + op)
	outlives, late, dup := d.chance(0.5), d.chance(weather.late), d.chance(weather.dup)
	when := d.duration(20*time.Millisecond, 20*time.Second)
	what := fmt.Sprintf("%d/%d -> %d/%d put %d delete %d", c.From.Seq, c.From.Epoch, c.To.Seq, c.To.Epoch, len(c.Put), len(c.Delete))
	arrive := func() error {
		err := s.w.apply(u, c)
		if err == nil {
			s.knows(u, c.To.Seq)
		}
		s.w.note(s.name, op, fmt.Sprint(what, " ", err == nil))
		return err
	}
	afterwards := func() {
		s.w.strays.Go(func() {
			if s.w.rest(s.w.ctx, when) == nil {
				_ = arrive() // nobody is left to be told
			}
		})
	}
	if late {
		afterwards()
		_ = s.w.rest(ctx, 500*time.Millisecond+d.duration(0, time.Millisecond))
		return &snapshotstore.Error{Op: "commit", Err: errors.New("no reply in time")}
	}
	lost, err := s.pass(ctx, op)
	if err != nil {
		if ctx.Err() != nil && outlives { // it was on its way
			afterwards()
		}
		return &snapshotstore.Error{Op: "commit", Err: err}
	}
	err = arrive()
	if dup {
		afterwards()
	}
	if lost {
		return &snapshotstore.Error{Op: "commit", Err: errCut}
	}
	return err
}

// lineLog is the log of one partition as one worker reaches it.
type lineLog struct {
	consumer.Log
	*line
	part int
}

func question[T any](ctx context.Context, l *line, op string, call func() (T, error)) (T, error) {
	var zero T
	lost, err := l.pass(ctx, op)
	if err == nil {
		var got T
		if got, err = call(); err == nil && !lost {
			l.w.note(l.name, op, "")
			return got, nil
		}
		l.w.note(l.name, op, fmt.Sprint(err))
	}
	if err == nil {
		err = errCut
	}
	return zero, err
}

func (l lineLog) Bounds(ctx context.Context) (consumer.Bounds, error) {
	return question(ctx, l.line, fmt.Sprint("bounds ", l.part), func() (consumer.Bounds, error) { return l.Log.Bounds(ctx) })
}

func (l lineLog) Witness(ctx context.Context, seq uint64) (consumer.Witness, error) {
	return question(ctx, l.line, fmt.Sprint("witness ", l.part, " ", seq), func() (consumer.Witness, error) { return l.Log.Witness(ctx, seq) })
}

func (l lineLog) Open(ctx context.Context, after uint64, subjects []string) (consumer.Reader, error) {
	op := fmt.Sprint("open ", l.part, " ", after)
	reader, err := question(ctx, l.line, op, func() (consumer.Reader, error) { return l.Log.Open(ctx, after, subjects) })
	if err != nil {
		return nil, err
	}
	l.w.note(l.name, op, fmt.Sprint("after ", after))
	l.mu.Lock()
	defer l.mu.Unlock()
	lowest := l.known[snapshotstore.Unit{Projection: "totals", Version: 1, Partition: l.part}]
	lowest = min(lowest, l.known[snapshotstore.Unit{Projection: "count", Version: 1, Partition: l.part}])
	if after < lowest { // O6
		l.w.fail("O6: %s reads partition %d again after seq %d, its units' snapshots are at %d and above", l.name, l.part, after, lowest)
	}
	l.readers++
	return &lineReader{Reader: reader, log: l, n: l.readers}, nil
}

// lineReader hands out what the log hands out, later, and in bad weather twice, in another order, or with a gap.
type lineReader struct {
	consumer.Reader
	log   lineLog
	n     int // of all that the worker has opened
	begun bool
	kept  []consumer.Batch // to be handed out next
}

func (r *lineReader) Next(ctx context.Context) (consumer.Batch, error) {
	l := r.log
	op := fmt.Sprint("next ", l.part, " ", r.n)
	d := l.w.dice(l.name + " " + op)
	if err := l.w.rest(ctx, d.duration(20*time.Microsecond, 2*time.Millisecond)); err != nil {
		return consumer.Batch{}, err
	}
	if len(r.kept) > 0 {
		b := r.kept[0]
		r.kept = r.kept[1:]
		l.w.note(l.name, op, fmt.Sprint(b.From, " ", b.To, " kept"))
		return b, nil
	}
	batch, err := r.Reader.Next(ctx)
	if err != nil {
		return batch, err
	}
	weather, dead := l.now()
	if dead {
		return consumer.Batch{}, errCut
	}
	if err := l.w.rest(ctx, d.duration(20*time.Microsecond, 2*time.Millisecond)); err != nil {
		return consumer.Batch{}, err
	}
	if r.begun && d.chance(weather.read) {
		switch d.below(3) {
		case 0:
			r.kept = append(r.kept, batch)
		default:
			soon, cancel := context.WithTimeout(ctx, 50*time.Millisecond+d.duration(0, time.Millisecond))
			next, err := r.Reader.Next(soon)
			cancel()
			switch {
			case ctx.Err() != nil:
				return consumer.Batch{}, ctx.Err()
			case err == nil && d.below(2) == 0:
				r.kept, batch = append(r.kept, batch), next // the other way round
			case err == nil:
				batch = next // and the one before it never
			}
		}
	}
	r.begun = true
	l.w.note(l.name, op, fmt.Sprint(batch.From, " ", batch.To))
	return batch, nil
}
