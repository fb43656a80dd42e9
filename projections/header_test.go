package projections_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/projections"
)

func TestHeaderFindsValuesAsTheLogKeptThem(t *testing.T) {
	block := "NATS/1.0 503 No Responders\r\n" +
		"Trace-Id: first\r\n" +
		"Empty:\r\n" +
		"trace-id: other case\r\n" +
		"no colon in here\r\n" +
		": no name\r\n" +
		"Trace-Id:\t second \r\n" +
		"Url: http://host:80/\r\n" +
		"\r\n"
	h := projections.HeaderOf([]byte(block))
	for name, want := range map[string][]string{
		"Trace-Id":                   {"first", "second"},
		"trace-id":                   {"other case"},
		"Empty":                      {""},
		"Url":                        {"http://host:80/"},
		"TRACE-ID":                   nil,
		"":                           nil,
		"no colon in here":           nil,
		"NATS/1.0 503 No Responders": nil,
	} {
		if diff := cmp.Diff(want, h.Values(name)); diff != "" {
			t.Errorf("Values(%q): %s", name, diff)
		}
		first, ok := h.Get(name)
		if ok != (len(want) > 0) || ok && first != want[0] {
			t.Errorf("Get(%q) = %q, %v, want the first of %q", name, first, ok, want)
		}
	}
	if string(h.Block()) != block || h.Empty() {
		t.Error("the block is not the one that was stored")
	}
}

func TestHeaderWithoutABlockIsEmpty(t *testing.T) {
	for _, h := range []projections.Header{{}, projections.HeaderOf(nil), projections.NewHeader()} {
		if _, ok := h.Get("A"); ok || !h.Empty() || h.Values("A") != nil {
			t.Errorf("header %q is not empty", h.Block())
		}
	}
}

func TestNewHeaderWritesABlockThatReadsBack(t *testing.T) {
	h := projections.NewHeader("A", "1", "B", "", "A", "2\r\nC: 3", "bad: name\n", "4", "Last")
	for name, want := range map[string][]string{
		"A": {"1", "2  C: 3"}, "B": {""}, "C": nil, "bad  name ": {"4"}, "Last": {""},
	} {
		if diff := cmp.Diff(want, h.Values(name)); diff != "" {
			t.Errorf("Values(%q): %s", name, diff)
		}
	}
	if !strings.HasSuffix(string(h.Block()), "\r\n\r\n") {
		t.Errorf("block %q does not end with an empty line", h.Block())
	}
}

func TestHeaderGetAllocatesTheResultOnly(t *testing.T) {
	h := projections.NewHeader("A", "1", "Trace-Id", "a value that is longer than any small string buffer")
	if n := testing.AllocsPerRun(100, func() { h.Get("Trace-Id") }); n > 1 {
		t.Errorf("Get allocates %v times", n)
	}
}

func FuzzHeader(f *testing.F) {
	for _, block := range []string{"", "NATS/1.0", "NATS/1.0\r\nA: b\r\n\r\n", "NATS/1.0\nA:\n:\n\n", "\r\n\r\nStatus: 404\r\n", "NATS/1.0\r\nA: 1\r\nA: 2\r\n\x00:\xff"} {
		f.Add([]byte(block), "A", "b")
	}
	f.Fuzz(func(t *testing.T, block []byte, name, value string) {
		h := projections.HeaderOf(block)
		values := h.Values(name)
		first, ok := h.Get(name)
		if ok != (len(values) > 0) || ok && first != values[0] {
			t.Errorf("Get(%q) = %q, %v, but the values are %q", name, first, ok, values)
		}
		clean := func(text string) string { return strings.NewReplacer("\r", " ", "\n", " ").Replace(text) }
		if name = strings.ReplaceAll(clean(name), ":", " "); name == "" {
			return
		}
		made := projections.NewHeader("before", "x", name, value, "after", "y").Values(name)
		want := strings.Trim(clean(value), " \t")
		if name != "before" && name != "after" && (len(made) != 1 || made[0] != want) {
			t.Errorf("a header with %q: %q reads back as %q", name, want, made)
		}
	})
}
