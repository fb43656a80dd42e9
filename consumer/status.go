package consumer

import "github.com/tailfold/tailfold/snapshotstore"

// UnitState is what a unit is doing.
type UnitState string

// The states of a unit.
const (
	Starting  UnitState = "starting"  // finding out where to go on
	Replaying UnitState = "replaying" // folding what happened before it started
	Live      UnitState = "live"      // has reached the head and follows it
	Paused    UnitState = "paused"    // an operator's wish
	Halted    UnitState = "halted"    // a verdict stopped it
	Standby   UnitState = "standby"   // another worker has it
	Unowned   UnitState = "unowned"   // nobody has it
)

// UnitStatus is one row of status.
type UnitStatus struct {
	Projection      string    `json:"projection"`
	Version         int       `json:"version"`
	Partition       int       `json:"partition"`
	Stream          string    `json:"stream"`
	State           UnitState `json:"state"`
	Verdict         string    `json:"verdict"`           // "" while it runs
	Detail          string    `json:"detail"`            // the verdict's evidence and way out, or what it waits for
	Proof           string    `json:"proof"`             // how the log was recognised: "full", "partial", "created", "" before
	Seq             uint64    `json:"seq"`               // of the last committed mark
	Head            uint64    `json:"head"`              // the log's last seq as last known
	Lag             uint64    `json:"lag"`               // head - seq
	CheckpointAgeMS int64     `json:"checkpoint_age_ms"` // since the last commit; -1: none yet
	Epoch           uint64    `json:"epoch"`
	Owner           string    `json:"owner"`    // the worker that holds it
	Standbys        []string  `json:"standbys"` // workers that would take it over
	Served          bool      `json:"served"`   // whether readers are pointed to this version

	Replicas snapshotstore.Replicas `json:"replicas,omitzero"` // of the store, that have the last checkpoint; not there: none were asked for

	Folded        uint64  `json:"folded"`          // events folded since start
	Skipped       uint64  `json:"skipped"`         // poison events skipped since start
	ResumedAt     uint64  `json:"resumed_at"`      // seq of the snapshot that it started from
	ReplayTarget  uint64  `json:"replay_target"`   // the head when it started
	ReplayRate    float64 `json:"replay_rate"`     // events per second, while replaying
	ReplayMS      int64   `json:"replay_ms"`       // from start until live, 0 before
	Replayed      uint64  `json:"replayed"`        // events of the log between the snapshot and the head at the start
	StartedUnixMS int64   `json:"started_unix_ms"` // the worker's clock
}

// Report is what a worker announces of itself in the store, as JSON.
type Report struct {
	Worker  string       `json:"worker"`
	Version string       `json:"version"`
	RenewMS int64        `json:"renew_ms"`
	Lease   string       `json:"lease,omitzero"` // why it can't renew its lease, and so runs nothing
	Units   []UnitStatus `json:"units"`
}
