package declared

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/projections"
)

const head = "projections:\n- name: p\n  version: 1\n  stream: S\n"

// What YAML and people do to expressions is refused with the place and the cure.
var traps = []struct {
	name, text string
	want       []string // each in the message, in order of lines
}{
	{"a tag", head + "  when: !event.x\n  value: {n: seq}\n",
		[]string{"t.yaml:5:9: YAML takes !event.x for a tag", "quote it, '!event.x …', or write not event.x"}},
	{"a tag before the rest of an expression", head + "  value: {n: seq}\n  when: !event.x == 1\n", []string{"t.yaml:6:9: YAML takes !event.x for a tag"}},
	{"an empty expression", head + "  when:\n  value: {n: }\n", []string{"t.yaml:5:", "when is empty", "value.n is empty"}},
	{"quotes with nothing in them", head + "  value: ''\n", []string{"t.yaml:5:10: value is empty"}},
	{"a bare word", head + "  key: event.k\n  value: {status: placed}\n", []string{"t.yaml:6:19: unknown name placed", `write '"placed"'`, "| placed", "| ^"}},
	{"a quoted word", head + "  value: {status: \"placed\"}\n", []string{"t.yaml:5:20: unknown name placed", `write '"placed"'`}},
	{"a seed that nests too deep", head + "  seed: " + strings.Repeat("[", 300) + strings.Repeat("]", 300) + "\n  value: seq\n", []string{"nest deeper than 100"}},
	{"bare words", head + "  value: {a: on hold, b: in transit, c: over-due}\n", []string{`write '"on hold"'`, `write '"in transit"'`, `write '"over-due"'`}},
	{"a cut expression", head + "  value:\n    n: event.x == \"a #b\" ? 1 : 2\n", []string{"t.yaml:6:", `YAML has cut it off at " #"`}},
	{"a comma in a flow mapping", head + "  value: {a: max(1, 2)}\n", []string{"t.yaml:5:", "within {…} and […] YAML ends it at the comma"}},
	{"a bare date", head + "  value: {a: 2026-11-23}\n", []string{"t.yaml:5:14: this is the number 2026 - 11 - 23", `write '"2026-11-23"'`}},
	{"a tag of a type", head + "  seed: !!int 3\n  value: seq\n", []string{"t.yaml:5:9: the YAML tag !!int has no meaning here: take it away"}},
	{"an alias", head + "  value: *x\n", []string{"t.yaml:5:10: YAML takes * for an alias"}},
	{"an anchor", head + "  value: &x event\n", []string{"t.yaml:5:10: YAML takes & for an anchor"}},
	{"a mapping in a value", head + "  value: {a: {b: 1}}\n", []string{"t.yaml:5:14: value.a is a YAML mapping", "in quotes"}},
	{"a list in a value", head + "  value: {a: [1]}\n", []string{"t.yaml:5:14: value.a is a YAML list", "in quotes"}},
	{"a colon", head + "  value: event.x ? 1 : 2\n", []string{"t.yaml:5:", "needs quotes"}},
	{"quotes in the middle", head + "  value: \"x\" + event.y\n", []string{"t.yaml:5:", "needs quotes"}},
	{"an unknown key", head + "  valeu: {n: seq}\n", []string{"t.yaml:5:3: unknown key valeu in the projection: did you mean value?", "value is missing"}},
	{"an unknown key that is like none", head + "  colour: red\n  value: seq\n", []string{"t.yaml:5:3: unknown key colour", "it knows name, version"}},
	{"an unknown key in a rule", head + "  key: event.k\n  on:\n  - {whn: true, value: seq}\n", []string{"t.yaml:7:6: unknown key whn in the rule: did you mean when?"}},
	{"a key twice", head + "  value: seq\n  value: seq\n", []string{"t.yaml:6:3: ", "already defined"}},
	{"an unknown name", head + "  value: {n: evnt.x}\n", []string{"t.yaml:5:14: unknown name evnt: did you mean event?"}},
	{"a place in the middle", head + "  value:\n    n: (event.a ?? 0) + cunt(1)\n", []string{"t.yaml:6:25: unknown function cunt: did you mean count?", "| (event.a ?? 0) + cunt(1)", "|                  ^"}},
	{"a block", head + "  value: |\n    event.a +\n      evnt.b\n", []string{"t.yaml:7:7: unknown name evnt", "|   evnt.b", "|   ^"}},
	{"several faults", "projections:\n- {name: a, version: 1, stream: S, value: x1 + y1}\n- {name: b, version: 0, stream: S, key: z1, value: seq}\n",
		[]string{"t.yaml:2:43: unknown name x1", "t.yaml:2:48: unknown name y1", "t.yaml:3:22: the version is 0", "t.yaml:3:41: unknown name z1"}},
	{"a bad name and subject", "projections:\n- name: 'a b'\n  version: 1\n  stream: S\n  subjects: [a..b]\n  value: seq\n",
		[]string{"t.yaml:2:9: the name \"a b\" is not legal", "t.yaml:5:13: subject \"a..b\" has an empty token"}},
	{"a wrong choice", head + "  on_poison: ignore\n  start: now\n  value: seq\n", []string{"t.yaml:6:10: start is \"now\"", "t.yaml:5:14: on_poison is \"ignore\""}},
	{"no version", "projections:\n- {name: a, stream: S, value: seq}\n", []string{"the version is missing"}},
	{"no stream", "projections:\n- {name: a, version: 1, value: seq}\n", []string{"the stream is missing"}},
	{"no value", head + "  key: event.k\n", []string{"t.yaml:2:3: value is missing"}},
	{"value and on", head + "  key: event.k\n  value: seq\n  on: [{value: seq}]\n", []string{"both value and on"}},
	{"on without rules", head + "  key: event.k\n  on: []\n", []string{"on has no rules"}},
	{"a rule without a value", head + "  key: event.k\n  on: [{when: true}]\n", []string{"t.yaml:6:8: value is missing in this rule"}},
	{"a rule without a key", head + "  on:\n  - {key: event.k, value: seq}\n  - {value: seq}\n", []string{"t.yaml:7:5: this rule has no key"}},
	{"gone without a key", head + "  gone: value.n == 0\n  value: {n: seq}\n", []string{"t.yaml:5:9: gone deletes a key"}},
	{"a key that reads value", head + "  key: value.k\n  value: {n: seq}\n", []string{"t.yaml:5:14: a key can't depend on value"}},
	{"a key that reads a let that reads value", head + "  let: {a: value.n}\n  key: a\n  value: {n: seq}\n", []string{"a key can't depend on value"}},
	{"a key that reads key", head + "  key: key + \"x\"\n  value: {n: seq}\n", []string{"key is not known yet"}},
	{"a circle of lets", head + "  let: {a: b + 1, b: a + 1}\n  value: {n: a}\n", []string{"needs itself"}},
	{"a let with a name of the language", head + "  let: {event: seq}\n  value: seq\n", []string{"t.yaml:5:9: let event"}},
	{"a let with a keyword", head + "  let: {in: seq}\n  value: seq\n", []string{"let in: a name"}},
	{"fields over a seed that is no map", head + "  seed: 0\n  value: {n: seq}\n", []string{"seed is an int"}},
	{"an empty mapping", head + "  value: {}\n", []string{"value sets no field"}},
	{"when that is no bool", head + "  when: event.a + 1\n  value: seq\n", []string{"t.yaml:5:9: mismatched types: when needs a bool"}},
	{"a seed that is no JSON number", head + "  seed: {a: .inf, b: 0x1F, c: 9223372036854775808}\n  value: {n: seq}\n", []string{".inf is not written as in JSON", "0x1F", "beyond 64 bits"}},
	{"an unknown field of a declared event", head + "  event: {customer: string}\n  key: event.custommer\n  value: seq\n", []string{"t.yaml:6:14: unknown field custommer: did you mean customer?"}},
	{"mismatched types of a declared event", head + "  event: {n: int, s: string, l: [{q: int}], t: bool}\n  value:\n    a: event.n + event.s\n    b: event.s == 1\n    c: sum(event.l, .s)\n    d: event.n and true\n    e: event.n.x\n    f: len(event.n)\n",
		[]string{"t.yaml:7:16: mismatched types: +", "t.yaml:8:16: mismatched types", "t.yaml:9:22: unknown field s", "t.yaml:10:16: mismatched types: and needs a bool", "t.yaml:11:16: mismatched types: event.n is an int", "t.yaml:12:18: mismatched types: len"}},
	{"an unknown type", head + "  event: {n: integr}\n  value: seq\n", []string{"t.yaml:5:14: unknown type integr"}},
	{"a list for projections", "projections: {a: 1}\n", []string{"t.yaml:1:", "projections is to be a list"}},
	{"an entry that is a text", "projections: [a]\n", []string{"t.yaml:1:15: the projection is to be a mapping"}},
	{"two documents", "projections: []\n---\nprojections: []\n", []string{"a second YAML document"}},
	{"no YAML", "projections: [\n", []string{"t.yaml:1:", "not YAML"}},
	{"refused functions", head + "  value: {a: now(), b: date(event.x), c: string(1)}\n", []string{"now does not exist", "date does not exist", "write text"}[:2]},
}

func TestTrapsAreRefusedWithTheCure(t *testing.T) {
	for _, trap := range traps {
		t.Run(trap.name, func(t *testing.T) {
			all, err := Parse("t.yaml", []byte(trap.text))
			if err == nil {
				t.Fatalf("was taken: %s", all[0].definition.Rules)
			}
			checkPositions(t, err)
			for _, want := range trap.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got\n%v\nwant it to say %q", err, want)
				}
			}
		})
	}
}

// The definition is what is computed, not how it is written.
func TestTheDefinitionIgnoresHowItIsWritten(t *testing.T) {
	plain := one(t, head+"  subjects: [a.*, b.>]\n  seed: {x: 1, y: [2]}\n  let: {a: event.a + 1, b: a * 2}\n  when: event.t and !event.f\n  key: event.k\n  value: {m: value.m ?? b, n: 'max(1, seq) ** 2'}\n  gone: value.n == 0x10\n")
	written := one(t, `# a comment
projections:
- on_poison: skip
  gone: value["n"]   ==  16
  value:
    n: max( 1,seq ) ^ 2   # another
    m: '(value.m??b)'
  key: "event['k']"
  when: (event.t && not event.f)
  let:
    b: a*2
    a: |
      event.a
        + 1
  seed: {y: [2], x: 1}
  subjects: [b.>, a.*]
  stream: "S"
  version: 1
  name: p
`)
	if diff := cmp.Diff(plain.Definition().Text(0, 1), written.Definition().Text(0, 1)); diff != "" {
		t.Error(diff)
	}
	for _, change := range []struct{ from, to string }{{"event.a + 1", "event.a + 2"}, {"x: 1", "x: 1.0"}, {"event.k", "event.q"}, {"max(", "min("}, {"0x10", "0x11"}, {"b.>", "c.>"}} {
		other := one(t, strings.Replace(head+"  subjects: [a.*, b.>]\n  seed: {x: 1, y: [2]}\n  let: {a: event.a + 1, b: a * 2}\n  when: event.t and !event.f\n  key: event.k\n  value: {m: value.m ?? b, n: 'max(1, seq) ** 2'}\n  gone: value.n == 0x10\n", change.from, change.to, 1))
		if other.Definition().Text(0, 1) == plain.Definition().Text(0, 1) {
			t.Errorf("%s in place of %s makes no difference", change.to, change.from)
		}
	}
}

func TestTheDefinitionSaysAllThatCounts(t *testing.T) {
	got := one(t, head+"  subjects: [a.>]\n  key: event.k\n  on_poison: skip\n  start: first-available\n  value: {n: seq}\n").Definition()
	want := projections.Definition{Name: "p", Version: 1, Stream: "S", Subjects: []string{"a.>"}, Keyed: true, Codec: "canonical-json",
		Start: projections.FirstAvailable, OnPoison: projections.Skip, Rules: "declared 1\nseed: {}\nrule:\n  key: event.k\n  value.n: seq"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := one(t, head+"  value: {n: seq}\n").Check(); err != nil {
		t.Error(err)
	}
}

func TestSettingsAreToldFromProjections(t *testing.T) {
	x := &faults{file: "t.yaml"}
	doc := x.document([]byte("projections:\n- {name: a, version: 1, on_poison: skip, start: beginning}\n- {name: b, version: 1, stream: S, value: seq}\n- {name: c, on: []}\n- {name: d}\n- !x\n"))
	var got []bool
	for _, n := range x.sequence(doc.get("projections"), "projections") {
		got = append(got, IsSettings(n))
	}
	if !slices.Equal(got, []bool{true, false, false, true, false}) {
		t.Errorf("got %v", got)
	}
	if _, err := ParseEntries("t.yaml", x.sequence(doc.get("projections"), "projections")[:1]); err == nil || !strings.Contains(err.Error(), "value is missing") {
		t.Errorf("an entry with settings only: %v", err)
	}
}
