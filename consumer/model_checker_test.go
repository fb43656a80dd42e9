package consumer

import (
	"fmt"
	"hash/maphash"
	"strings"
	"time"
)

// unused is an id for a new mark.
func (u *modelUnit) unused() uint8 {
	var taken [deadMark + 1]bool
	u.marks(func(id *uint8) { taken[*id] = true })
	for id := uint8(1); ; id++ {
		if !taken[id] {
			return id
		}
	}
}

// marks visits the ids of all marks that anybody knows.
func (u *modelUnit) marks(visit func(id *uint8)) {
	visit(&u.mark.id)
	for w := range u.runs {
		r := &u.runs[w]
		visit(&r.held.id)
		visit(&r.flight.from)
		visit(&r.flight.to.id)
	}
	for i := range u.late {
		visit(&u.late[i].from)
		visit(&u.late[i].to.id)
	}
}

// normalise takes out of a state what makes no difference to what can happen: ids and epochs are numbered anew, what a
// mark says that nobody asks is forgotten, and so are checkpoints that the store can only refuse.
func (m *model) normalise(s *modelState) {
	for u := range m.units {
		unit := &s.units[u]
		held := unit.mark.id
		dropped := int(s.log.drops) < m.drop
		for i := range unit.late {
			if c := &unit.late[i]; c.to.id != 0 && !m.alive(s, u, *c) {
				*c = modelCheckpoint{}
			}
		}
		if unit.late[0].to.id == 0 {
			unit.late[0], unit.late[1] = unit.late[1], unit.late[0]
		}
		for w := range unit.runs {
			r := &unit.runs[w]
			if !dropped && r.highest <= unit.mark.epoch && held != 0 {
				r.highest = 0
			}
			switch r.phase {
			case modelStandby:
				r.held = modelMark{id: r.held.id}
				if r.held.id != held {
					r.held.id = deadMark
				}
			case modelFound, modelClaiming, modelOwning, modelHalted:
				if r.held.id != held && r.held.id != 0 {
					r.held.id = deadMark
				}
			}
			c := &r.flight
			if c.to.id == 0 || m.steps.unfenced || m.steps.again || m.steps.apart {
				continue
			}
			switch {
			case c.to.id == held: // applied: its sender does not know yet
				c.after, c.keys, c.value = 0, 0, modelValue{}
				if c.from != 0 { // else it was the first claim: there was no snapshot
					c.from = deadMark
				}
			case !m.alive(s, u, *c):
				*c = modelCheckpoint{claim: c.claim, from: deadMark, to: modelMark{id: aloneMark, created: c.to.created}}
			}
		}
		unit.renumber()
	}
}

// renumber gives marks ids in the order in which they are met, and epochs numbers from 1 on. Of epochs only the order
// matters, and whether one is the next.
func (u *modelUnit) renumber() {
	var ids [deadMark + 1]uint8
	next := uint8(1)
	u.marks(func(id *uint8) {
		switch *id {
		case 0, deadMark, aloneMark:
			return
		}
		if ids[*id] == 0 {
			ids[*id] = next
			next++
		}
		*id = ids[*id]
	})
	var there [256]bool
	u.epochs(func(e *uint8) { there[*e] = true })
	var to [256]uint8
	last, number := -1, uint8(0)
	for e := 1; e < len(there); e++ {
		if !there[e] {
			continue
		}
		switch {
		case last < 0 || e == last+1:
			number++
		default:
			number += 2
		}
		to[e], last = number, e
	}
	u.epochs(func(e *uint8) { *e = to[*e] })
}

func (u *modelUnit) epochs(visit func(e *uint8)) {
	visit(&u.mark.epoch)
	for w := range u.runs {
		r := &u.runs[w]
		visit(&r.highest)
		visit(&r.held.epoch)
		visit(&r.flight.to.epoch)
	}
	for i := range u.late {
		visit(&u.late[i].to.epoch)
	}
}

// swapped is the state with the workers' names, or the units', exchanged.
func (s modelState) swapped(workers, units bool) modelState {
	if units {
		s.units[0], s.units[1] = s.units[1], s.units[0]
	}
	if !workers {
		return s
	}
	for u := range s.units {
		unit := &s.units[u]
		unit.runs[0], unit.runs[1] = unit.runs[1], unit.runs[0]
		other := func(m *modelMark) {
			if m.id != 0 && m.id != aloneMark && m.epoch != 0 {
				m.writer = 1 - m.writer
			}
		}
		other(&unit.mark)
		for w := range unit.runs {
			other(&unit.runs[w].held)
			other(&unit.runs[w].flight.to)
		}
		for i := range unit.late {
			other(&unit.late[i].to)
		}
		unit.renumber()
	}
	return s
}

// key is the same for states that differ in nothing but names.
func (m *model) key(seed maphash.Seed, s *modelState) uint64 {
	key := maphash.Comparable(seed, *s)
	for _, units := range []bool{false, true}[:m.units] {
		for _, workers := range []bool{false, true} {
			if units || workers {
				key = min(key, maphash.Comparable(seed, s.swapped(workers, units)))
			}
		}
	}
	return max(key, 1)
}

// modelResult is what an exploration has found.
type modelResult struct {
	states, transitions, depth, claims int
	limit                              int // transitions at the documented limit, not followed
	took                               time.Duration
	wrong                              string
	trace                              []string
}

func (r modelResult) String() string {
	return fmt.Sprintf("%d states, %d transitions, depth %d, %d claims without a fault, %d at the documented limit, %.1f s",
		r.states, r.transitions, r.depth, r.claims, r.limit, r.took.Seconds())
}

// explored are the states by number, in the order in which they were found, and the transitions without a fault.
type explored struct {
	index   map[uint64]uint32
	parent  []uint32
	choice  []uint16 // which of its parent's transitions led to it
	settled []bool
	from    []uint32 // by state: where its transitions begin
	to      []uint32 // with the highest bit: the store takes a claim
}

const modelClaimBit = 1 << 31

// explore goes through all states, breadth first, until something is wrong.
func (m *model) explore() modelResult {
	began := time.Now()
	var result modelResult
	seed := maphash.MakeSeed()
	m.memo = map[modelRuling]modelJudgement{}
	first := m.first()
	x := explored{index: map[uint64]uint32{m.key(seed, &first): 0}, parent: []uint32{0}, choice: []uint16{0}, settled: []bool{m.allSettled(&first)}}
	level := []modelState{first}
	at := uint32(0)
	for ; len(level) > 0 && result.wrong == ""; result.depth++ {
		var deeper []modelState
		for i := range level {
			x.from = append(x.from, uint32(len(x.to)))
			n := uint16(0)
			m.emit = func(a modelAction, s *modelState, wrong string) {
				choice := n
				n++
				if result.wrong != "" {
					return
				}
				if wrong != "" {
					result.wrong, result.trace = wrong, append(m.trace(&x, at), a.String())
					return
				}
				if a.beyondLimit {
					result.limit++
					return
				}
				next := *s // whoever emits it may go on with it
				if !m.becomes(&next, a) {
					return
				}
				s = &next
				result.transitions++
				key := m.key(seed, s)
				number, known := x.index[key]
				if !known {
					number = uint32(len(x.parent))
					x.index[key] = number
					x.parent, x.choice = append(x.parent, at), append(x.choice, choice)
					x.settled = append(x.settled, m.allSettled(s))
					deeper = append(deeper, *s)
				}
				if !a.fault {
					if a.claimed {
						result.claims++
						number |= modelClaimBit
					}
					x.to = append(x.to, number)
				}
			}
			m.next(&level[i])
			at++
		}
		level = deeper
	}
	result.states = len(x.parent)
	if result.wrong == "" {
		x.from = append(x.from, uint32(len(x.to)))
		if stuck, found := x.stuck(); found {
			result.wrong, result.trace = "from here no run without faults ends with all units at the log's head", m.trace(&x, stuck)
		} else if fight, found := x.fight(); found {
			result.wrong, result.trace = "from here a run without faults can claim for ever", m.trace(&x, fight)
		}
	}
	result.took = time.Since(began)
	return result
}

// becomes makes a state of what an action led to, if that is within the bounds.
func (m *model) becomes(s *modelState, a modelAction) bool {
	if m.faults >= 0 && a.fault && (a.worker >= 0 || a.unit >= 0) {
		if int(s.log.faults) >= m.faults {
			return false
		}
		s.log.faults++
	}
	m.normalise(s)
	return true
}

func (m *model) first() modelState {
	return modelState{log: modelLog{first: 1}}
}

func (m *model) allSettled(s *modelState) bool {
	for u := range m.units {
		if !s.units[u].settled(&s.log) {
			return false
		}
	}
	return true
}

// trace tells how a state came about, the shortest way.
func (m *model) trace(x *explored, state uint32) (steps []string) {
	var choices []uint16
	for s := state; s != 0; s = x.parent[s] {
		choices = append(choices, x.choice[s])
	}
	again := *m
	s := m.first()
	for i := len(choices) - 1; i >= 0; i-- {
		n := uint16(0)
		var next modelState
		again.emit = func(a modelAction, t *modelState, _ string) {
			if n == choices[i] {
				steps = append(steps, a.String())
				next = *t
				m.becomes(&next, a)
			}
			n++
		}
		again.next(&s)
		s = next
	}
	return steps
}

// stuck finds a state from which no run without faults leads to a settled one.
func (x *explored) stuck() (uint32, bool) {
	n := len(x.parent)
	begin := make([]uint32, n+1) // the transitions turned round
	for _, to := range x.to {
		begin[to&^modelClaimBit+1]++
	}
	for i := range n {
		begin[i+1] += begin[i]
	}
	fill := append([]uint32(nil), begin[:n]...)
	back := make([]uint32, len(x.to))
	for s := range n {
		for _, to := range x.to[x.from[s]:x.from[s+1]] {
			to &^= modelClaimBit
			back[fill[to]] = uint32(s)
			fill[to]++
		}
	}
	good := append([]bool(nil), x.settled...)
	var todo []uint32
	for s := range n {
		if good[s] {
			todo = append(todo, uint32(s))
		}
	}
	for len(todo) > 0 {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, from := range back[begin[s]:begin[s+1]] {
			if !good[from] {
				good[from] = true
				todo = append(todo, from)
			}
		}
	}
	for s := range n {
		if !good[s] {
			return uint32(s), true
		}
	}
	return 0, false
}

// fight finds a claim from which a run without faults leads to the same claim again: an end of the parts in which every
// state can be reached from every other (Tarjan's algorithm).
func (x *explored) fight() (uint32, bool) {
	n := len(x.parent)
	index := make([]uint32, n) // 0: not met
	low := make([]uint32, n)
	part := make([]uint32, n) // 0: not in one yet
	next := append([]uint32(nil), x.from[:n]...)
	var path, open []uint32
	count, parts := uint32(0), uint32(0)
	for root := range n {
		if index[root] != 0 {
			continue
		}
		path = append(path, uint32(root))
		for len(path) > 0 {
			s := path[len(path)-1]
			if index[s] == 0 {
				count++
				index[s], low[s] = count, count
				open = append(open, s)
			}
			if next[s] < x.from[s+1] {
				to := x.to[next[s]] &^ modelClaimBit
				next[s]++
				if index[to] == 0 {
					path = append(path, to)
				} else if part[to] == 0 {
					low[s] = min(low[s], index[to])
				}
				continue
			}
			path = path[:len(path)-1]
			if len(path) > 0 {
				up := path[len(path)-1]
				low[up] = min(low[up], low[s])
			}
			if low[s] == index[s] {
				parts++
				for {
					last := open[len(open)-1]
					open = open[:len(open)-1]
					part[last] = parts
					if last == s {
						break
					}
				}
			}
		}
	}
	for s := range n {
		for _, to := range x.to[x.from[s]:x.from[s+1]] {
			if to&modelClaimBit != 0 && part[s] == part[to&^modelClaimBit] {
				return uint32(s), true
			}
		}
	}
	return 0, false
}

// told is a trace for people.
func (r modelResult) told() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s, after %d steps:", r.wrong, len(r.trace))
	for i, step := range r.trace {
		fmt.Fprintf(&text, "\n  %2d. %s", i+1, step)
	}
	return text.String()
}
