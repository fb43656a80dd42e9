package consumer

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

var (
	modelUnitsFlag  = flag.Int("model.units", 0, "TestModel explores the model with so many units, 1 or 2, and the bounds of the other -model flags alone; 0: with the usual bounds")
	modelEventsFlag = flag.Int("model.events", 2, "events that the model's log is given, 1 to 4")
	modelUpsetsFlag = flag.Int("model.upsets", 1, "how often the model's log is deleted, restored or trimmed")
	modelDropsFlag  = flag.Int("model.drops", 0, "how often a snapshot of the model is dropped")
	modelFaultsFlag = flag.Int("model.faults", -1, "how many kills, lost replies, late checkpoints and wrong memberships there are; -1: any number")
)

// modelBounds are how far the model is explored: faults -1 is any number of them.
type modelBounds struct{ units, events, upsets, drops, faults int }

func (b modelBounds) String() string {
	faults := "any number of"
	if b.faults >= 0 {
		faults = fmt.Sprint("up to ", b.faults)
	}
	return fmt.Sprintf("%d workers, %d units, %d events, %d upsets of the log, %d drops, %s faults", modelWorkers, b.units, b.events, b.upsets, b.drops, faults)
}

func (b modelBounds) explore(steps modelSteps) modelResult {
	m := model{steps: steps, units: b.units, events: b.events, upsets: b.upsets, drop: b.drops, faults: b.faults}
	return m.explore()
}

// TestModel explores every state that the protocol can come to, over the functions by which the engine decides.
//
// Larger bounds: make model, or go test ./consumer -run TestModel$ -v -model.units 1 -model.events 3 -model.upsets 2
func TestModel(t *testing.T) {
	all := []modelBounds{
		{units: 1, events: 2, upsets: 1, faults: -1},
		{units: 1, events: 1, upsets: 2, faults: -1},
		{units: 1, events: 1, drops: 1, faults: 2},
		{units: 2, events: 1, faults: 1},
		{units: 2, events: 1, upsets: 1, faults: 0},
		{units: 2, events: 2, faults: 0},
	}
	if UnderRace { // it starts no goroutine; the engine's own functions are what counts
		all = []modelBounds{{units: 1, events: 1, upsets: 1, faults: -1}, {units: 2, events: 1, faults: 0}}
	}
	if *modelUnitsFlag != 0 {
		all = []modelBounds{{*modelUnitsFlag, *modelEventsFlag, *modelUpsetsFlag, *modelDropsFlag, *modelFaultsFlag}}
	}
	for _, bounds := range all {
		t.Run(bounds.String(), func(t *testing.T) {
			t.Parallel()
			result := bounds.explore(engineSteps())
			fmt.Printf("model: %v: %v\n", bounds, result)
			if result.wrong != "" {
				t.Fatal(result.told())
			}
			if result.states < 100 || result.claims == 0 {
				t.Errorf("that was no exploration")
			}
		})
	}
}

// TestModelFindsWrongProtocols: each protection is taken away in turn, and the model tells in the fewest steps what
// happens without it. A protection that can be taken away unseen would be none.
func TestModelFindsWrongProtocols(t *testing.T) {
	unfenced := func(s *modelSteps) {
		s.unfenced = true
		s.fence = func(held, from, to []byte) snapshotstore.Passage {
			return max(snapshotstore.Fence(held, from, to), snapshotstore.Applies)
		}
	}
	for _, variant := range []struct {
		name  string
		wrong func(s *modelSteps)
		finds string
	}{
		{"fence removed: the store applies a checkpoint from any mark", unfenced, "two owners in epoch"},
		{"fence removed, and only the values looked at", func(s *modelSteps) {
			unfenced(s)
			s.ownersUnseen = true
		}, "a full replay gives"},
		{"epoch removed: a claim does not raise it", func(s *modelSteps) {
			s.claimOf = func(found snapshotstore.Mark, highest uint64, log Bounds, fingerprint string) snapshotstore.Mark {
				to := claimOf(found, highest, log, fingerprint)
				to.Epoch = max(found.Epoch, 1)
				return to
			}
		}, "two owners in epoch"},
		{"idempotence removed: a checkpoint that is sent again is refused", func(s *modelSteps) {
			s.fence = func(held, from, to []byte) snapshotstore.Passage {
				if p := snapshotstore.Fence(held, from, to); p != snapshotstore.Applied {
					return p
				}
				return snapshotstore.Refused
			}
		}, "refused to its own sender"},
		{"idempotence removed: a checkpoint that is sent again is added once more", func(s *modelSteps) { s.again = true },
			"a full replay gives"},
		{"position stored apart from the values", func(s *modelSteps) { s.apart = true }, "a full replay gives"},
		{"witnesses not looked at", func(s *modelSteps) {
			s.whose = func(at position, start projections.Start, log Bounds, _ []testimony) (Proof, *Verdict) {
				proof, verdict := whose(at, start, log, nil)
				if verdict == nil {
					proof = ProofFull
				}
				return proof, verdict
			}
		}, "a log was accepted that is not the one"},
		{"resumed one event too early", func(s *modelSteps) {
			s.tailOf = func(events []projections.Event, seq uint64) []projections.Event { return tailOf(events, max(seq, 1)-1) }
		}, "which it did not follow"},
		{"resumed one event too late", func(s *modelSteps) {
			s.tailOf = func(events []projections.Event, seq uint64) []projections.Event { return tailOf(events, seq+1) }
		}, "which it did not follow"},
		{"a reader taken for one of the log that was judged after it was opened", func(s *modelSteps) {
			s.sameLog = func(time.Time, time.Time) bool { return true }
		}, "another log than that of its events"},
		{"no standing by: who is refused claims again", func(s *modelSteps) {
			s.afterConflict = func(_ string, _, _ snapshotstore.Mark, highest uint64) (response, uint64) {
				return responseReload, highest
			}
		}, "can claim for ever"},
	} {
		t.Run(variant.name, func(t *testing.T) {
			t.Parallel()
			steps := engineSteps()
			variant.wrong(&steps)
			result := modelBounds{units: 1, events: 2, upsets: 1, faults: -1}.explore(steps)
			if result.wrong == "" || !strings.Contains(result.wrong, variant.finds) {
				t.Fatalf("the model has not found it, but %q: %v", result.wrong, result)
			}
			if len(result.trace) == 0 {
				t.Fatal("there is no trace")
			}
			t.Logf("found in %v: %s", result, result.told())
		})
	}
}
