package declared

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/projections"
)

// The compiler takes any text and any event: it answers with a value or an error that says where.
func FuzzExpression(f *testing.F) {
	for line := range strings.Lines(languageTable) {
		if i := strings.LastIndex(line, " | "); i > 0 {
			f.Add(line[:i], anEvent)
		}
	}
	f.Add("reduce(1..99999, #acc + [#], [])", "{}")
	f.Add("map(1..999, map(1..999, # * #))", "{}")
	f.Add("let a = repeat('x', 1000000); a + a + a", "{}")
	f.Add("event", `[[[[{"a":{}}]]]]`)
	f.Fuzz(func(t *testing.T, expression, event string) {
		p := &program{shape: newShape(), event: unknown, lets: map[string]*let{}}
		c, err := p.compile(&source{file: "e", line: 1, column: 1, text: expression, indent: -1}, usageAny)
		if err != nil {
			checkPositions(t, err)
			return
		}
		p.shape.seal()
		m := newMachine(&Projection{program: p})
		if m.begin(projections.Event{Seq: 7, Subject: "a.b", Data: []byte(event)}, false) != nil {
			return
		}
		m.f.state, m.f.key = ofFields([]field{{"l", ofList([]value{ofInt(1)})}, {"n", ofInt(2)}}), "k"
		v := c.run(&m.f).own()
		if v.kind() == bad {
			if m.f.err == nil {
				t.Fatalf("%s failed without a reason", expression)
			}
			checkPositions(t, m.f.err)
			return
		}
		if m.f.left < 0 {
			t.Fatalf("%s went %d steps past its limit", expression, -m.f.left)
		}
		if v.isLent() {
			t.Fatalf("%s: the result still belongs to the event", expression)
		}
		stored := appendJSON(nil, v)
		if back, err := parseStored(stored); err != nil || !identical(v, back) {
			t.Fatalf("%s = %s, which does not read back as the same: %v", expression, stored, err)
		}
	})
}

// What is read of an event is what json/v2 reads, but for nulls in maps.
func FuzzEvent(f *testing.F) {
	for _, s := range []string{anEvent, anOld, ` { "a" : [ 1 , "\u00e9\n" , { } , [ ] ] , "b\"" : -1.5e3 } `, `[[],{},"",null,true,false,0]`, `"x"`, `-0`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var want any
		wantErr := json.Unmarshal(data, &want)
		r, err := read(data)
		if err != nil {
			if wantErr == nil {
				t.Fatalf("%q is refused: %v", data, err)
			}
			return
		}
		v := r.value(0)
		if r.at != len(r.s) {
			t.Fatalf("%q: read up to %d of %d", data, r.at, len(r.s))
		}
		skipped, _ := read(data)
		if skipped.skip(); skipped.at != len(skipped.s) {
			t.Fatalf("%q: skipped up to %d of %d", data, skipped.at, len(skipped.s))
		}
		if v.broken() || wantErr != nil {
			return // a number out of range, or too deep
		}
		if diff := cmp.Diff(withoutNulls(want), floatsOf(v)); diff != "" {
			t.Fatalf("%q: %s", data, diff)
		}
	})
}

func withoutNulls(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if member == nil {
				delete(v, name)
			} else {
				v[name] = withoutNulls(member)
			}
		}
	case []any:
		for i := range v {
			v[i] = withoutNulls(v[i])
		}
	}
	return v
}

// floatsOf is a value as json/v2 reads it into an any: all numbers are floats.
func floatsOf(v value) any {
	switch v.kind() {
	case integer:
		return float64(v.int())
	case list:
		items := []any{}
		for _, item := range v.items() {
			items = append(items, floatsOf(item))
		}
		return items
	case dict:
		m := map[string]any{}
		for _, f := range v.fields() {
			m[f.name] = floatsOf(f.value)
		}
		return m
	}
	return plainOf(v)
}

// Any file parses or is refused with positions, and what parses can be folded.
func FuzzFile(f *testing.F) {
	for _, trap := range traps {
		f.Add(trap.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := Parse("f.yaml", []byte(text))
		if err != nil {
			checkPositions(t, err)
			return
		}
		for _, p := range all {
			s := newShelf(p)
			for _, e := range numbered(anEvent, `{}`, `[]`, ``) {
				var bad *projections.EventError
				if err := s.fold([]projections.Event{e}); err != nil && !errors.As(err, &bad) {
					t.Fatalf("%v is not about an event", err)
				}
			}
		}
		if _, err := ParseTests("f.yaml", []byte(text)); err != nil {
			checkPositions(t, err)
		}
	})
}

// checkPositions checks that each of the joined errors says where.
func checkPositions(t *testing.T, err error) {
	t.Helper()
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			checkPositions(t, err)
		}
		return
	}
	var e *Error
	if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || e.Message == "" {
		t.Fatalf("%v (%T) does not say where", err, err)
	}
}

// What costs too much is poison, soon.
func TestEvaluationEndsAtItsCostLimit(t *testing.T) {
	for _, expression := range []string{
		"map(1..99999, sum(1..99999))",
		"map(1..999, map(1..999, # * #))",
		"all(1..99999, all(1..99999, all(1..99999, true)))",
		"reduce(1..99999, concat(#acc, [#]), [])",
		"uniq(1..99999)",
		"filter(1..9999, # in 1..9999)",
		"map(1..99999, repeat('x', 100000))",
		"map(1..99999, event.text + 'x')",
		"map(1..99999, event.text contains 'y')",
		"map(1..99999, event.text matches '(x+x+)+y')",
		"map(1..99999, event.text == event.text + '')",
		"map(1..99999, upper(event.text))",
		"map(1..99999, event.text[5:10])",
		"map(1..99999, len(event.text))",
		"map(1..99999, sort(event.list))",
		"map(1..99999, event.list == event.again)",
		"map(1..99999, keep_last(event.list, 1, 1000))",
		"map(1..99999, split(event.text, ''))",
		"map(1..99999, replace(event.text, 'x', 'yyyyyyyyyy'))",
		"map(1..99999, scaled(event.text, 2))",
		"map(1..99999, event.text < event.text + 'y')",
		"map(1..99999, join(event.texts, event.text))",
		"map(1..99999, sortBy(event.list, #))",
		"map(1..99999, put(event.map, text(#), #))",
		"map(1..99999, flatten([event.list, event.list]))",
		"map(1..99999, remove_from(event.list, 5))",
		"map(1..99999, max(event.list))",
		"map(1..99999, indexOf(event.text, 'y'))",
		"map(1..99999, hasPrefix(event.text, event.text))",
	} {
		numbers := strings.Repeat("7,", 999) + "7"
		event := `{"text":"` + strings.Repeat("x", 100_000) + `","list":[` + numbers + `],"again":[` + numbers + `],"texts":["a","b"],"map":{"a":1}}`
		start := time.Now()
		got, err := evaluated(expression, event, "{}")
		if err == nil || !strings.Contains(err.Error(), "costs more") && !strings.Contains(err.Error(), "limit") && !strings.Contains(err.Error(), "more than") && !strings.Contains(err.Error(), "at most") {
			t.Errorf("%s = %s, %v, want its cost to be refused", expression, shorten(got, 40), err)
		}
		if took := time.Since(start); took > 30*time.Second { // some ms on an idle machine
			t.Errorf("%s took %v", expression, took)
		}
	}
	nested := strings.Repeat("(", 8000) + "1" + strings.Repeat(")", 8000)
	if got, err := evaluated(nested, "{}", "{}"); err == nil && got != "1" {
		t.Errorf("8,000 brackets: %s", got)
	}
	for _, expression := range []string{strings.Repeat("1+", 2000) + "1", strings.Repeat("1+", 20000) + "1", strings.Repeat("-", 2000) + "1",
		strings.Repeat("[", 500) + strings.Repeat("]", 500) + ` == nil`, "1" + strings.Repeat(" < (1", 300) + strings.Repeat(")", 300)} {
		if _, err := evaluated(expression, "{}", "{}"); err == nil {
			t.Errorf("%s… was taken", shorten(expression, 20))
		} else if !strings.Contains(err.Error(), "nodes") && !strings.Contains(err.Error(), "limit") && !strings.Contains(err.Error(), "nest") && !strings.Contains(err.Error(), "mismatched") {
			t.Errorf("%s…: %v", shorten(expression, 20), shorten(err.Error(), 200))
		}
	}
}
