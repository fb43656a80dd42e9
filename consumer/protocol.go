package consumer

import (
	"time"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

// This file is the protocol by which workers that may die, be paused for hours or disagree about who owns what share a
// unit's snapshot. Its functions only decide: they are pure, over marks and what a worker knows, and the engine does the
// I/O around them. The model (model_test.go) explores every order in which they can be called, and what they must never
// lead to is written there.

// response is what to do about a mark that is not the one that was expected in the store.
type response int

const (
	responseStandBy    response = iota + 1 // another worker has the unit
	responseClaimAgain                     // its owner moved on between the look and the claim: claim what it left
	responseBeginAgain                     // look at everything again
	responseRefold                         // the snapshot is gone: begin from what the store holds, which is nothing
	responseReload                         // the store went back: begin from what it holds
)

// claimOf is the mark by which a worker becomes the owner of what it found: the same position under a higher epoch than
// any that was met. From then on the checkpoints of whoever had it are refused.
func claimOf(found snapshotstore.Mark, highest uint64, log Bounds, fingerprint string) snapshotstore.Mark {
	to := found
	to.Epoch = max(found.Epoch, highest) + 1
	if to.Tries++; attempted(found) {
		to.Tries = 0 // until an event is noted again, those up to Attempt are suspected together
	}
	to.Stream, to.Created, to.Fingerprint = log.Stream, log.Created, fingerprint
	if to.Seq == 0 {
		to.Since = max(1, log.First)
		if log.Last < log.First { // empty: the first to come
			to.Since = log.Last + 1
		}
	}
	return to
}

// afterRefusedClaim decides about a claim that was refused: from found, to the mark to, where the store holds held. It
// returns the highest epoch that is known now.
func afterRefusedClaim(me string, found, to, held snapshotstore.Mark, highest uint64) (response, uint64) {
	switch {
	case held.Epoch > found.Epoch && held.Writer != me:
		return responseStandBy, max(highest, held.Epoch)
	case held.Epoch == found.Epoch && held.Created.Equal(to.Created) && held.Fingerprint == to.Fingerprint:
		// Its owner moved on between our look and our claim, and will do so again: claim what it left. The log is judged
		// once more before the first event is folded.
		return responseClaimAgain, highest
	}
	return responseBeginAgain, highest
}

// afterConflict decides about a mark in the store, held, that is not the one that was left there. It returns the highest
// epoch that is known now.
func afterConflict(me string, left, held snapshotstore.Mark, highest uint64) (response, uint64) {
	switch {
	case held.IsZero():
		return responseRefold, highest
	case held.Writer != me && held.Epoch >= max(left.Epoch, highest):
		return responseStandBy, max(highest, held.Epoch)
	}
	return responseReload, highest
}

// checkpointOf is the mark to which a checkpoint leads that brings the store from held to what is folded.
func checkpointOf(held snapshotstore.Mark, folded position, last Witness) snapshotstore.Mark {
	to := held
	to.Seq, to.Created, to.Witnesses = folded.seq, folded.created, witnessesWith(held.Witnesses, last)
	if to.Seq > held.Seq {
		to.Tries, to.Attempt = 0, 0
	}
	return to
}

// deathsToBlame is how many owners, one after the other, die while they fold an event alone before it is to blame. A few
// may be anybody's doing, a kill's or another unit's event's, which meet the moment all the more often on a busy machine.
const deathsToBlame = 3

// death is the event that the last owners died at while they folded it alone, and how many they were.
type death struct {
	seq   uint64
	times int
}

// attemptOf is the mark that tells that the events up to seq are about to be folded by themselves.
func attemptOf(held snapshotstore.Mark, seq uint64, alone bool, before death) snapshotstore.Mark {
	to := held
	to.Attempt, to.Tries = seq, 0
	switch { // what a claim finds if this owner dies
	case alone && seq == before.seq:
		to.Tries = before.times + 1
	case alone:
		to.Tries = 1
	}
	return to
}

// withoutAttempt is the mark of an owner that has not died.
func withoutAttempt(held snapshotstore.Mark) snapshotstore.Mark {
	held.Tries, held.Attempt = 0, 0
	return held
}

// attempted tells whether the last owner left word of events that it was about to fold, and did not get past them.
func attempted(found snapshotstore.Mark) bool { return found.Attempt > found.Seq }

// deaths tells what a mark says of those that had it before: the one event that the last of them died at, and whether they
// were enough to blame it.
func deaths(found snapshotstore.Mark) (last death, blamed bool) {
	if attempted(found) && found.Tries > 0 {
		last = death{found.Attempt, found.Tries}
	}
	return last, last.times >= deathsToBlame
}

// lastOf is the message at a mark's seq, as the mark knows it; the zero Witness where it does not.
func lastOf(mark snapshotstore.Mark) Witness {
	if len(mark.Witnesses) > 0 && mark.Witnesses[0].Seq == mark.Seq {
		return mark.Witnesses[0]
	}
	return Witness{}
}

// afterSettled is the message at what is folded once the store holds a mark: the mark's own, which has its hash, where
// nothing was folded since.
func afterSettled(last Witness, held snapshotstore.Mark) Witness {
	if w := lastOf(held); w.Seq > 0 && w.Seq == last.Seq {
		return w
	}
	return last
}

// onlyTail tells of a log that is not that of what is folded whether the snapshot may still be of it: what is not
// committed was of a log that is no more, or has lost its end.
func onlyTail(held snapshotstore.Mark, folded uint64) bool {
	return !held.IsZero() && folded > held.Seq
}

// sameLog tells whether a reader that was opened after the log had been judged reads the log that is judged now: both were
// made at one time. Else the log was made again around the time when the reader was opened, and what it hands out may be
// the old one's, which must not be folded under the name of the new one.
func sameLog(opened, judged time.Time) bool { return opened.Equal(judged) }

// continues tells whether a batch that begins at from continues what is folded up to seq. What it has of that is left out.
func continues(from, seq uint64) bool { return from <= seq }

// tailOf is what of a batch's events is not folded yet, up to seq.
func tailOf(events []projections.Event, seq uint64) []projections.Event {
	for len(events) > 0 && events[0].Seq <= seq {
		events = events[1:]
	}
	return events
}

// sameMark tells whether the store holds exactly what was left there.
func sameMark(left, held snapshotstore.Mark) bool { return string(left.Raw) == string(held.Raw) }

// standing is what a standby makes of a look at the mark.
type standing int

const (
	standingWaits standing = iota // the owner may be at work
	standingMoved                 // it is: the mark has moved
	standingStill                 // the mark has not moved for long: if the log has, the owner is gone
	standingGone                  // the owner has given it up
)

// standbySees decides about a look at the mark: left is what it saw before, which has not moved for still. That the
// membership does not know the owner only makes the wait shorter: it may be wrong.
func standbySees(left, now snapshotstore.Mark, still time.Duration, owner presence, ttl time.Duration) standing {
	patience := standbyAfter
	if owner == away {
		patience = min(patience, ttl)
	}
	switch {
	case !sameMark(left, now):
		return standingMoved
	case owner == gaveUp:
		return standingGone
	case still < patience:
		return standingWaits
	}
	return standingStill
}

// sight is what a halted unit makes of a look at the mark.
type sight int

const (
	sightSame    sight = iota
	sightClaimed       // another worker has claimed it, and is about to meet the same: to claim it back would be a fight without an end
	sightOwned         // another worker has claimed it and moved on
	sightChanged       // an operator has dropped it, or put it back
)

// haltedSees decides about a look at the mark, left having been there before.
func haltedSees(me string, left, now snapshotstore.Mark) sight {
	switch claimed := now.Epoch > left.Epoch && now.Writer != me; {
	case claimed && now.Seq == left.Seq && now.Fingerprint == left.Fingerprint:
		return sightClaimed
	case claimed:
		return sightOwned
	case !sameMark(left, now):
		return sightChanged
	}
	return sightSame
}
