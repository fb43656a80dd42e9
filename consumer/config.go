package consumer

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

// Config is all that a Worker needs. It is validated once, by New.
type Config struct {
	// Name tells this worker from all others, also from its own predecessors: unique per process start. Required.
	Name string
	// Version is the program's version, shown in status.
	Version string
	// Registry holds the projections to run. Required.
	Registry *projections.Registry
	// Logs makes the log of a partition of a stream; called once per stream and partition, must not block. Required.
	Logs func(stream Stream, partition int) (Log, error)
	// Store keeps the snapshots. Required; not closed by the worker.
	Store snapshotstore.Store
	// Streams has settings of streams, by name. A stream that is not named has the defaults.
	Streams []Stream
	// Shard is the share of the feeds that this worker runs. Default: all of them. Not with Membership.
	Shard Shard
	// Membership is where the workers agree on who runs which units. Default nil: nobody assigns them, the worker runs its
	// Shard.
	Membership Membership
	// LeaseTTL is how long a worker of a Membership may be silent before others take its units over. Default 5 s.
	LeaseTTL time.Duration
	// Checkpoint says when checkpoints are made.
	Checkpoint Checkpoint
	// StepTimeout is how long one step may take before the unit is STUCK. Default 10 s.
	StepTimeout time.Duration
	// Cache is the budget in bytes for decoded values of all units together, beyond those not yet committed.
	// Default 256 MiB; negative: keep nothing.
	Cache int
	// MaxKey and MaxValue bound keys and encoded values in bytes. Defaults 64 KiB and 1 MiB.
	MaxKey, MaxValue int
	// Grace is how long Run takes for the last checkpoints after its context is done. Default 10 s.
	Grace time.Duration
	// Renew is how often the worker announces itself in the store. Default 1 s.
	Renew time.Duration
	// Payloads lets verdicts, logs and the record of skipped events quote data of events and values. Without it they have
	// seq, subject, key and cause. Default: false.
	Payloads bool
	// Logger gets one line per change of state. Default: none.
	Logger *zap.Logger
	// Metrics is where the worker registers its metrics. Default: a registry of its own, which nobody reads.
	Metrics prometheus.Registerer
	// Now is the wall clock: the times that people read in marks and in the record of skipped events. Nothing that is
	// decided, leases and waits among it, goes by it. Default time.Now.
	Now func() time.Time
	// Seed makes the random part of the waits before something is tried again the same in each run, for tests that repeat.
	// Default 0: it is another one each time.
	Seed uint64
	// Failpoint is called at named points, for tests that kill the process there. Default: none.
	Failpoint func(name string)
}

// Stream has the settings of one stream.
type Stream struct {
	Name       string
	Partitions int // default 1
	// PartitionSubjects are the subjects of one partition, with {partition} in place of its number.
	PartitionSubjects []string
	// AcceptHoles runs on streams whose limits remove events from the middle.
	AcceptHoles bool
}

// Checkpoint says when a unit commits. A unit that has drained its input commits at once, but no sooner than 5 ms and
// four times the last commit's duration after the last one. Under load it waits for the first of these bounds.
type Checkpoint struct {
	Every    time.Duration // default 250 ms
	MaxPause time.Duration // longest time that one checkpoint may hold the store; default 10 ms
	MaxBytes int           // default 1 MiB
	// Replay has the bounds that hold while no unit of the worker is near the head: each is replaying, or was live and has
	// fallen more than 50,000 events behind. Defaults 1 s, 100 ms, 16 MiB. Where several do, Every is up to four times as
	// long, so that all of them together take about a fifth of the store's time.
	Replay CheckpointBounds
}

// CheckpointBounds are the bounds of one checkpoint.
type CheckpointBounds struct {
	Every    time.Duration
	MaxPause time.Duration
	MaxBytes int
}

func (c Config) withDefaults() (Config, error) {
	var errs []error
	if c.Name == "" {
		errs = append(errs, errors.New("Name is empty: every worker needs a name of its own"))
	}
	if c.Registry == nil || len(c.Registry.All()) == 0 {
		errs = append(errs, errors.New("Registry has no projection: there is nothing to fold"))
	}
	if c.Logs == nil {
		errs = append(errs, errors.New("Logs is missing"))
	}
	if c.Store == nil {
		errs = append(errs, errors.New("Store is missing"))
	}
	orDefault(&c.Checkpoint.Every, 250*time.Millisecond)
	orDefault(&c.Checkpoint.MaxPause, 10*time.Millisecond)
	orDefault(&c.Checkpoint.MaxBytes, 1<<20)
	orDefault(&c.Checkpoint.Replay.Every, time.Second)
	orDefault(&c.Checkpoint.Replay.MaxPause, 100*time.Millisecond)
	orDefault(&c.Checkpoint.Replay.MaxBytes, 16<<20)
	orDefault(&c.StepTimeout, 10*time.Second)
	orDefault(&c.Cache, 256<<20)
	orDefault(&c.MaxKey, 64<<10)
	orDefault(&c.MaxValue, 1<<20)
	orDefault(&c.Grace, 10*time.Second)
	orDefault(&c.Renew, time.Second)
	orDefault(&c.LeaseTTL, 5*time.Second)
	for name, d := range map[string]time.Duration{"Checkpoint.Every": c.Checkpoint.Every, "Checkpoint.MaxPause": c.Checkpoint.MaxPause,
		"Checkpoint.Replay.Every": c.Checkpoint.Replay.Every, "Checkpoint.Replay.MaxPause": c.Checkpoint.Replay.MaxPause,
		"StepTimeout": c.StepTimeout, "Grace": c.Grace, "Renew": c.Renew, "LeaseTTL": c.LeaseTTL} {
		if d < 0 {
			errs = append(errs, fmt.Errorf("%s is negative: %v", name, d))
		}
	}
	if n := c.Shard.Count; n < 0 || c.Shard.Index < 0 || c.Shard.Index > 0 && c.Shard.Index >= n {
		errs = append(errs, fmt.Errorf("Shard is %d of %d: the first is 0, the last %d", c.Shard.Index, n, n-1))
	}
	if c.Shard.Count > 1 && c.Membership != nil {
		errs = append(errs, errors.New("Shard and Membership are both set: units are assigned by one of them"))
	}
	for i := range c.Streams {
		orDefault(&c.Streams[i].Partitions, 1)
		if n := c.Streams[i].Partitions; n < 0 {
			errs = append(errs, fmt.Errorf("Streams: %s has %d partitions: it has at least 1", c.Streams[i].Name, n))
		}
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Metrics == nil {
		c.Metrics = prometheus.NewRegistry()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Failpoint == nil {
		c.Failpoint = func(string) {}
	}
	return c, errors.Join(errs...)
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
