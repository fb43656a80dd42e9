package declared

import (
	"fmt"
	"slices"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/projections/internal/jsonfault"
)

// shape is the set of event paths that expressions name. Only these are decoded, each into a numbered slot; the rest of
// the document is checked and passed over. Projections of one stream share a shape, so that an event
// is decoded once for all of them.
type shape struct {
	root  pathNode
	slots int
	read  func(event projections.Event) ([]value, error)
}

// pathNode is a member name in the tree of paths.
type pathNode struct {
	name     string
	slot     int // -1: only its members are named
	children []*pathNode
}

func newShape() *shape {
	return &shape{root: pathNode{slot: -1}}
}

// slot finds or makes the slot of a path; none is the whole event.
func (s *shape) slot(path []string) int {
	node := &s.root
	for _, name := range path {
		i := slices.IndexFunc(node.children, func(c *pathNode) bool { return c.name == name })
		if i < 0 {
			node.children = append(node.children, &pathNode{name: name, slot: -1})
			i = len(node.children) - 1
		}
		node = node.children[i]
	}
	if node.slot < 0 {
		node.slot = s.slots
		s.slots++
	}
	return node.slot
}

// seal chooses how the slots are kept, once all paths are known: in the batch's own memory where there are few, so
// that reading an event allocates nothing.
func (s *shape) seal() {
	switch {
	case s.slots == 0:
		s.read = func(projections.Event) ([]value, error) { return nil, nil }
	case s.slots <= 4:
		s.read = readInto(s, func(slots *[4]value) []value { return slots[:] })
	case s.slots <= 8:
		s.read = readInto(s, func(slots *[8]value) []value { return slots[:] })
	case s.slots <= 16:
		s.read = readInto(s, func(slots *[16]value) []value { return slots[:] })
	default:
		s.read = readInto(s, func(slots *[]value) []value {
			if *slots == nil {
				*slots = make([]value, s.slots)
			}
			return *slots
		})
	}
}

func readInto[T any](s *shape, slots func(*T) []value) func(projections.Event) ([]value, error) {
	decode := func(event projections.Event, into *T) error { return s.decode(event.Data, slots(into)) }
	return func(event projections.Event) ([]value, error) {
		t, err := projections.Shared(event, s, decode)
		if err != nil {
			return nil, err
		}
		return slots(t), nil
	}
}

// decode fills the slots from a document.
func (s *shape) decode(data []byte, slots []value) error {
	r, err := read(data)
	if err != nil {
		return &projections.DataError{What: "the event is not JSON as it must be: " + jsonfault.Describe(err, nil),
			Err: fmt.Errorf("the event is not JSON as it must be: %w", err)}
	}
	r.fill(&s.root, slots, 0)
	return nil
}

// fill reads the next value into the slots at and below a node.
func (r *reader) fill(node *pathNode, slots []value, depth int) {
	if node.slot >= 0 || r.next() != '{' {
		node.spread(r.value(depth), slots)
		return
	}
	for more := r.open(); more; more = r.more() {
		child := node.child(r.name())
		switch {
		case child == nil:
			r.skip()
		case child.children == nil:
			slots[child.slot] = r.value(depth + 1)
		default:
			r.fill(child, slots, depth+1)
		}
	}
}

func (n *pathNode) child(name string) *pathNode {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// spread puts a value into the node's slot and its members into the slots below.
func (n *pathNode) spread(v value, slots []value) {
	if n.slot >= 0 {
		slots[n.slot] = v
	}
	for _, c := range n.children {
		switch v.kind() {
		case dict:
			c.spread(v.get(c.name), slots)
		case null:
		case bad:
			c.spread(v, slots)
		default:
			c.spread(badValue(fmt.Sprintf("it is a member of %v: a map is needed there", v.kind())), slots)
		}
	}
}
