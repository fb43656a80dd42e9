package projections_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/projections"
)

func count(n int, _ projections.Event) (int, error) { return n + 1, nil }

func countKeyed(_ string, n int, _ projections.Event) (int, error) { return n + 1, nil }

func bySubject(event projections.Event) (string, error) { return event.Subject, nil }

func bySubjects(event projections.Event) ([]string, error) { return []string{event.Subject}, nil }

// sound is a projection that nothing is wrong with.
func sound() projections.Single[int] {
	return projections.Single[int]{Name: "sound", Version: 1, Stream: "ORDERS", Step: count}
}

// namedCodec is a codec of a user's own.
type namedCodec struct {
	projections.JSONCodec[int]
	name string
}

func (c namedCodec) Name() string { return c.name }

func TestRegistryRefusesWithAMessageThatNamesTheOffender(t *testing.T) {
	with := func(change func(*projections.Single[int])) projections.Projection {
		p := sound()
		change(&p)
		return p
	}
	const who = `projection "sound" version 1: `
	for name, c := range map[string]struct {
		projection projections.Projection
		want       string
	}{
		"no name":           {with(func(p *projections.Single[int]) { p.Name = "" }), `projection 2 of 2 given to Add (projections.Single[int] of stream "ORDERS"): the name is empty: give it one, such as "customer-totals"`},
		"white space":       {with(func(p *projections.Single[int]) { p.Name = "my orders" }), `projection "my orders" version 1: the name "my orders" is not legal: letters, digits, '.', '_' and '-', at most 128, the first a letter or a digit`},
		"a slash":           {with(func(p *projections.Single[int]) { p.Name = "a/b" }), `projection "a/b" version 1: the name "a/b" is not legal: letters, digits, '.', '_' and '-', at most 128, the first a letter or a digit`},
		"a line break":      {with(func(p *projections.Single[int]) { p.Name = "a\n" }), `projection "a\n" version 1: the name "a\n" is not legal: letters, digits, '.', '_' and '-', at most 128, the first a letter or a digit`},
		"no version":        {with(func(p *projections.Single[int]) { p.Version = 0 }), `projection "sound" version 0: the version is 0: versions count from 1`},
		"no stream":         {with(func(p *projections.Single[int]) { p.Stream = "" }), who + `the stream is missing: name the one whose events it folds`},
		"an illegal stream": {with(func(p *projections.Single[int]) { p.Stream = "orders.*" }), who + `the stream's name "orders.*" is not legal: no white space, '*', '>', '/' or '\'`},
		"an illegal filter": {with(func(p *projections.Single[int]) { p.Subjects = []string{"a", "a.>.b"} }), who + `subject "a.>.b" has ">" before its end`},
		"a filter twice":    {with(func(p *projections.Single[int]) { p.Subjects = []string{"a", "b", "a"} }), who + `subject "a" is named twice`},
		"an unknown start":  {with(func(p *projections.Single[int]) { p.Start = "newest" }), who + `start is "newest": it is "beginning" or "first-available"`},
		"an unknown policy": {with(func(p *projections.Single[int]) { p.OnPoison = "drop" }), who + `on_poison is "drop": it is "halt" or "skip"`},
		"a nameless codec":  {with(func(p *projections.Single[int]) { p.Codec = namedCodec{} }), who + `the codec's name "" is not legal: letters, digits, '.', '_' and '-', at most 128, the first a letter or a digit`},
		"a codec that adds a line": {with(func(p *projections.Single[int]) { p.Codec = namedCodec{name: "json\nstart: x"} }),
			who + `the codec's name "json\nstart: x" is not legal: letters, digits, '.', '_' and '-', at most 128, the first a letter or a digit`},
		"no step":       {with(func(p *projections.Single[int]) { p.Step = nil }), who + `Step is missing`},
		"no keys":       {projections.Keyed[int]{Name: "k", Version: 2, Stream: "S", Step: countKeyed}, `projection "k" version 2: Keys is missing: set Key or Keys, or use a Single`},
		"keys twice":    {projections.Keyed[int]{Name: "k", Version: 2, Stream: "S", Step: countKeyed, Key: bySubject, Keys: bySubjects}, `projection "k" version 2: both Key and Keys are set: set one`},
		"no keyed step": {projections.Keyed[int]{Name: "k", Version: 2, Stream: "S", Key: bySubject}, `projection "k" version 2: Step is missing`},
		"nil":           {nil, `projection 2 of 2 given to Add is nil`},
		"several faults": {with(func(p *projections.Single[int]) { p.Name, p.Version, p.Stream = "", -1, "" }),
			"projection 2 of 2 given to Add (projections.Single[int] of stream \"\"): the name is empty: give it one, such as \"customer-totals\"\nthe version is -1: versions count from 1\nthe stream is missing: name the one whose events it folds"},
	} {
		t.Run(name, func(t *testing.T) {
			var r projections.Registry
			other := sound()
			other.Name = "other"
			if diff := cmp.Diff(c.want, fmt.Sprint(r.Add(other, c.projection))); diff != "" {
				t.Error(diff)
			}
			if len(r.All()) != 1 {
				t.Errorf("%d projections are registered, want the sound one", len(r.All()))
			}
		})
	}
}

func TestRegistryRefusesTheSameNameAndVersionTwice(t *testing.T) {
	var r projections.Registry
	if err := r.Add(sound()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`projection "sound" version 1: is registered twice: remove one`, fmt.Sprint(r.Add(sound()))); diff != "" {
		t.Error(diff)
	}
	next := sound()
	next.Version = 2
	if err := r.Add(next); err != nil {
		t.Errorf("another version: %v", err)
	}
}

func TestRegistryNamesWhatTwoDefinitionsDisagreeAbout(t *testing.T) {
	for line, change := range map[string]func(*projections.Single[int]){
		`"stream: ORDERS" against "stream: BILLS"`:            func(p *projections.Single[int]) { p.Stream = "BILLS" },
		`"subjects: a.> b.>" against "subjects: a.>"`:         func(p *projections.Single[int]) { p.Subjects = []string{"a.>"} },
		`"codec: json" against "codec: mine"`:                 func(p *projections.Single[int]) { p.Codec = namedCodec{name: "mine"} },
		`"start: beginning" against "start: first-available"`: func(p *projections.Single[int]) { p.Start = projections.FirstAvailable },
		``: func(p *projections.Single[int]) {
			p.OnPoison = projections.Skip
			p.Start = projections.Beginning
			p.Subjects = []string{"b.>", "a.>"}
		},
	} {
		was := sound()
		was.Subjects = []string{"a.>", "b.>"}
		is := was
		change(&is)
		want := `projection "sound" version 1: is registered already, with another definition (` + line + `): give the changed one a version of its own`
		if line == "" {
			want = `projection "sound" version 1: is registered twice: remove one`
		}
		var r projections.Registry
		if err := r.Add(was); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, fmt.Sprint(r.Add(is))); diff != "" {
			t.Error(diff)
		}
	}
}

func TestRegistryRefusesASingleAndAKeyedOfTheSameName(t *testing.T) {
	var r projections.Registry
	err := r.Add(sound(), projections.Keyed[int]{Name: "sound", Version: 1, Stream: "ORDERS", Key: bySubject, Step: countKeyed})
	if err == nil || !strings.Contains(err.Error(), `"kind: single" against "kind: keyed"`) {
		t.Errorf("error is %v, want one that names both kinds", err)
	}
}

func TestRegistryNamesEveryOffenderAndKeepsTheOthers(t *testing.T) {
	var r projections.Registry
	a, b, c := sound(), sound(), sound()
	a.Version, b.Name, c.Stream = 0, "b", ""
	err := r.Add(a, b, c)
	want := "projection \"sound\" version 0: the version is 0: versions count from 1\nprojection \"sound\" version 1: the stream is missing: name the one whose events it folds"
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Error(diff)
	}
	if _, ok := r.Lookup("b", 1); !ok {
		t.Error("b is not registered")
	}
	if _, ok := r.Lookup("b", 2); ok {
		t.Error("a version that nobody added is registered")
	}
}

func TestRegistryListsByNameThenVersion(t *testing.T) {
	var r projections.Registry
	for _, id := range []struct {
		name    string
		version int
	}{{"b", 2}, {"a", 10}, {"b", 1}, {"a", 9}} {
		p := sound()
		p.Name, p.Version = id.name, id.version
		if err := r.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, p := range r.All() {
		got = append(got, fmt.Sprintf("%s/v%d", p.Definition().Name, p.Definition().Version))
	}
	if diff := cmp.Diff([]string{"a/v9", "a/v10", "b/v1", "b/v2"}, got); diff != "" {
		t.Error(diff)
	}
}

// The fingerprint stands in every mark that was ever stored: this text may not change.
func TestDefinitionTextIsFixed(t *testing.T) {
	d := projections.Definition{Name: "customer-totals", Version: 3, Stream: "ORDERS", Subjects: []string{"orders.b.>", "orders.a"},
		Keyed: true, Codec: "json", Rules: "key: event.customer\n\n", OnPoison: projections.Skip}
	want := `projection: customer-totals
version: 3
stream: ORDERS
subjects: orders.a orders.b.>
partition: 1/4
kind: keyed
codec: json
start: beginning
rules: key: event.customer
`
	if diff := cmp.Diff(want, d.Text(1, 4)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"orders.b.>", "orders.a"}, d.Subjects); diff != "" {
		t.Errorf("Text changed the definition: %s", diff)
	}
	if diff := cmp.Diff("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", projections.Fingerprint("abc")); diff != "" {
		t.Error(diff)
	}
}
