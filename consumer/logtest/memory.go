package logtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/projections"
)

// Memory is a log in memory, the reference of consumer.Log: what a real log does over time and by chance, it does at
// once and when told. It starts no goroutine, so that it works under testing/synctest; the time of an event is what
// package time says there. Its methods may be called from any goroutine.
type Memory struct {
	mu       sync.Mutex
	bounds   consumer.Bounds // First and Last are computed
	exists   bool
	messages []message // in order of seq
	last     uint64
	maxBatch int
	before   func(op string) error
	clock    func() time.Time
	away     error // what every call answers while disconnected
	changed  chan struct{}
	readers  map[*memoryReader]struct{}
}

// message is an event as the log keeps it.
type message struct {
	seq     uint64
	time    time.Time
	subject string
	header  projections.Header
	data    []byte
}

func (m message) witness() consumer.Witness {
	return consumer.Witness{Seq: m.seq, Time: m.time, Hash: consumer.WitnessHash(m.subject, m.header.Block(), m.data)}
}

// NewMemory makes an empty log. created is part of its identity, as Bounds tells it.
func NewMemory(stream string, created time.Time) *Memory {
	return &Memory{
		bounds:   consumer.Bounds{Stream: stream, Created: created.UTC()},
		exists:   true,
		maxBatch: 4096,
		clock:    time.Now,
		changed:  make(chan struct{}),
		readers:  map[*memoryReader]struct{}{},
	}
}

// Append stores an event and returns its seq. The log keeps data: it must not be changed any more.
func (m *Memory) Append(subject string, header projections.Header, data []byte) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	m.messages = append(m.messages, message{m.last, m.clock().UTC().Round(0), subject, header, data})
	m.wake()
	return m.last
}

// Delete removes one message. It tells whether there was one.
func (m *Memory) Delete(seq uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := m.find(seq)
	if ok {
		m.messages = slices.Delete(m.messages, i, i+1)
	}
	return ok
}

// Purge removes all messages up to and including upTo, as retention does. A reader that has not yet passed upTo ends
// with an error. If upTo is beyond the last seq, the log goes on after it.
func (m *Memory) Purge(upTo uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := m.find(upTo)
	if ok {
		i++
	}
	m.messages = slices.Delete(m.messages, 0, i)
	m.last = max(m.last, upTo)
	m.wake()
}

// PurgeAll removes all messages; the next one has the seq after the last.
func (m *Memory) PurgeAll() {
	m.mu.Lock()
	last := m.last
	m.mu.Unlock()
	m.Purge(last)
}

// Recreate deletes the log, if it is there, and makes a new, empty one of the same name. Open readers end with an
// error.
func (m *Memory) Recreate(created time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end("read", errors.New("the log was deleted"))
	m.exists, m.messages, m.last = true, nil, 0
	m.bounds.Created, m.bounds.Configured = created.UTC(), 0
}

// Drop deletes the log; Recreate makes a new one. Open readers end with an error.
func (m *Memory) Drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end("read", errors.New("the log was deleted"))
	m.exists, m.messages, m.last = false, nil, 0
}

// RestoreTo does what restoring a backup does: everything after seq is gone, as if never stored, and its seqs are given
// out again. The log's time of creation stays. Open readers end with an error.
func (m *Memory) RestoreTo(seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end("read", errors.New("the log was restored from a backup"))
	i, ok := m.find(seq)
	if ok {
		i++
	}
	m.messages = m.messages[:i:i]
	m.last = min(m.last, seq)
}

// SetFirst configures the seq with which an empty log begins.
func (m *Memory) SetFirst(seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.messages) > 0 || seq == 0 {
		panic(fmt.Sprintf("SetFirst(%d): the log must be empty and the seq above 0", seq))
	}
	m.bounds.Configured, m.last = seq, seq-1
}

// SetUnsuitable sets Bounds.Unsuitable and Bounds.Holes.
func (m *Memory) SetUnsuitable(unsuitable, holes string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bounds.Unsuitable, m.bounds.Holes = unsuitable, holes
}

// SetMaxBatch bounds the events of one batch. Default 4096.
func (m *Memory) SetMaxBatch(events int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.maxBatch = events
}

// SetClock sets the clock by which events are stamped. Default: that of package time.
func (m *Memory) SetClock(clock func() time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock = clock
}

// Before sets a function that is called at the beginning of each "bounds", "witness", "open" and "next", outside of
// any lock. If it returns an error, that is the answer; a reader ends with it. nil removes it.
func (m *Memory) Before(hook func(op string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before = hook
}

// Disconnect makes the log unreachable: open readers end with an error, and every call fails until Reconnect.
func (m *Memory) Disconnect() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = errors.New("the connection is down")
	m.end("read", m.away)
}

// Reconnect makes the log reachable again.
func (m *Memory) Reconnect() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = nil
}

// EndReaders ends all open readers with an error, as a lost delivery does. The log itself stays as it is.
func (m *Memory) EndReaders(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end("read", err)
}

// OpenReaders is the number of readers that were opened and not yet closed.
func (m *Memory) OpenReaders() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.readers)
}

// Bounds implements consumer.Log.
func (m *Memory) Bounds(ctx context.Context) (consumer.Bounds, error) {
	if err := m.enter(ctx, "bounds"); err != nil {
		return consumer.Bounds{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.reachable("bounds"); err != nil {
		return consumer.Bounds{}, err
	}
	bounds := m.bounds
	bounds.First, bounds.Last = m.first(), m.last
	return bounds, nil
}

// Witness implements consumer.Log.
func (m *Memory) Witness(ctx context.Context, seq uint64) (consumer.Witness, error) {
	if err := m.enter(ctx, "witness"); err != nil {
		return consumer.Witness{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.reachable("witness"); err != nil {
		return consumer.Witness{}, err
	}
	i, ok := m.find(seq)
	if !ok {
		return consumer.Witness{}, fmt.Errorf("log %s: seq %d: %w", m.bounds.Stream, seq, consumer.ErrNoMessage)
	}
	return m.messages[i].witness(), nil
}

// Open implements consumer.Log.
func (m *Memory) Open(ctx context.Context, after uint64, subjects []string) (consumer.Reader, error) {
	if err := m.enter(ctx, "open"); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.reachable("open"); err != nil {
		return nil, err
	}
	if after > m.last {
		return nil, m.fail("open", fmt.Errorf("seq %d %w %d", after, consumer.ErrBeyondLast, m.last))
	}
	// A reader may be opened below the first seq: the caller judges. From there on nothing may go unread.
	r := &memoryReader{log: m, subjects: slices.Clone(subjects), to: after, seen: max(after+1, m.first()) - 1}
	m.readers[r] = struct{}{}
	return r, nil
}

// enter runs the hook, outside of the lock.
func (m *Memory) enter(ctx context.Context, op string) error {
	m.mu.Lock()
	hook := m.before
	m.mu.Unlock()
	if hook != nil {
		if err := hook(op); err != nil {
			return m.fail(op, err)
		}
	}
	return ctx.Err()
}

func (m *Memory) reachable(op string) error {
	switch {
	case m.away != nil:
		return m.fail(op, m.away)
	case !m.exists:
		return m.fail(op, consumer.ErrNoLog)
	}
	return nil
}

func (m *Memory) fail(op string, err error) error {
	return &consumer.LogError{Op: op, Stream: m.bounds.Stream, Err: err}
}

// first is the first seq that the log still has, last + 1 if it is empty.
func (m *Memory) first() uint64 {
	if len(m.messages) == 0 {
		return m.last + 1
	}
	return m.messages[0].seq
}

// find returns the place of the first message with a seq of at least seq, and whether it is that one.
func (m *Memory) find(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(m.messages, seq, func(m message, seq uint64) int {
		switch {
		case m.seq < seq:
			return -1
		case m.seq > seq:
			return 1
		}
		return 0
	})
}

// wake lets waiting readers look again.
func (m *Memory) wake() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// end ends all readers that have not ended.
func (m *Memory) end(op string, err error) {
	for r := range m.readers {
		if r.err == nil {
			r.err = m.fail(op, err)
		}
	}
	m.wake()
}

// memoryReader reads a Memory. Its fields are guarded by the log's lock.
type memoryReader struct {
	log      *Memory
	subjects []string
	begun    bool
	to       uint64 // of the last batch
	seen     uint64 // everything up to it was read, or was gone before the reader was opened; at least to
	err      error  // why it ended
}

// Next implements consumer.Reader.
func (r *memoryReader) Next(ctx context.Context) (consumer.Batch, error) {
	if err := r.log.enter(ctx, "next"); err != nil {
		if ctx.Err() == nil {
			r.finish(err)
		}
		return consumer.Batch{}, err
	}
	for {
		batch, changed, err := r.take()
		if changed == nil {
			return batch, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return consumer.Batch{}, ctx.Err()
		}
	}
}

func (r *memoryReader) finish(err error) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

// take returns the next batch or the reader's error, or, if there is neither, what to wait for.
func (r *memoryReader) take() (consumer.Batch, <-chan struct{}, error) {
	m := r.log
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.err != nil {
		return consumer.Batch{}, nil, r.err
	}
	batch := consumer.Batch{From: r.to, To: r.to, Head: r.to}
	if n := len(m.messages); n > 0 {
		batch.Head = max(r.to, m.messages[n-1].seq)
	}
	if !r.begun {
		r.begun = true
		return batch, nil, nil
	}
	if first := m.first(); first > r.seen+1 && m.last > r.seen {
		r.err = m.fail("read", fmt.Errorf("seqs %d to %d were removed before they were read", r.seen+1, first-1))
		return consumer.Batch{}, nil, r.err
	}
	i, _ := m.find(r.to + 1)
	var end message
	for ; i < len(m.messages) && len(batch.Events) < m.maxBatch; i++ {
		end = m.messages[i]
		if matches(r.subjects, end.subject) {
			batch.Events = append(batch.Events, projections.Event{Seq: end.seq, Subject: end.subject, Time: end.time,
				Header: end.header, Data: end.data})
			batch.Bytes += len(end.subject) + len(end.header.Block()) + len(end.data) + eventOverhead
		}
	}
	if end.seq == 0 {
		return consumer.Batch{}, m.changed, nil
	}
	batch.To, r.to, r.seen = end.seq, end.seq, end.seq
	batch.Last = end.witness()
	if !end.header.Empty() {
		batch.Last.Hash = "" // as on a real log, whose reader has no header block as stored
	}
	projections.Share(batch.Events)
	return batch, nil, nil
}

// Close implements consumer.Reader.
func (r *memoryReader) Close(context.Context) error {
	m := r.log
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, open := m.readers[r]; !open {
		return nil
	}
	delete(m.readers, r)
	if r.err == nil {
		r.err = m.fail("read", errors.New("the reader was closed"))
	}
	m.wake()
	return nil
}

// eventOverhead is what an event takes besides its bytes, about.
const eventOverhead = 128

func matches(subjects []string, subject string) bool {
	return len(subjects) == 0 || slices.ContainsFunc(subjects, func(filter string) bool {
		return projections.MatchSubject(filter, subject)
	})
}
