package projections

import "unsafe"

// entry is one key's place in a table. It has no pointer of its own, so that the collector need not look at a hundred
// thousand of them where values have none either.
type entry[V any] struct {
	turn  uint64 // the last event that was planned with it
	value V
	size  uint32 // bytes of the value as last stored or encoded
	ring  uint32 // place in the ring, where it is in there
	next  ref    // of the same hash
	me    ref

	loaded   bool
	exists   bool
	dirty    bool
	inFlight bool
	used     bool // since the sweep last passed

	length uint8 // of the key in own; longKey: it does not fit and is kept elsewhere
	own    [ownKey]byte
}

const (
	ownKey  = 40 // holds a UUID as text
	longKey = ownKey + 1
)

// ref names an entry of one table: one more than its place in the chunks. 0: none.
type ref uint32

// entries are kept in chunks. What was dropped is never used for another key, because its bytes may still be read as the
// key that they were: a chunk is let go of as a whole, and its number used again.
type entries[V any] struct {
	chunks []*[chunkSize]entry[V]
	lives  []uint8 // how many of each chunk are in use
	free   []ref   // numbers of chunks that were let go of
	tail   ref     // number of the chunk that new entries are taken from
	taken  ref     // how many of it are
	long   map[ref]string
}

// chunkSize is how many entries a chunk has. A table of a single key has one chunk, too.
const chunkSize = 64

func (x *entries[V]) entry(r ref) *entry[V] { return &x.chunks[(r-1)/chunkSize][(r-1)%chunkSize] }

// key is an entry's key. The text is good for ever.
func (x *entries[V]) key(e *entry[V]) string {
	if e.length <= ownKey {
		return unsafe.String(&e.own[0], int(e.length))
	}
	return x.long[e.me]
}

// take makes an entry that has nothing but its name.
func (x *entries[V]) take() *entry[V] {
	if len(x.chunks) == 0 || x.taken == chunkSize {
		x.begin()
	}
	e := &x.chunks[x.tail][x.taken]
	x.taken++
	x.lives[x.tail]++
	e.me = x.tail*chunkSize + x.taken
	return e
}

// begin makes a chunk to take from.
func (x *entries[V]) begin() {
	if len(x.chunks) == 0 || x.lives[x.tail] > 0 {
		if n := len(x.free); n > 0 {
			x.tail, x.free = x.free[n-1], x.free[:n-1]
		} else {
			x.tail = ref(len(x.chunks))
			x.chunks, x.lives = append(x.chunks, nil), append(x.lives, 0)
		}
	}
	x.chunks[x.tail], x.taken = new([chunkSize]entry[V]), 0
}

// drop lets go of an entry, but not of its key's bytes.
func (x *entries[V]) drop(e *entry[V]) {
	var none V
	chunk := (e.me - 1) / chunkSize
	if e.length == longKey {
		delete(x.long, e.me)
	}
	e.value, e.me = none, 0
	x.lives[chunk]--
	if x.lives[chunk] == 0 && chunk != x.tail {
		x.chunks[chunk] = nil
		x.free = append(x.free, chunk)
	}
}

// sparse tells whether so few of the entry's chunk are in use that it is worth while to move them elsewhere.
func (x *entries[V]) sparse(r ref) bool {
	chunk := (r - 1) / chunkSize
	return x.lives[chunk] <= chunkSize/4 && chunk != x.tail
}
