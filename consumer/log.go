package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

// Witness is a message of the log, told by seq, time and hash.
type Witness = snapshotstore.Witness

// Log is one partition of an ordered, replayable sequence of events. Its methods may be called from any goroutine.
//
// A log that can't be reached, or refuses us, answers with a *LogError; everything about it is tried again.
type Log interface {
	// Bounds tells what the log is and holds now, as its leader knows it. ErrNoLog: there is none of this name.
	Bounds(ctx context.Context) (Bounds, error)

	// Witness reads the message at seq. ErrNoMessage: the log has none there (any more, or yet).
	Witness(ctx context.Context, seq uint64) (Witness, error)

	// Open starts a reader of the events with a seq above after. When it returns, the log has tied the reader to the
	// sequence of messages that it holds now: what Bounds and Witness tell from here on is about the messages that
	// the reader will hand out, or about later ones, in which case the reader ends with an error. So the caller
	// opens, then judges the log by its witnesses, then folds. With subjects, only events that match one of them are
	// handed out. ErrBeyondLast: the log's last seq is below after, so there is nothing to wait for there; its bounds
	// and witnesses tell what became of it.
	Open(ctx context.Context, after uint64, subjects []string) (Reader, error)
}

// Reader hands out the log's events in order, from one goroutine at a time.
//
// The first batch follows at once and is empty (From and To are the position asked for). After that each batch begins
// where the last one ended. No event between From and To that matches the subjects is left out, none comes twice, and
// To is a position whose message was read, or the seq of an event handed out: never a guess. A position beyond the
// last event is handed out as an empty batch, so that an idle reader's position follows the log.
type Reader interface {
	// Next waits for what comes next and hands over all that has arrived, up to a bound. Any error but the context's
	// ends the reader: a missed delivery, a lost connection, a log that was deleted. The caller closes it, opens a new
	// one after the last batch's To and judges the log again. *LogError says why.
	Next(ctx context.Context) (Batch, error)

	// Close gives back what the log's server keeps for the reader. A Next under way ends.
	Close(ctx context.Context) error
}

// Batch covers the positions (From, To] of a log.
type Batch struct {
	From, To uint64
	Events   []projections.Event // in order of seq; read only, shared by all units (projections.Share was called)
	Last     Witness             // of the message at To. Its Hash is "" where it must be asked for (Log.Witness); all zero where To == From
	Head     uint64              // seq of the last message that waits to be read, as the reader knows it; To where none does
	Bytes    int                 // memory of the events, about
}

// Bounds is what a log is and holds.
type Bounds struct {
	Stream  string
	Created time.Time
	First   uint64 // the first seq that it still has; Last+1 where it is empty
	Last    uint64 // the last seq that was given out, also if that message is gone; 0: nothing was ever stored

	// Subjects are those that events of the log can have; none: not known.
	Subjects []string
	// Configured is the first seq that the log was configured to begin with; 0 and 1 are the usual one.
	Configured uint64
	// Unsuitable says why nobody can fold this log, and the way out; "" where one can.
	Unsuitable string
	// Holes says which limit removes events from the middle, where a reader can't tell them from events of other
	// subjects; "" where none does.
	Holes string
}

type unitKey struct{}

// UnitOf is the unit for which a log or a store is asked, for those that label or bound their calls by unit. False: the
// call is for several units.
func UnitOf(ctx context.Context) (snapshotstore.Unit, bool) {
	unit, ok := ctx.Value(unitKey{}).(snapshotstore.Unit)
	return unit, ok
}

// ErrNoLog is a log that does not exist.
var ErrNoLog = errors.New("does not exist")

// ErrNoMessage is a position at which the log has no message.
var ErrNoMessage = errors.New("no message at this seq")

// ErrBeyondLast is a position that the log has not reached, or has no longer reached.
var ErrBeyondLast = errors.New("is beyond the log's last seq")

// ErrIncomplete is a copy of a log that lacks events which the log has.
var ErrIncomplete = errors.New("a copy of the log is not whole")

// LogError is a log that could not do what it was asked.
type LogError struct {
	Op     string // "open", "read", …
	Stream string
	Fix    string // what an operator can do about it, "" if nothing but wait
	Err    error
}

func (e *LogError) Error() string {
	text := fmt.Sprintf("log %s: %s: %v", e.Stream, e.Op, e.Err)
	if e.Fix != "" {
		text += " (" + e.Fix + ")"
	}
	return text
}

func (e *LogError) Unwrap() error { return e.Err }
