package declared

import (
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/projections"
)

const tested = `
projections:
- name: p
  version: 1
  stream: S
  subjects: [a.*.c]
  key: event.k
  seed: {n: 0}
  value:
    n: value.n + event.n
    at: time
    where: subject
    who: header("Who")
    list: 'keep_last(value.list, seq, 2)'
`

func TestADifferenceIsToldByKeyAndField(t *testing.T) {
	p := one(t, tested)
	tests, err := ParseTests("tests.yaml", []byte(`
tests:
- name: all as expected
  projection: p
  given:
  - {data: {k: a, n: 1}}
  - {data: {k: a, n: 2}, seq: 9, subject: a.x.c, time: "2026-11-23T10:00:00+01:00", header: {Who: [me, you]}}
  expect: {a: {n: 3, at: "2026-11-23T09:00:00.000000000Z", where: a.x.c, who: me, list: [1, 9], none: null}}
- name: several differences
  projection: p
  given:
  - {data: {k: a, n: 1}}
  - {raw: '{"k":"c","n":1.5}'}
  expect: {a: {n: 2, where: a.test.c, who: me, list: [7], at: "2026-01-01T00:00:00.000000000Z"}, b: {n: 1}}
- name: poison that was not expected
  projection: p
  given:
  - {data: {k: a, n: x}}
  expect: {a: {n: 1}}
- name: poison that says something else, and poison that is not
  projection: p
  given:
  - {data: {k: a, n: 1}}
  - {data: {k: a, n: 9223372036854775807}}
  poison: [{seq: 1}, {seq: 2, says: nil}]
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, test := range tests {
		got = append(got, strings.Split(test.Run(p).String(), "\n")...)
	}
	want := []string{
		"ok    p: all as expected",
		"FAIL  p: several differences (tests.yaml:9)",
		`        key "a".list[0]: is 1, expected 7`,
		`        key "a".n: is 1, expected 2`,
		`        key "a".who: missing, expected "me"`,
		`        key "c": not expected, but it is {"at":"2026-01-01T00:00:01.000000000Z","list":[2],"n":1.5,"where":"a.test.c"}`,
		`        key "b": missing, expected {"n":1}`,
		"FAIL  p: poison that was not expected (tests.yaml:15)",
		`        event 1 is poison, which was not expected: event 1 (a.test.c), key "a": test.yaml:10:16: + needs two numbers or two texts, but value.n is an int and event.n is a text`,
		"  | value.n + event.n",
		"  |         ^",
		"FAIL  p: poison that says something else, and poison that is not (tests.yaml:20)",
		`        event 2 is poison as expected, but does not say "nil": event 2 (a.test.c), key "a": test.yaml:10:16: overflow: 1 + 9223372036854775807 is beyond 64 bits`,
		"  | value.n + event.n",
		"  |         ^",
		"        event 1 was expected to be poison, but was folded or not reached",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSkippedPoisonIsPassedOver(t *testing.T) {
	p := one(t, strings.Replace(tested, "  key:", "  on_poison: skip\n  key:", 1))
	tests, err := ParseTests("tests.yaml", []byte(`
tests:
- projection: p
  given: [{data: {k: a, n: 1}}, {data: {k: a, n: x}}, {data: {k: a, n: 2}}]
  poison: {seq: 2}
  expect: {a: {n: 3, at: "2026-01-01T00:00:02.000000000Z", where: a.test.c, list: [1, 3]}}
`))
	if err != nil {
		t.Fatal(err)
	}
	if r := tests[0].Run(p); !r.Passed() {
		t.Error(r)
	}
}

func TestFaultsOfTestsAreToldWithTheirPlace(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"tests: {a: 1}\n", "t.yaml:1:"},
		{"tests:\n- {projection: p}\n", "t.yaml:2:3: the test expects nothing"},
		{"tests:\n- {expect: {}}\n", "projection is missing"},
		{"tests:\n- {projection: p, expct: {}, expect: {}}\n", "unknown key expct in the test: did you mean expect?"},
		{"tests:\n- {projection: p, expect: {}, given: [{raw: x, data: y}]}\n", "either data"},
		{"tests:\n- {projection: p, expect: {}, given: [{}]}\n", "either data"},
		{"tests:\n- {projection: p, expect: {}, given: [{raw: x, seq: 2}, {raw: x, seq: 2}]}\n", "not beyond the one before"},
		{"tests:\n- {projection: p, expect: {}, given: [{raw: x, time: noon}]}\n", "RFC 3339"},
		{"tests:\n- {projection: p, expect: {}, given: [{data: {a: .5}}]}\n", "as in JSON"},
		{"tests:\n- {projection: p, poison: {says: x}}\n", "seq is missing"},
		{"tests:\n- {projection: p, poison: {seq: 0}}\n", "a number from 1"},
	} {
		_, err := ParseTests("t.yaml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
			continue
		}
		checkPositions(t, err)
	}
}

func TestTheNumbersOfATestAreKeptAsWritten(t *testing.T) {
	tests, err := ParseTests("t.yaml", []byte("tests:\n- projection: p\n  expect: {}\n  given:\n  - data: {a: 19.990, b: 1e3, c: -0, d: 12345678901234567890, e: '1.0', f: [1.10, {g: null}], h: true, i: 2026-11-23T10:00:00Z}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"a":19.990,"b":1e3,"c":-0,"d":12345678901234567890,"e":"1.0","f":[1.10,{"g":null}],"h":true,"i":"2026-11-23T10:00:00Z"}`
	if got := string(tests[0].given[0].event.Data); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Projections of one stream that are read together decode an event once; their units run in goroutines of their own.
func TestProjectionsOfAStreamShareItsDecoding(t *testing.T) {
	var b strings.Builder
	b.WriteString("projections:\n")
	for _, name := range []string{"a", "b", "c", "d"} {
		b.WriteString("- {name: " + name + ", version: 1, stream: ORDERS, key: event.customer, seed: {n: 0}, value: {n: value.n + 1, " + name + ": 'event.amount', all: len(event)}}\n")
	}
	all, err := Parse("t.yaml", []byte(b.String()+"- {name: e, version: 1, stream: OTHERS, value: event.amount}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if shared := p.program.shape == all[0].program.shape; shared != (p.definition.Stream == "ORDERS") {
			t.Errorf("%s: shares the decoding: %v", p.definition.Name, shared)
		}
	}
	events := simpleEvents(300)
	projections.Share(events)
	var wait sync.WaitGroup
	for _, p := range all[:4] {
		want, err := folded(t, p, simpleEvents(300))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // two units of the same projection
			wait.Go(func() {
				f := p.NewFold(projections.FoldOptions{})
				for _, key := range f.Plan(events) {
					if err := f.Load(key, nil, false); err != nil {
						t.Error(err)
					}
				}
				if err := f.Step(); err != nil {
					t.Error(err)
				}
				changes, err := f.Changes()
				if err != nil {
					t.Error(err)
				}
				got := map[string]string{}
				for _, put := range changes.Put {
					got[put.Key] = string(put.Value)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: %s", p.definition.Name, diff)
				}
			})
		}
	}
	wait.Wait()
}

// A value keeps nothing of the events that made it.
func TestAStateKeepsNothingOfItsEvents(t *testing.T) {
	p := one(t, head+"  key: event.k\n  value:\n    a: event.s\n    b: event.m\n    c: '[event.s, {x: event.m}]'\n    d: 'keep_last(value.d, event.m, 3)'\n    e: 'put(value.e, event.s, event.s[0:2])'\n    f: 'event.m.n'\n    g: 'map(event.l, #)'\n    h: keys(event.m)\n    i: put(event.m, \"p\", 1)\n    j: 'groupBy(event.l, #)'\n    k: 'ranked({(event.s): event.m.n}, 1)'\n")
	m := newMachine(p)
	event := projections.Event{Seq: 1, Data: []byte(`{"k":"k","s":"text","m":{"n":1.50,"t":"x","b":true},"l":["a","b"]}`)}
	if _, err := m.keys(event); err != nil {
		t.Fatal(err)
	}
	s, err := m.step("k", m.seed(), event)
	if err != nil {
		t.Fatal(err)
	}
	want := string(appendJSON(nil, s.value))
	for i := range event.Data {
		event.Data[i] = '?'
	}
	if got := string(appendJSON(nil, s.value)); got != want || s.value.isLent() {
		t.Errorf("the value was\n%s\nand with the event's bytes changed it is\n%s", want, got)
	}
	if m.f.event.Data != nil || m.f.slots != nil {
		t.Error("the fold holds its last event in memory")
	}
}
