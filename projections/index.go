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
// the key where the entry is, which is needed next. Looking up many keys in one loop lets the processor wait for
// several of them at once.
type index[V any] struct {
	seed    maphash.Seed
	mask    uint64 // of the hash: all of it, but for tests
	entries map[uint64]*entry[V]
	hashes  []uint64    // of the keys that were looked up last
	places  []*entry[V] // the first entry of each such hash, nil if there was none
}

func newIndex[V any]() index[V] {
	return index[V]{seed: maphash.MakeSeed(), mask: ^uint64(0), entries: map[uint64]*entry[V]{}}
}

func (x *index[V]) hash(key string) uint64 { return maphash.String(x.seed, key) & x.mask }

// find looks up keys; found tells of each what there is.
func (x *index[V]) find(keys []string) {
	for _, key := range keys {
		x.hashes = append(x.hashes, x.hash(key))
	}
	for _, hash := range x.hashes {
		x.places = append(x.places, x.entries[hash])
	}
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
		first = x.entries[x.hashes[i]]
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
	if first := x.entries[e.hash]; first != nil { // behind the first, which places may point to
		e.next, first.next = first.next, e
	} else {
		x.entries[e.hash] = e
	}
	return e
}

// get is the entry of a key, nil if there is none.
func (x *index[V]) get(key string) *entry[V] {
	for e := x.entries[x.hash(key)]; e != nil; e = e.next {
		if e.key == key {
			return e
		}
	}
	return nil
}

func (x *index[V]) remove(e *entry[V]) {
	first := x.entries[e.hash]
	switch {
	case first == e && e.next == nil:
		delete(x.entries, e.hash)
	case first == e:
		x.entries[e.hash] = e.next
	default:
		for first.next != e {
			first = first.next
		}
		first.next = e.next
	}
	e.next = nil
}
