package consumer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/zap"

	"github.com/tailfold/tailfold/snapshotstore"
)

const (
	renewals    = 3 // in the time to live of a lease
	watchAgain  = 500 * time.Millisecond
	leaveWithin = time.Second
)

// leases runs the units that the workers of a deployment have agreed on this one to run, for as long as its own lease
// holds. Three goroutines: one decides, one renews the record, one watches those of the others.
type leases struct {
	worker  *Worker
	roster  *roster
	crew    *crew
	log     *zap.Logger
	changes chan MemberChange // from the watch; one without a worker and without All says that it begins anew
	renewed chan time.Time    // when a renewal that succeeded was begun
	joined  chan struct{}     // closed when the record was put for the first time
	record  atomic.Pointer[[]byte]
	dirty   chan struct{} // has a token when the record has changed

	was     bool // a member
	holds   []string
	leaving bool
}

// byLeases runs units until ctx is done, and hands them over.
func (w *Worker) byLeases(ctx, inner context.Context) {
	l := &leases{
		worker: w, roster: newRoster(w.config.Name, w.abilities(), w.config.LeaseTTL), crew: newCrew(ctx, w.units, (*unit).givenUp),
		log:     w.config.Logger,
		changes: make(chan MemberChange), renewed: make(chan time.Time), joined: make(chan struct{}), dirty: make(chan struct{}, 1),
	}
	l.write()
	// The watch and the renewals outlive ctx: leaving is told, too.
	beside, stop := context.WithCancel(inner)
	var group sync.WaitGroup
	group.Go(func() { l.renew(beside) })
	group.Go(func() { l.watch(beside) })
	l.decide(ctx)
	l.leaving = true
	l.write() // the others assign without this worker at once, and take each unit when it is given back
	l.handOver()
	stop()
	group.Wait()
	last, cancel := context.WithTimeout(inner, leaveWithin)
	defer cancel()
	if err := w.config.Membership.Remove(last, w.config.Name); err != nil {
		l.log.Info("could not take the worker's record back: it runs out by itself", zap.Error(err))
	}
}

// decide keeps the right units running until ctx is done.
func (l *leases) decide(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-l.changes:
			l.saw(c)
		case begun := <-l.renewed:
			l.roster.renewal(begun)
		case id := <-l.crew.ended:
			l.crew.took(id)
		case <-timer.C:
		}
		now := time.Now()
		l.crew.keep(l.roster.decide(now, l.crew.runs))
		l.write()
		l.publish(now)
		timer.Reset(l.roster.next(now) + time.Millisecond)
	}
}

// handOver waits for the units, which stop by themselves, and tells of each.
func (l *leases) handOver() {
	for len(l.crew.on) > 0 {
		select {
		case <-l.changes: // the watch must not wait for us
		case <-l.renewed:
		case id := <-l.crew.ended:
			l.crew.took(id)
			l.write()
		}
	}
	l.crew.wait()
}

func (l *leases) saw(c MemberChange) {
	if c.Worker == "" && !c.All {
		l.roster.watching()
		return
	}
	if err := l.roster.saw(c, time.Now()); err != nil {
		l.log.Warn("a worker's record can't be read: it is taken for none", zap.String("other", c.Worker), zap.Error(err))
	}
}

// publish lets other goroutines know who is there, and says it where it has changed.
func (l *leases) publish(now time.Time) {
	member := l.roster.member(now)
	if member != l.was {
		l.was = member
		if member {
			l.log.Info("is a member", zap.Int("others", len(l.roster.roll(now).live)))
		} else {
			l.log.Warn("could not renew its lease in time: its units are stopped, others take them over", zap.Duration("ttl", l.roster.ttl))
		}
	}
	roll := l.roster.roll(now)
	if !member {
		roll = nil
	}
	l.worker.roll.Store(roll)
	l.worker.meters.workersLive(roll)
}

// write makes the record anew where the units that the worker has are others than before.
func (l *leases) write() {
	holds := []string{}
	for id := range l.crew.on {
		holds = append(holds, id.String())
	}
	slices.Sort(holds)
	if old := l.record.Load(); old != nil && !l.leaving && slices.Equal(holds, l.holds) {
		return
	}
	l.holds = holds
	record, err := json.Marshal(Member{Worker: l.roster.name, Version: l.worker.config.Version, TTLMS: l.roster.ttl.Milliseconds(),
		Leaving: l.leaving, Runs: l.roster.runs, Holds: holds}, json.Deterministic(true))
	if err != nil { // names that are not UTF-8 were refused when they were registered
		panic("a member's record is always JSON: " + err.Error())
	}
	l.record.Store(&record)
	token(l.dirty)
}

// renew puts the record again and again, and at once when it has changed.
func (l *leases) renew(ctx context.Context) {
	every := l.roster.ttl / renewals
	failing, joined := "", false
	for {
		begun := time.Now()
		call, cancel := context.WithTimeout(ctx, l.roster.ttl)
		err := l.worker.config.Membership.Put(call, l.roster.name, *l.record.Load())
		cancel()
		wait := every
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			wait = min(every, watchAgain)
			if text := err.Error(); text != failing {
				failing = text
				l.log.Warn("can't renew the worker's lease", zap.Error(err))
				l.worker.lease.Store(&text)
			}
		default:
			if failing != "" {
				failing = ""
				l.worker.lease.Store(nil)
				l.log.Info("renews its lease again")
			}
			if !joined {
				joined = true
				close(l.joined)
			}
			select {
			case l.renewed <- begun:
			case <-ctx.Done():
				return
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-l.dirty:
			timer.Stop()
		}
	}
}

// watch watches the others' records, anew where it ends. It begins when the worker's own record is there: by that it is
// told how old the others' are.
func (l *leases) watch(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-l.joined:
	}
	tell := func(c MemberChange) {
		if c.All {
			l.worker.deaf.Store(nil)
		}
		select {
		case l.changes <- c:
		case <-ctx.Done():
		}
	}
	failing := ""
	for {
		tell(MemberChange{})
		err := l.worker.config.Membership.Watch(ctx, tell)
		if ctx.Err() != nil {
			return
		}
		text := fmt.Sprint(err)
		l.worker.deaf.Store(&text)
		if text != failing {
			failing = text
			l.log.Warn("can't watch the other workers: beginning again", zap.Error(err))
		}
		if sleep(ctx, watchAgain) != nil {
			return
		}
	}
}

// abilities are what the worker can run.
func (w *Worker) abilities() []Ability {
	var all []Ability
	for _, u := range w.units {
		if u.id.Partition == 0 {
			all = append(all, Ability{Projection: u.id.Projection, Version: u.id.Version, Stream: u.stream.Name,
				Partitions: u.stream.Partitions, Fingerprint: u.fingerprint[:16]})
		}
	}
	return all
}

// presence is what is known of a worker that had a unit.
type presence int

const (
	unknown presence = iota // there is no membership to ask
	there                   // it is there, and has the unit
	gaveUp                  // it is there, and says that it has the unit no more
	away                    // it is not there, as far as this worker sees
)

func (p presence) why() string {
	switch p {
	case gaveUp:
		return "has given it up"
	case away:
		return "is not there, and makes no progress"
	}
	return "makes no progress"
}

func (w *Worker) presence(worker string, unit snapshotstore.Unit) presence {
	roll := w.roll.Load()
	if roll == nil {
		return unknown
	}
	holds, live := roll.live[worker]
	switch {
	case !live:
		return away
	case holds[unit.String()]:
		return there
	}
	return gaveUp
}
