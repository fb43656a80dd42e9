package consumer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tailfold/tailfold/projections"
)

var (
	madeAt   = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	remadeAt = madeAt.Add(time.Hour)
)

func witness(seq uint64, hash string) Witness {
	return Witness{Seq: seq, Time: madeAt.Add(time.Duration(seq) * time.Second), Hash: hash}
}

func equal(seq uint64) testimony   { return testimony{witness(seq, "a"), witness(seq, "a"), true} }
func differs(seq uint64) testimony { return testimony{witness(seq, "a"), witness(seq, "b"), true} }
func gone(seq uint64) testimony    { return testimony{witness: witness(seq, "a")} }

// TestWhoseLogIsIt has a case for each row of the design's table, in its order.
func TestWhoseLogIsIt(t *testing.T) {
	at := position{seq: 100, created: madeAt}
	for _, c := range []struct {
		name   string
		at     position
		start  projections.Start
		log    Bounds
		heard  []testimony
		proof  Proof
		reason Reason
		says   string
	}{
		{name: "the log ends before the snapshot", at: at, log: Bounds{First: 1, Last: 99, Created: madeAt}, heard: []testimony{gone(100), equal(90)}, reason: Diverged, says: "ends at 99"},
		{name: "the log was remade and is empty", at: at, log: Bounds{First: 1, Last: 0, Created: remadeAt}, heard: []testimony{gone(100)}, reason: Diverged, says: "ends at 0"},
		{name: "the newest witness differs", at: at, log: Bounds{First: 1, Last: 200, Created: madeAt}, heard: []testimony{differs(100), equal(90)}, reason: Diverged, says: "message 100"},
		{name: "the first that differs is named", at: at, log: Bounds{First: 1, Last: 200, Created: madeAt}, heard: []testimony{differs(100), differs(90), equal(50)}, reason: Diverged, says: "message 90"},
		{name: "an older witness differs, though the newest is gone", at: at, log: Bounds{First: 1, Last: 200, Created: madeAt}, heard: []testimony{gone(100), differs(90)}, reason: Diverged, says: "message 90"},
		{name: "trimmed beyond the snapshot", at: at, log: Bounds{First: 110, Last: 200, Created: madeAt}, heard: []testimony{gone(100)}, reason: Gap, says: "events 101 to 109"},
		{name: "trimmed beyond the snapshot, and remade", at: at, log: Bounds{First: 110, Last: 200, Created: remadeAt}, heard: []testimony{gone(100)}, reason: Diverged, says: "begins at 110"},
		{name: "the newest witness is there", at: at, log: Bounds{First: 1, Last: 200, Created: madeAt}, heard: []testimony{equal(100), equal(90)}, proof: ProofFull},
		{name: "restored or moved: created has changed, the witness is equal", at: at, log: Bounds{First: 1, Last: 200, Created: remadeAt}, heard: []testimony{equal(100)}, proof: ProofFull},
		{name: "the newest witness was deleted", at: at, log: Bounds{First: 1, Last: 200, Created: madeAt}, heard: []testimony{gone(100), equal(90)}, proof: ProofPartial},
		{name: "created has changed, an older witness is equal", at: at, log: Bounds{First: 1, Last: 200, Created: remadeAt}, heard: []testimony{gone(100), gone(90), equal(5)}, proof: ProofPartial},
		{name: "all witnesses are gone, created is equal", at: at, log: Bounds{First: 101, Last: 100, Created: madeAt}, heard: []testimony{gone(100), gone(90)}, proof: ProofCreated},
		{name: "all witnesses are gone, created differs", at: at, log: Bounds{First: 101, Last: 200, Created: remadeAt}, heard: []testimony{gone(100), gone(90)}, reason: Diverged, says: "seqs 100 90"},
		{name: "no witness was ever had, created differs", at: at, log: Bounds{First: 1, Last: 200, Created: remadeAt}, reason: Diverged, says: "no witness"},
		{name: "a message just folded, its hash not known yet, is told by its time", at: at, log: Bounds{First: 1, Last: 200, Created: madeAt}, heard: []testimony{{witness(100, ""), witness(100, "a"), true}}, proof: ProofFull},
		{name: "another stands in its place", at: at, log: Bounds{First: 1, Last: 200, Created: madeAt}, heard: []testimony{{witness(100, ""), Witness{Seq: 100, Time: remadeAt, Hash: "a"}, true}, equal(90)}, reason: Diverged, says: "message 100"},
		{name: "first start", log: Bounds{First: 1, Last: 200, Created: madeAt}},
		{name: "first start on an empty log", log: Bounds{First: 1, Last: 0, Created: madeAt}},
		{name: "first start, the beginning is gone", log: Bounds{First: 7, Last: 200, Created: madeAt}, reason: Gap, says: "begins at seq 7"},
		{name: "first start, all is gone", log: Bounds{First: 201, Last: 200, Created: madeAt}, reason: Gap, says: "begins at seq 201"},
		{name: "first start with what is there", start: projections.FirstAvailable, log: Bounds{First: 7, Last: 200, Created: madeAt}},
		{name: "first start where the stream was made to begin there", log: Bounds{First: 7, Last: 200, Created: madeAt, Configured: 7}},
		{name: "first start behind where the stream was made to begin", log: Bounds{First: 8, Last: 200, Created: madeAt, Configured: 7}, reason: Gap},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.log.Stream = "ORDERS"
			proof, verdict := whose(c.at, c.start, c.log, c.heard)
			var reason Reason
			var evidence string
			if verdict != nil {
				reason, evidence = verdict.Reason, verdict.Evidence
			}
			if proof != c.proof || reason != c.reason {
				t.Errorf("proof %q, verdict %q, want %q, %q (%s)", proof, reason, c.proof, c.reason, evidence)
			}
			if !strings.Contains(evidence, c.says) || verdict != nil && !strings.Contains(evidence, "ORDERS") {
				t.Errorf("%q does not say %q of the stream", evidence, c.says)
			}
		})
	}
}

func TestWitnessesOfAMarkStandAtGrowingDistance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []Witness
		seq, step := uint64(0), rapid.Uint64Range(1, 1000)
		for range rapid.IntRange(1, 3000).Draw(t, "checkpoints") {
			seq += step.Example(int(seq % 97))
			list = witnessesWith(list, witness(seq, "h"))
		}
		if list[0].Seq != seq {
			t.Fatalf("the newest is %d, want %d", list[0].Seq, seq)
		}
		if len(list) > 1+olderWitnesses {
			t.Fatalf("%d witnesses", len(list))
		}
		for i := 1; i < len(list); i++ {
			if list[i].Seq >= list[i-1].Seq {
				t.Fatalf("not in order: %v", list)
			}
		}
	})
	var list []Witness
	for seq := uint64(100); seq <= 10_000_000; seq += 100 {
		list = witnessesWith(list, witness(seq, "h"))
	}
	last := uint64(10_000_000)
	for i := 2; i < len(list); i++ {
		if near, far := last-list[i-1].Seq, last-list[i].Seq; far < 2*near {
			t.Errorf("witness %d is only %d behind, the one before %d", i, far, near)
		}
	}
}

func TestAWitnessWithoutHashIsLeftOut(t *testing.T) {
	list := witnessesWith([]Witness{{Seq: 5}, witness(3, "h")}, Witness{Seq: 9})
	if diff := cmp.Diff([]Witness{{Seq: 9}, witness(3, "h")}, list); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPace(t *testing.T) {
	bounds := CheckpointBounds{Every: 250 * time.Millisecond, MaxPause: 10 * time.Millisecond, MaxBytes: 1000}
	at := func(ms int) time.Time { return madeAt.Add(time.Duration(ms) * time.Millisecond) }
	for _, c := range []struct {
		name string
		pace pace
		load load
		want string
	}{
		{"nothing has changed", pace{}, load{drained: true}, "no"},
		{"under load it waits for every", pace{changedAt: at(0)}, load{keys: 1, bytes: 10}, "250ms"},
		{"of the time that has passed", pace{changedAt: at(-100)}, load{keys: 1, bytes: 10}, "150ms"},
		{"drained it commits at once", pace{changedAt: at(0), endedAt: at(-1000)}, load{keys: 1, bytes: 10, drained: true}, "0s"},
		{"but no sooner than 5 ms after the last", pace{changedAt: at(0), endedAt: at(-1)}, load{keys: 1, bytes: 10, drained: true}, "4ms"},
		{"and four times what the last took", pace{changedAt: at(0), endedAt: at(-1), held: 20 * time.Millisecond}, load{keys: 1, bytes: 10, drained: true}, "79ms"},
		{"a slow store does not put it off beyond every", pace{changedAt: at(0), endedAt: at(0), held: time.Second}, load{keys: 1, bytes: 10, drained: true}, "250ms"},
		{"only the position has moved", pace{changedAt: at(0), endedAt: at(-1000)}, load{drained: true}, "250ms"},
		{"many bytes", pace{changedAt: at(0)}, load{keys: 1, bytes: 1000}, "0s"},
		{"a long script", pace{changedAt: at(0), perKey: time.Millisecond}, load{keys: 10, bytes: 10}, "0s"},
		{"one in flight", pace{changedAt: at(-1000)}, load{keys: 1, bytes: 5000, inFlight: true}, "no"},
		{"the first after a claim", pace{changedAt: at(0), eager: true}, load{keys: 1, bytes: 10}, "0s"},
	} {
		c.pace.bounds = bounds
		wait, ok := c.pace.due(at(0), c.load)
		got := "no"
		if ok {
			got = fmt.Sprint(wait)
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	p := pace{bounds: bounds, changedAt: at(0)}
	for _, c := range []struct {
		load load
		now  time.Time
		want bool
	}{
		{load{bytes: 10_000}, at(0), false}, // nothing in flight: it is committed instead
		{load{bytes: 3999, inFlight: true}, at(0), false},
		{load{bytes: 4000, inFlight: true}, at(0), true},
		{load{bytes: 10, inFlight: true}, at(999), false},
		{load{bytes: 10, inFlight: true}, at(1000), true},
	} {
		if got := p.full(c.now, c.load); got != c.want {
			t.Errorf("full(%+v) is %v", c.load, got)
		}
	}
}

// TestAReplayBesideALiveUnitLeavesItTheStore: its checkpoints are a part of what
// the bounds allow, with time for others between.
func TestAReplayBesideALiveUnitLeavesItTheStore(t *testing.T) {
	p := pace{bounds: CheckpointBounds{Every: 250 * time.Millisecond, MaxPause: 50 * time.Millisecond, MaxBytes: 1 << 20}, gentle: true}
	p.ended(madeAt, 10*time.Millisecond, 10_000)
	p.changed(madeAt)
	at := madeAt.Add(15 * time.Millisecond)
	big, small := load{keys: 10_000, bytes: 1000}, load{keys: 9000, bytes: 900}
	if wait, ok := p.due(at, big); !ok || wait != 25*time.Millisecond {
		t.Errorf("15 ms after a commit of 10 ms, the next is due in %v, %v; want 25ms", wait, ok)
	}
	if !p.full(at, big) || p.full(at, small) {
		t.Errorf("full: %v with as much as one commit may have, %v with less", p.full(at, big), p.full(at, small))
	}
	p.ended(madeAt, time.Minute, 1) // a store that stood still is not given an hour to rest
	if wait, ok := p.due(at, big); !ok || wait != 235*time.Millisecond {
		t.Errorf("after a long commit the next is due in %v, %v; want 235ms", wait, ok)
	}
	p.gentle = false
	whole := load{keys: 50_000, bytes: 5000}
	if wait, ok := p.due(at, whole); !ok || wait != 0 || p.full(at, whole) || p.full(at, big) {
		t.Errorf("alone, as much as the bounds allow is due in %v, %v", wait, ok)
	}
}

// TestPaceForgetsAStoreThatWasSlow: what a key costs is learnt from large commits. One of them that met a slow store must
// not make each later one a commit of a single key, from which nothing would be learnt any more.
func TestPaceForgetsAStoreThatWasSlow(t *testing.T) {
	p := pace{bounds: CheckpointBounds{Every: 250 * time.Millisecond, MaxPause: 10 * time.Millisecond, MaxBytes: 1000}}
	p.ended(madeAt, 10*time.Minute, 100)
	p.ended(madeAt, time.Millisecond, 10)
	if pause := p.pause(load{keys: 50}); pause > p.bounds.MaxPause {
		t.Errorf("a commit of 50 keys is expected to take %v", pause)
	}
	p.ended(madeAt, 200*time.Millisecond, 1) // a round trip says nothing of the script
	if pause := p.pause(load{keys: 50}); pause > p.bounds.MaxPause {
		t.Errorf("after a slow round trip, a commit of 50 keys is expected to take %v", pause)
	}
}
