package declared

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/tailfold/tailfold/projections"
)

// Test is one entry of the `tests:` of a file: events, and what a projection makes of them.
type Test struct {
	Name       string
	Projection string // name of the projection
	Version    int    // 0: whichever there is
	File       string
	Line       int

	given  []given
	expect map[string]value // nil: not compared
	poison []poison
}

// given is an event of a test. What it leaves open is filled in by Run.
type given struct {
	event   projections.Event
	subject bool // is set
	time    bool
}

// poison is an event that is expected not to fold.
type poison struct {
	seq  uint64
	says string // part of the error
}

// Result is what came of a test.
type Result struct {
	Test        Test
	Differences []string // none: it passed. Each names key and field, what is there and what was expected
}

// Passed tells whether all was as expected.
func (r Result) Passed() bool { return len(r.Differences) == 0 }

// String is one line for a test that passed, and its differences below for one that did not.
func (r Result) String() string {
	if r.Passed() {
		return fmt.Sprintf("ok    %s: %s", r.Test.Projection, r.Test.Name)
	}
	return fmt.Sprintf("FAIL  %s: %s (%s:%d)\n        %s", r.Test.Projection, r.Test.Name, r.Test.File, r.Test.Line,
		strings.Join(r.Differences, "\n        "))
}

var testKeys = []string{"name", "projection", "version", "given", "expect", "poison"}
var givenKeys = []string{"data", "raw", "subject", "time", "header", "seq"}
var poisonKeys = []string{"seq", "says"}

// ParseTests reads the list under the top-level key `tests:` of a YAML document; other top-level keys are passed over.
func ParseTests(file string, data []byte) ([]Test, error) {
	x := &faults{file: file}
	doc := x.document(data)
	if doc == nil || doc.get("tests") == nil {
		return nil, x.err()
	}
	var tests []Test
	for _, n := range x.sequence(doc.get("tests"), "tests") {
		if m := x.mapping(n, "the test", testKeys); m != nil {
			tests = append(tests, x.test(m))
		}
	}
	return tests, x.err()
}

func (x *faults) test(m *mapping) Test {
	t := Test{Name: x.plain(m.get("name"), "name"), Projection: x.plain(m.get("projection"), "projection"),
		File: x.file, Line: startOf(m.node).Line}
	if t.Projection == "" {
		x.add(m.node, "projection is missing: name the projection that the test is about")
	}
	if n := m.get("version"); n != nil {
		t.Version = int(x.whole(n, "version"))
	}
	if n := m.get("given"); n != nil {
		seq := uint64(0)
		for _, item := range x.sequence(n, "given") {
			if g := x.mapping(item, "the event", givenKeys); g != nil {
				t.given = append(t.given, x.given(g, &seq))
			}
		}
	}
	if n := m.get("expect"); n != nil {
		t.expect = map[string]value{}
		if e := x.mapping(n, "expect", nil); e != nil {
			for _, key := range e.entries {
				t.expect[key.name] = x.data(key.value)
			}
		}
	}
	if n := m.get("poison"); n != nil {
		nodes := []ast.Node{n}
		if s, ok := n.(*ast.SequenceNode); ok {
			nodes = s.Values
		}
		for _, n := range nodes {
			if p := x.mapping(n, "poison", poisonKeys); p != nil {
				seq := p.get("seq")
				if seq == nil {
					x.add(n, "seq is missing: which event is poison?")
					continue
				}
				t.poison = append(t.poison, poison{x.whole(seq, "seq"), x.plain(p.get("says"), "says")})
			}
		}
	}
	if t.expect == nil && len(t.poison) == 0 {
		x.add(m.node, "the test expects nothing: write expect: with the values of all keys ({} for none), or poison:")
	}
	return t
}

// whole reads a number from 1.
func (x *faults) whole(n ast.Node, what string) uint64 {
	s := x.plain(n, what)
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil || v == 0 || v > math.MaxInt64 {
		x.add(n, "%s is %q: it is a number from 1", what, s)
	}
	return v
}

func (x *faults) given(m *mapping, seq *uint64) given {
	var g given
	data, raw := m.get("data"), m.get("raw")
	switch {
	case (data == nil) == (raw == nil):
		x.add(m.node, "an event has either data, as YAML, or raw, its bytes as a text")
	case data != nil:
		g.event.Data = x.json(nil, data)
	default:
		g.event.Data = []byte(x.plain(raw, "raw"))
	}
	if n := m.get("seq"); n != nil {
		before := *seq
		if *seq = x.whole(n, "seq"); *seq <= before {
			x.add(n, "the seq %d is not beyond the one before, %d", *seq, before)
		}
	} else {
		*seq++
	}
	g.event.Seq = *seq
	if n := m.get("subject"); n != nil {
		g.event.Subject, g.subject = x.plain(n, "subject"), true
	}
	if n := m.get("time"); n != nil {
		at, err := time.Parse(time.RFC3339Nano, x.plain(n, "time"))
		if err != nil {
			x.add(n, "the time is not in RFC 3339, such as 2026-11-23T10:15:00Z: %v", err)
		}
		g.event.Time, g.time = at.UTC(), true
	}
	if n := m.get("header"); n != nil {
		var pairs []string
		if h := x.mapping(n, "header", nil); h != nil {
			for _, e := range h.entries {
				values := []ast.Node{e.value}
				if s, ok := e.value.(*ast.SequenceNode); ok {
					values = s.Values
				}
				for _, v := range values {
					pairs = append(pairs, e.name, x.plain(v, "the header "+e.name))
				}
			}
		}
		g.event.Header = projections.NewHeader(pairs...)
	}
	return g
}

// json writes YAML data as JSON, numbers as they are written.
func (x *faults) json(b []byte, n ast.Node) []byte {
	switch n := n.(type) {
	case *ast.NullNode:
		return append(b, "null"...)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		s := n.GetToken().Value
		if !isJSONNumber(s) {
			x.add(n, "the number %s is not written as in JSON: write digits, as in 12, -3 or 0.5, or use raw", s)
		}
		return append(b, s...)
	case *ast.SequenceNode:
		b = append(b, '[')
		for i, item := range n.Values {
			if i > 0 {
				b = append(b, ',')
			}
			b = x.json(b, item)
		}
		return append(b, ']')
	case *ast.MappingNode, *ast.MappingValueNode:
		b = append(b, '{')
		if m := x.mapping(n, "the data", nil); m != nil {
			for i, e := range m.entries {
				if i > 0 {
					b = append(b, ',')
				}
				b = append(appendQuoted(b, strings.ToValidUTF8(e.name, "\uFFFD")), ':')
				b = x.json(b, e.value)
			}
		}
		return append(b, '}')
	}
	v := x.data(n)
	if v.kind() == integer || v.kind() == float { // 1e3, which YAML takes for a text
		return append(b, n.GetToken().Value...)
	}
	return appendJSON(b, v)
}

// Run folds the test's events and compares. Events without a seq are numbered from 1; without a subject they have one
// that the projection reads; without a time, 2026-01-01T00:00:00Z and a second more with each seq. Where the projection
// halts at poison, later events are not folded.
func (t Test) Run(p *Projection) Result {
	result := Result{Test: t}
	differ := func(format string, args ...any) {
		result.Differences = append(result.Differences, fmt.Sprintf(format, args...))
	}
	warm, met := t.fold(p, false)
	cold, _ := t.fold(p, true)
	halted := t.comparePoison(met, differ)
	if t.expect == nil || halted {
		return result
	}
	for _, key := range slices.Sorted(maps.Keys(warm)) {
		got, err := parseStored(warm[key])
		want, expected := t.expect[key]
		switch {
		case err != nil:
			differ("key %q: can't be read back: %v", key, err)
		case !expected:
			differ("key %q: not expected, but it is %s", key, shorten(string(warm[key]), 200))
		default:
			compareValues(fmt.Sprintf("key %q", key), got, want, differ)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(t.expect)) {
		if _, ok := warm[key]; !ok {
			differ("key %q: missing, expected %s", key, shorten(string(appendJSON(nil, t.expect[key])), 200))
		}
	}
	for key := range warm {
		if string(warm[key]) != string(cold[key]) {
			differ("key %q: a fault of Tailfold, please report it: kept in memory it is %s, read back after each event %s", key, warm[key], cold[key])
		}
	}
	return result
}

// fold returns all values as they are stored, and the events that could not be folded. Cold reads every value back
// from its stored form for each event.
func (t Test) fold(p *Projection, cold bool) (map[string][]byte, []*projections.EventError) {
	s := newShelf(p)
	var met []*projections.EventError
	for _, g := range t.given {
		if !g.subject {
			g.event.Subject = sampleSubject(p.definition.Subjects)
		}
		if !g.time {
			g.event.Time = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(g.event.Seq-1) * time.Second)
		}
		if cold {
			s.cool()
		}
		err := s.fold([]projections.Event{g.event})
		if err == nil {
			continue
		}
		e := &projections.EventError{Seq: g.event.Seq, Subject: g.event.Subject, Err: err}
		errors.As(err, &e)
		met = append(met, e)
		if p.definition.OnPoison != projections.Skip {
			break
		}
	}
	return s.values, met
}

// sampleSubject is a subject that one of the filters matches.
func sampleSubject(filters []string) string {
	if len(filters) == 0 {
		return "test"
	}
	return strings.NewReplacer("*", "test", ">", "test").Replace(filters[0])
}

// comparePoison compares the events that did not fold, and tells whether there is no point in comparing values.
func (t Test) comparePoison(met []*projections.EventError, differ func(format string, args ...any)) (halted bool) {
	for _, e := range met {
		i := slices.IndexFunc(t.poison, func(p poison) bool { return p.seq == e.Seq })
		switch {
		case i < 0:
			differ("event %d is poison, which was not expected: %s", e.Seq, projections.Quoted(e))
			halted = true
		case !strings.Contains(projections.Quoted(e), t.poison[i].says):
			differ("event %d is poison as expected, but does not say %q: %s", e.Seq, t.poison[i].says, projections.Quoted(e))
		}
	}
	for _, p := range t.poison {
		if !slices.ContainsFunc(met, func(e *projections.EventError) bool { return e.Seq == p.seq }) {
			differ("event %d was expected to be poison, but was folded or not reached", p.seq)
		}
	}
	return halted
}

// compareValues names the members that differ. A nil member and a missing one are the same; so are 3 and 3.0.
func compareValues(path string, got, want value, differ func(format string, args ...any)) {
	if same(got, want, func(int) bool { return true }) {
		return
	}
	switch {
	case got.kind() == dict && want.kind() == dict:
		names := map[string]bool{}
		for _, f := range slices.Concat(got.fields(), want.fields()) {
			names[f.name] = true
		}
		for _, name := range sortedNames(names) {
			compareValues(path+memberText(name), got.get(name), want.get(name), differ)
		}
	case got.kind() == list && want.kind() == list && got.size() == want.size():
		for i := range got.items() {
			compareValues(fmt.Sprintf("%s[%d]", path, i), got.items()[i], want.items()[i], differ)
		}
	case got.kind() == null:
		differ("%s: missing, expected %s", path, shorten(string(appendJSON(nil, want)), 200))
	case want.kind() == null:
		differ("%s: not expected, but it is %s", path, shorten(string(appendJSON(nil, got)), 200))
	default:
		differ("%s: is %s, expected %s", path, shorten(string(appendJSON(nil, got)), 200), shorten(string(appendJSON(nil, want)), 200))
	}
}
