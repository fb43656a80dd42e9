package declared

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// faults gathers what is wrong in a file, so that one run shows all of it.
type faults struct {
	file  string
	list  []error
	depth int // of the data that is being read
}

func (x *faults) err() error { return errors.Join(x.list...) }

// add notes a fault at a node.
func (x *faults) add(n ast.Node, format string, args ...any) {
	e := &Error{File: x.file, Line: 1, Column: 1, Message: fmt.Sprintf(format, args...)}
	if n != nil && n.GetToken() != nil {
		at := startOf(n)
		e.Line, e.Column = at.Line, at.Column
	}
	x.list = append(x.list, e)
}

// startOf is where a node begins. (The token of a block mapping is its first colon.)
func startOf(n ast.Node) *token.Position {
	switch n := n.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 && !n.IsFlowStyle {
			return startOf(n.Values[0])
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken().Position
	}
	return n.GetToken().Position
}

// document parses a file and returns its one top-level mapping.
func (x *faults) document(data []byte) *mapping {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		x.list = append(x.list, x.syntax(err))
		return nil
	}
	var body ast.Node
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case body == nil:
			body = doc.Body
		default:
			x.add(doc.Body, "a second YAML document begins here: a file holds one")
			return nil
		}
	}
	if body == nil {
		return &mapping{}
	}
	return x.mapping(body, "the file", nil)
}

// syntax words an error of the YAML parser, with the usual cause where expressions are concerned.
func (x *faults) syntax(err error) error {
	e := &Error{File: x.file, Line: 1, Column: 1}
	if syntax, ok := errors.AsType[*yaml.SyntaxError](err); ok { // its own text prints the file around it, which takes minutes for a hostile one
		e.Message = syntax.Message
		if syntax.Token != nil && syntax.Token.Position != nil {
			e.Line, e.Column = syntax.Token.Position.Line, syntax.Token.Position.Column
		}
	} else {
		e.Message = err.Error()
	}
	if !strings.Contains(e.Message, "already defined") {
		e.Message = "not YAML: " + e.Message + " (an expression that holds ': ' or begins with a quote, '[', '{', '!', '#', '@' or '%' needs quotes around the whole of it)"
	}
	return e
}

// mapping is a YAML mapping whose keys are plain texts.
type mapping struct {
	node    ast.Node
	entries []entry
}

type entry struct {
	name  string
	key   ast.Node
	value ast.Node
}

// get is the value of a name, nil if there is none.
func (m *mapping) get(name string) ast.Node {
	for _, e := range m.entries {
		if e.name == name {
			return e.value
		}
	}
	return nil
}

// mapping takes a node apart; allowed names (nil: any) are checked. It returns nil where the node is something else.
func (x *faults) mapping(n ast.Node, what string, allowed []string) *mapping {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		if !x.tagged(n) {
			x.add(n, "%s is to be a mapping of names", what)
		}
		return nil
	}
	m := &mapping{node: n}
	for _, v := range values {
		name, ok := keyName(v.Key)
		switch {
		case !ok:
			x.add(v.Key, "this is not a plain name")
			continue
		case slices.ContainsFunc(m.entries, func(e entry) bool { return e.name == name }):
			x.add(v.Key, "%s is named twice", name)
			continue
		case allowed != nil && !slices.Contains(allowed, name):
			message := fmt.Sprintf("unknown key %s in %s", name, what)
			if near := nearest(name, allowed); near != "" {
				message += fmt.Sprintf(": did you mean %s?", near)
			} else {
				message += ": it knows " + strings.Join(allowed, ", ")
			}
			x.add(v.Key, "%s", message)
			continue
		}
		m.entries = append(m.entries, entry{name, v.Key, v.Value})
	}
	return m
}

func keyName(n ast.MapKeyNode) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// tagged notes a tag, an anchor or an alias: none of them has a meaning here, and a tag is nearly always a "not".
func (x *faults) tagged(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.TagNode:
		tag := n.Start.Value
		if strings.HasPrefix(tag, "!!") {
			x.add(n, "the YAML tag %s has no meaning here: take it away, or put quotes around the text", tag)
			break
		}
		x.add(n, "YAML takes %s for a tag, which would leave nothing of the expression: quote it, '%s …', or write not %s", tag, tag, strings.TrimPrefix(tag, "!"))
	case *ast.AnchorNode:
		x.add(n, "YAML takes & for an anchor, which has no meaning here: quote the value")
	case *ast.AliasNode:
		x.add(n, "YAML takes * for an alias, which has no meaning here: quote the value")
	default:
		return false
	}
	return true
}

// sequence is the items of a list.
func (x *faults) sequence(n ast.Node, what string) []ast.Node {
	if s, ok := n.(*ast.SequenceNode); ok {
		return s.Values
	}
	if !x.tagged(n) {
		x.add(n, "%s is to be a list", what)
	}
	return nil
}

// plain reads a scalar's text, for names and choices.
func (x *faults) plain(n ast.Node, what string) string {
	if n == nil {
		return ""
	}
	s, ok := scalarText(n)
	if !ok && !x.tagged(n) {
		x.add(n, "%s is to be a text", what)
	}
	return s
}

// scalarText is a scalar's text as it is written, without quotes.
func scalarText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// expression reads a scalar as the text of an expression, nil where it is none.
func (x *faults) expression(n ast.Node, what string) *source {
	if n == nil {
		return nil
	}
	t := n.GetToken()
	src := &source{file: x.file, line: t.Position.Line, column: t.Position.Column, indent: -1}
	switch n := n.(type) {
	case *ast.NullNode:
		x.add(n, "%s is empty: write an expression, or leave the key out (nil is written 'nil')", what)
		return nil
	case *ast.MappingNode, *ast.MappingValueNode:
		x.add(n, "%s is a YAML mapping: write a map expression in quotes, such as '{name: event.name}'", what)
		return nil
	case *ast.SequenceNode:
		x.add(n, "%s is a YAML list: write a list expression in quotes, such as '[event.a, event.b]'", what)
		return nil
	case *ast.LiteralNode:
		src.line, src.column = t.Position.Line+1, 1
		if n.Value != nil && strings.HasPrefix(n.Start.Value, "|") {
			origin := n.Value.GetToken().Origin
			src.indent = len(origin) - len(strings.TrimLeft(origin, " "))
		}
	}
	s, ok := scalarText(n)
	if !ok {
		if !x.tagged(n) {
			x.add(n, "%s is to be an expression", what)
		}
		return nil
	}
	if strings.TrimSpace(s) == "" {
		x.add(n, "%s is empty: write an expression, or leave the key out", what)
		return nil
	}
	src.text = strings.TrimRight(s, "\n")
	switch {
	case t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType:
		src.column++
	case t.Next != nil && t.Next.Type == token.CommentType && t.Next.Position.Line == t.Position.Line:
		src.cut = true
	case t.Next != nil && t.Next.Type == token.CollectEntryType:
		src.comma = true
	}
	return src
}
