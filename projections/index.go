package projections

import (
	"hash/maphash"
	"strings"
	"unsafe"
)

// entry is one key's place in a table.
type entry[V any] struct {
	key  string
	turn uint64 // the last event that was planned with it

	loaded   bool
	exists   bool
	dirty    bool
	inFlight bool
	used     bool // since the sweep last passed

	value V
	size  int       // bytes of the value as last stored or encoded
	ring  int       // place in the ring, where it is in there
	next  *entry[V] // of the same hash
	hash  uint64
	own   [ownKey]byte // the key, where it fits: in memory that is touched anyway
}

// ownKey holds a UUID as text.
const ownKey = 40

// index finds entries by key. With a hundred thousand keys most of the time of a fold is spent waiting for memory, and
// a map of strings has to fetch the key's bytes to tell that it is the one: this one goes by the hash alone and compares
// the key where the entry is, which is needed next. It probes a place and those behind it, so that mostly one piece of
// memory is waited for, where a map of Go's looks at three. Looking up many keys in one loop lets the processor wait for
// several of them at once.
type index[V any] struct {
	seed   maphash.Seed
	mask   uint64    // of the hash: all of it, but for tests
	slots  []slot[V] // a power of two of them
	used   int
	hashes []uint64    // of the keys that were looked up last
	places []*entry[V] // the first entry of each such hash, nil if there was none
	warmed uint64      // no value of any meaning: see find
}

// slot has the entries of one hash; none: it is free. Each is at its hash's place or behind it, with no free one between.
type slot[V any] struct {
	hash  uint64
	first *entry[V]
}

const leastSlots = 8

func newIndex[V any]() index[V] {
	return index[V]{seed: maphash.MakeSeed(), mask: ^uint64(0), slots: make([]slot[V], leastSlots)}
}

func (x *index[V]) hash(key string) uint64 { return maphash.String(x.seed, key) & x.mask }

// at is the slot of a hash, or the free one where it would be.
func (x *index[V]) at(hash uint64) *slot[V] {
	last := uint64(len(x.slots) - 1)
	for i := hash & last; ; i = (i + 1) & last {
		if s := &x.slots[i]; s.first == nil || s.hash == hash {
			return s
		}
	}
}

// find looks up keys; found tells of each what there is.
func (x *index[V]) find(keys []string) {
	for _, key := range keys {
		x.hashes = append(x.hashes, x.hash(key))
	}
	for _, hash := range x.hashes {
		x.places = append(x.places, x.at(hash).first)
	}
	warmed := uint64(0)
	for _, e := range x.places { // what is read here is near by when it is needed
		if e != nil {
			warmed += e.turn + uint64(e.own[ownKey-1])
		}
	}
	x.warmed = warmed
}

// unfind lets go of what was looked up.
func (x *index[V]) unfind() {
	clear(x.places)
	x.hashes, x.places = x.hashes[:0], x.places[:0]
}

// found is the entry of the i-th key that was looked up, also one that was added since. nil: there is none. No entry may
// have been removed since but those that were added since.
func (x *index[V]) found(i int, key string) *entry[V] {
	first := x.places[i]
	if first == nil {
		first = x.at(x.hashes[i]).first
	}
	for e := first; e != nil; e = e.next {
		if e.key == key {
			return e
		}
	}
	return nil
}

// add makes an entry for the i-th key that was looked up. It keeps the key's bytes to itself: the key may be a part of an
// event's data, which it would keep in memory.
func (x *index[V]) add(i int, key string) *entry[V] {
	e := &entry[V]{hash: x.hashes[i]}
	if len(key) <= ownKey {
		e.key = unsafe.String(&e.own[0], copy(e.own[:], key))
	} else {
		e.key = strings.Clone(key)
	}
	s := x.at(e.hash)
	if first := s.first; first != nil { // behind the first, which places may point to
		e.next, first.next = first.next, e
		return e
	}
	*s = slot[V]{e.hash, e}
	if x.used++; 4*x.used > 3*len(x.slots) {
		x.grow()
	}
	return e
}

// grow makes room for twice as many hashes.
func (x *index[V]) grow() {
	old := x.slots
	x.slots = make([]slot[V], 2*len(old))
	for _, s := range old {
		if s.first != nil {
			*x.at(s.hash) = s
		}
	}
}

// get is the entry of a key, nil if there is none.
func (x *index[V]) get(key string) *entry[V] {
	for e := x.at(x.hash(key)).first; e != nil; e = e.next {
		if e.key == key {
			return e
		}
	}
	return nil
}

func (x *index[V]) remove(e *entry[V]) {
	s := x.at(e.hash)
	switch first := s.first; {
	case first == e && e.next == nil:
		x.free(e.hash)
	case first == e:
		s.first = e.next
	default:
		for first.next != e {
			first = first.next
		}
		first.next = e.next
	}
	e.next = nil
}

// free empties the slot of a hash, and moves up those behind it that would not be found any more.
func (x *index[V]) free(hash uint64) {
	x.used--
	last := uint64(len(x.slots) - 1)
	i := hash & last
	for x.slots[i].hash != hash || x.slots[i].first == nil {
		i = (i + 1) & last
	}
	for j := (i + 1) & last; x.slots[j].first != nil; j = (j + 1) & last {
		if (j-x.slots[j].hash)&last >= (j-i)&last { // its own place is not behind the empty one
			x.slots[i], i = x.slots[j], j
		}
	}
	x.slots[i] = slot[V]{}
}
