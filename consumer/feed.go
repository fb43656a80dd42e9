package consumer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of a feed's ring. What a unit has not taken yet may pile up to the first two; what all units have taken is
// kept up to the other two, so that a unit that comes from behind can step over without reading alone.
const (
	ringBytes   = 16 << 20 // less where a worker has many feeds
	ringBatches = 4096
	keptShare   = 8 // of the ring
	keptBatches = 1024
	gatherFor   = 5 * time.Millisecond // a new feed waits so long for units that want to begin near by
	nearBy      = 10_000               // seqs: a unit so little ahead of a feed joins it rather than read alone
	closeWithin = 2 * time.Second
)

// errBehind tells a unit that its feed has gone on without it, because it held others up.
var errBehind = errors.New("fell behind the feed")

// errMissed tells that what the reader handed out begins after the end of what it had handed out before.
var errMissed = errors.New("a delivery was missed: a batch does not follow the last one")

// errRemade tells that a log was made again around the time when its reader was opened.
var errRemade = errors.New("the log was made again while its reader was opened")

// errRefiltered tells that a feed was closed to be opened again with another filter, or without one.
var errRefiltered = errors.New("reader is opened again with another filter")

// feeds are the readers of one partition of a stream in a worker. Mostly there is one; a unit that is far behind, or
// too slow for the others, gets one of its own until it has caught up.
type feeds struct {
	log      Log
	base     []string // the subjects of the partition; none: the whole stream
	subjects []string // what the units want, together; none: everything
	wg       *sync.WaitGroup
	ring     int // bytes

	mu       sync.Mutex
	open     []*feed
	filtered bool          // a sample has shown that the units want less than a tenth of the log
	whole    bool          // the server's filter was found to cost more than to read all, until the head is near
	kept     bool          // reading all was found to cost more than that
	toll     time.Duration // what the filter cost, for each message of the log
	count    atomic.Int32  // len(open), to be asked without the lock

	replaying atomic.Int32 // units of the partition that have not come to the head yet
}

// feed is one reader and the ring of batches that its units take from, each at its own pace. It lives as long as its
// reader: when that ends, every unit joins anew and judges the log again.
type feed struct {
	feeds   *feeds
	cancel  context.CancelFunc
	room    chan struct{} // has a token when a unit has taken something
	created time.Time     // of the log, as it was judged before the reader was opened

	mu      sync.Mutex
	units   []*subscription
	batches []Batch // the ring; those before the units' places are kept for late comers
	base    int     // index of batches[0], counted from the feed's first batch
	bytes   int
	from    uint64 // where batches[0] begins; while gathering, where the reader will begin
	pos     uint64 // where the last batch ends
	head    uint64 // the log's last seq by the newest batch
	reading bool   // false while gathering
	err     error  // why it is over
}

// subscription is one unit's place in a feed. It is used by that unit's goroutine alone.
type subscription struct {
	feed  *feed
	next  int           // index of the batch to take next
	ready chan struct{} // has a token when there may be something to take
}

// join gives a unit at seq a place in a feed that covers what comes after it, opening one if there is none. ctx is the
// worker's: the feed lives on it. created is of the log, as it was judged last.
func (f *feeds) join(ctx context.Context, seq uint64, created time.Time) *subscription {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fd := range f.open {
		if s := fd.admit(seq); s != nil {
			return s
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	fd := &feed{feeds: f, cancel: cancel, room: make(chan struct{}, 1), created: created, from: seq, pos: seq}
	s := fd.admit(seq)
	f.open = append(f.open, fd)
	f.count.Store(int32(len(f.open)))
	f.wg.Go(func() { fd.run(ctx) })
	return s
}

// better returns a place in a feed that covers seq and is ahead of the unit's own, or as far and older, or nil. Cheap
// where there is one feed.
func (f *feeds) better(s *subscription, seq uint64) *subscription {
	if f.count.Load() < 2 {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_, mine := s.feed.reach()
	older := true
	for _, fd := range f.open {
		if fd == s.feed {
			older = false
			continue
		}
		if from, pos := fd.reach(); from <= seq && (pos > mine || pos == mine && older) {
			if other := fd.admit(seq); other != nil {
				return other
			}
		}
	}
	return nil
}

func (f *feeds) remove(fd *feed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = slices.DeleteFunc(f.open, func(x *feed) bool { return x == fd })
	f.count.Store(int32(len(f.open)))
}

func (fd *feed) reach() (from, pos uint64) {
	fd.mu.Lock()
	defer fd.mu.Unlock()
	return fd.from, fd.pos
}

// admit takes a unit in if the feed covers what comes after seq, or can still be made to.
func (fd *feed) admit(seq uint64) *subscription {
	fd.mu.Lock()
	defer fd.mu.Unlock()
	switch {
	case fd.err != nil:
		return nil
	case !fd.reading && seq+nearBy >= fd.from && seq <= fd.from+nearBy:
		fd.from = min(fd.from, seq)
		fd.pos = fd.from
	case fd.reading && fd.from <= seq && seq <= fd.pos+nearBy:
	default:
		return nil
	}
	s := &subscription{feed: fd, ready: make(chan struct{}, 1), next: fd.base}
	for i := range fd.batches { // begin at the first batch that has something new, or at the last, to be judged by
		if fd.batches[i].To > seq || i == len(fd.batches)-1 {
			s.next = fd.base + i
			break
		}
	}
	fd.units = append(fd.units, s)
	token(s.ready)
	return s
}

// leave gives up the unit's place. A feed without units ends.
func (s *subscription) leave() {
	fd := s.feed
	fd.mu.Lock()
	fd.units = slices.DeleteFunc(fd.units, func(x *subscription) bool { return x == s })
	if len(fd.units) == 0 && fd.err == nil {
		fd.err = context.Canceled
		fd.cancel()
	}
	fd.mu.Unlock()
	token(fd.room)
}

// end ends the unit's feed for all its units.
func (s *subscription) end(err error) {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	if s.feed.err == nil {
		s.feed.err = err
		s.feed.cancel()
	}
}

// take returns the next batch. Without one it returns false, or the error that ended the feed.
func (s *subscription) take() (Batch, bool, error) {
	fd := s.feed
	fd.mu.Lock()
	defer fd.mu.Unlock()
	switch i := s.next - fd.base; {
	case i < 0:
		return Batch{}, false, errBehind
	case i < len(fd.batches):
		s.next++
		token(fd.room)
		return fd.batches[i], true, nil
	default:
		return Batch{}, false, fd.err
	}
}

// drained tells whether there is nothing to take, and the log's last seq by what was read last; 0 before.
func (s *subscription) drained() (drained bool, head uint64) {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	return s.next == s.feed.base+len(s.feed.batches) && s.feed.err == nil, s.feed.head
}

func (fd *feed) run(ctx context.Context) {
	err := fd.read(ctx)
	fd.mu.Lock()
	if fd.err == nil {
		fd.err = err
	}
	for _, s := range fd.units {
		token(s.ready)
	}
	fd.mu.Unlock()
	fd.feeds.remove(fd)
	fd.cancel()
}

func (fd *feed) read(ctx context.Context) error {
	if err := sleep(ctx, gatherFor); err != nil {
		return err
	}
	fd.feeds.mu.Lock()
	subjects := fd.feeds.filter()
	whole := fd.feeds.whole
	fd.feeds.mu.Unlock()
	fd.mu.Lock()
	fd.reading = true
	after := fd.from
	fd.mu.Unlock()
	reader, err := fd.feeds.log.Open(ctx, after, subjects)
	if err != nil {
		return err
	}
	defer func() {
		// The context may be done; the server's side of the reader is given back all the same.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
		defer cancel()
		_ = reader.Close(ctx) // its server forgets the reader by itself if this fails
	}()
	sample := sampler{wanted: fd.feeds.subjects, off: whole || len(subjects) > 0 || len(fd.feeds.subjects) != 1}
	waits := toll{off: !whole && len(subjects) == 0, whole: whole}
	for {
		began := time.Now()
		batch, err := reader.Next(ctx)
		if err != nil {
			return err
		}
		waited := time.Since(began)
		if err := fd.append(ctx, batch); err != nil {
			return err
		}
		if fd.feeds.turns(&waits, batch, waited) {
			return errRefiltered
		}
		if sample.few(batch.Events) {
			fd.feeds.mu.Lock()
			fd.feeds.filtered = true
			fd.feeds.mu.Unlock()
			return errRefiltered
		}
	}
}

// append puts a batch into the ring and waits until there is room for another. A unit that holds the feed up while
// another has nothing left to do is left behind; while all are busy, the reader waits for the slowest.
func (fd *feed) append(ctx context.Context, batch Batch) error {
	fd.mu.Lock()
	switch { // a reader should do neither
	case !continues(batch.From, fd.pos): // if units only refused it, they would leave and join this same feed for ever
		fd.mu.Unlock()
		return errMissed
	case batch.From < fd.pos && batch.To <= fd.pos: // handed out before
		fd.mu.Unlock()
		return nil
	}
	fd.batches = append(fd.batches, batch)
	fd.bytes += batch.Bytes
	fd.pos, fd.head = batch.To, batch.Head
	for _, s := range fd.units {
		token(s.ready)
	}
	for {
		full := fd.trim()
		fd.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-fd.room:
		}
		fd.mu.Lock()
	}
}

// trim drops batches from the ring's old end as far as it may, and tells whether it is still full.
func (fd *feed) trim() (full bool) {
	end := fd.base + len(fd.batches)
	slowest, fastest := end, fd.base
	for _, s := range fd.units {
		slowest, fastest = min(slowest, s.next), max(fastest, s.next)
	}
	drop := 0
	bytes := fd.bytes
	for i := range fd.batches {
		left := len(fd.batches) - i
		over := bytes > fd.feeds.ring || left > ringBatches
		spare := bytes > fd.feeds.ring/keptShare || left > keptBatches
		taken := fd.base+i < slowest
		if left == 1 || !(taken && spare) && !(over && fastest == end) {
			full = over && left > 1
			break
		}
		bytes -= fd.batches[i].Bytes
		drop++
	}
	if drop == 0 {
		return full
	}
	fd.from = fd.batches[drop].From
	clear(fd.batches[:drop])
	fd.batches = fd.batches[drop:]
	fd.base += drop
	fd.bytes = bytes
	for _, s := range fd.units {
		if s.next < fd.base {
			token(s.ready)
		}
	}
	return full
}

// token puts a token into a channel of capacity one, if there is none.
func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// sleep waits for d, or until ctx is done.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
