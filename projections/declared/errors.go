package declared

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error is a fault in a declared projection, found when it is read, or an event that one of its expressions can't
// compute (POISON; seq and key stand in the error around it).
type Error struct {
	File         string
	Line, Column int    // from 1
	Message      string // what is wrong, and what to do
	Expression   string // the expression's text, "" where the fault is not in one
	Offset       int    // where in it, in code points

	quoted string // the message with the event's data, "" if that is the message itself
}

// Error is file:line:column, the message and, for an expression, its line with a caret below.
//
// Where an event is at fault, it has "…" in place of the event's data.
func (e *Error) Error() string { return e.text(e.Message) }

// Quoted is the text with the event's data.
func (e *Error) Quoted() string { return e.text(cmp.Or(e.quoted, e.Message)) }

func (e *Error) text(message string) string {
	head := fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, message)
	if e.Expression == "" {
		return head
	}
	line, column := lineAt(e.Expression, e.Offset)
	return fmt.Sprintf("%s\n  | %s\n  | %s^", head, strings.ReplaceAll(line, "\t", " "), strings.Repeat(" ", column))
}

// lineAt is the line of a text that holds the offset, and the offset in it, in code points.
func lineAt(s string, offset int) (line string, column int) {
	for {
		line, rest, more := strings.Cut(s, "\n")
		n := utf8.RuneCountInString(line)
		if offset <= n || !more {
			return line, min(offset, n)
		}
		s, offset = rest, offset-n-1
	}
}

// source is one expression and where it stands in its file.
type source struct {
	file         string
	line, column int
	text         string
	indent       int  // of a literal block: columns before its text; -1: the text runs on in one line
	cut          bool // a comment follows it on its line
	comma        bool // a comma within {…} or […] follows it
}

// spot is a place in an expression.
type spot struct {
	source *source
	offset int // in code points
}

// fault makes the error at a spot.
func (s spot) fault(format string, args ...any) *Error {
	e := &Error{File: s.source.file, Line: s.source.line, Column: s.source.column, Message: fmt.Sprintf(format, args...),
		Expression: s.source.text, Offset: s.offset}
	if s.source.indent < 0 {
		e.Column += s.offset
		return e
	}
	_, column := lineAt(s.source.text, s.offset)
	before := []rune(s.source.text)
	e.Line += strings.Count(string(before[:min(s.offset, len(before))]), "\n")
	e.Column = s.source.indent + 1 + column
	return e
}
