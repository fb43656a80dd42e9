package cmd

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/projections/declared"
)

// maxTestEvent is the longest event that a test is made of, if there are shorter ones.
const maxTestEvent = 2 << 10

// writeTests makes tests of real events: what some of one key come to, and that one of another type changes nothing.
func (d *draft) writeTests(p *declared.Projection) {
	var b strings.Builder
	b.WriteString("\n# What the projections must give: `" + d.program + " test " + d.out + "`. Write a test for each rule, and for what once went wrong.\n" +
		"# These are real events: replace what is confidential.\ntests:\n")
	together, other := d.testEvents(p)
	d.tests = nil
	what := "events add up"
	if d.guess.key != nil {
		what = "events of one key add up"
	}
	d.writeTest(&b, p, what, together)
	if other != nil {
		d.writeTest(&b, p, "an event of another type changes nothing", []projections.Event{*other})
	}
	d.testText = b.String()
}

// testEvents picks up to three short events of one key, and one that the projection leaves out.
func (d *draft) testEvents(p *declared.Projection) (together []projections.Event, other *projections.Event) {
	byKey := map[string][]projections.Event{}
	var order []string
	for _, limit := range []int{maxTestEvent, maxEventLine} {
		for i := range d.events {
			e := d.events[i]
			if len(e.Data) > limit || checkJSON(e.Data) != nil {
				continue
			}
			t := d.config.try(p, d.events[i:i+1])
			if t.matched == 0 && len(t.poison) == 0 && other == nil {
				other = &e
			}
			for _, key := range t.order {
				if byKey[key] == nil {
					order = append(order, key)
				}
				byKey[key] = append(byKey[key], e)
			}
			if len(order) > 0 && len(byKey[order[0]]) >= 3 && other != nil || i > 2000 && len(order) > 0 {
				break
			}
		}
		if len(order) > 0 {
			break
		}
	}
	for _, key := range order { // the first that has most, up to three
		if n := min(len(byKey[key]), 3); n > len(together) {
			together = byKey[key][:n]
		}
	}
	return together, other
}

func (d *draft) writeTest(b *strings.Builder, p *declared.Projection, name string, events []projections.Event) {
	d.tests = append(d.tests, name)
	fmt.Fprintf(b, "- name: %s\n  projection: %s\n", name, d.name)
	given := make([]projections.Event, 0, len(events))
	for i, e := range events {
		e.Seq, e.Time = uint64(i+1), testTime(i+1)
		given = append(given, e)
	}
	if len(given) == 0 {
		b.WriteString("  given: []\n")
	} else {
		b.WriteString("  given:\n")
	}
	for _, e := range given {
		data := jsontext.Value(bytes.Clone(e.Data))
		if bytes.ContainsAny(data, "\n\r\t") {
			if err := data.Compact(); err != nil {
				continue // it was checked: this can't be
			}
		}
		fmt.Fprintf(b, "  - raw: '%s'\n", strings.ReplaceAll(string(data), "'", "''"))
		if d.fromLog {
			fmt.Fprintf(b, "    subject: %s\n", yamlText(e.Subject))
		}
	}
	projections.Share(given)
	t := d.config.try(p, given)
	if len(t.values) == 0 {
		b.WriteString("  expect: {} # no key has a value\n")
		return
	}
	b.WriteString("  expect:\n")
	for _, key := range slices.Sorted(slices.Values(t.order)) {
		fmt.Fprintf(b, "    %s: %s\n", jsonText(key), spacious(t.values[key]))
	}
}

// spacious writes JSON as people write YAML: {count: 3, last: "x"}.
func spacious(value []byte) string {
	var b strings.Builder
	d := jsontext.NewDecoder(bytes.NewReader(value))
	var write func()
	write = func() {
		token, err := d.ReadToken()
		if err != nil {
			return
		}
		switch token.Kind() {
		case '{':
			b.WriteString("{")
			for first := true; d.PeekKind() != '}'; first = false {
				if !first {
					b.WriteString(", ")
				}
				name, _ := d.ReadToken()
				if text := name.String(); notInField.MatchString(text) || text == "" {
					b.WriteString(jsonText(text))
				} else {
					b.WriteString(text)
				}
				b.WriteString(": ")
				write()
			}
			d.ReadToken()
			b.WriteString("}")
		case '[':
			b.WriteString("[")
			for first := true; d.PeekKind() != ']'; first = false {
				if !first {
					b.WriteString(", ")
				}
				write()
			}
			d.ReadToken()
			b.WriteString("]")
		case '"':
			b.WriteString(jsonText(token.String()))
		default:
			b.WriteString(token.String())
		}
	}
	write()
	return b.String()
}
