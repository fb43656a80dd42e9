package consumer

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/tailfold/tailfold/snapshotstore"
)

// Shard is one worker's fixed share of the feeds, where nobody assigns them: Index of Count, from 0. The zero Shard is
// all of them.
type Shard struct {
	Index, Count int
}

// Has tells whether a feed is of this shard. Each feed is of one shard, the partitions of a stream go round, and which
// one it is depends on nothing but the stream's name and the partition: another stream in the configuration moves none.
func (s Shard) Has(stream string, partition int) bool {
	if s.Count <= 1 {
		return true
	}
	h := fnv.New32a()
	h.Write([]byte(stream))
	return (uint64(h.Sum32())+uint64(partition))%uint64(s.Count) == uint64(s.Index)
}

// Ability is one projection version that a worker can run, on all partitions of its stream. Two workers mean the same if
// all of it is equal.
type Ability struct {
	Projection  string `json:"projection"`
	Version     int    `json:"version"`
	Stream      string `json:"stream"`
	Partitions  int    `json:"partitions"`
	Fingerprint string `json:"fingerprint"` // of its definition on partition 0
}

// able is a worker and what it can run.
type able struct {
	worker string
	runs   []Ability
}

// assign says which worker is to run which unit. It depends on nothing but the workers' names and abilities, so that all
// who see the same workers decide the same.
//
// Units of one feed that the same workers can run go together. Among those workers the feed goes to the one that ranks
// highest for it (rendezvous hashing) and does not have its share yet: at most ceil(feeds/workers). So a worker that
// comes or goes moves few feeds beside its own.
func assign(workers []able) map[assigned]string {
	slices.SortFunc(workers, func(a, b able) int { return cmp.Compare(a.worker, b.worker) })
	capable := map[Ability][]string{}
	for _, w := range workers {
		for _, a := range w.runs {
			if !slices.Contains(capable[a], w.worker) {
				capable[a] = append(capable[a], w.worker)
			}
		}
	}
	// Abilities on one stream that the same workers have.
	type set struct {
		stream     string
		partitions int
		workers    string
	}
	together := map[set][]Ability{}
	of := map[string][]string{}
	for a, workers := range capable {
		s := set{a.Stream, a.Partitions, strings.Join(workers, "\n")}
		together[s] = append(together[s], a)
		of[s.workers] = workers
	}
	type feed struct {
		set
		partition int
	}
	feeds := map[string][]feed{} // by who can run them
	for s := range together {
		for partition := range s.partitions {
			feeds[s.workers] = append(feeds[s.workers], feed{s, partition})
		}
	}
	owners := map[assigned]string{}
	for key, list := range feeds {
		slices.SortFunc(list, func(a, b feed) int {
			return cmp.Or(cmp.Compare(a.stream, b.stream), cmp.Compare(a.partition, b.partition), cmp.Compare(a.partitions, b.partitions))
		})
		workers := of[key]
		most := (len(list) + len(workers) - 1) / len(workers)
		has := map[string]int{}
		for _, f := range list {
			owner := highest(workers, f.stream, f.partition, func(worker string) bool { return has[worker] < most })
			has[owner]++
			for _, a := range together[f.set] {
				owners[assigned{a.unit(f.partition), a.Fingerprint}] = owner
			}
		}
	}
	return owners
}

// assigned is a unit as one definition has it: during a deployment two may be known under one name.
type assigned struct {
	unit        snapshotstore.Unit
	fingerprint string // of the definition on partition 0
}

func (a Ability) unit(partition int) snapshotstore.Unit {
	return snapshotstore.Unit{Projection: a.Projection, Version: a.Version, Partition: partition}
}

// highest is the worker that ranks highest for a feed, of those that may have it.
func highest(workers []string, stream string, partition int, may func(worker string) bool) string {
	best, bestRank := "", uint64(0)
	for _, worker := range workers {
		if r := rank(worker, stream, partition); may(worker) && (best == "" || r > bestRank || r == bestRank && worker < best) {
			best, bestRank = worker, r
		}
	}
	return best
}

// rank is how much a worker is drawn to a feed. It is part of what workers of different versions have to agree on: a test
// holds it to fixed values.
func rank(worker, stream string, partition int) uint64 {
	h := fnv.New64a()
	h.Write([]byte(worker))
	h.Write([]byte{0})
	h.Write([]byte(stream))
	h.Write([]byte{0, byte(partition >> 24), byte(partition >> 16), byte(partition >> 8), byte(partition)})
	x := h.Sum64() // FNV hardly mixes its last bytes into the high bits: this does (the finalizer of MurmurHash3)
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
