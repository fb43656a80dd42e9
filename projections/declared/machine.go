package declared

import (
	"slices"

	"github.com/tailfold/tailfold/projections"
)

// state is the value of a key in a fold.
type state struct {
	value value
	gone  bool
}

// codec stores states as canonical JSON.
type codec struct{}

func (codec) Name() string { return codecName }

func (codec) Encode(s state) ([]byte, error) { return appendJSON(make([]byte, 0, 128), s.value), nil }

// Append is Encode behind what there is.
func (codec) Append(to []byte, s state) ([]byte, error) { return appendJSON(to, s.value), nil }

func (codec) Decode(stored []byte) (state, error) {
	v, err := parseStored(stored)
	return state{value: v}, err
}

// machine folds one unit.
type machine struct {
	p       *Projection
	f       frame
	seq     uint64     // of the event whose keys are being folded; 0: none yet
	named   []string   // the keys of an event
	byGroup [][]string // while folding: the keys of each group, as far as they are computed
	known   []bool
	done    []bool  // while naming: the group needs no further look
	results []value // of a rule's fields, before any is set
	places  []int   // of a rule's fields in the value
}

func newMachine(p *Projection) *machine {
	n := len(p.program.names)
	return &machine{p: p, f: frame{lets: make([]value, n), letAt: make([]uint64, n), locals: make([]value, maxLocals)},
		byGroup: make([][]string, len(p.groups)), known: make([]bool, len(p.groups)), done: make([]bool, len(p.groups))}
}

// seed is a new key's value: a map of its own, because it is changed in place.
func (m *machine) seed() state {
	v := m.p.seed
	if v.kind() == dict {
		v = ofFields(slices.Clone(v.fields()))
	}
	return state{value: v}
}

// begin reads an event. At a further key of the same event, what is computed and spent so far stays.
func (m *machine) begin(event projections.Event, further bool) error {
	slots, err := m.p.program.shape.read(event)
	if err != nil {
		return err
	}
	m.f.event, m.f.slots = event, slots
	m.f.keyTurn++
	if !further {
		m.f.begin()
	}
	return nil
}

// release lets go of the event and the batch around it, so that an idle unit holds neither in memory.
func (m *machine) release() {
	m.f.event, m.f.slots = projections.Event{}, nil
}

// test runs a condition, true where there is none.
func (m *machine) test(when *compiled) (bool, error) {
	if when == nil {
		return true, nil
	}
	v := when.run(&m.f)
	if v.kind() != boolean {
		m.f.notBool(when.at, v, "when", when.text)
		return false, m.f.err
	}
	return v.bool(), nil
}

// keys names the keys that an event touches, before any value is known: of rules whose condition can't be told yet, too.
func (m *machine) keys(event projections.Event) ([]string, error) {
	m.seq = 0
	if err := m.begin(event, false); err != nil {
		return nil, err
	}
	named, err := m.name()
	m.release()
	return named, err
}

func (m *machine) name() ([]string, error) {
	m.named = m.named[:0]
	clear(m.done)
	if w := m.p.when; w != nil && !w.reads.perKey() {
		if is, err := m.test(w); err != nil || !is {
			return nil, err
		}
	}
	for _, r := range m.p.rules {
		if m.done[r.group] {
			continue
		}
		undecided := r.when != nil && r.when.reads.perKey()
		if !undecided {
			if is, err := m.test(r.when); err != nil {
				return nil, err
			} else if !is {
				continue
			}
		}
		var err error
		if m.named, err = m.p.groups[r.group].name(&m.f, m.named); err != nil {
			return nil, err
		}
		m.done[r.group] = !undecided
	}
	return m.named, nil
}

// name appends the keys, each once, the first place kept.
func (k *keys) name(f *frame, named []string) ([]string, error) {
	if len(k.of) == 0 {
		return append(named, ""), nil
	}
	for i, expression := range k.of {
		v := expression.run(f)
		if v.kind() != list {
			if v.kind() == bad {
				return nil, f.err
			}
			var err error
			if named, err = k.append(f, i, named, v); err != nil {
				return nil, err
			}
			continue
		}
		for _, item := range v.items() {
			var err error
			if named, err = k.append(f, i, named, item); err != nil {
				return nil, err
			}
		}
	}
	return named, nil
}

func (k *keys) append(f *frame, i int, named []string, v value) ([]string, error) {
	if v.kind() == null {
		return named, nil
	}
	key, ok := keyText(v)
	switch {
	case !ok:
		f.fail(k.at[i], "a key is a text or an int, but this one is %v", v.kind())
		return nil, f.err
	case key == "":
		f.fail(k.at[i], "the key is an empty text: write (… != \"\" ? … : nil) for no key, or another text")
		return nil, f.err
	case !f.spend(k.at[i], 1+len(named)/64):
		return nil, f.err
	case slices.Contains(named, key):
		return named, nil
	}
	return append(named, key), nil
}

// step folds an event into one key's value.
func (m *machine) step(key string, s state, event projections.Event) (state, error) {
	further := event.Seq == m.seq && m.p.definition.Keyed
	if !further {
		clear(m.known)
	}
	if err := m.begin(event, further); err != nil {
		return s, err
	}
	m.seq = event.Seq
	m.f.key, m.f.state = key, s.value
	s, err := m.fold(s)
	m.release()
	return s, err
}

func (m *machine) fold(s state) (state, error) {
	if w := m.p.when; w != nil && (w.reads.perKey() || !m.p.definition.Keyed) {
		if is, err := m.test(w); err != nil {
			return s, err
		} else if !is {
			return s, projections.Unchanged
		}
	}
	r, err := m.match(m.f.key)
	if err != nil {
		return s, err
	}
	if r == nil {
		return s, projections.Unchanged
	}
	return m.apply(r)
}

// match finds the first rule that holds for a key, nil if there is none.
func (m *machine) match(key string) (*rule, error) {
	if m.p.decided {
		return m.p.rules[0], nil
	}
	for _, r := range m.p.rules {
		early := r.when != nil && !r.when.reads.perKey() // as when the keys were named: before the keys
		if early {
			if is, err := m.test(r.when); err != nil {
				return nil, err
			} else if !is {
				continue
			}
		}
		if is, err := m.hasKey(r.group, key); err != nil {
			return nil, err
		} else if !is {
			continue
		}
		if !early {
			if is, err := m.test(r.when); err != nil {
				return nil, err
			} else if !is {
				continue
			}
		}
		return r, nil
	}
	return nil, nil
}

// hasKey tells whether a group of key expressions names a key. With one group all keys are its.
func (m *machine) hasKey(group int, key string) (bool, error) {
	if len(m.p.groups) == 1 {
		return true, nil
	}
	if !m.known[group] {
		named, err := m.p.groups[group].name(&m.f, m.byGroup[group][:0])
		if err != nil {
			return false, err
		}
		m.byGroup[group], m.known[group] = named, true
	}
	return slices.Contains(m.byGroup[group], key), nil
}

// apply computes a rule's result from the old value, then sets it.
func (m *machine) apply(r *rule) (state, error) {
	var v value
	if r.whole != nil {
		v = r.whole.run(&m.f).own()
	} else {
		v = m.assign(r)
	}
	if v.kind() == bad {
		return state{}, m.f.err
	}
	if m.p.gone == nil {
		return state{value: v}, nil
	}
	m.f.state = v
	m.f.keyTurn++ // what is computed from value is computed from the new one
	gone := m.p.gone.run(&m.f)
	if gone.kind() != boolean {
		m.f.notBool(m.p.gone.at, gone, "gone", m.p.gone.text)
		return state{}, m.f.err
	}
	return state{value: v, gone: gone.bool()}, nil
}

// assign computes all fields, then sets them: in place where all of them are there, which costs no memory.
func (m *machine) assign(r *rule) value {
	old := m.f.state
	if old.kind() != dict && old.kind() != null {
		return m.f.fail(r.at, "value is %v: its fields can't be set; write one expression for the whole value, or seed a map", old.kind())
	}
	m.results = m.results[:0]
	for i := range r.fields {
		v := r.fields[i].compiled.run(&m.f)
		if v.kind() == bad {
			return v
		}
		if v.isLent() {
			v = v.own()
		}
		m.results = append(m.results, v)
	}
	fields := old.getFields()
	if m.p.inPlace && m.overwrite(r, fields) {
		return m.f.newDict(r.at, fields)
	}
	fields = append(make([]field, 0, len(fields)+len(r.fields)), fields...)
	for i := range r.fields {
		at, found := findField(fields, r.fields[i].name)
		switch v := m.results[i]; {
		case v.kind() == null && found:
			fields = slices.Delete(fields, at, at+1)
		case v.kind() == null:
		case found:
			fields[at].value = v
		default:
			fields = slices.Insert(fields, at, field{r.fields[i].name, v})
		}
	}
	return m.f.newDict(r.at, fields)
}

// overwrite sets the fields where all of them are there and none goes; else it is false and changes nothing.
func (m *machine) overwrite(r *rule, fields []field) bool {
	places := m.places[:0]
	for i := range r.fields {
		at, found := findField(fields, r.fields[i].name)
		if !found || m.results[i].kind() == null {
			return false
		}
		places = append(places, at)
	}
	for i, at := range places {
		fields[at].value = m.results[i]
	}
	m.places = places
	return true
}

// getFields is the members of a map, none of nil.
func (v value) getFields() []field {
	if v.kind() != dict {
		return nil
	}
	return v.fields()
}
