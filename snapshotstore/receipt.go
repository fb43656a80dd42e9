package snapshotstore

import "time"

// Receipt is what a store tells of a checkpoint that it has applied, beyond that it has.
type Receipt struct {
	// Held is for how long nobody else could use the store; 0: it does not tell.
	Held time.Duration

	// Waited is how long replicas were waited for. It is no part of Held.
	Waited time.Duration

	Replicas Replicas
}

// Replicas tells how many replicas of the store have a checkpoint, of those that were asked for. It is what was known when
// the checkpoint was made: that fewer have it does no harm while the store lives, and costs a replay if a replica that has
// it not takes the store's place.
type Replicas struct {
	Asked int    `json:"asked"` // 0: none, and nothing is known
	Have  int    `json:"have"`
	Why   string `json:"why,omitempty"` // why it is not known how many have it, "" if it is
}

// Short tells whether fewer have the checkpoint than were asked for.
func (r Replicas) Short() bool { return r.Have < r.Asked }
