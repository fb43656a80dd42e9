// Package snapshotstore says what Tailfold needs of a store of snapshots: a mark and values that change together, in
// one atomic step, and only from the mark that the writer has seen.
package snapshotstore

import (
	"context"
	"fmt"
	"iter"
	"time"
)

// Unit is one projection version on one partition: what is owned, folded and checkpointed as a whole.
type Unit struct {
	Projection string
	Version    int
	Partition  int
}

// String is the unit's name as the layout has it: <projection>/v<version>/<partition>.
func (u Unit) String() string { return fmt.Sprintf("%s/v%d/%d", u.Projection, u.Version, u.Partition) }

// Value is what a store has of one key.
type Value struct {
	Data   []byte
	Exists bool // false: the snapshot has no such key
}

// Entry is a key and its encoded value.
type Entry struct {
	Key  string
	Data []byte
}

// Skipped is an event that was left out of a unit's fold because it could not be folded.
type Skipped struct {
	Seq     uint64    `json:"seq"`
	Subject string    `json:"subject"`
	Key     string    `json:"key,omitempty"`
	Cause   string    `json:"cause"`
	At      time.Time `json:"at"`
}

// Checkpoint is the change from one mark to the next.
type Checkpoint struct {
	From       Mark      // what the store must hold; the zero Mark: no snapshot
	To         Mark      // sealed (Mark.Seal)
	Put        []Entry   // each key once, none of them in Delete
	Delete     []string  // keys that are gone; one that the store does not have is fine
	Definition string    // the definition's canonical text, "" to leave what is stored
	Skipped    []Skipped // to be added to the record of skipped events
}

// Store keeps snapshots. Its methods may be called from any goroutine, for one unit by several workers at once, which
// may have died long ago and come back. Every call ends when its context does.
//
// Keys are any bytes up to 64 KiB, also "", "$mark", and ones that are not UTF-8. Values are any bytes.
//
// Errors are *ConflictError, *CorruptError or *Error, wrapped or not. An *Error says by its Class what its caller
// should do. After any error of Commit but *ConflictError the outcome is unknown.
type Store interface {
	// Head returns the mark; the zero Mark where there is no snapshot. Values without a mark are CORRUPT.
	Head(ctx context.Context, unit Unit) (Mark, error)

	// Get returns the mark and the values of keys (as many as keys, in their order), all of one moment: no value is
	// ever told apart from the seq that it belongs to. With no keys it is Head.
	Get(ctx context.Context, unit Unit, keys []string) (Mark, []Value, error)

	// Commit applies the checkpoint as a whole or not at all, and only where the store holds exactly From (From.Raw,
	// byte for byte). Where it holds To already, the checkpoint has been applied before: that is success, so that a
	// checkpoint whose outcome is unknown can be sent again. Anything else is a *ConflictError with what is held.
	Commit(ctx context.Context, unit Unit, checkpoint Checkpoint) error

	// Scan yields all keys and values, each at least once, in bounded memory; keys that change meanwhile are yielded
	// in some state that they had. An error is yielded last. It does not show a single moment: read the mark before
	// and after (equal: it was one moment) or Get what matters.
	Scan(ctx context.Context, unit Unit) iter.Seq2[Entry, error]

	// Skipped returns the record of skipped events, by seq, and the mark, of one moment.
	Skipped(ctx context.Context, unit Unit) (Mark, []Skipped, error)

	// Definition returns the canonical text that Checkpoint.Definition left; "" if none.
	Definition(ctx context.Context, unit Unit) (string, error)

	// Drop removes all of a unit's snapshot. The space may be given back later.
	Drop(ctx context.Context, unit Unit) error

	// Served is the version of a projection that readers should use, 0 if none was set.
	Served(ctx context.Context, projection string) (int, error)

	// Promote makes readers use version to, if they use version from now (0: none). Else *ServedError.
	Promote(ctx context.Context, projection string, from, to int) error

	// Announce keeps what a worker says of itself for a while: until three times renew have passed without another
	// Announce of the same name, by the store's own clock.
	Announce(ctx context.Context, worker string, report []byte, renew time.Duration) error

	// Resign removes a worker's announcement. Not having one is fine.
	Resign(ctx context.Context, worker string) error

	// Workers returns what each worker last announced, by name, and removes the announcements that have run out.
	Workers(ctx context.Context) ([]Announcement, error)

	// Close gives back what the store holds. Calls under way end with an error.
	Close() error
}

// Announcement is what a worker last said of itself.
type Announcement struct {
	Worker string
	Report []byte
	Age    time.Duration // since it was said, by the store's clock
}
