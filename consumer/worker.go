package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/zap"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

// Worker folds the logs of its units and keeps their snapshots. Make one with New. Its methods may be called from any
// goroutine.
type Worker struct {
	config    Config
	units     []*unit
	cache     cache
	near      atomic.Int64 // units that follow the head, and are not far behind it
	abandoned atomic.Int64 // goroutines that were given up because a step did not return
	made      time.Time
	ticked    atomic.Int64 // when the worker last announced itself, or tried to: nanoseconds since made, by a clock that nobody sets
	running   atomic.Bool
	ended     atomic.Bool
	bar       chan struct{} // held by the unit that folds an event at which workers may have died

	meters  *meterVecs
	ring    int           // bytes that a feed may hold for its units
	folding atomic.Int64  // units that run
	changed chan struct{} // has a token when a unit's state has changed since it was announced

	roll  atomic.Pointer[roll]   // the other workers, by leases; nil while none are known
	lease atomic.Pointer[string] // why the worker can't renew its lease; nil where it can
	deaf  atomic.Pointer[string] // why it can't watch the others; nil where it can

	wg  sync.WaitGroup  // everything that units and feeds have started
	ctx context.Context // of Run; feeds live on it
}

// announceRest is how soon after a change of a unit's state it is announced, and how often at the most.
const announceRest = 50 * time.Millisecond

// New validates the configuration and makes a worker. It does no I/O and starts nothing.
func New(config Config) (*Worker, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	w := &Worker{changed: make(chan struct{}, 1), config: config, made: time.Now(), bar: make(chan struct{}, 1)}
	meters, err := newMeters(config.Metrics)
	if err != nil {
		return nil, fmt.Errorf("worker: metrics: %w", err)
	}
	w.meters = meters
	streams := map[string][]*feeds{}
	w.ring = config.ring()
	for _, p := range config.Registry.All() {
		d := p.Definition()
		stream := config.stream(d.Stream)
		if streams[d.Stream] == nil {
			if streams[d.Stream], err = w.feedsOf(stream); err != nil {
				return nil, fmt.Errorf("worker: stream %s: %w", d.Stream, err)
			}
		}
		for partition, f := range streams[d.Stream] {
			w.units = append(w.units, w.newUnit(p, d, stream, partition, f, meters))
		}
	}
	for _, fs := range streams {
		for _, f := range fs {
			f.subjects = w.wantedFrom(f)
		}
	}
	w.cache = cache{budget: int64(max(0, config.Cache)), units: int64(len(w.units))}
	return w, nil
}

func (c Config) stream(name string) Stream {
	for _, s := range c.Streams {
		if s.Name == name {
			return s
		}
	}
	return Stream{Name: name, Partitions: 1}
}

// Subjects are those of one partition; none: the whole stream.
func (s Stream) Subjects(partition int) []string {
	var subjects []string
	for _, subject := range s.PartitionSubjects {
		subjects = append(subjects, strings.ReplaceAll(subject, "{partition}", strconv.Itoa(partition)))
	}
	return subjects
}

// definition is the canonical text of a projection's definition on one partition. Of a partitioned stream the subjects
// that tell the partition are part of it.
func (s Stream) definition(d projections.Definition, partition int) string {
	if own := s.Subjects(partition); len(own) > 0 {
		narrowed, ok := projections.NarrowSubjects(d.Subjects, own)
		if !ok { // there is no event that it wants
			narrowed = append(slices.Clone(d.Subjects), own...)
		}
		d.Subjects = narrowed
	}
	return d.Text(partition, max(1, s.Partitions))
}

func (w *Worker) feedsOf(stream Stream) ([]*feeds, error) {
	all := make([]*feeds, stream.Partitions)
	for partition := range all {
		log, err := w.config.Logs(stream, partition)
		if err != nil {
			return nil, err
		}
		all[partition] = &feeds{log: log, ring: w.ring, base: stream.Subjects(partition), wg: &w.wg}
	}
	return all, nil
}

func (w *Worker) newUnit(p projections.Projection, d projections.Definition, stream Stream, partition int, f *feeds, m *meterVecs) *unit {
	u := &unit{
		id:         snapshotstore.Unit{Projection: d.Name, Version: d.Version, Partition: partition},
		projection: p, definition: d, stream: stream, feeds: f, worker: w,
		text:     stream.definition(d, partition),
		meters:   m.of(d.Name, d.Version, partition),
		squeeze:  make(chan struct{}, 1),
		portion:  firstPortion,
		caughtUp: make(chan struct{}),
		log:      w.config.Logger.With(zap.String("projection", d.Name), zap.Int("projection_version", d.Version), zap.Int("partition", partition), zap.String("stream", d.Stream)),
	}
	u.fingerprint = projections.Fingerprint(u.text)
	u.chance = newChance(w.config.Seed, w.config.Name+"\n"+u.id.String())
	u.subjects = stream.Subjects(partition)
	u.status = UnitStatus{Projection: d.Name, Version: d.Version, Partition: partition, Stream: d.Stream, State: Unowned,
		CheckpointAgeMS: -1, Owner: w.config.Name, Standbys: []string{}}
	if w.config.Membership == nil && w.config.Shard.Has(d.Stream, partition) {
		u.status.State = Starting // as soon as the worker runs
	}
	return u
}

// wantedFrom is what the units of a feed want together; none: everything.
func (w *Worker) wantedFrom(f *feeds) []string {
	var wanted []string
	for _, u := range w.units {
		if u.feeds != f {
			continue
		}
		subjects, ok := projections.NarrowSubjects(u.definition.Subjects, u.subjects)
		if ok && len(subjects) == 0 {
			return nil
		}
		for _, s := range subjects {
			if !slices.Contains(wanted, s) {
				wanted = append(wanted, s)
			}
		}
	}
	return wanted
}

// Run folds until ctx is done, then makes the last checkpoints, for Config.Grace at the most, and returns nil. Log and
// store may be away when it starts and at any time later. A worker runs once.
func (w *Worker) Run(ctx context.Context) error {
	if !w.running.CompareAndSwap(false, true) {
		return errors.New("worker: Run was called before: make a new worker")
	}
	defer w.ended.Store(true)
	// Feeds and announcements outlive ctx: units stop first.
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w.ctx = inner
	w.ticked.Store(int64(time.Since(w.made)))
	var announcer sync.WaitGroup
	announcer.Go(func() { w.announce(inner) })
	announcer.Go(func() { w.lookout(inner) })
	if w.config.Membership != nil {
		w.byLeases(ctx, inner)
	} else {
		w.byShard(ctx)
	}
	cancel()
	announcer.Wait()
	w.wg.Wait()
	return nil
}

// byShard runs the units of the worker's shard until ctx is done.
func (w *Worker) byShard(ctx context.Context) {
	mine := map[snapshotstore.Unit]bool{}
	for _, u := range w.units {
		if w.config.Shard.Has(u.stream.Name, u.id.Partition) {
			mine[u.id] = true
		}
	}
	crew := newCrew(ctx, w.units, (*unit).stays)
	crew.keep(mine)
	crew.wait()
}

// announce says in the store what the worker's units do, until ctx is done, and then takes it back.
func (w *Worker) announce(ctx context.Context) {
	tick := time.NewTicker(w.config.Renew)
	defer tick.Stop()
	for {
		w.ticked.Store(int64(time.Since(w.made)))
		for _, u := range w.units {
			u.stillNear()
		}
		if w.cache.over() {
			for _, u := range w.units {
				token(u.squeeze)
			}
		}
		call, cancel := context.WithTimeout(ctx, max(w.config.Renew, time.Second))
		report, err := json.Marshal(w.Report(), json.Deterministic(true))
		if err == nil {
			err = w.config.Store.Announce(call, w.config.Name, report, w.config.Renew)
		}
		cancel()
		if err != nil && ctx.Err() == nil {
			w.config.Logger.Debug("could not announce this worker in the store", zap.Error(err)) // the units say that the store is away
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-w.changed: // a unit's state; several that change together are told together
			_ = sleep(ctx, announceRest)
		}
		if ctx.Err() != nil {
			call, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_ = w.config.Store.Resign(call, w.config.Name) // it runs out by itself
			return
		}
	}
}

// bounds are those of checkpoints now: long pauses of the store are allowed only while no unit is near the head. What all
// units that are not near it may keep uncommitted together is bounded, however many there are.
func (w *Worker) bounds() CheckpointBounds {
	if w.near.Load() > 0 {
		return CheckpointBounds{Every: w.config.Checkpoint.Every, MaxPause: w.config.Checkpoint.MaxPause, MaxBytes: w.config.Checkpoint.MaxBytes}
	}
	bounds := w.config.Checkpoint.Replay
	if units := int(w.folding.Load()); units > 1 {
		bounds.MaxBytes = min(bounds.MaxBytes, max(replayBytes/units, leastBytes))
	}
	return bounds
}

// crowd is how many units replay together; 0 while one is near the head, which has the store to itself then.
func (w *Worker) crowd() int {
	if w.near.Load() > 0 {
		return 0
	}
	return int(w.folding.Load())
}

const (
	replayBytes = 256 << 20 // uncommitted, of all units of a worker that replay together, about
	leastBytes  = 128 << 10 // of one
	feedBytes   = 256 << 20 // read and not yet folded, of all feeds of a worker
	leastRing   = 1 << 20   // of one
)

// ring is how many bytes one of a worker's feeds may hold for its units.
func (c Config) ring() int {
	feeds := map[string]int{}
	for _, p := range c.Registry.All() {
		name := p.Definition().Stream
		feeds[name] = c.stream(name).Partitions
	}
	n := 0
	for _, partitions := range feeds {
		n += partitions
	}
	return min(ringBytes, max(feedBytes/max(1, n), leastRing))
}

// Status tells of each unit that this worker runs or stands by for, by projection, version and partition. Units of its
// configuration that others are to run are not among them.
func (w *Worker) Status() []UnitStatus {
	rows := make([]UnitStatus, 0, len(w.units))
	for _, u := range w.units {
		if row := u.row(time.Now()); row.State != Unowned {
			rows = append(rows, row)
		}
	}
	return rows
}

// Report is what the worker says of itself, as it announces it in the store.
func (w *Worker) Report() Report {
	return Report{Worker: w.config.Name, Version: w.config.Version, RenewMS: w.config.Renew.Milliseconds(),
		Lease: w.leaseProblem(), Units: w.Status()}
}

func (w *Worker) leaseProblem() string {
	for _, problem := range []*string{w.lease.Load(), w.deaf.Load()} {
		if problem != nil {
			return *problem
		}
	}
	return ""
}

// Alive returns an error if the worker is in a state that only a restart mends: Run has returned, or its goroutines do
// not get to run. A log or a store that is away is no such state, nor is a halted unit.
func (w *Worker) Alive() error {
	switch silent := time.Since(w.made) - time.Duration(w.ticked.Load()); {
	case w.ended.Load():
		return errors.New("the worker has stopped")
	case w.running.Load() && silent > time.Minute+10*w.config.Renew:
		return fmt.Errorf("the worker's loop has not come round for %s", silent.Round(time.Second))
	}
	return nil
}

// Ready returns nil if each unit has read from its log and its store and follows the log's head, stands by, or has been
// stopped by a verdict that a restart does not mend; else an error that says what it waits for.
func (w *Worker) Ready() error {
	if !w.running.Load() || w.ended.Load() {
		return errors.New("the worker is not running")
	}
	var errs []error
	if w.config.Membership != nil && w.roll.Load() == nil {
		errs = append(errs, fmt.Errorf("the worker has no lease (yet): %s", cmp.Or(w.leaseProblem(), "it is joining the others")))
	}
	for _, row := range w.Status() {
		ok := row.State == Live && row.Verdict == "" || row.State == Standby || row.State == Halted
		if !ok {
			errs = append(errs, fmt.Errorf("%s/v%d/%d is %s at seq %d of %d %s %s", row.Projection, row.Version, row.Partition, row.State, row.Seq, row.Head, row.Verdict, row.Detail))
		}
	}
	return errors.Join(errs...)
}

// cache shares one budget of bytes among the units' folds.
type cache struct {
	budget int64
	units  int64
	total  atomic.Int64
}

// trim makes a fold forget values while all units together hold more than the budget.
func (c *cache) trim(u *unit, fold projections.Fold) {
	held := int64(fold.Bytes())
	if over := c.total.Load() + held - u.cached - c.budget; over > 0 {
		share := c.budget / c.units
		fold.Evict(int(max(0, min(held, max(held-over, share)))))
		held = int64(fold.Bytes())
	}
	c.total.Add(held - u.cached)
	u.cached = held
}

// forget takes out of the account what a fold held that is given up.
func (c *cache) forget(u *unit) {
	c.total.Add(-u.cached)
	u.cached = 0
}

func (c *cache) over() bool { return c.total.Load() > c.budget }
