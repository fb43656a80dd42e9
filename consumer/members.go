package consumer

import (
	"context"
	"time"
)

// Membership is where the workers of one deployment see each other: a record per worker, which it renews, and which the
// others watch. It decides nothing about safety: that is the epoch and the compare-and-set of the store. It may lose,
// delay or repeat what it tells, and two workers may see different members; then units are owned twice for a while,
// which costs work and changes no value.
//
// Its methods may be called from any goroutine. Errors are passing: all is tried again.
type Membership interface {
	// Put keeps a worker's record in place of the last one.
	Put(ctx context.Context, worker string, record []byte) error
	// Remove takes a worker's record back. It is no error if there is none.
	Remove(ctx context.Context, worker string) error
	// Watch tells of each record that there is, then that this was all (MemberChange.All), then of each record that is put
	// or removed, until ctx is done or it can't go on: it may fail where nothing was ever put. It calls tell from one goroutine, and not after it has returned.
	Watch(ctx context.Context, tell func(MemberChange)) error
}

// MemberChange is what a Membership tells.
type MemberChange struct {
	Worker  string
	Record  []byte
	Removed bool
	At      time.Time // when the record was put, by the clock of the membership's server; it orders nothing
	All     bool      // no record: those that there were have been told
}

// Member is the record of a worker, as JSON.
type Member struct {
	Worker  string    `json:"worker"`
	Version string    `json:"version"` // of the program
	TTLMS   int64     `json:"ttl_ms"`  // so long after its last renewal it counts as gone
	Leaving bool      `json:"leaving,omitzero"`
	Runs    []Ability `json:"runs"`  // what it can run
	Holds   []string  `json:"holds"` // units that it has, and has not given back yet
}
