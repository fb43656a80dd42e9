package consumer

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tailfold/tailfold/snapshotstore"
)

// roster is what one worker knows of the workers of its deployment, and decides by that what it is to run. It is told what
// happens and when, by this worker's monotonic clock, and asked what follows: it has no clock of its own.
type roster struct {
	name string
	runs []Ability
	ttl  time.Duration // of this worker's lease

	synced   bool      // the records that there were have been told
	heard    time.Time // when anything was last told; this worker's own renewals are, too
	echo     time.Time // when this worker's record was last put, by the server's clock
	renewed  time.Time // when the last renewal that succeeded was begun; zero: there was none
	others   map[string]*other
	waiting  map[snapshotstore.Unit]time.Time // units that are to be run here, and since when another one still has them
	assigned map[assigned]string              // as of the workers below
	workers  string
}

// other is another worker, as its last record says.
type other struct {
	Member
	record []byte
	at     time.Time // of its last renewal, by the server's clock
	seen   time.Time // by ours; it counts as gone one time to live later
	told   bool      // since the watch began
	holds  map[string]bool
}

func newRoster(name string, runs []Ability, ttl time.Duration) *roster {
	return &roster{name: name, runs: runs, ttl: ttl, others: map[string]*other{}, waiting: map[snapshotstore.Unit]time.Time{}}
}

// watching notes that all records will be told anew.
func (r *roster) watching() {
	for _, o := range r.others {
		o.told = false
	}
}

// saw takes in what the membership tells.
func (r *roster) saw(c MemberChange, now time.Time) error {
	r.heard = now
	switch {
	case c.All:
		r.syncedAt(now)
	case c.Worker == r.name:
		if c.At.After(r.echo) {
			r.echo = c.At
		}
	case c.Removed:
		delete(r.others, c.Worker)
	default:
		return r.sawRecord(c, now)
	}
	return nil
}

func (r *roster) sawRecord(c MemberChange, now time.Time) error {
	o := r.others[c.Worker]
	again := o != nil && o.told                       // of one watch, a second telling is another renewal, also on a clock that stands still
	if o == nil || !bytes.Equal(o.record, c.Record) { // mostly it is only renewed
		next := &other{record: c.Record, holds: map[string]bool{}}
		if err := json.Unmarshal(c.Record, &next.Member); err != nil {
			return err
		}
		for _, unit := range next.Holds {
			next.holds[unit] = true
		}
		if o != nil {
			next.at, next.seen = o.at, o.seen
		}
		o = next
		r.others[c.Worker] = o
	}
	o.told = true
	if again || !c.At.Equal(o.at) || o.seen.IsZero() { // else the same renewal is told once more
		o.at, o.seen = c.At, now
	}
	return nil
}

// syncedAt forgets who was not told of, and counts as gone who has left a record behind that is old: both times are the
// server's, so that no two clocks are compared.
func (r *roster) syncedAt(now time.Time) {
	for name, o := range r.others {
		switch {
		case !o.told:
			delete(r.others, name)
		case !r.synced && !r.echo.IsZero() && r.echo.Sub(o.at) > o.ttl():
			o.seen = now.Add(-o.ttl())
		}
	}
	r.synced = true
}

func (o *other) ttl() time.Duration { return time.Duration(o.TTLMS) * time.Millisecond }

func (o *other) live(now time.Time) bool { return now.Sub(o.seen) < o.ttl() }

// renewal notes a renewal that has succeeded. What counts is when it was begun: the others saw it later.
func (r *roster) renewal(begun time.Time) {
	if begun.After(r.renewed) {
		r.renewed = begun
	}
}

// member tells whether the worker's own lease holds: whether the others may take it to be there.
func (r *roster) member(now time.Time) bool {
	return r.synced && !r.renewed.IsZero() && now.Sub(r.renewed) < r.ttl
}

// decide says which units the worker is to run now, of which it runs some already. One that another worker still has is
// waited for, but not for longer than a lease: then it is taken, and the other one's checkpoints are refused.
func (r *roster) decide(now time.Time, runs func(snapshotstore.Unit) bool) map[snapshotstore.Unit]bool {
	run := map[snapshotstore.Unit]bool{}
	if !r.member(now) {
		clear(r.waiting)
		return run
	}
	if now.Sub(r.heard) >= r.ttl { // the watch is deaf: that nobody is heard says nothing about who is there
		for unit := range r.assigned {
			if runs(unit.unit) {
				run[unit.unit] = true
			}
		}
		return run
	}
	r.assign(now)
	waiting := map[snapshotstore.Unit]time.Time{}
	for unit, owner := range r.assigned {
		if owner != r.name {
			continue
		}
		if !runs(unit.unit) && r.heldByOther(unit.unit, now) {
			since, waits := r.waiting[unit.unit]
			if !waits {
				since = now
			}
			if now.Sub(since) < r.ttl {
				waiting[unit.unit] = since
				continue
			}
		}
		run[unit.unit] = true
	}
	r.waiting = waiting
	return run
}

// assign computes the assignment anew when other workers than before are there.
func (r *roster) assign(now time.Time) {
	workers := []able{{r.name, r.runs}}
	for name, o := range r.others {
		if o.live(now) && !o.Leaving {
			workers = append(workers, able{name, o.Runs})
		}
	}
	var names []string
	for _, w := range workers {
		names = append(names, w.worker)
	}
	slices.Sort(names)
	if key := strings.Join(names, "\n"); key != r.workers {
		r.assigned, r.workers = assign(workers), key
	}
}

func (r *roster) heldByOther(unit snapshotstore.Unit, now time.Time) bool {
	name := unit.String()
	for _, o := range r.others {
		if o.holds[name] && o.live(now) {
			return true
		}
	}
	return false
}

// next is when something changes if nothing happens: a lease runs out, the worker's own included, or a unit has been
// waited for for long enough.
func (r *roster) next(now time.Time) time.Duration {
	wait := r.ttl
	by := func(at time.Time) {
		if d := at.Sub(now); d > 0 {
			wait = min(wait, d)
		}
	}
	if !r.renewed.IsZero() {
		by(r.renewed.Add(r.ttl))
	}
	for _, o := range r.others {
		by(o.seen.Add(o.ttl()))
	}
	for _, since := range r.waiting {
		by(since.Add(r.ttl))
	}
	return wait
}

// roll is who is there and has what, for goroutines other than the one that keeps the roster.
type roll struct {
	live map[string]map[string]bool // units that each live worker has
}

func (r *roster) roll(now time.Time) *roll {
	live := map[string]map[string]bool{}
	for name, o := range r.others {
		if o.live(now) {
			live[name] = o.holds
		}
	}
	return &roll{live}
}
