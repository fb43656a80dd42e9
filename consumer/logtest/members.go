package logtest

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tailfold/tailfold/consumer"
)

// Members is a consumer.Membership in memory. A worker's own end of it is made by Of, so that a test can take it away
// from one worker alone.
type Members struct {
	mu      sync.Mutex
	records map[string]memberRecord
	changed chan struct{}
	clock   func() time.Time
	log     []consumer.MemberChange // everything that was ever told
}

type memberRecord struct {
	data []byte
	at   time.Time
}

// NewMembers makes an empty membership.
func NewMembers() *Members {
	return &Members{records: map[string]memberRecord{}, changed: make(chan struct{}), clock: time.Now}
}

// SetClock sets the clock by which records are stamped. Default: that of package time.
func (m *Members) SetClock(clock func() time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock = clock
}

// Of is one worker's end.
func (m *Members) Of() *MembersEnd { return &MembersEnd{members: m} }

func (m *Members) tell(c consumer.MemberChange) {
	m.log = append(m.log, c)
	close(m.changed)
	m.changed = make(chan struct{})
}

// MembersEnd is what one worker has of a Members.
type MembersEnd struct {
	members *Members

	mu    sync.Mutex
	lost  bool
	deaf  bool
	ended chan struct{} // closed when it is lost
}

var _ consumer.Membership = (*MembersEnd)(nil)

var errLost = errors.New("the membership is out of reach")

// Lose takes the membership away from this worker, or gives it back.
func (e *MembersEnd) Lose(lost bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if lost && !e.lost && e.ended != nil {
		close(e.ended)
		e.ended = nil
	}
	e.lost = lost
}

// Deafen makes this worker's watch tell nothing any more, and not end, or lets it tell again.
func (e *MembersEnd) Deafen(deaf bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deaf = deaf
}

func (e *MembersEnd) hears() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.deaf
}

func (e *MembersEnd) state() (ended <-chan struct{}, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lost {
		return nil, errLost
	}
	if e.ended == nil {
		e.ended = make(chan struct{})
	}
	return e.ended, nil
}

// Put keeps a record.
func (e *MembersEnd) Put(ctx context.Context, worker string, record []byte) error {
	if _, err := e.state(); err != nil {
		return err
	}
	m := e.members
	m.mu.Lock()
	defer m.mu.Unlock()
	r := memberRecord{bytes.Clone(record), m.clock()}
	m.records[worker] = r
	m.tell(consumer.MemberChange{Worker: worker, Record: r.data, At: r.at})
	return ctx.Err()
}

// Remove takes a record back.
func (e *MembersEnd) Remove(ctx context.Context, worker string) error {
	if _, err := e.state(); err != nil {
		return err
	}
	m := e.members
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.records, worker)
	m.tell(consumer.MemberChange{Worker: worker, Removed: true, At: m.clock()})
	return ctx.Err()
}

// Watch tells of all records and of each change.
func (e *MembersEnd) Watch(ctx context.Context, tell func(consumer.MemberChange)) error {
	ended, err := e.state()
	if err != nil {
		return err
	}
	m := e.members
	m.mu.Lock()
	next := len(m.log)
	var there []consumer.MemberChange
	for _, worker := range slices.Sorted(maps.Keys(m.records)) {
		r := m.records[worker]
		there = append(there, consumer.MemberChange{Worker: worker, Record: r.data, At: r.at})
	}
	m.mu.Unlock()
	for _, c := range there {
		tell(c)
	}
	tell(consumer.MemberChange{All: true})
	for {
		m.mu.Lock()
		news, changed := m.log[next:], m.changed
		next = len(m.log)
		m.mu.Unlock()
		for _, c := range news {
			if e.hears() {
				tell(c)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
			return errLost
		case <-changed:
		}
	}
}
