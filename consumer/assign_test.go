package consumer

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func ability(projection, stream string, partitions int) Ability {
	return Ability{Projection: projection, Version: 1, Stream: stream, Partitions: partitions, Fingerprint: projection + "-f"}
}

func workersNamed(n int, runs ...Ability) []able {
	var workers []able
	for i := range n {
		workers = append(workers, able{fmt.Sprintf("worker-%d-%x", i, i*7919), runs})
	}
	return workers
}

// Workers of different versions have to agree on these. The values are those of another program, written in another language.
func TestRanksAreFixed(t *testing.T) {
	for _, x := range []struct {
		worker, stream string
		partition      int
		want           uint64
	}{
		{"tailfold-0-abcdefgh", "ORDERS", 0, 0x7783013937740361},
		{"tailfold-0-abcdefgh", "ORDERS", 1, 0x7fe1aaf29a36fcd2},
		{"tailfold-1-abcdefgh", "ORDERS", 0, 0xbd3d557ee533efa8},
		{"", "", 65536, 0x44889355a8f69646},
	} {
		if got := rank(x.worker, x.stream, x.partition); got != x.want {
			t.Errorf("rank(%q, %q, %d) is %#x, want %#x", x.worker, x.stream, x.partition, got, x.want)
		}
	}
}

func TestEveryUnitHasOneOwnerAndNoWorkerHasMoreThanItsShareOfFeeds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitions := rapid.IntRange(1, 40).Draw(t, "partitions")
		n := rapid.IntRange(1, 12).Draw(t, "workers")
		workers := workersNamed(n, ability("a", "S", partitions), ability("b", "S", partitions), ability("c", "T", 3))
		owners := assign(slices.Clone(workers))
		if len(owners) != 2*partitions+3 {
			t.Fatalf("%d units have an owner, want %d", len(owners), 2*partitions+3)
		}
		feeds := map[string]map[string]bool{}
		together := map[string]string{}
		for unit, owner := range owners {
			stream := "S"
			if unit.unit.Projection == "c" {
				stream = "T"
			}
			feed := fmt.Sprint(stream, unit.unit.Partition)
			if was, ok := together[feed]; ok && was != owner {
				t.Fatalf("the units of feed %s are at %s and %s", feed, was, owner)
			}
			together[feed] = owner
			if feeds[owner] == nil {
				feeds[owner] = map[string]bool{}
			}
			feeds[owner][feed] = true
		}
		most := (partitions + 3 + n - 1) / n
		for owner, has := range feeds {
			if len(has) > most {
				t.Fatalf("%s has %d of %d feeds, with %d workers", owner, len(has), partitions+3, n)
			}
		}
		shuffled := slices.Clone(workers)
		rand.Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if !maps.Equal(owners, assign(shuffled)) {
			t.Fatal("the order in which workers are seen decides who has what")
		}
	})
}

// What a worker that joins makes others give up is not much more than it gets.
func TestAWorkerThatJoinsMovesLittleBesideItsShare(t *testing.T) {
	moved, needed := 0, 0
	for n := 1; n <= 12; n++ {
		workers := workersNamed(n+1, ability("a", "S", 64))
		before, after := assign(slices.Clone(workers[:n])), assign(slices.Clone(workers))
		for unit, owner := range after {
			if owner == workers[n].worker {
				needed++
			}
			if owner != before[unit] {
				moved++
			}
		}
	}
	t.Logf("%d feeds moved where %d had to", moved, needed)
	if moved > 2*needed {
		t.Errorf("%d feeds moved where %d had to", moved, needed)
	}
}

func TestEachWorkerGetsOnlyWhatItKnows(t *testing.T) {
	old, common, next := ability("old", "S", 8), ability("common", "S", 8), ability("next", "S", 8)
	changed := common
	changed.Fingerprint = "changed under the same version"
	workers := []able{{"o1", []Ability{old, common}}, {"o2", []Ability{old, common}}, {"n1", []Ability{common, next}}, {"n2", []Ability{changed, next}}}
	knows := map[string][]Ability{}
	for _, w := range workers {
		knows[w.worker] = w.runs
	}
	owners := assign(workers)
	if len(owners) != 4*8 {
		t.Errorf("%d units have an owner, want 4 times 8", len(owners))
	}
	for unit, owner := range owners {
		if !slices.ContainsFunc(knows[owner], func(a Ability) bool {
			return a.Projection == unit.unit.Projection && a.Fingerprint == unit.fingerprint
		}) {
			t.Errorf("%s is to run %v, which it does not know", owner, unit)
		}
	}
}

func TestShardsDivideTheFeeds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stream := rapid.StringN(0, 20, -1).Draw(t, "stream")
		partitions, n := rapid.IntRange(1, 64).Draw(t, "partitions"), rapid.IntRange(1, 9).Draw(t, "n")
		has := make([]int, n)
		for p := range partitions {
			owners := 0
			for i := range n {
				if (Shard{i, n}).Has(stream, p) {
					owners++
					has[i]++
				}
			}
			if owners != 1 {
				t.Fatalf("partition %d of %q is of %d shards of %d", p, stream, owners, n)
			}
		}
		if slices.Max(has)-slices.Min(has) > 1 {
			t.Fatalf("%d partitions are shared out as %v", partitions, has)
		}
	})
	if !(Shard{}).Has("S", 7) {
		t.Error("the zero Shard is not all feeds")
	}
}

// A worker that renews is there, also where the server's clock stands still.
func TestRenewalsCountOnAClockThatStandsStill(t *testing.T) {
	at, now := time.Unix(100, 0), time.Unix(5000, 0)
	r := newRoster("me", nil, 2*time.Second)
	record := []byte(`{"worker":"other","ttl_ms":2000,"runs":[],"holds":[]}`)
	tell := func(after time.Duration) {
		t.Helper()
		if err := r.saw(MemberChange{Worker: "other", Record: record, At: at}, now.Add(after)); err != nil {
			t.Fatal(err)
		}
	}
	r.watching()
	tell(0)
	if err := r.saw(MemberChange{All: true}, now); err != nil {
		t.Fatal(err)
	}
	tell(1500 * time.Millisecond)
	if !r.others["other"].live(now.Add(3 * time.Second)) {
		t.Error("a worker that renewed half a lease ago is taken for gone")
	}
	r.watching() // and the same record told by another watch is no renewal
	tell(3 * time.Second)
	if r.others["other"].live(now.Add(4 * time.Second)) {
		t.Error("a record that was only told once more is taken for a renewal")
	}
}
