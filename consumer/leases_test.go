package consumer_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/logtest"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/projections/projectiontest"
	"github.com/tailfold/tailfold/snapshotstore"
)

const (
	leaseTTL   = 2 * time.Second
	partitions = 8
)

// town is a house with partitions and leases: deeds.<partition>.<what>.
type town struct {
	*house
	members *logtest.Members
	stream  consumer.Stream
}

// leased is a worker under leases.
type leased struct {
	*running
	end *logtest.MembersEnd
}

func newTown(t *testing.T) *town {
	return &town{house: newHouse(t), members: logtest.NewMembers(),
		stream: consumer.Stream{Name: "DEEDS", Partitions: partitions, PartitionSubjects: []string{"deeds.{partition}.>"}}}
}

// join starts a worker under leases.
func (h *town) join(ps ...projections.Projection) *leased {
	h.t.Helper()
	end := h.members.Of()
	tune := h.tune
	defer func() { h.tune = tune }()
	h.tune = func(c *consumer.Config) {
		if tune != nil {
			tune(c)
		}
		c.Membership, c.LeaseTTL, c.Streams = end, leaseTTL, []consumer.Stream{h.stream}
	}
	return &leased{h.start(ps...), end}
}

// kill ends the worker as SIGKILL does: neither store nor membership hear of it again.
func (l *leased) kill() {
	l.end.Lose(true)
	l.running.kill()
}

func (h *town) deed(partition, n int) uint64 {
	return h.publish(fmt.Sprintf("deeds.%d.add", partition), `{"keys":["p%d-%d"],"n":%d}`, partition, n%3, n)
}

// has are the partitions of a projection that a worker runs.
func (l *leased) has(projection string) []int {
	var has []int
	for _, row := range l.Status() {
		if row.Projection == projection && row.State != consumer.Standby {
			has = append(has, row.Partition)
		}
	}
	return has
}

// mustBeEqual compares all partitions with a full replay.
func (h *town) mustBeEqual(p projections.Projection) {
	h.t.Helper()
	d := p.Definition()
	for partition := range partitions {
		unit := snapshotstore.Unit{Projection: d.Name, Version: d.Version, Partition: partition}
		mark, err := h.store.Head(context.Background(), unit)
		if err != nil {
			h.t.Fatal(err)
		}
		var events []projections.Event
		for _, e := range h.events {
			if projections.MatchSubject(fmt.Sprintf("deeds.%d.>", partition), e.Subject) {
				events = append(events, e)
			}
		}
		if len(events) > 0 && mark.Seq < events[len(events)-1].Seq {
			h.t.Fatalf("%s is at seq %d, its last event is %d", unit, mark.Seq, events[len(events)-1].Seq)
		}
		replayed, err := projectiontest.Replay(p, events, nil)
		if err != nil {
			h.t.Fatal(err)
		}
		want, got := map[string]string{}, map[string]string{}
		for k, v := range replayed {
			want[k] = string(v)
		}
		for e, err := range h.store.Scan(context.Background(), unit) {
			if err != nil {
				h.t.Fatal(err)
			}
			got[e.Key] = string(e.Data)
		}
		if !maps.Equal(got, want) {
			h.t.Fatalf("%s: stored %v, a full replay gives %v", unit, got, want)
		}
	}
}

// mustBeShared demands that each partition is run by one of the workers, and returns how many each has.
func (h *town) mustBeShared(projection string, workers ...*leased) []int {
	h.t.Helper()
	count, shares := map[int]int{}, []int{}
	for _, w := range workers {
		has := w.has(projection)
		shares = append(shares, len(has))
		for _, p := range has {
			count[p]++
		}
	}
	for p := range partitions {
		if count[p] != 1 {
			h.t.Fatalf("partition %d of %s is run by %d workers; shares %v", p, projection, count[p], shares)
		}
	}
	return shares
}

func TestWorkersThatJoinAndLeaveShareThePartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTown(t)
		sums, count := sumsByKey(nil), countAll()
		for i := range 200 {
			h.deed(i%partitions, i)
		}
		a := h.join(sums, count)
		settle(time.Second)
		if shares := h.mustBeShared("sums", a); shares[0] != partitions {
			t.Errorf("the only worker has %d partitions", shares[0])
		}
		h.mustBeEqual(sums)
		before := a.has("sums")
		epochs := map[int]uint64{}
		for _, row := range a.Status() {
			if row.Projection == "sums" {
				epochs[row.Partition] = row.Epoch
			}
		}
		b := h.join(sums, count)
		settle(time.Second) // half a lease: the units that move are given back at once
		shares := h.mustBeShared("sums", a, b)
		if slices.Max(shares) != partitions/2 {
			t.Errorf("two workers have %v partitions", shares)
		}
		for _, row := range a.Status() { // what was not moved was not stopped
			if row.Projection == "sums" && row.Epoch != epochs[row.Partition] {
				t.Errorf("partition %d was begun anew, though it was not moved (had %v)", row.Partition, before)
			}
		}
		if !slices.Equal(a.has("sums"), a.has("count")) {
			t.Errorf("units of one feed are apart: %v and %v", a.has("sums"), a.has("count"))
		}
		c := h.join(sums, count)
		settle(time.Second)
		if shares := h.mustBeShared("sums", a, b, c); slices.Max(shares) > 3 {
			t.Errorf("three workers have %v of 8 partitions", shares)
		}
		for i := range 200 {
			h.deed(i%partitions, i)
		}
		began := time.Now()
		b.stop() // SIGTERM
		settle(200 * time.Millisecond)
		if took := time.Since(began); took > 300*time.Millisecond {
			t.Errorf("a stop took %v", took)
		}
		h.mustBeShared("sums", a, c)
		settle(time.Second)
		h.mustBeEqual(sums)
		h.mustBeEqual(count)
	})
}

func TestAKilledWorkersUnitsAreTakenOverWithinALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTown(t)
		sums := sumsByKey(nil)
		a, b := h.join(sums), h.join(sums)
		settle(3 * time.Second)
		h.mustBeShared("sums", a, b)
		for i := range 100 {
			h.deed(i%partitions, i)
		}
		a.kill()
		settle(leaseTTL + 100*time.Millisecond)
		if has := b.has("sums"); len(has) != partitions {
			t.Fatalf("%v after the kill the other worker has %v", leaseTTL, has)
		}
		settle(time.Second)
		h.mustBeEqual(sums)
	})
}

func TestAWorkerThatCannotRenewStopsItsUnitsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTown(t)
		sums := sumsByKey(nil)
		a := h.join(sums)
		settle(time.Second)
		a.end.Lose(true)
		settle(leaseTTL + 10*time.Millisecond)
		if has := a.has("sums"); len(has) > 0 {
			t.Errorf("without a lease it still runs %v", has)
		}
		if err := a.Ready(); err == nil {
			t.Error("a worker without a lease is ready")
		}
		for i := range 100 {
			h.deed(i%partitions, i)
		}
		a.end.Lose(false)
		settle(2 * time.Second)
		if has := a.has("sums"); len(has) != partitions {
			t.Errorf("with its lease back it runs %v", has)
		}
		h.mustBeEqual(sums)
	})
}

// A worker that hears of nobody, itself included, does not take that for nobody being there.
func TestAWorkerWhoseWatchIsDeafTakesNothingFromOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTown(t)
		sums := sumsByKey(nil)
		a, b := h.join(sums), h.join(sums)
		settle(3 * time.Second)
		h.mustBeShared("sums", a, b)
		had := a.has("sums")
		a.end.Deafen(true)
		settle(10 * leaseTTL)
		if has := a.has("sums"); !slices.Equal(has, had) {
			t.Errorf("deaf, it has %v, before it had %v", has, had)
		}
		h.mustBeShared("sums", a, b)
		a.end.Deafen(false)
		b.kill()
		settle(2 * leaseTTL)
		h.mustBeShared("sums", a)
	})
}

// Of two workers that do not see each other both own everything: values stay right, and epochs come to rest.
func TestABrokenMembershipCostsWorkButNoValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTown(t)
		sums := sumsByKey(nil)
		var workers []*leased
		for range 3 {
			h.members = logtest.NewMembers() // nobody else is there
			workers = append(workers, h.join(sums))
		}
		for i := range 60 {
			h.deed(i%partitions, i)
			settle(time.Second)
		}
		settle(3 * time.Second)
		h.mustBeEqual(sums)
		epochs := func() (list []uint64) {
			for p := range partitions {
				mark, err := h.store.Head(t.Context(), snapshotstore.Unit{Projection: "sums", Version: 1, Partition: p})
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, mark.Epoch)
			}
			return list
		}
		was := epochs()
		for i := range 60 {
			h.deed(i%partitions, i)
			settle(time.Second)
		}
		if now := epochs(); !slices.Equal(was, now) {
			t.Errorf("three owners fight: epochs went from %v to %v within a minute", was, now)
		}
		h.mustBeEqual(sums)
		for _, w := range workers {
			w.stop()
		}
	})
}

func TestOldAndNewBinariesRunOnlyWhatTheyKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTown(t)
		old, next := sumsByKey(nil), sumsByKey(nil)
		next.Version = 2
		count := countAll()
		for i := range 100 {
			h.deed(i%partitions, i)
		}
		a := h.join(old, count)
		settle(time.Second)
		b := h.join(old, next, count)
		settle(2 * time.Second)
		h.mustBeEqual(old)
		h.mustBeEqual(next)
		h.mustBeEqual(count)
		for _, row := range a.Status() {
			if row.Version == 2 {
				t.Errorf("the old binary runs %+v", row)
			}
		}
		if rows := b.Status(); len(rows) < partitions {
			t.Errorf("the new binary runs %d units", len(rows))
		}
		a.stop()
		settle(time.Second)
		h.mustBeEqual(count)
		h.mustBeShared("count", b)
	})
}

// Another number of partitions is another definition: nothing is folded under the same version, not even where there is no
// snapshot yet.
func TestAnotherNumberOfPartitionsIsChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTown(t)
		sums := sumsByKey(nil)
		for i := range 100 {
			h.deed(i%partitions, i)
		}
		a := h.join(sums)
		settle(2 * time.Second)
		a.stop()
		for _, n := range []int{4, 16, 1} {
			h.stream.Partitions = n
			b := h.join(sums)
			settle(5 * time.Second)
			rows := b.Status()
			if len(rows) != n {
				t.Errorf("%d partitions: %d units", n, len(rows))
			}
			for _, row := range rows {
				if row.State != consumer.Halted || row.Verdict != string(consumer.Changed) {
					t.Errorf("of %d partitions, partition %d is %s %s", n, row.Partition, row.State, row.Verdict)
				}
			}
			for p := partitions; p < n; p++ {
				if mark, err := h.store.Head(t.Context(), snapshotstore.Unit{Projection: "sums", Version: 1, Partition: p}); err != nil || !mark.IsZero() {
					t.Errorf("partition %d of %d was folded: %+v, %v", p, n, mark, err)
				}
			}
			b.stop()
		}
		h.stream.Partitions = partitions
		again := h.join(sums)
		settle(2 * time.Second)
		h.mustBeEqual(sums)
		again.stop()
		// With the old snapshots dropped the new number is folded, without a restart.
		h.stream.Partitions = 16
		c := h.join(sums)
		settle(2 * time.Second)
		for p := range partitions {
			if err := h.store.Drop(t.Context(), snapshotstore.Unit{Projection: "sums", Version: 1, Partition: p}); err != nil {
				t.Fatal(err)
			}
		}
		settle(30 * time.Second)
		h.mustBeEqual(sums)
		for _, row := range c.Status() {
			if row.State != consumer.Live {
				t.Errorf("partition %d is %s: %s %s", row.Partition, row.State, row.Verdict, row.Detail)
			}
		}
	})
}

// Random joins, kills, stops, and memberships that are lost and come back, under load.
func TestRandomMembership(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	runs := 40
	if consumer.UnderRace {
		runs = 8
	}
	for i := range runs {
		seed := seed + uint64(i)
		ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runMembership(t, rand.New(rand.NewPCG(seed, 3))) })
		})
		if !ok {
			t.Fatalf("repeat with: go test ./consumer -run TestRandomMembership -seed %d", seed)
		}
	}
}

func runMembership(t *testing.T, rng *rand.Rand) {
	h := newTown(t)
	h.log.SetMaxBatch(1 + rng.IntN(64))
	sums, count := sumsByKey(nil), countAll()
	var workers []*leased
	n := 0
	for range 60 {
		switch x := rng.IntN(10); {
		case x < 4:
			for range rng.IntN(40) {
				n++
				h.deed(rng.IntN(partitions), n)
			}
		case x < 6 && len(workers) < 4:
			workers = append(workers, h.join(sums, count))
		case x == 6 && len(workers) > 0:
			i := rng.IntN(len(workers))
			if rng.IntN(2) == 0 {
				workers[i].kill()
			} else {
				workers[i].stop()
			}
			workers = slices.Delete(workers, i, i+1)
		case x == 7 && len(workers) > 0:
			workers[rng.IntN(len(workers))].end.Lose(rng.IntN(2) == 0)
		default:
			settle(time.Duration(rng.IntN(3000)) * time.Millisecond)
		}
	}
	if len(workers) == 0 {
		workers = append(workers, h.join(sums, count))
	}
	for _, w := range workers {
		w.end.Lose(false)
	}
	settle(20 * time.Second)
	h.mustBeShared("sums", workers...)
	h.mustBeEqual(sums)
	h.mustBeEqual(count)
	var group sync.WaitGroup
	for _, w := range workers {
		group.Go(w.stop)
	}
	group.Wait()
}
