package natslog

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/tailfold/tailfold/projections"
)

func TestSubjectsAreFilteredWhereItCostsLeast(t *testing.T) {
	for name, c := range map[string]struct {
		subjects, stream []string
		want             selection
	}{
		"none":                     {nil, []string{"orders.>"}, selection{}},
		"everything":               {[]string{">"}, []string{"orders.>"}, selection{}},
		"everything and more":      {[]string{"a", ">", "b.*"}, []string{"orders.>"}, selection{}},
		"one":                      {[]string{"orders.eu.>"}, []string{"orders.>"}, selection{filter: "orders.eu.>"}},
		"one twice":                {[]string{"o.eu.>", "o.eu.>"}, []string{"o.>"}, selection{filter: "o.eu.>"}},
		"one within another":       {[]string{"o.eu.1", "o.eu.*"}, []string{"o.>"}, selection{filter: "o.eu.*"}},
		"the stream's own":         {[]string{"orders.>"}, []string{"orders.>"}, selection{drop: []string{"orders.>"}}},
		"more than the stream's":   {[]string{"*.>"}, []string{"orders.>", "bills.*"}, selection{drop: []string{"*.>"}}},
		"the stream's own, in two": {[]string{"a.>", "b.>"}, []string{"b.>", "a.>"}, selection{drop: []string{"a.>", "b.>"}}},
		"several":                  {[]string{"a.1", "b.>"}, []string{"a.>", "b.>"}, selection{drop: []string{"a.1", "b.>"}}},
		"one of a sourced stream":  {[]string{"a.>"}, nil, selection{filter: "a.>"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := choose(c.subjects, c.stream)
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(selection{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestHeadersAreMadeFromWhatTheClientReads(t *testing.T) {
	for name, c := range map[string]struct {
		stored string
		want   string // "" where it must be asked for
	}{
		"one":                   {"NATS/1.0\r\nA: 1\r\n\r\n", "NATS/1.0\r\nA: 1\r\n\r\n"},
		"no line":               {"NATS/1.0\r\n\r\n", "NATS/1.0\r\n\r\n"},
		"names are sorted":      {"NATS/1.0\r\nb: 1\r\nA: 2\r\nb: 0\r\n\r\n", "NATS/1.0\r\nA: 2\r\nb: 1\r\nb: 0\r\n\r\n"},
		"no space":              {"NATS/1.0\r\nA:1\r\n\r\n", "NATS/1.0\r\nA: 1\r\n\r\n"},
		"a Status":              {"NATS/1.0\r\nStatus: paid\r\nA: 1\r\n\r\n", "NATS/1.0\r\nA: 1\r\nStatus: paid\r\n\r\n"},
		"a Status, no space":    {"NATS/1.0\r\nStatus:paid\r\n\r\n", "NATS/1.0\r\nStatus: paid\r\n\r\n"},
		"status on the 1st":     {"NATS/1.0 404 No Messages\r\n\r\n", ""},
		"status and lines":      {"NATS/1.0 404\r\nA: 1\r\n\r\n", ""},
		"a line without a name": {"NATS/1.0\r\nnonsense\r\n\r\n", ""},
		"no end":                {"NATS/1.0\r\nA: 1\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			header, _ := nats.DecodeHeadersMsg([]byte(c.stored)) // the client goes on after an error, too
			block, ok := headerBlock(header, len(c.stored))
			if ok != (c.want != "") || string(block) != c.want {
				t.Errorf("%q gives %q, %v", c.stored, block, ok)
			}
			if ok && strings.Contains(c.stored, "A:") {
				want, _ := projections.HeaderOf([]byte(c.stored)).Get("A")
				if got, _ := projections.HeaderOf(block).Get("A"); got != want {
					t.Errorf("A is %q, want %q", got, want)
				}
			}
		})
	}
	if block, ok := headerBlock(nil, 0); block != nil || !ok {
		t.Errorf("no header gives %q, %v", block, ok)
	}
}
