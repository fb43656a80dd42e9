package projections

import (
	"bytes"
	"slices"
	"strings"
)

// Header is an event's header as the log keeps it: a block in the form of NATS ("NATS/1.0", lines "Name: value", an
// empty line). Names are case-sensitive, a name may have several values or none. It is read only when asked.
type Header struct{ block []byte }

// HeaderOf wraps a block without copying it. A nil block is an empty header.
func HeaderOf(block []byte) Header { return Header{block} }

// NewHeader makes a header from names and values in turn; a last name without a value has an empty one. Line breaks,
// and colons in a name, become spaces.
func NewHeader(namesAndValues ...string) Header {
	if len(namesAndValues) == 0 {
		return Header{}
	}
	cleanName := strings.NewReplacer("\r", " ", "\n", " ", ":", " ")
	cleanValue := strings.NewReplacer("\r", " ", "\n", " ")
	block := []byte("NATS/1.0\r\n")
	for pair := range slices.Chunk(namesAndValues, 2) {
		block = append(append(block, cleanName.Replace(pair[0])...), ": "...)
		if len(pair) == 2 {
			block = append(block, cleanValue.Replace(pair[1])...)
		}
		block = append(block, "\r\n"...)
	}
	return Header{append(block, "\r\n"...)}
}

// Block is the header as it came, nil if there is none. A fold must not look at it: the order of different names and the
// blanks around values can differ from one reader to the next. Get and Values tell the same on each.
func (h Header) Block() []byte { return h.block }

// Empty tells whether the event has no header.
func (h Header) Empty() bool { return len(h.block) == 0 }

// Get returns the first value of name and whether there is one.
func (h Header) Get(name string) (string, bool) {
	for n, v := range h.lines {
		if string(n) == name {
			return string(v), true
		}
	}
	return "", false
}

// Values returns all values of name, in the order in which they were stored.
func (h Header) Values(name string) []string {
	var values []string
	for n, v := range h.lines {
		if string(n) == name {
			values = append(values, string(v))
		}
	}
	return values
}

// lines yields name and value of each well-formed line, in stored order; others are passed over. It is not exported
// because the order between different names is not the same on every reader, and a fold must not see it.
func (h Header) lines(yield func(name, value []byte) bool) {
	rest := h.block
	for first := true; len(rest) > 0; first = false {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		if first {
			continue // the status line
		}
		if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
			return // the block's end: clients read no further either
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || len(name) == 0 {
			continue
		}
		if !yield(name, bytes.Trim(value, " \t")) {
			return
		}
	}
}
