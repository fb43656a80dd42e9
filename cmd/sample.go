package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/projections"
)

// sample is some events of a stream, one after another.
type sample struct {
	stream string
	bounds consumer.Bounds
	newest bool // the last ones, not the first
	events []projections.Event
	to     uint64 // read up to and including
}

// whole tells whether the sample is all that the stream holds.
func (s *sample) whole() bool { return s.from() <= s.bounds.First && s.to >= s.bounds.Last }

func (s *sample) from() uint64 {
	if len(s.events) == 0 {
		return s.bounds.First
	}
	return s.events[0].Seq
}

// maxSample bounds the memory of a sample.
const (
	maxSample      = 1_000_000
	maxSampleBytes = 512 << 20
)

// sample reads n events of a stream: the first ones, as a replay would begin, or the newest. The reader that it makes on
// the server is gone when it returns.
func (s *streams) sample(ctx context.Context, stream string, n int, newest bool) (_ *sample, err error) {
	if s.conn == nil {
		if err := s.connect(ctx, "sample", zap.NewNop()); err != nil {
			return nil, err
		}
	}
	log, err := s.log(consumer.Stream{Name: stream}, 0)
	if err != nil {
		return nil, err
	}
	bounds, err := log.Bounds(ctx)
	if err != nil {
		return nil, s.sampleError(stream, err)
	}
	found := &sample{stream: stream, bounds: bounds, newest: newest}
	if bounds.Last < bounds.First {
		return found, nil
	}
	after := bounds.First - 1
	if count := bounds.Last - after; newest && count > uint64(n) {
		after = bounds.Last - uint64(n)
	}
	found.to = after
	reader, err := log.Open(ctx, after, nil)
	if err != nil {
		return nil, s.sampleError(stream, err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if closeErr := reader.Close(closing); closeErr != nil && err == nil {
			err = away(fmt.Errorf("%w; the server removes the reader's consumer by itself after 30 s", closeErr))
		}
	}()
	return found, s.fill(ctx, found, reader, n)
}

// fill reads what the stream held when its bounds were asked for, up to n events.
func (s *streams) fill(ctx context.Context, found *sample, reader consumer.Reader, n int) error {
	bytes := 0
	for len(found.events) < n && found.to < found.bounds.Last {
		batch, err := reader.Next(ctx)
		if err != nil {
			return s.sampleError(found.stream, err)
		}
		found.events = append(found.events, batch.Events...)
		found.to = batch.To
		if bytes += batch.Bytes; bytes > maxSampleBytes {
			return usage(fmt.Errorf("the sample of stream %s takes more than %v after %d events: ask for fewer with --sample", found.stream, Size(maxSampleBytes), len(found.events)))
		}
	}
	if len(found.events) > n {
		found.events = slices.Clip(found.events[:n])
		found.to = found.events[n-1].Seq
	}
	projections.Share(found.events)
	return nil
}

// sampleError finds the exit code: a stream that does not exist is not so, one that can't be reached is away.
func (s *streams) sampleError(stream string, err error) error {
	if errors.Is(err, consumer.ErrNoLog) {
		return notSo(err)
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	return away(s.config.redacted(fmt.Errorf("%w; NATS is at %s", err, withoutSecret(s.config.nats.URL))))
}

// trial is what came of folding a sample in memory.
type trial struct {
	projection projections.Projection
	events     int // with a subject that the projection reads
	matched    int // that changed a value
	values     map[string][]byte
	order      []string // of the keys, as they were met
	poison     []*projections.EventError
}

// try folds a sample event by event, going on after poison as on_poison: skip does.
func (c *Config) try(p projections.Projection, events []projections.Event) *trial {
	t := &trial{projection: p, values: map[string][]byte{}}
	options := projections.FoldOptions{MaxKey: int(c.Limits.MaxKey), MaxValue: int(c.Limits.MaxValue)}
	subjects := p.Definition().Subjects
	fold := p.NewFold(options)
	seen := map[string]bool{}
	for i := range events {
		if len(subjects) > 0 && !slices.ContainsFunc(subjects, func(f string) bool { return projections.MatchSubject(f, events[i].Subject) }) {
			continue
		}
		t.events++
		changes, err := t.step(fold, events[i:i+1])
		if err != nil {
			t.poison = append(t.poison, poisonOf(events[i], err))
			fold = p.NewFold(options)
			continue
		}
		if len(changes.Put)+len(changes.Delete) > 0 {
			t.matched++
		}
		for _, put := range changes.Put {
			t.values[put.Key] = put.Value
			if !seen[put.Key] {
				seen[put.Key] = true
				t.order = append(t.order, put.Key)
			}
		}
		for _, key := range changes.Delete {
			delete(t.values, key)
		}
	}
	t.order = slices.DeleteFunc(t.order, func(key string) bool { return t.values[key] == nil })
	return t
}

func (t *trial) step(fold projections.Fold, event []projections.Event) (projections.Changes, error) {
	for _, key := range fold.Plan(event) {
		stored, ok := t.values[key]
		if err := fold.Load(key, stored, ok); err != nil {
			return projections.Changes{}, err
		}
	}
	if err := fold.Step(); err != nil {
		return projections.Changes{}, err
	}
	changes, err := fold.Changes()
	if err != nil {
		return projections.Changes{}, err
	}
	fold.Acked()
	return changes, nil
}

func poisonOf(event projections.Event, err error) *projections.EventError {
	if e, ok := errors.AsType[*projections.EventError](err); ok {
		return e
	}
	return &projections.EventError{Seq: event.Seq, Subject: event.Subject, Err: err}
}
