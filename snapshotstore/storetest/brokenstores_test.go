package storetest

import (
	"bytes"
	"context"
	"iter"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/tailfold/tailfold/snapshotstore"
)

// noCompare goes from whatever is held.
type noCompare struct{ *Memory }

func (b noCompare) Commit(ctx context.Context, unit snapshotstore.Unit, checkpoint snapshotstore.Checkpoint) error {
	for {
		held, err := b.Memory.Head(ctx, unit)
		if err != nil {
			return err
		}
		checkpoint.From = held
		if err := b.Memory.Commit(ctx, unit, checkpoint); err == nil {
			return nil
		}
	}
}

type comparesSeq struct{ *Memory }

func (b comparesSeq) Commit(ctx context.Context, unit snapshotstore.Unit, checkpoint snapshotstore.Checkpoint) error {
	held, err := b.Memory.Head(ctx, unit)
	if err != nil {
		return err
	}
	if held.Seq == checkpoint.From.Seq {
		checkpoint.From = held
	}
	return b.Memory.Commit(ctx, unit, checkpoint)
}

// twoSteps keeps values and mark one after the other. Reads may come between, and so may a crash.
type twoSteps struct {
	*Memory
	markFirst bool
}

func (b twoSteps) Commit(ctx context.Context, unit snapshotstore.Unit, checkpoint snapshotstore.Checkpoint) error {
	held, err := b.Memory.Head(ctx, unit)
	if err != nil {
		return err
	}
	if bytes.Equal(held.Raw, checkpoint.To.Raw) {
		return nil
	}
	first := checkpoint
	if b.markFirst {
		first = snapshotstore.Checkpoint{From: checkpoint.From, To: checkpoint.To}
	} else {
		first.To = checkpoint.To
		first.To.Raw = held.Raw
		if held.IsZero() { // the first one is whole: there is no mark that could stay
			return b.Memory.Commit(ctx, unit, checkpoint)
		}
	}
	if err := b.step(ctx, unit, held, first); err != nil {
		return err
	}
	for range 100 {
		runtime.Gosched()
	}
	second := checkpoint
	if !b.markFirst {
		second = snapshotstore.Checkpoint{From: checkpoint.From, To: checkpoint.To}
	}
	return b.step(ctx, unit, first.To, second)
}

// step applies what it is given where held is held.
func (b twoSteps) step(
	ctx context.Context, unit snapshotstore.Unit, held snapshotstore.Mark, checkpoint snapshotstore.Checkpoint,
) error {
	leave, err := b.enter(ctx, "commit")
	if err != nil {
		return err
	}
	defer leave()
	now, err := b.head(unit)
	if err != nil {
		return err
	}
	if !bytes.Equal(now.Raw, held.Raw) {
		return &snapshotstore.ConflictError{Unit: unit, Held: now}
	}
	if b.data.units[unit] == nil {
		b.data.units[unit] = &memorySnapshot{values: map[string][]byte{}}
	}
	b.data.units[unit].apply(checkpoint)
	return nil
}

type notIdempotent struct{ *Memory }

func (b notIdempotent) Commit(ctx context.Context, unit snapshotstore.Unit, checkpoint snapshotstore.Checkpoint) error {
	held, err := b.Memory.Head(ctx, unit)
	if err == nil && bytes.Equal(held.Raw, checkpoint.To.Raw) {
		return &snapshotstore.ConflictError{Unit: unit, Held: held}
	}
	return b.Memory.Commit(ctx, unit, checkpoint)
}

type appliesTwice struct{ *Memory }

func (b appliesTwice) Commit(ctx context.Context, unit snapshotstore.Unit, checkpoint snapshotstore.Checkpoint) error {
	held, err := b.Memory.Head(ctx, unit)
	if err == nil && bytes.Equal(held.Raw, checkpoint.To.Raw) {
		b.data.mu.Lock()
		defer b.data.mu.Unlock()
		b.data.units[unit].apply(checkpoint)
		return nil
	}
	return b.Memory.Commit(ctx, unit, checkpoint)
}

// writesBehind loses its last commit when it is closed.
type writesBehind struct {
	*Memory
	mu     sync.Mutex
	unit   snapshotstore.Unit
	before *memorySnapshot
}

func (b *writesBehind) Commit(ctx context.Context, unit snapshotstore.Unit, checkpoint snapshotstore.Checkpoint) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data.mu.Lock()
	b.unit, b.before = unit, nil
	if s := b.data.units[unit]; s != nil {
		kept := *s
		kept.values, kept.skipped = maps.Clone(s.values), slices.Clone(s.skipped)
		b.before = &kept
	}
	b.data.mu.Unlock()
	return b.Memory.Commit(ctx, unit, checkpoint)
}

func (b *writesBehind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.before != nil {
		b.data.mu.Lock()
		b.data.units[b.unit], b.before = b.before, nil
		b.data.mu.Unlock()
	}
	return b.Memory.Close()
}

type silentConflict struct{ *Memory }

func (b silentConflict) Commit(ctx context.Context, unit snapshotstore.Unit, checkpoint snapshotstore.Checkpoint) error {
	err := b.Memory.Commit(ctx, unit, checkpoint)
	if _, ok := err.(*snapshotstore.ConflictError); ok {
		return &snapshotstore.ConflictError{Unit: unit}
	}
	return err
}

type readsApart struct{ *Memory }

func (b readsApart) Get(ctx context.Context, unit snapshotstore.Unit, keys []string) (
	snapshotstore.Mark, []snapshotstore.Value, error,
) {
	mark, err := b.Memory.Head(ctx, unit)
	if err != nil {
		return snapshotstore.Mark{}, nil, err
	}
	_, values, err := b.Memory.Get(ctx, unit, keys)
	return mark, values, err
}

// sharedNames keeps the mark where a key of that name would be.
type sharedNames struct{ *Memory }

func (b sharedNames) Commit(ctx context.Context, unit snapshotstore.Unit, checkpoint snapshotstore.Checkpoint) error {
	if err := b.Memory.Commit(ctx, unit, checkpoint); err != nil {
		return err
	}
	for _, entry := range checkpoint.Put {
		if entry.Key == "$mark" {
			b.SetMark(unit, entry.Data)
		}
	}
	return nil
}

// sealsAgain loses the members of a mark that it does not know.
type sealsAgain struct{ *Memory }

func (b sealsAgain) Head(ctx context.Context, unit snapshotstore.Unit) (snapshotstore.Mark, error) {
	mark, err := b.Memory.Head(ctx, unit)
	if err != nil || mark.IsZero() {
		return mark, err
	}
	return mark.Seal(mark.ID), nil
}

type stopsEarly struct{ *Memory }

func (b stopsEarly) Scan(ctx context.Context, unit snapshotstore.Unit) iter.Seq2[snapshotstore.Entry, error] {
	return func(yield func(snapshotstore.Entry, error) bool) {
		told := 0
		for entry, err := range b.Memory.Scan(ctx, unit) {
			if told++; told > 512 || !yield(entry, err) {
				return
			}
		}
	}
}

// countsOff takes the number of keys that it told for the place to go on from.
type countsOff struct{ *Memory }

func (b countsOff) Scan(ctx context.Context, unit snapshotstore.Unit) iter.Seq2[snapshotstore.Entry, error] {
	return func(yield func(snapshotstore.Entry, error) bool) {
		for told := 0; ; told += 100 {
			keys, err := b.keys(ctx, unit)
			if err != nil {
				yield(snapshotstore.Entry{}, err)
				return
			}
			if told >= len(keys) {
				return
			}
			step := keys[told:min(told+100, len(keys))]
			_, values, err := b.Get(ctx, unit, step)
			if err != nil {
				yield(snapshotstore.Entry{}, err)
				return
			}
			for i, value := range values {
				if value.Exists && !yield(snapshotstore.Entry{Key: step[i], Data: value.Data}, nil) {
					return
				}
			}
			runtime.Gosched()
		}
	}
}

type takesAll struct{ *Memory }

func (b takesAll) Scan(ctx context.Context, unit snapshotstore.Unit) iter.Seq2[snapshotstore.Entry, error] {
	return func(yield func(snapshotstore.Entry, error) bool) {
		var all []snapshotstore.Entry
		for entry, err := range b.Memory.Scan(ctx, unit) {
			if err != nil {
				yield(entry, err)
				return
			}
			all = append(all, entry)
		}
		for _, entry := range all {
			if !yield(entry, nil) {
				return
			}
		}
	}
}

type dropsValues struct{ *Memory }

func (b dropsValues) Drop(ctx context.Context, unit snapshotstore.Unit) error {
	_, skipped, err := b.Memory.Skipped(ctx, unit)
	if err != nil || len(skipped) == 0 {
		return b.Memory.Drop(ctx, unit)
	}
	b.data.mu.Lock()
	defer b.data.mu.Unlock()
	b.data.units[unit] = &memorySnapshot{values: map[string][]byte{}, skipped: skipped}
	return nil
}

type noContext struct{ *Memory }

func (b noContext) Head(ctx context.Context, unit snapshotstore.Unit) (snapshotstore.Mark, error) {
	return b.Memory.Head(context.WithoutCancel(ctx), unit)
}

func (b noContext) Commit(ctx context.Context, unit snapshotstore.Unit, checkpoint snapshotstore.Checkpoint) error {
	return b.Memory.Commit(context.WithoutCancel(ctx), unit, checkpoint)
}

func (b noContext) Scan(ctx context.Context, unit snapshotstore.Unit) iter.Seq2[snapshotstore.Entry, error] {
	return b.Memory.Scan(context.WithoutCancel(ctx), unit)
}

type trusting struct{ *Memory }

func (b trusting) Head(ctx context.Context, unit snapshotstore.Unit) (snapshotstore.Mark, error) {
	mark, err := b.Memory.Head(ctx, unit)
	if _, corrupt := err.(*snapshotstore.CorruptError); corrupt {
		return snapshotstore.Mark{}, nil
	}
	return mark, err
}

type promotesAll struct{ *Memory }

func (b promotesAll) Promote(ctx context.Context, projection string, _, to int) error {
	for {
		served, err := b.Memory.Served(ctx, projection)
		if err != nil {
			return err
		}
		if err := b.Memory.Promote(ctx, projection, served, to); err == nil {
			return nil
		}
	}
}

type remembers struct{ *Memory }

func (b remembers) Announce(ctx context.Context, worker string, report []byte, _ time.Duration) error {
	return b.Memory.Announce(ctx, worker, report, time.Hour)
}
