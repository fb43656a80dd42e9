package declared

import (
	"cmp"
	"fmt"
	"io"

	"github.com/tailfold/tailfold/projections"
)

// The bounds of evaluation. They are part of the language: what is POISON for one worker is POISON for all, at every
// replay.
const (
	maxExpression = 16 << 10 // bytes of an expression's text
	maxNodes      = 1000     // of an expression's syntax tree
	maxScopes     = 8        // predicates within predicates
	maxSteps      = 100_000  // per event to find its keys, and as many to fold it: one per item visited or 64 bytes of text made
	maxText       = 1 << 20  // bytes of a text
	maxItems      = 100_000  // of a list or map
)

// code is a compiled expression. It returns a bad value where it fails; why stands in the frame.
type code func(f *frame) value

// frame is what an expression sees while it runs: the working memory of one unit's fold, used by one goroutine.
type frame struct {
	event projections.Event
	slots []value // of the event's paths
	state value   // "value"
	key   string

	lets      []value  // computed so far
	letAt     []uint64 // in which turn each was computed
	eventTurn uint64   // raised with each event: names computed before are of another one
	keyTurn   uint64   // raised with each key

	locals []value          // of let … ; within an expression
	scopes [maxScopes]scope // of predicates
	args   []value          // of the calls that are under way
	left   int              // steps
	err    error            // the first failure
}

// scope is where a predicate stands in its list.
type scope struct {
	item  value // #
	index int64 // #index
	total value // #acc
}

// begin makes the frame ready for an event.
func (f *frame) begin() {
	f.left, f.err = maxSteps, nil
	f.args = f.args[:0]
	f.eventTurn++
}

// fail keeps the first failure. What may be data of the event or of a value is given as data.
func (f *frame) fail(at spot, format string, args ...any) value {
	if f.err != nil {
		return failed()
	}
	e := at.fault(format, args...)
	hasData := false
	for i, arg := range args {
		if d, ok := arg.(data); ok {
			args[i], hasData = d.what, true
		}
	}
	if hasData {
		e.quoted = fmt.Sprintf(format, args...)
	}
	f.err = e
	return failed()
}

// data is an argument of a message that is shown only where data may be.
type data struct {
	what any
	less string // what stands in its place; default "…"
}

func quote(what any) data { return data{what: what} }

// Format writes what stands in its place, whatever the verb.
func (d data) Format(s fmt.State, _ rune) { io.WriteString(s, cmp.Or(d.less, "…")) }

// spend pays for n items or pieces of work, and is false where the event's steps are used up.
func (f *frame) spend(at spot, n int) bool {
	f.left -= n
	if f.left < 0 {
		f.fail(at, "the event costs more than %d steps (one per item visited): fold less per event, or write this projection in Go", maxSteps)
		return false
	}
	return true
}

// spendText pays for walking over a text or making one.
func (f *frame) spendText(at spot, bytes int) bool { return f.spend(at, 1+bytes/64) }

// newText checks a text that was made.
func (f *frame) newText(at spot, s string) value {
	if len(s) > maxText {
		return f.fail(at, "the text has %d bytes, over the limit of %d", len(s), maxText)
	}
	return ofText(s)
}

// newList and newDict check a collection that was made.
func (f *frame) newList(at spot, items []value) value {
	if len(items) > maxItems {
		return f.fail(at, "the list has %d items, over the limit of %d", len(items), maxItems)
	}
	return f.shallow(at, ofList(items))
}

func (f *frame) newDict(at spot, fields []field) value {
	if len(fields) > maxItems {
		return f.fail(at, "the map has %d members, over the limit of %d", len(fields), maxItems)
	}
	return f.shallow(at, ofFields(fields))
}

func (f *frame) shallow(at spot, v value) value {
	if v.depth() > maxDepth {
		return f.fail(at, "lists and maps nest deeper than %d", maxDepth)
	}
	return v
}

// newFloat checks the result of arithmetic.
func (f *frame) newFloat(at spot, x float64) value {
	if !finite(x) {
		return f.fail(at, "the result is not a finite number")
	}
	return ofFloat(x)
}

// timeLayout has all nanoseconds, so that texts of times sort as the times do.
const timeLayout = "2006-01-02T15:04:05.000000000Z"

func (f *frame) timeText() string { return f.event.Time.UTC().Format(timeLayout) }
