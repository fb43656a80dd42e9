package declared

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/projections/internal/jsonfault"

	"github.com/tailfold/tailfold/projections/internal/strict"
)

// reader walks over one JSON document that was found valid: no name twice, no bad UTF-8, nothing behind it.
// So it need not check anything itself, which is much faster than to take token for token from a decoder.
type reader struct {
	s    string
	at   int  // of the next byte; it never stands on white space between calls
	owns bool // values may keep the document: it holds nothing else
}

// read makes a reader of a document, which must not change any more.
func read(data []byte) (reader, error) {
	s := unsafe.String(unsafe.SliceData(data), len(data))
	if !strict.Valid(s) && !jsontext.Value(data).IsValid() {
		return reader{}, faultOf(data)
	}
	r := reader{s: s}
	r.space()
	return r, nil
}

// faultOf says what is wrong with a document that is not valid.
func faultOf(data []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(data))
	if _, err := d.ReadValue(); err != nil {
		return err
	}
	if _, err := d.ReadToken(); err != nil && err != io.EOF {
		return err
	}
	return errors.New("something follows the value")
}

func (r *reader) space() {
	for r.at < len(r.s) && r.s[r.at] <= ' ' {
		r.at++
	}
}

// next is the byte that tells what comes.
func (r *reader) next() byte { return r.s[r.at] }

// step passes over a bracket, comma or colon.
func (r *reader) step() {
	r.at++
	r.space()
}

// more tells, at a comma or at the end of a list or map, whether another item comes, and passes over the mark.
func (r *reader) more() bool {
	c := r.s[r.at]
	r.step()
	return c == ','
}

// open passes over the beginning of a list or map, and tells whether it has an item; if not, over its end, too.
func (r *reader) open() bool {
	r.step()
	if c := r.s[r.at]; c == ']' || c == '}' {
		r.step()
		return false
	}
	return true
}

// string reads a text. It is the document's own bytes where nothing in it is escaped.
func (r *reader) string() string {
	s, start := r.s, r.at+1
	for i := start; ; i++ {
		switch s[i] {
		case '"':
			r.at = i
			r.step()
			return s[start:i]
		case '\\':
			return r.escaped(start, i)
		}
	}
}

func (r *reader) escaped(start, i int) string {
	for ; r.s[i] != '"'; i++ {
		if r.s[i] == '\\' {
			i++
		}
	}
	b, err := jsontext.AppendUnquote(nil, r.s[start-1:i+1])
	if err != nil {
		panic("a text that was checked can't be read: " + err.Error())
	}
	r.at = i
	r.step()
	return string(b)
}

// name reads a member's name and passes over the colon.
func (r *reader) name() string {
	s := r.string()
	r.step()
	return s
}

// word reads a number or literal.
func (r *reader) word() string {
	s, start := r.s, r.at
	i := start
	for i < len(s) && s[i] > ' ' && s[i] != ',' && s[i] != ']' && s[i] != '}' {
		i++
	}
	r.at = i
	r.space()
	return s[start:i]
}

// skip passes over a value, however deep.
func (r *reader) skip() {
	switch r.s[r.at] {
	case '"':
		r.skipString()
		return
	case '{', '[':
	default:
		r.word()
		return
	}
	depth := 0
	for {
		switch r.s[r.at] {
		case '{', '[':
			depth++
			r.step()
		case '}', ']':
			depth--
			r.step()
		case ',', ':':
			r.step()
		case '"':
			r.skipString()
		default:
			r.word()
		}
		if depth == 0 {
			return
		}
	}
}

func (r *reader) skipString() {
	s, i := r.s, r.at+1
	for ; s[i] != '"'; i++ {
		if s[i] == '\\' {
			i++
		}
	}
	r.at = i
	r.step()
}

// scalar reads anything but a list or a map. A number that can't be held becomes a bad value.
func (r *reader) scalar() value {
	switch r.next() {
	case '"':
		if r.owns {
			return ofText(r.string())
		}
		return lentText(r.string())
	case 'n':
		r.word()
		return value{}
	case 't', 'f':
		return ofBool(r.word() == "true")
	}
	word := r.word()
	v, what := readNumber(word)
	if what != "" {
		return badValue("the number " + shorten(word, 40) + " " + what)
	}
	if r.owns {
		return v
	}
	return v.withText(word)
}

// badValue is what can't be read from an event. It is an error only where an expression reads it.
func badValue(why string) value {
	v := ofText(why)
	v.head = v.head&^kindBits | uint64(bad) | lentInside | isBroken
	return v
}

// why is the reason of the first bad value in a broken one.
func (v value) why() string {
	switch v.kind() {
	case list:
		for _, item := range v.items() {
			if item.broken() {
				return item.why()
			}
		}
	case dict:
		for _, f := range v.fields() {
			if f.value.broken() {
				return f.value.why()
			}
		}
	}
	return v.str()
}

// reason is why a value is bad, as an argument of a message: a number in it is data.
func reason(why string) data {
	d := data{what: why, less: why}
	if rest, ok := strings.CutPrefix(why, "the number "); ok {
		_, what, _ := strings.Cut(rest, " ")
		d.less = "the number … " + what
	}
	return d
}

// value reads whatever comes, whole.
func (r *reader) value(depth int) value {
	switch c := r.next(); {
	case c != '[' && c != '{':
		return r.scalar()
	case depth >= maxDepth:
		r.skip()
		return badValue(fmt.Sprintf("it nests deeper than %d", maxDepth))
	case c == '[':
		return r.list(depth)
	}
	return r.dict(depth)
}

func (r *reader) list(depth int) value {
	var items []value
	for more := r.open(); more; more = r.more() {
		if items == nil {
			items = make([]value, 0, 4) // most lists and maps of an event are short
		}
		items = append(items, r.value(depth+1))
	}
	return ofList(items)
}

func (r *reader) dict(depth int) value {
	var fields []field
	for more := r.open(); more; more = r.more() {
		name := r.name()
		if v := r.value(depth + 1); v.kind() != null {
			if fields == nil {
				fields = make([]field, 0, 4)
			}
			fields = append(fields, field{name, v})
		}
	}
	if !slices.IsSortedFunc(fields, byName) {
		slices.SortFunc(fields, byName)
	}
	v := ofFields(fields)
	if !r.owns {
		v.head |= lentInside | lentNames
	}
	return v
}

func byName(a, b field) int { return strings.Compare(a.name, b.name) }

// appendJSON writes the canonical form: maps sorted by name, no nil in them, no spaces, shortest numbers.
func appendJSON(b []byte, v value) []byte {
	switch v.kind() {
	case null:
		return append(b, "null"...)
	case boolean:
		return strconv.AppendBool(b, v.bool())
	case integer:
		return strconv.AppendInt(b, v.int(), 10)
	case float:
		return appendFloat(b, v.float())
	case text:
		return appendQuoted(b, v.str())
	case list:
		b = append(b, '[')
		for i, item := range v.items() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, item)
		}
		return append(b, ']')
	case dict:
		b = append(b, '{')
		for i, f := range v.fields() {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendQuoted(b, f.name), ':')
			b = appendJSON(b, f.value)
		}
		return append(b, '}')
	}
	panic("an error was to be stored")
}

func appendQuoted(b []byte, s string) []byte {
	b, err := jsontext.AppendQuote(b, s)
	if err != nil {
		panic("a text that is not UTF-8 was to be stored") // every text is checked where it comes from
	}
	return b
}

// parseStored reads what appendJSON wrote, and nothing else. The value keeps the bytes.
func parseStored(stored []byte) (value, error) {
	r, err := read(stored)
	if err != nil {
		return value{}, &projections.DataError{What: jsonfault.Describe(err, nil), Err: err}
	}
	r.owns = true
	v := r.value(0)
	if v.broken() {
		why := reason(v.why())
		return value{}, &projections.DataError{What: why.less, Err: errors.New(v.why())}
	}
	if !bytes.Equal(appendJSON(make([]byte, 0, len(stored)), v), stored) {
		return value{}, errors.New("it is JSON, but not as it is stored here (names sorted, no null members, no spaces, floats with '.' or 'e'): something else wrote it")
	}
	return v, nil
}

// shorten cuts a text for a message.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
