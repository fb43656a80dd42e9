package projections

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
)

// foldRules are what a table folds by.
type foldRules[V any] struct {
	keys  func(event Event) ([]string, error) // the result is used before the next call
	seed  func() V
	step  func(key string, value V, event Event) (V, error)
	gone  func(value V) bool
	codec Codec[V]
	keyed bool

	immutable bool // step and gone never change a value in place
}

// table is the one Fold: a map of decoded values with their state of commitment.
//
// An entry that is dirty or in flight is not in the ring, so that it is never forgotten and never read from the store,
// also where it says that the key is gone: until the store has acknowledged the deletion, it still shows the old value.
type table[V any] struct {
	rules   foldRules[V]
	appends Appender[V] // the codec, where it can
	options FoldOptions
	filter  subjectFilter
	nowhere bool // no subject is left for this unit

	entries  index[V]
	ring     []ref // those that may be forgotten, for the second-chance sweep: loaded, neither dirty nor in flight
	hand     int
	evicted  bool // something was forgotten
	bytes    int
	dirty    []ref
	inFlight []ref
	guess    int // bytes of the dirty entries as last encoded

	named   []named  // the events of the batch that touch keys
	keys    []string // of these events, one after another
	plan    []planned
	touched []*entry[V] // the entries of the planned events, one after another
	missing []string
	turn    uint64 // counts the events ever planned
	undo    []undone[V]
	at      int // of plan: the event that is being folded
	key     int // of touched: the entry that is being folded
	planErr error
}

// undone is what an entry was before the event that is being folded.
type undone[V any] struct {
	entry  *entry[V]
	value  V
	exists bool
}

// named is an event whose keys are known.
type named struct {
	event *Event
	upTo  int // end of its keys in keys
}

type planned struct {
	event *Event
	upTo  int // end of its entries in touched
}

const entryOverhead = 160 // bytes per entry beside key and value: the struct, its place in index and ring, what is free beside it; estimated

func newTable[V any](rules foldRules[V], subjects []string, options FoldOptions) Fold {
	if rules.codec == nil {
		rules.codec = JSONCodec[V]{}
	}
	if rules.seed == nil {
		rules.seed = func() V { var zero V; return zero }
	}
	rules.immutable = rules.immutable || plain(reflect.TypeFor[V]())
	filter, ok := NarrowSubjects(subjects, options.Subjects)
	if slices.Contains(filter, ">") {
		filter = nil
	}
	return &table[V]{rules: rules, appends: appenderOf(rules.codec), filter: filter, nowhere: !ok, options: options, entries: newIndex[V]()}
}

// plain tells whether a value of type t is copied as a whole, so that nobody can change another's copy.
func plain(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			if !plain(t.Field(i).Type) {
				return false
			}
		}
		return true
	case reflect.Array:
		return plain(t.Elem())
	case reflect.Map, reflect.Slice, reflect.Pointer, reflect.Interface, reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return false
	default:
		return true
	}
}

// Plan goes over the batch three times, so that the memory which the second pass waits for is fetched for many events at
// once: first it asks for all keys, then it looks up their entries, then it plans.
func (t *table[V]) Plan(events []Event) []string {
	t.abandon()
	if t.nowhere {
		return nil
	}
	failed := t.name(events)
	t.entries.find(t.keys)
	from := 0
	for i := range t.named {
		n := &t.named[i]
		start, asked := len(t.touched), len(t.missing)
		if err := t.planEvent(n, from); err != nil {
			t.forgetMissing(asked)
			clear(t.touched[start:])
			t.touched = t.touched[:start]
			t.planErr = err
			return t.missing
		}
		from = n.upTo
		t.plan = append(t.plan, planned{n.event, len(t.touched)})
	}
	t.planErr = failed
	return t.missing
}

// name asks for the keys of the events up to the first for which there are none to be had.
func (t *table[V]) name(events []Event) (failed error) {
	var event *Event
	defer func() {
		if r := recover(); r != nil {
			failed = &EventError{Seq: event.Seq, Subject: event.Subject, Err: &PanicError{Value: r, Stack: debug.Stack()}, Intact: true}
		}
	}()
	for i := range events {
		event = &events[i]
		if !t.filter.match(event.Subject) {
			continue
		}
		keys, err := t.rules.keys(*event)
		if err != nil {
			return &EventError{Seq: event.Seq, Subject: event.Subject, Err: err, Intact: true}
		}
		if len(keys) > 0 {
			t.keys = append(t.keys, keys...)
			t.named = append(t.named, named{event, len(t.keys)})
		}
	}
	return nil
}

// abandon forgets a plan that was not folded, with the entries that were made for it and never loaded.
func (t *table[V]) abandon() {
	t.forgetMissing(0)
	t.finish()
	t.planErr = nil
}

// forgetMissing forgets those of the missing keys, from one on, that were not loaded.
func (t *table[V]) forgetMissing(from int) {
	for _, key := range t.missing[from:] {
		if e := t.entries.get(key); !e.loaded {
			t.forget(e)
		}
	}
	t.missing = t.missing[:from]
}

// finish lets go of a plan and of the batch that it points to.
func (t *table[V]) finish() {
	clear(t.named)
	clear(t.keys)
	clear(t.plan)
	clear(t.touched)
	t.entries.unfind()
	t.named, t.keys, t.plan, t.touched, t.missing = t.named[:0], t.keys[:0], t.plan[:0], t.touched[:0], t.missing[:0]
	t.at, t.key = 0, 0
}

// planEvent plans an event whose keys begin at from.
func (t *table[V]) planEvent(n *named, from int) error {
	t.turn++
	for i := from; i < n.upTo; i++ {
		key := t.keys[i]
		e := t.entries.found(i, key)
		if e == nil {
			if err := t.checkKey(key); err != nil {
				return &EventError{Seq: n.event.Seq, Subject: n.event.Subject, Key: key[:min(len(key), 64)], Err: err, Intact: true}
			}
			e = t.entries.add(i, key)
			t.bytes += len(key) + entryOverhead
			t.missing = append(t.missing, t.entries.key(e))
		}
		if e.turn == t.turn {
			return &EventError{Seq: n.event.Seq, Subject: n.event.Subject, Key: key, Err: errKeyTwice, Intact: true}
		}
		e.turn, e.used = t.turn, true
		t.touched = append(t.touched, e)
	}
	return nil
}

var errKeyTwice = errors.New("Keys names this key twice")

// recovered turns a panic of a projection's code into an error. It is deferred.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = &PanicError{Value: r, Stack: debug.Stack()}
	}
}

func (t *table[V]) checkKey(key string) error {
	if key == "" && t.rules.keyed {
		return errors.New("the key is empty")
	}
	if t.options.MaxKey > 0 && len(key) > t.options.MaxKey {
		return &TooLargeError{What: "key", Key: key[:min(len(key), 64)], Size: len(key), Limit: t.options.MaxKey}
	}
	return nil
}

func (t *table[V]) Load(key string, stored []byte, exists bool) error {
	e := t.entries.get(key)
	if e == nil || e.loaded {
		return fmt.Errorf("key %q was not asked for", key)
	}
	if exists {
		value, err := t.decode(stored)
		if err != nil {
			return &ValueError{Key: key, Err: err}
		}
		e.value, e.exists = value, true
		t.resize(e, len(stored))
	}
	e.loaded = true
	t.join(e)
	return nil
}

func (t *table[V]) decode(stored []byte) (value V, err error) {
	defer recovered(&err)
	return t.rules.codec.Decode(stored)
}

func (t *table[V]) Step() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = t.eventError(&PanicError{Value: r, Stack: debug.Stack()})
		}
	}()
	for ; t.at < len(t.plan); t.at++ {
		p := t.plan[t.at]
		t.undo = t.undo[:0]
		for several := p.upTo-t.key > 1; t.key < p.upTo; t.key++ {
			e := t.touched[t.key]
			if !e.loaded {
				return fmt.Errorf("key %q was not loaded", t.entries.key(e))
			}
			if several && t.rules.immutable {
				t.undo = append(t.undo, undone[V]{e, e.value, e.exists})
			}
			if err := t.stepEntry(e, p.event); err != nil {
				return t.eventError(err)
			}
		}
	}
	t.finish()
	return t.planErr
}

func (t *table[V]) stepEntry(e *entry[V], event *Event) error {
	value := e.value
	if !e.exists {
		value = t.rules.seed()
	}
	value, err := t.rules.step(t.entries.key(e), value, *event)
	if err == Unchanged {
		return nil
	}
	if err != nil {
		return err
	}
	if t.rules.gone != nil && t.rules.gone(value) {
		var zero V
		e.value, e.exists = zero, false
	} else {
		e.value, e.exists = value, true
	}
	if e.dirty {
		return nil
	}
	if !e.inFlight {
		t.leave(e)
	}
	e.dirty = true
	t.dirty = append(t.dirty, e.me)
	t.guess += len(t.entries.key(e)) + max(int(e.size), 16)
	return nil
}

// eventError blames the event and the key that are being folded, and ends the plan there. Where values are never
// changed in place, those of the event before are put back.
func (t *table[V]) eventError(err error) error {
	event, key := t.plan[t.at].event, t.entries.key(t.touched[t.key])
	if t.rules.immutable {
		for _, u := range t.undo {
			u.entry.value, u.entry.exists = u.value, u.exists
		}
	}
	t.finish()
	t.planErr = nil
	return &EventError{Seq: event.Seq, Subject: event.Subject, Key: key, Err: err, Intact: t.rules.immutable}
}

func (t *table[V]) Changes() (Changes, error) {
	var changes Changes
	if len(t.inFlight) > 0 {
		return changes, errors.New("the last changes are not acknowledged yet")
	}
	changes.Put = make([]Entry, 0, len(t.dirty))
	slab := slab[V]{codec: t.rules.codec, appends: t.appends, left: t.guess}
	for _, r := range t.dirty {
		e := t.entries.entry(r)
		key := t.entries.key(e)
		if !e.exists {
			changes.Delete = append(changes.Delete, key)
			t.resize(e, 0)
			continue
		}
		encoded, err := slab.encode(e.value)
		if err != nil {
			return Changes{}, &ValueError{Key: key, Err: err}
		}
		if t.options.MaxValue > 0 && len(encoded) > t.options.MaxValue {
			return Changes{}, &TooLargeError{What: "value", Key: key, Size: len(encoded), Limit: t.options.MaxValue}
		}
		t.resize(e, len(encoded))
		changes.Put = append(changes.Put, Entry{key, encoded})
	}
	for _, r := range t.dirty {
		e := t.entries.entry(r)
		e.dirty, e.inFlight = false, true
	}
	t.dirty, t.inFlight, t.guess = t.inFlight[:0], t.dirty, 0
	return changes, nil
}

func (t *table[V]) encode(value V) (encoded []byte, err error) {
	defer recovered(&err)
	return t.rules.codec.Encode(value)
}

// slab encodes values into a few large pieces of memory.
type slab[V any] struct {
	codec   Codec[V]
	appends Appender[V] // the codec, where it can
	piece   []byte
	left    int // bytes that are still to come, about
}

const slabBytes = 64 << 10

// encode is what the codec makes of a value. Nothing else is ever written there.
func (s *slab[V]) encode(value V) (encoded []byte, err error) {
	defer recovered(&err)
	if s.appends == nil {
		return s.codec.Encode(value)
	}
	if cap(s.piece)-len(s.piece) < 64 {
		s.piece = make([]byte, 0, max(256, min(slabBytes, s.left)))
	}
	from := len(s.piece)
	all, err := s.appends.Append(s.piece, value)
	if err != nil {
		return nil, err
	}
	s.left -= len(all) - from
	if cap(all) != cap(s.piece) && from > 0 { // it did not fit, and all before was copied with it: this value alone is kept of that
		s.piece = nil
		return bytes.Clone(all[from:]), nil
	}
	s.piece = all
	return all[from:len(all):len(all)], nil
}

// Recode encodes what decode makes of a stored value: for projectiontest, which checks that it is the same.
func (t *table[V]) Recode(stored []byte) ([]byte, error) {
	value, err := t.decode(stored)
	if err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	encoded, err := t.encode(value)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return encoded, nil
}

func (t *table[V]) resize(e *entry[V], size int) {
	t.bytes += 2 * (size - int(e.size))
	e.size = uint32(size)
}

func (t *table[V]) Acked() {
	for _, r := range t.inFlight {
		e := t.entries.entry(r)
		if e.inFlight = false; !e.dirty {
			t.join(e)
		}
	}
	t.inFlight = t.inFlight[:0]
}

func (t *table[V]) Dirty() (keys, bytes int) { return len(t.dirty), t.guess }

func (t *table[V]) Bytes() int { return t.bytes }

func (t *table[V]) Evict(keep int) {
	if len(t.plan)+len(t.missing) > 0 {
		return // what is planned is about to be used
	}
	for left := 2 * len(t.ring); t.bytes > keep && left > 0 && len(t.ring) > 0; left-- {
		t.hand %= len(t.ring)
		e := t.entries.entry(t.ring[t.hand])
		if e.used {
			e.used = false
			if t.entries.sparse(e.me) {
				t.ring[t.hand] = t.entries.move(e).me
			}
			t.hand++
			continue
		}
		t.leave(e)
		t.forget(e)
		t.evicted = true
	}
}

func (t *table[V]) Whole() bool { return !t.evicted }

// join puts an entry into the ring, leave takes it out.
func (t *table[V]) join(e *entry[V]) {
	e.ring = uint32(len(t.ring))
	t.ring = append(t.ring, e.me)
}

func (t *table[V]) leave(e *entry[V]) {
	last := t.ring[len(t.ring)-1]
	t.ring[e.ring], t.entries.entry(last).ring = last, e.ring
	t.ring = t.ring[:len(t.ring)-1]
}

// forget drops an entry that is not in the ring.
func (t *table[V]) forget(e *entry[V]) {
	t.bytes -= len(t.entries.key(e)) + entryOverhead + 2*int(e.size)
	t.entries.remove(e)
}
