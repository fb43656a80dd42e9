package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

// Proof says how far the log was recognised as the one that the snapshot was folded from.
type Proof string

// Full: by the newest witness. Partial: by an older one, the newest can't be read any more. ByCreated: no witness can be
// read, but the log's time of creation is the same. None: nothing was folded yet, so there is nothing to prove.
const (
	ProofNone    Proof = ""
	ProofFull    Proof = "full"
	ProofPartial Proof = "partial"
	ProofCreated Proof = "created"
)

// position is what has to be recognised: a seq of a log, with the witnesses for it, newest first.
type position struct {
	seq       uint64
	created   time.Time
	witnesses []Witness
}

// testimony is a witness and what the log has at its seq now.
type testimony struct {
	witness  Witness
	found    Witness
	readable bool
}

// whose decides whether the log is the one that the position was folded from. The order of its questions is the
// design's table. start says where a unit that has folded nothing begins.
func whose(at position, start projections.Start, log Bounds, heard []testimony) (Proof, *Verdict) {
	if at.seq == 0 {
		first := max(1, log.Configured)
		if log.First > first && start != projections.FirstAvailable {
			return ProofNone, gap(log, fmt.Sprintf("the projection begins at the log's beginning, but the log begins at seq %d now, not at %d", log.First, first))
		}
		return ProofNone, nil
	}
	if log.Last < at.seq {
		return ProofNone, diverged(log, fmt.Sprintf("the snapshot is at seq %d, the log ends at %d%s", at.seq, log.Last, remade(at, log)))
	}
	var differs, equal, newest *testimony
	for i := range heard {
		switch t := &heard[i]; {
		case !t.readable:
		case !same(t.witness, t.found):
			if differs == nil || t.witness.Seq < differs.witness.Seq {
				differs = t
			}
		default:
			equal = t
			if i == 0 {
				newest = t
			}
		}
	}
	sameCreated := at.created.Equal(log.Created)
	switch {
	case differs != nil:
		w, f := differs.witness, differs.found
		return ProofNone, diverged(log, fmt.Sprintf("message %d is not the one that was folded: it was stored at %s with hash %s, the log has %s with %s%s",
			w.Seq, stamp(w.Time), w.Hash, stamp(f.Time), f.Hash, remade(at, log)))
	case log.First > at.seq+1 && sameCreated:
		return ProofNone, gap(log, fmt.Sprintf("the snapshot is at seq %d, the log begins at %d: events %d to %d are gone from it", at.seq, log.First, at.seq+1, log.First-1))
	case log.First > at.seq+1:
		return ProofNone, diverged(log, fmt.Sprintf("the snapshot is at seq %d, the log begins at %d%s", at.seq, log.First, remade(at, log)))
	case newest != nil:
		return ProofFull, nil
	case equal != nil:
		return ProofPartial, nil
	case sameCreated:
		return ProofCreated, nil
	default:
		return ProofNone, diverged(log, fmt.Sprintf("none of the messages that could prove it (%s) can be read%s", seqsOf(heard), remade(at, log)))
	}
}

// same tells whether the log has the message that was folded. Of one that was folded a moment ago the hash may not be
// known yet: then its time, in nanoseconds, tells.
func same(folded, found Witness) bool {
	return folded.Time.Equal(found.Time) && (folded.Hash == "" || folded.Hash == found.Hash)
}

func remade(at position, log Bounds) string {
	if at.created.Equal(log.Created) {
		return ""
	}
	return fmt.Sprintf("; the log was made at %s, the snapshot was folded from one made at %s", stamp(log.Created), stamp(at.created))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func seqsOf(heard []testimony) string {
	if len(heard) == 0 {
		return "the snapshot has no witness"
	}
	text := "seqs"
	for _, t := range heard {
		text += fmt.Sprintf(" %d", t.witness.Seq)
	}
	return text
}

func gap(log Bounds, evidence string) *Verdict {
	return &Verdict{Reason: Gap, Evidence: fmt.Sprintf("stream %s: %s", log.Stream, evidence)}
}

func diverged(log Bounds, evidence string) *Verdict {
	return &Verdict{Reason: Diverged, Evidence: fmt.Sprintf("stream %s is not the log of this snapshot: %s", log.Stream, evidence)}
}

// fit tells whether the log can be folded at all.
func fit(log Bounds, acceptHoles bool) *Verdict {
	switch {
	case log.Unsuitable != "":
		return &Verdict{Reason: Unsuitable, Evidence: fmt.Sprintf("stream %s: %s", log.Stream, log.Unsuitable)}
	case log.Holes != "" && !acceptHoles:
		return &Verdict{Reason: Unsuitable,
			Evidence: fmt.Sprintf("stream %s: %s: events may vanish before they are read, and a reader can't tell", log.Stream, log.Holes),
			WayOut:   "Remove that limit from the stream, or accept it with `holes: accept` in the stream's entry of the configuration"}
	}
	return nil
}

// judge asks the log for its bounds and for the position's witnesses, and decides.
func (u *unit) judge(ctx context.Context, at position) (Bounds, Proof, *Verdict, error) {
	bounds, err := u.feeds.log.Bounds(ctx)
	if err != nil {
		return bounds, ProofNone, nil, err
	}
	if v := fit(bounds, u.stream.AcceptHoles); v != nil {
		return bounds, ProofNone, v, nil
	}
	var heard []testimony
	for _, w := range at.witnesses {
		found, err := u.feeds.log.Witness(ctx, w.Seq)
		if err != nil && !errors.Is(err, ErrNoMessage) {
			return bounds, ProofNone, nil, err
		}
		heard = append(heard, testimony{witness: w, found: found, readable: err == nil})
	}
	proof, verdict := whose(at, u.start(), bounds, heard)
	if verdict != nil {
		verdict.WayOut = u.waysOut(verdict.Reason)
	}
	return bounds, proof, verdict, nil
}

// olderWitnesses is how many a mark carries beside the newest.
const olderWitnesses = 3

// witnessesWith returns the witnesses of a mark that goes on to w: w and three older ones at growing distance. Of two
// that stand close together, seen from w, the younger is given up, so that the older may grow old.
func witnessesWith(old []Witness, w Witness) []Witness {
	all := make([]Witness, 0, len(old)+1)
	if w.Seq > 0 {
		all = append(all, w)
	}
	for _, o := range old {
		if o.Hash != "" && (len(all) == 0 || o.Seq < all[len(all)-1].Seq) {
			all = append(all, o)
		}
	}
	for len(all) > 1+olderWitnesses {
		drop := len(all) - 1
		for i := 1; i < len(all)-1; i++ {
			if all[0].Seq-all[i+1].Seq < 8*(all[0].Seq-all[i].Seq) {
				drop = i
				break
			}
		}
		all = append(all[:drop], all[drop+1:]...)
	}
	return all
}

func positionOf(mark snapshotstore.Mark) position {
	return position{seq: mark.Seq, created: mark.Created, witnesses: mark.Witnesses}
}
