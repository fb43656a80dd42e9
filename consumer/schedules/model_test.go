package schedules

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

// deed is an event as the schedule makes it. Nothing of the engine is used to fold it here.
type deed struct {
	part    int // the partition; -1: of none
	kind    string
	keys    []string
	n       int
	do      string // "", "delete", "fail", "panic", "big", "broken"
	subject string
	data    []byte
	hash    string // as a witness has it
}

func (d deed) poison() bool { return d.do == "fail" || d.do == "panic" || d.do == "broken" }

// plain is a value of the projection totals.
type plain struct {
	events, sum int
	last        uint64
	by          map[string]int
}

func (p plain) text() string {
	var by []string
	for _, kind := range slices.Sorted(maps.Keys(p.by)) {
		by = append(by, fmt.Sprintf("%q:%d", kind, p.by[kind]))
	}
	return fmt.Sprintf(`{"events":%d,"sum":%d,"last":%d,"by":{%s}}`, p.events, p.sum, p.last, strings.Join(by, ","))
}

// history is one life of the log: all that was ever stored in it, and what each unit's state is after each of its events,
// as one hash over all keys and values.
type history struct {
	deeds  []deed
	totals []map[string]plain // by partition
	counts []int
	states map[snapshotstore.Unit][]uint64 // by seq
	first  map[snapshotstore.Unit]uint64   // seq of the first event that halts the unit, 0: none
}

func units(partitions int) (all []snapshotstore.Unit) {
	for p := range partitions {
		all = append(all, snapshotstore.Unit{Projection: "totals", Version: 1, Partition: p}, snapshotstore.Unit{Projection: "count", Version: 1, Partition: p})
	}
	return all
}

func newHistory(partitions int) *history {
	h := &history{counts: make([]int, partitions), states: map[snapshotstore.Unit][]uint64{}, first: map[snapshotstore.Unit]uint64{}}
	for range partitions {
		h.totals = append(h.totals, map[string]plain{})
	}
	for _, u := range units(partitions) {
		h.states[u] = []uint64{0}
	}
	return h
}

// add folds one more event. skips: events that can't be folded are left out; else they halt the unit.
func (h *history) add(d deed, skips bool) {
	h.deeds = append(h.deeds, d)
	seq := uint64(len(h.deeds))
	for u, states := range h.states {
		state := states[seq-1]
		if u.Partition == d.part {
			if u.Projection == "count" {
				if n := h.counts[d.part]; n > 0 {
					state ^= entryHash("", fmt.Sprint(n))
				}
				h.counts[d.part]++
				state ^= entryHash("", fmt.Sprint(h.counts[d.part]))
			} else {
				state ^= h.fold(u, d, seq, skips)
			}
		}
		h.states[u] = append(states, state)
	}
}

// fold folds an event into totals and returns what it changes in the hash of the state.
func (h *history) fold(u snapshotstore.Unit, d deed, seq uint64, skips bool) (change uint64) {
	switch {
	case h.first[u] > 0:
		return 0
	case d.poison() && skips:
		return 0
	case d.poison() || d.do == "big":
		h.first[u] = seq
		return 0
	}
	values := h.totals[d.part]
	for _, key := range d.keys {
		was, there := values[key]
		if there {
			change ^= entryHash(key, was.text())
		}
		if d.do == "delete" {
			delete(values, key)
			continue
		}
		now := plain{was.events + 1, was.sum + d.n, seq, map[string]int{}}
		maps.Copy(now.by, was.by)
		now.by[d.kind] += d.n
		values[key] = now
		change ^= entryHash(key, now.text())
	}
	return change
}

func (h *history) last() uint64 { return uint64(len(h.deeds)) }

// fits tells whether a state with this mark is one of this history.
func (h *history) fits(u snapshotstore.Unit, mark snapshotstore.Mark, state uint64) bool {
	if mark.Seq > h.last() || h.states[u][mark.Seq] != state || h.first[u] > 0 && mark.Seq >= h.first[u] {
		return false
	}
	return !(len(mark.Witnesses) > 0 && mark.Witnesses[0].Seq == mark.Seq) || h.deeds[mark.Seq-1].hash == mark.Witnesses[0].Hash
}

func entryHash(key, value string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(key))
	h.Write([]byte{0})
	h.Write([]byte(value))
	return mix(h.Sum64())
}

func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// The same two projections, as the engine folds them.

type order struct {
	Keys []string `json:"keys"`
	N    int      `json:"n"`
	Kind string   `json:"kind"`
	Do   string   `json:"do"`
}

type total struct {
	Events int            `json:"events"`
	Sum    int            `json:"sum"`
	Last   uint64         `json:"last"`
	By     map[string]int `json:"by"`
	Blob   string         `json:"blob,omitempty"`
	Gone   bool           `json:"gone,omitzero"`
}

// totals changes its values in place, and fails at the last of an event's keys, so that half an event shows.
func totals(policy projections.OnPoison) projections.Projection {
	return projections.Keyed[total]{
		Name: "totals", Version: 1, Stream: "DEEDS", OnPoison: policy,
		Keys: func(e projections.Event) ([]string, error) {
			o, err := projections.JSON[order](e)
			return o.Keys, err
		},
		Seed: func() total { return total{By: map[string]int{}} },
		Step: func(key string, v total, e projections.Event) (total, error) {
			o, err := projections.JSON[order](e)
			if err != nil {
				return v, err
			}
			v.By[o.Kind] += o.N
			v.Events, v.Sum, v.Last = v.Events+1, v.Sum+o.N, e.Seq
			if o.Do == "delete" {
				v.Gone = true
			}
			if key == o.Keys[len(o.Keys)-1] {
				switch o.Do {
				case "fail":
					return v, fmt.Errorf("it is a bad deed")
				case "panic":
					panic("at the deed")
				case "big":
					v.Blob = strings.Repeat("x", maxValue)
				}
			}
			return v, nil
		},
		Gone: func(v total) bool { return v.Gone },
	}
}

const maxValue = 400

func count() projections.Projection {
	return projections.Single[int]{Name: "count", Version: 1, Stream: "DEEDS",
		Step: func(n int, _ projections.Event) (int, error) { return n + 1, nil }}
}

func witnessHash(d deed) string { return consumer.WitnessHash(d.subject, nil, d.data) }
