package projections

import (
	"hash/maphash"
	"strings"
)

// index finds entries by key. With a hundred thousand keys most of the time of a fold is spent waiting for memory, and
// a map of strings has to fetch the key's bytes to tell that it is the one: this one goes by the hash alone and compares
// the key where the entry is, which is needed next. It probes a place and those behind it, so that mostly one piece of
// memory is waited for, where a map of Go's looks at three. Looking up many keys in one loop lets the processor wait for
// several of them at once.
type index[V any] struct {
	entries[V]
	seed   maphash.Seed
	mask   uint32 // of the hash: all of it, but for tests
	slots  []slot // a power of two of them
	used   int
	hashes []uint32    // of the keys that were looked up last
	places []*entry[V] // the first entry of each such hash, nil if there was none
	warmed uint64      // no value of any meaning: see find
}

// slot has the entries of one hash; none: it is free. Each is at its hash's place or behind it, with no free one between.
type slot struct {
	hash  uint32
	first ref
}

const (
	leastSlots = 8

	// A page of new memory that is looked at before it is written to is made twice by the kernel, the second time with a
	// word to all processors.
	slotsPerPage = 512
)

func newIndex[V any]() index[V] {
	return index[V]{seed: maphash.MakeSeed(), mask: ^uint32(0), slots: make([]slot, leastSlots)}
}

func (x *index[V]) hash(key string) uint32 { return uint32(maphash.String(x.seed, key)) & x.mask }

// at is the slot of a hash, or the free one where it would be.
func (x *index[V]) at(hash uint32) *slot {
	last := uint32(len(x.slots) - 1)
	for i := hash & last; ; i = (i + 1) & last {
		if s := &x.slots[i]; s.first == 0 || s.hash == hash {
			return s
		}
	}
}

// of is the entry that a ref names, nil for none.
func (x *index[V]) of(r ref) *entry[V] {
	if r == 0 {
		return nil
	}
	return x.entry(r)
}

// find looks up keys; found tells of each what there is.
func (x *index[V]) find(keys []string) {
	for _, key := range keys {
		x.hashes = append(x.hashes, x.hash(key))
	}
	for _, hash := range x.hashes {
		x.places = append(x.places, x.of(x.at(hash).first))
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
		first = x.of(x.at(x.hashes[i]).first)
	}
	return x.among(first, key)
}

// among is the one with that key of the entries of one hash.
func (x *index[V]) among(first *entry[V], key string) *entry[V] {
	for e := first; e != nil; e = x.of(e.next) {
		if x.key(e) == key {
			return e
		}
	}
	return nil
}

// add makes an entry for the i-th key that was looked up. It keeps the key's bytes to itself: the key may be a part of an
// event's data, which it would keep in memory.
func (x *index[V]) add(i int, key string) *entry[V] {
	e := x.take()
	if len(key) <= ownKey {
		e.length = uint8(copy(e.own[:], key))
	} else {
		x.keepLong(e, strings.Clone(key))
	}
	s := x.at(x.hashes[i])
	if s.first != 0 { // behind the first, which places may point to
		first := x.entry(s.first)
		e.next, first.next = first.next, e.me
		return e
	}
	*s = slot{x.hashes[i], e.me}
	if x.used++; 4*x.used > 3*len(x.slots) {
		x.grow()
	}
	return e
}

func (x *index[V]) keepLong(e *entry[V], key string) {
	if x.long == nil {
		x.long = map[ref]string{}
	}
	e.length, x.long[e.me] = longKey, key
}

// grow makes room for twice as many hashes.
func (x *index[V]) grow() {
	old := x.slots
	x.slots = make([]slot, 2*len(old))
	for i := 0; i < len(x.slots); i += slotsPerPage {
		x.slots[i] = slot{}
	}
	for _, s := range old {
		if s.first != 0 {
			*x.at(s.hash) = s
		}
	}
}

// get is the entry of a key, nil if there is none.
func (x *index[V]) get(key string) *entry[V] { return x.among(x.of(x.at(x.hash(key)).first), key) }

// link is where the name of an entry stands: in its slot, or in the entry before it.
func (x *index[V]) link(s *slot, e *entry[V]) *ref {
	at := &s.first
	for *at != e.me {
		at = &x.entry(*at).next
	}
	return at
}

func (x *index[V]) remove(e *entry[V]) {
	hash := x.hash(x.key(e))
	s := x.at(hash)
	if *x.link(s, e) = e.next; s.first == 0 {
		x.vacate(hash)
	}
	x.drop(e)
}

// move puts an entry elsewhere, and returns it there.
func (x *index[V]) move(e *entry[V]) *entry[V] {
	at := x.link(x.at(x.hash(x.key(e))), e)
	to := x.take()
	me := to.me
	*to = *e
	to.me = me
	if e.length == longKey {
		x.keepLong(to, x.long[e.me])
	}
	*at = me
	x.drop(e)
	return to
}

// vacate frees the slot of a hash that has no entry any more, and moves up those behind it that would not be found.
func (x *index[V]) vacate(hash uint32) {
	x.used--
	last := uint32(len(x.slots) - 1)
	i := hash & last
	for x.slots[i].first != 0 { // at found it with none that is free before it
		i = (i + 1) & last
	}
	for j := (i + 1) & last; x.slots[j].first != 0; j = (j + 1) & last {
		if (j-x.slots[j].hash)&last >= (j-i)&last { // its own place is not behind the empty one
			x.slots[i], i = x.slots[j], j
		}
	}
	x.slots[i] = slot{}
}
