package declared

import (
	"math"
	"slices"
	"strings"
	"unsafe"
)

// kind says what a value is.
type kind uint8

// null is the zero kind, so that the zero value is nil. bad is not a value: it says that evaluation failed, and why
// stands in the frame; every operation hands it on.
const (
	null kind = iota
	boolean
	integer
	float
	text
	list
	dict
	bad
)

// String is the kind's name as messages say it.
func (k kind) String() string {
	return [...]string{"nil", "a bool", "an int", "a float", "a text", "a list", "a map", "an error"}[k]
}

// value is what expressions compute with: a union that fits three words, so that numbers and texts travel in registers
// and are never boxed. It is immutable once made, but for the fields of the map that a key's state is (machine.go).
//
//	boolean          bits 0 or 1
//	integer, float   bits; read from an event also the number's own text, which scaled() needs
//	text             ref and size: the bytes of a string
//	list             ref and size: the values
//	dict             ref and size: the fields, sorted by name, none nil
type value struct {
	head uint64 // from the lowest bit: kind, flags, depth, 8 bits each, unused, and 32 bits of size
	bits uint64
	ref  unsafe.Pointer
}

// The parts of a value's head.
const (
	kindBits  uint64 = 0xff
	flagBits  uint64 = 0xff << 8
	depthOne  uint64 = 1 << 16 // of lists and maps: how deep they nest
	depthBits uint64 = 0xff << 16
	sizeShift        = 32 // bytes of a text or number's text, items of a list, fields of a map
)

// The flags. Lent are bytes of an event's data, which own() copies.
const (
	lentInside uint64 = 1 << (8 + iota) // its text, a number's own text, or something in an item or member
	lentNames                           // the names of a map's members
	isBroken                            // it holds something that can't be read: it can't be read as a whole, only past that
)

// field is a named member of a map.
type field struct {
	name  string
	value value
}

// maxDepth is how deep values nest: far beyond any read model, far below what JSON readers refuse.
const maxDepth = 100

func headOf(k kind, size int) uint64 { return uint64(k) | uint64(size)<<sizeShift }

func ofBool(b bool) value {
	if b {
		return value{head: uint64(boolean), bits: 1}
	}
	return value{head: uint64(boolean)}
}

func ofInt(n int64) value { return value{head: uint64(integer), bits: uint64(n)} }

// ofFloat takes finite numbers only.
func ofFloat(x float64) value { return value{head: uint64(float), bits: math.Float64bits(x)} }

func ofText(s string) value {
	return value{head: headOf(text, len(s)), ref: unsafe.Pointer(unsafe.StringData(s))}
}

// lentText is a text whose bytes belong to an event.
func lentText(s string) value {
	v := ofText(s)
	v.head |= lentInside
	return v
}

// failed is what an expression returns where it fails; why stands in the frame.
func failed() value { return value{head: uint64(bad)} }

// withText is a number with its own text, from an event.
func (v value) withText(s string) value {
	return value{head: v.head | lentInside | uint64(len(s))<<sizeShift, bits: v.bits, ref: unsafe.Pointer(unsafe.StringData(s))}
}

// bare is a number without its own text.
func (v value) bare() value { return value{head: v.head & kindBits, bits: v.bits} }

// ofList takes the slice over.
func ofList(items []value) value {
	head := headOf(list, len(items)) | depthOne
	for i := range items {
		head = around(head, items[i].head)
	}
	return value{head: head, ref: unsafe.Pointer(unsafe.SliceData(items))}
}

// ofFields takes the slice over: sorted by name, no name twice, no nil.
func ofFields(fields []field) value {
	head := headOf(dict, len(fields)) | depthOne
	for i := range fields {
		head = around(head, fields[i].value.head)
	}
	return value{head: head, ref: unsafe.Pointer(unsafe.SliceData(fields))}
}

// around is the head of a list or map with what an item adds to it.
func around(head, item uint64) uint64 {
	if item&(flagBits|depthBits) == 0 {
		return head
	}
	if item&(lentInside|lentNames) != 0 {
		head |= lentInside
	}
	head |= item & isBroken
	return head&^depthBits | max(head&depthBits, item&depthBits+depthOne)
}

// lentAs is v, lent where the value is that it was cut from or made of.
func (v value) lentAs(from value) value {
	v.head |= from.head & (lentInside | lentNames)
	return v
}

func (v value) kind() kind   { return kind(v.head) }
func (v value) size() uint32 { return uint32(v.head >> sizeShift) }
func (v value) depth() int   { return int(v.head & depthBits / depthOne) }
func (v value) isLent() bool { return v.head&(lentInside|lentNames) != 0 }
func (v value) broken() bool { return v.head&isBroken != 0 }

func (v value) bool() bool     { return v.bits != 0 }
func (v value) int() int64     { return int64(v.bits) }
func (v value) float() float64 { return math.Float64frombits(v.bits) }

// str is the bytes of a text, or of a number's own text.
func (v value) str() string { return unsafe.String((*byte)(v.ref), v.size()) }

// items and fields are read only.
func (v value) items() []value  { return unsafe.Slice((*value)(v.ref), v.size()) }
func (v value) fields() []field { return unsafe.Slice((*field)(v.ref), v.size()) }

func (v value) isNumber() bool { return v.kind() == integer || v.kind() == float }

// get is the member of a map, nil if there is none.
func (v value) get(name string) value {
	fields := v.fields()
	if i, ok := findField(fields, name); ok {
		return fields[i].value
	}
	return value{}
}

func findField(fields []field, name string) (int, bool) {
	if len(fields) <= 8 {
		for i := range fields {
			if fields[i].name >= name {
				return i, fields[i].name == name
			}
		}
		return len(fields), false
	}
	low, high := 0, len(fields)
	for low < high {
		if middle := (low + high) / 2; fields[middle].name < name {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, low < len(fields) && fields[low].name == name
}

// own is v without anything lent: what a state may keep. Texts are copied out of the event's data, so that a short
// text does not hold a whole batch in memory, and numbers lose their own text, so that a value is the same whether it
// stayed in memory or came back from the store.
func (v value) own() value {
	if !v.isLent() {
		return v
	}
	switch v.kind() {
	case integer, float:
		return v.bare()
	case text:
		return ofText(strings.Clone(v.str()))
	case list:
		items := slices.Clone(v.items())
		for i := range items {
			items[i] = items[i].own()
		}
		return ofList(items)
	case dict:
		fields := slices.Clone(v.fields())
		for i := range fields {
			if v.head&lentNames != 0 {
				fields[i].name = strings.Clone(fields[i].name)
			}
			fields[i].value = fields[i].value.own()
		}
		return ofFields(fields)
	}
	return v
}

// with is the map's fields with one set, or left out where v is nil, in a new slice. A new name is copied: it may
// belong to an event.
func with(fields []field, name string, v value) []field {
	i, found := findField(fields, name)
	switch {
	case v.kind() == null && !found:
		return fields
	case v.kind() == null:
		return slices.Concat(fields[:i], fields[i+1:])
	case found:
		changed := slices.Clone(fields)
		changed[i].value = v
		return changed
	}
	grown := make([]field, 0, len(fields)+1)
	grown = append(grown, fields[:i]...)
	grown = append(grown, field{strings.Clone(name), v})
	return append(grown, fields[i:]...)
}

// same is deep equality as the language has it: numbers by their exact value, whatever their kind; texts bytewise;
// values of different kinds differ. visit is told the cost of each item and may end the comparison (with false).
func same(a, b value, visit func(cost int) bool) bool {
	if a.isNumber() && b.isNumber() {
		return compareNumbers(a, b) == 0
	}
	if a.kind() != b.kind() {
		return false
	}
	switch a.kind() {
	case boolean:
		return a.bits == b.bits
	case text:
		return a.size() == b.size() && visit(int(a.size())/1024) && a.str() == b.str()
	case list:
		return slices.EqualFunc(a.items(), b.items(), func(x, y value) bool { return visit(1) && same(x, y, visit) })
	case dict:
		return slices.EqualFunc(a.fields(), b.fields(), func(x, y field) bool {
			return visit(1+len(x.name)/1024) && x.name == y.name && same(x.value, y.value, visit)
		})
	}
	return true
}
