package consumer

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tailfold/tailfold/snapshotstore"
)

// crew are the units that a worker runs at present, each in a goroutine of its own. It is used by one goroutine.
type crew struct {
	ctx   context.Context // of the worker's Run: its end stops all units
	units map[snapshotstore.Unit]*unit
	on    map[snapshotstore.Unit]context.CancelFunc // those that run, and those that are told to stop and have not yet
	ended chan snapshotstore.Unit
	leave func(*unit) // called when one has stopped
	wg    sync.WaitGroup
}

func newCrew(ctx context.Context, units []*unit, leave func(*unit)) *crew {
	c := &crew{ctx: ctx, leave: leave, units: map[snapshotstore.Unit]*unit{}, on: map[snapshotstore.Unit]context.CancelFunc{},
		ended: make(chan snapshotstore.Unit, len(units))} // each runs once at a time: telling of its end never waits
	for _, u := range units {
		c.units[u.id] = u
	}
	return c
}

// keep starts the wanted units that do not run, and tells those to stop that run and are not wanted. It waits for
// nothing: one that stops makes its last checkpoint, and is told of by ended.
func (c *crew) keep(wanted map[snapshotstore.Unit]bool) {
	for id, stop := range c.on {
		if !wanted[id] {
			stop()
		}
	}
	stages, started := map[*feeds]bool{}, 0
	for _, id := range c.inOrder(wanted) {
		u := c.units[id]
		if u == nil || c.on[id] != nil {
			continue
		}
		if !stages[u.feeds] {
			stages[u.feeds] = true
			started++
		}
		delay := time.Duration((started-1)/atATime) * stage
		ctx, stop := context.WithCancel(c.ctx)
		c.on[id] = stop
		u.takenOn(time.Now())
		u.worker.folding.Add(1)
		c.wg.Go(func() {
			if delay == 0 || sleep(ctx, delay) == nil {
				u.run(ctx)
			}
			u.worker.folding.Add(-1)
			c.leave(u)
			c.ended <- id
		})
	}
}

// Feeds are begun a few at a time: those of a worker that begins with hundreds would all wait for each other. No feed waits
// for another one to get anywhere.
const (
	atATime = 2
	stage   = 10 * time.Millisecond
)

// inOrder are units with those of one feed together.
func (c *crew) inOrder(wanted map[snapshotstore.Unit]bool) []snapshotstore.Unit {
	units := slices.Collect(maps.Keys(wanted))
	slices.SortFunc(units, func(a, b snapshotstore.Unit) int {
		stream := func(id snapshotstore.Unit) string {
			if u := c.units[id]; u != nil {
				return u.stream.Name
			}
			return ""
		}
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(stream(a), stream(b)), cmp.Compare(a.Projection, b.Projection), cmp.Compare(a.Version, b.Version))
	})
	return units
}

// took takes note of the end of a unit.
func (c *crew) took(id snapshotstore.Unit) {
	c.on[id]()
	delete(c.on, id)
}

// runs tells whether a unit runs, or has not stopped yet.
func (c *crew) runs(id snapshotstore.Unit) bool { return c.on[id] != nil }

// wait waits for the end of all units, whose context is done.
func (c *crew) wait() {
	c.wg.Wait()
	for _, stop := range c.on {
		stop()
	}
}
