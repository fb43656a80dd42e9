package storetest

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tailfold/tailfold/snapshotstore"
)

// Memory is a store in memory: the reference that says in the fewest words what a Store promises. It starts no
// goroutine, never waits for anything but its mutex, and tells time by time.Now, so that it runs inside a synctest
// bubble. What it holds outlives its handles: Handle gives another one, as a restarted worker would have.
type Memory struct {
	data *memoryData
	mu   sync.Mutex
	gone bool
}

// memoryData is what all handles share.
type memoryData struct {
	mu      sync.Mutex
	units   map[snapshotstore.Unit]*memorySnapshot
	served  map[string]int
	workers map[string]memoryReport
}

type memorySnapshot struct {
	mark       []byte // as sealed; nil only in a damaged snapshot
	values     map[string][]byte
	definition string
	skipped    []snapshotstore.Skipped
}

type memoryReport struct {
	report []byte
	said   time.Time
	until  time.Time
}

var _ snapshotstore.Store = (*Memory)(nil)

// NewMemory makes an empty store.
func NewMemory() *Memory {
	return &Memory{data: &memoryData{
		units:   map[snapshotstore.Unit]*memorySnapshot{},
		served:  map[string]int{},
		workers: map[string]memoryReport{},
	}}
}

// Handle opens another handle on the same data, also after m was closed.
func (m *Memory) Handle() *Memory { return &Memory{data: m.data} }

// SetMark damages a unit's snapshot: it holds raw as its mark from now on, nil for none, beside the values that it has.
func (m *Memory) SetMark(unit snapshotstore.Unit, raw []byte) {
	m.data.mu.Lock()
	defer m.data.mu.Unlock()
	s := m.data.units[unit]
	if s == nil {
		s = &memorySnapshot{values: map[string][]byte{}}
		m.data.units[unit] = s
	}
	s.mark = bytes.Clone(raw)
}

// SetValue damages a unit's snapshot: it holds raw as a key's value from now on. It tells whether there was one.
func (m *Memory) SetValue(unit snapshotstore.Unit, key string, raw []byte) bool {
	m.data.mu.Lock()
	defer m.data.mu.Unlock()
	s := m.data.units[unit]
	if s == nil {
		return false
	}
	_, exists := s.values[key]
	if exists {
		s.values[key] = bytes.Clone(raw)
	}
	return exists
}

// Backup keeps what the store has of a unit now. restore puts it back, as a backup does, or a replica that lags behind and
// becomes the primary.
func (m *Memory) Backup(unit snapshotstore.Unit) (restore func()) {
	m.data.mu.Lock()
	defer m.data.mu.Unlock()
	kept := m.data.units[unit].clone()
	return func() {
		m.data.mu.Lock()
		defer m.data.mu.Unlock()
		if kept == nil {
			delete(m.data.units, unit)
			return
		}
		m.data.units[unit] = kept.clone()
	}
}

func (s *memorySnapshot) clone() *memorySnapshot {
	if s == nil {
		return nil
	}
	return &memorySnapshot{mark: bytes.Clone(s.mark), values: maps.Clone(s.values), definition: s.definition, skipped: slices.Clone(s.skipped)}
}

// enter locks the data for one call. It fails where the context has ended or the handle is closed.
func (m *Memory) enter(ctx context.Context, op string) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, &snapshotstore.Error{Class: snapshotstore.Again, Op: op, Err: err}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone {
		return nil, &snapshotstore.Error{Class: snapshotstore.Stop, Op: op, Err: errClosed}
	}
	m.data.mu.Lock()
	return m.data.mu.Unlock, nil
}

var errClosed = errors.New("the store is closed")

// head reads a unit's mark; the caller holds the lock.
func (m *Memory) head(unit snapshotstore.Unit) (snapshotstore.Mark, error) {
	s := m.data.units[unit]
	if s == nil {
		return snapshotstore.Mark{}, nil
	}
	if s.mark == nil {
		return snapshotstore.Mark{}, &snapshotstore.CorruptError{Unit: unit, Why: "there are values, but no mark"}
	}
	mark, err := snapshotstore.ParseMark(bytes.Clone(s.mark))
	if err != nil {
		return snapshotstore.Mark{}, &snapshotstore.CorruptError{Unit: unit, Key: "$mark", Why: err.Error()}
	}
	return mark, nil
}

// Head implements snapshotstore.Store.
func (m *Memory) Head(ctx context.Context, unit snapshotstore.Unit) (snapshotstore.Mark, error) {
	leave, err := m.enter(ctx, "head")
	if err != nil {
		return snapshotstore.Mark{}, err
	}
	defer leave()
	return m.head(unit)
}

// Get implements snapshotstore.Store.
func (m *Memory) Get(ctx context.Context, unit snapshotstore.Unit, keys []string) (
	snapshotstore.Mark, []snapshotstore.Value, error,
) {
	leave, err := m.enter(ctx, "get")
	if err != nil {
		return snapshotstore.Mark{}, nil, err
	}
	defer leave()
	mark, err := m.head(unit)
	if err != nil {
		return snapshotstore.Mark{}, nil, err
	}
	values := make([]snapshotstore.Value, len(keys))
	if s := m.data.units[unit]; s != nil {
		for i, key := range keys {
			data, exists := s.values[key]
			values[i] = snapshotstore.Value{Data: bytes.Clone(data), Exists: exists}
		}
	}
	return mark, values, nil
}

// Commit implements snapshotstore.Store.
func (m *Memory) Commit(ctx context.Context, unit snapshotstore.Unit, checkpoint snapshotstore.Checkpoint) error {
	leave, err := m.enter(ctx, "commit")
	if err != nil {
		return err
	}
	defer leave()
	if len(checkpoint.To.Raw) == 0 || (!checkpoint.From.IsZero() && len(checkpoint.From.Raw) == 0) {
		return &snapshotstore.Error{Class: snapshotstore.Stop, Op: "commit", Err: errors.New("a mark is not sealed (Mark.Seal)")}
	}
	held, err := m.head(unit)
	if err != nil {
		return err
	}
	switch snapshotstore.Fence(held.Raw, checkpoint.From.Raw, checkpoint.To.Raw) {
	case snapshotstore.Applied:
		return nil
	case snapshotstore.Refused:
		return &snapshotstore.ConflictError{Unit: unit, Held: held}
	}
	s := m.data.units[unit]
	if s == nil {
		s = &memorySnapshot{values: map[string][]byte{}}
		m.data.units[unit] = s
	}
	s.apply(checkpoint)
	return nil
}

func (s *memorySnapshot) apply(checkpoint snapshotstore.Checkpoint) {
	for _, entry := range checkpoint.Put {
		s.values[entry.Key] = append([]byte{}, entry.Data...)
	}
	for _, key := range checkpoint.Delete {
		delete(s.values, key)
	}
	if checkpoint.Definition != "" {
		s.definition = checkpoint.Definition
	}
	s.skipped = append(s.skipped, checkpoint.Skipped...)
	slices.SortStableFunc(s.skipped, func(a, b snapshotstore.Skipped) int {
		switch {
		case a.Seq < b.Seq:
			return -1
		case a.Seq > b.Seq:
			return 1
		}
		return 0
	})
	s.mark = bytes.Clone(checkpoint.To.Raw)
}

// scanStep is how many values a scan takes out under one lock.
const scanStep = 256

// Scan implements snapshotstore.Store.
func (m *Memory) Scan(ctx context.Context, unit snapshotstore.Unit) iter.Seq2[snapshotstore.Entry, error] {
	return func(yield func(snapshotstore.Entry, error) bool) {
		keys, err := m.keys(ctx, unit)
		if err != nil {
			yield(snapshotstore.Entry{}, err)
			return
		}
		for step := range slices.Chunk(keys, scanStep) {
			_, values, err := m.Get(ctx, unit, step)
			if err != nil {
				yield(snapshotstore.Entry{}, err)
				return
			}
			for i, value := range values {
				if err := ctx.Err(); err != nil {
					yield(snapshotstore.Entry{}, &snapshotstore.Error{Class: snapshotstore.Again, Op: "scan", Err: err})
					return
				}
				if value.Exists && !yield(snapshotstore.Entry{Key: step[i], Data: value.Data}, nil) {
					return
				}
			}
		}
	}
}

func (m *Memory) keys(ctx context.Context, unit snapshotstore.Unit) ([]string, error) {
	leave, err := m.enter(ctx, "scan")
	if err != nil {
		return nil, err
	}
	defer leave()
	if _, err := m.head(unit); err != nil || m.data.units[unit] == nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(m.data.units[unit].values)), nil
}

// Skipped implements snapshotstore.Store.
func (m *Memory) Skipped(ctx context.Context, unit snapshotstore.Unit) (
	snapshotstore.Mark, []snapshotstore.Skipped, error,
) {
	leave, err := m.enter(ctx, "skipped")
	if err != nil {
		return snapshotstore.Mark{}, nil, err
	}
	defer leave()
	mark, err := m.head(unit)
	if err != nil || mark.IsZero() {
		return snapshotstore.Mark{}, nil, err
	}
	return mark, slices.Clone(m.data.units[unit].skipped), nil
}

// Definition implements snapshotstore.Store.
func (m *Memory) Definition(ctx context.Context, unit snapshotstore.Unit) (string, error) {
	leave, err := m.enter(ctx, "definition")
	if err != nil {
		return "", err
	}
	defer leave()
	if s := m.data.units[unit]; s != nil {
		return s.definition, nil
	}
	return "", nil
}

// Drop implements snapshotstore.Store.
func (m *Memory) Drop(ctx context.Context, unit snapshotstore.Unit) error {
	leave, err := m.enter(ctx, "drop")
	if err != nil {
		return err
	}
	defer leave()
	delete(m.data.units, unit)
	return nil
}

// Served implements snapshotstore.Store.
func (m *Memory) Served(ctx context.Context, projection string) (int, error) {
	leave, err := m.enter(ctx, "served")
	if err != nil {
		return 0, err
	}
	defer leave()
	return m.data.served[projection], nil
}

// Promote implements snapshotstore.Store.
func (m *Memory) Promote(ctx context.Context, projection string, from, to int) error {
	leave, err := m.enter(ctx, "promote")
	if err != nil {
		return err
	}
	defer leave()
	if served := m.data.served[projection]; served != from {
		return &snapshotstore.ServedError{Projection: projection, Served: served}
	}
	m.data.served[projection] = to
	return nil
}

// Announce implements snapshotstore.Store.
func (m *Memory) Announce(ctx context.Context, worker string, report []byte, renew time.Duration) error {
	leave, err := m.enter(ctx, "announce")
	if err != nil {
		return err
	}
	defer leave()
	now := time.Now()
	m.data.workers[worker] = memoryReport{report: append([]byte{}, report...), said: now, until: now.Add(3 * renew)}
	return nil
}

// Resign implements snapshotstore.Store.
func (m *Memory) Resign(ctx context.Context, worker string) error {
	leave, err := m.enter(ctx, "resign")
	if err != nil {
		return err
	}
	defer leave()
	delete(m.data.workers, worker)
	return nil
}

// Workers implements snapshotstore.Store.
func (m *Memory) Workers(ctx context.Context) ([]snapshotstore.Announcement, error) {
	leave, err := m.enter(ctx, "workers")
	if err != nil {
		return nil, err
	}
	defer leave()
	now := time.Now()
	maps.DeleteFunc(m.data.workers, func(_ string, said memoryReport) bool { return !now.Before(said.until) })
	var all []snapshotstore.Announcement
	for _, worker := range slices.Sorted(maps.Keys(m.data.workers)) {
		said := m.data.workers[worker]
		all = append(all, snapshotstore.Announcement{
			Worker: worker, Report: bytes.Clone(said.report), Age: now.Sub(said.said),
		})
	}
	return all, nil
}

// Close implements snapshotstore.Store. It ends this handle only.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gone = true
	return nil
}
