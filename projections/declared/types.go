package declared

import (
	"math/bits"
	"strings"
)

// kinds is a set of kinds: what the checker knows of an expression before any event.
type kinds uint8

const (
	aNil     kinds = 1 << null
	aBool    kinds = 1 << boolean
	anInt    kinds = 1 << integer
	aFloat   kinds = 1 << float
	aText    kinds = 1 << text
	aList    kinds = 1 << list
	aMap     kinds = 1 << dict
	aNumber        = anInt | aFloat
	anything       = aNil | aBool | aNumber | aText | aList | aMap
)

func (k kinds) has(v value) bool { return k&(1<<v.kind()) != 0 }

// String lists them: "an int, a float or a text".
func (k kinds) String() string {
	if k == anything {
		return "anything"
	}
	var names []string
	if k != aNil {
		k &^= aNil // it goes without saying: any field may be missing
	}
	if k&aNumber == aNumber {
		names = append(names, "a number")
		k &^= aNumber
	}
	for ; k != 0; k &= k - 1 {
		names = append(names, kind(bits.TrailingZeros8(uint8(k))).String())
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// schema is what is known of a value: its kinds and, where an `event:` shape declares them, its members or items.
type schema struct {
	kinds   kinds
	members map[string]*schema // nil: not known
	items   *schema            // nil: not known
}

var unknown = &schema{kinds: anything} // read only

func known(k kinds) *schema { return &schema{kinds: k} }

// item is what a list holds.
func (s *schema) item() *schema {
	if s.items != nil {
		return s.items
	}
	return unknown
}
