package projections

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestIndexIsAMap holds the index against a map, also where most hashes are the same.
func TestIndexIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, want := newIndex[int](), map[string]*entry[int]{}
		x.mask = rapid.SampledFrom([]uint32{0, 1, 3, 31, ^uint32(0)}).Draw(t, "mask")
		name := rapid.Custom(func(t *rapid.T) string {
			return strings.Repeat("k", rapid.SampledFrom([]int{0, 1, ownKey - 1, ownKey, ownKey + 1}).Draw(t, "length")) + fmt.Sprint(rapid.IntRange(0, 30).Draw(t, "n"))
		})
		for range rapid.IntRange(1, 10).Draw(t, "rounds") {
			keys := rapid.SliceOfN(name, 0, 20).Draw(t, "keys")
			x.find(keys)
			for i, key := range keys {
				e := x.found(i, key)
				if e != want[key] {
					t.Fatalf("key %q: found %p, want %p", key, e, want[key])
				}
				if e == nil && rapid.Bool().Draw(t, "add") {
					bytes := []byte(key)
					want[key] = x.add(i, string(bytes))
					clear(bytes)
				}
			}
			x.unfind()
			for _, key := range keys {
				if e := want[key]; e != nil && rapid.Bool().Draw(t, "remove") {
					x.remove(e)
					delete(want, key)
				}
			}
			for _, key := range slices.Sorted(maps.Keys(want)) {
				e := want[key]
				if rapid.IntRange(0, 9).Draw(t, "move") == 0 {
					e = x.move(e)
					want[key] = e
				}
				if x.get(key) != e || x.key(e) != key {
					t.Fatalf("key %q: %p is %q, want %p", key, x.get(key), x.key(e), e)
				}
			}
		}
		for key, e := range want {
			x.remove(e)
			if x.get(key) != nil {
				t.Fatalf("key %q was removed", key)
			}
		}
		for i := range x.slots {
			if x.used != 0 || x.slots[i] != (slot{}) {
				t.Fatalf("%d hashes are left, and slot %d is %v", x.used, i, x.slots[i])
			}
		}
	})
}

func TestAnEntryKeepsItsKeyToItself(t *testing.T) {
	for _, length := range []int{1, ownKey, ownKey + 1} {
		x := newIndex[int]()
		key := []byte(strings.Repeat("k", length))
		x.find([]string{string(key)})
		e := x.add(0, string(key))
		key[0] = 'X'
		if x.key(e) != strings.Repeat("k", length) {
			t.Errorf("the key is %q", x.key(e))
		}
	}
}
