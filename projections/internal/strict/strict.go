// Package strict goes over JSON texts of the usual forms fast. What it accepts is JSON as json/v2 takes it, with no name
// twice in an object and no invalid UTF-8. At any other form (an escape, more than maxNames members, deep nesting) it
// gives up as at an error: who calls it then asks the library, which also says what is wrong.
package strict

import "unicode/utf8"

// walk is a place in a text.
type walk struct {
	s  string
	at int
}

const (
	maxNames = 24 // members of an object: each is compared with all before it
	maxNest  = 16
)

func (w *walk) space() {
	for w.at < len(w.s) {
		if c := w.s[w.at]; c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return
		}
		w.at++
	}
}

// take passes over c, and blanks before it.
func (w *walk) take(c byte) bool {
	if w.at < len(w.s) && w.s[w.at] == c { // mostly there are none
		w.at++
		return true
	}
	w.space()
	if w.at < len(w.s) && w.s[w.at] == c {
		w.at++
		return true
	}
	return false
}

// text passes over a text without escapes and returns what is between its quotes.
func (w *walk) text() (string, bool) {
	if !w.take('"') {
		return "", false
	}
	s, start := w.s, w.at
	var high byte
	for i := start; i < len(s); i++ {
		c := s[i]
		if c == '"' {
			w.at = i + 1
			return s[start:i], high < utf8.RuneSelf || utf8.ValidString(s[start:i])
		}
		if c < ' ' || c == '\\' {
			return "", false
		}
		high |= c
	}
	return "", false
}

// number passes over a number.
func (w *walk) number() bool {
	s, i := w.s, w.at
	if i < len(s) && s[i] == '-' {
		i++
	}
	switch {
	case i < len(s) && s[i] == '0':
		i++
	default:
		var ok bool
		if i, ok = digits(s, i); !ok {
			return false
		}
	}
	if i < len(s) && s[i] == '.' {
		var ok bool
		if i, ok = digits(s, i+1); !ok {
			return false
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		var ok bool
		if i, ok = digits(s, i); !ok {
			return false
		}
	}
	w.at = i
	return true
}

// digits passes over one digit or more.
func digits(s string, i int) (int, bool) {
	start := i
	for i < len(s) && s[i]-'0' <= 9 {
		i++
	}
	return i, i > start
}

func (w *walk) literal(text string) bool {
	if len(w.s)-w.at < len(text) || w.s[w.at:w.at+len(text)] != text {
		return false
	}
	w.at += len(text)
	return true
}

// value passes over any value and returns it as it is written.
func (w *walk) value(depth int) (string, bool) {
	w.space()
	if w.at >= len(w.s) {
		return "", false
	}
	start := w.at
	var ok bool
	switch w.s[start] {
	case '"':
		_, ok = w.text()
	case '{':
		ok = w.object(depth, nil)
	case '[':
		ok = w.array(depth)
	case 't':
		ok = w.literal("true")
	case 'f':
		ok = w.literal("false")
	case 'n':
		ok = w.literal("null")
	default:
		ok = w.number()
	}
	return w.s[start:w.at], ok
}

func (w *walk) array(depth int) bool {
	w.at++
	if depth >= maxNest {
		return false
	}
	if w.take(']') {
		return true
	}
	for {
		if _, ok := w.value(depth + 1); !ok {
			return false
		}
		if w.take(']') {
			return true
		}
		if !w.take(',') {
			return false
		}
	}
}

// object passes over an object and hands its members to member, if there is one.
func (w *walk) object(depth int, member func(name, value string)) bool {
	w.at++
	if depth >= maxNest {
		return false
	}
	if w.take('}') {
		return true
	}
	var names [maxNames]string
	for n := 0; n < maxNames; n++ {
		name, ok := w.text()
		if !ok || !w.take(':') {
			return false
		}
		for _, other := range names[:n] {
			if other == name {
				return false
			}
		}
		names[n] = name
		value, ok := w.value(depth + 1)
		if !ok {
			return false
		}
		if member != nil {
			member(name, value)
		}
		if w.take('}') {
			return true
		}
		if !w.take(',') {
			return false
		}
	}
	return false
}

// Object walks over a text that is one object, and hands each member's name and its value, as it is written, to member.
// Both are parts of s; a text among the values has no escapes. false: ask the library, and forget what member was told.
func Object(s string, member func(name, value string)) bool {
	w := walk{s: s}
	w.space()
	if w.at >= len(w.s) || w.s[w.at] != '{' || !w.object(0, member) {
		return false
	}
	w.space()
	return w.at == len(w.s)
}

// Valid tells whether s is one value of JSON. false: ask the library.
func Valid(s string) bool {
	w := walk{s: s}
	if _, ok := w.value(0); !ok {
		return false
	}
	w.space()
	return w.at == len(w.s)
}
