package declared

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// data reads plain YAML data, as a seed is.
func (x *faults) data(n ast.Node) value {
	if x.depth >= maxDepth {
		x.add(n, "lists and maps nest deeper than %d", maxDepth)
		return value{}
	}
	x.depth++
	defer func() { x.depth-- }()
	switch n := n.(type) {
	case *ast.NullNode:
		return value{}
	case *ast.BoolNode:
		return ofBool(n.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return x.number(n)
	case *ast.StringNode:
		if n.GetToken().Type == token.StringType && isJSONNumber(n.Value) { // 1e3 is a text to YAML
			return x.number(n)
		}
		return x.text(n, n.Value)
	case *ast.LiteralNode:
		return x.text(n, n.Value.Value)
	case *ast.SequenceNode:
		items := make([]value, 0, len(n.Values))
		for _, item := range n.Values {
			items = append(items, x.data(item))
		}
		return ofList(items)
	case *ast.MappingNode, *ast.MappingValueNode:
		var fields []field
		if m := x.mapping(n, "the data", nil); m != nil {
			for _, e := range m.entries {
				fields = with(fields, e.name, x.data(e.value))
			}
		}
		return ofFields(fields)
	}
	if !x.tagged(n) {
		x.add(n, "this is not plain data")
	}
	return value{}
}

func (x *faults) text(n ast.Node, s string) value {
	if strings.ToValidUTF8(s, "") != s {
		x.add(n, "the text is not UTF-8")
		return value{}
	}
	return ofText(s)
}

// number reads a number as JSON has it: an int, or a float where it has '.' or 'e'.
func (x *faults) number(n ast.Node) value {
	s := n.GetToken().Value
	if !isJSONNumber(s) {
		x.add(n, "the number %s is not written as in JSON: write digits, as in 12, -3 or 0.5", s)
		return value{}
	}
	v, what := readNumber(s)
	if what != "" {
		x.add(n, "the number %s %s", s, what)
	}
	return v
}

// schema reads the declared shape of an event: {type: string, amount: int, items: [{qty: int}]}.
func (x *faults) schema(n ast.Node) *schema {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		s := &schema{kinds: aMap | aNil, members: map[string]*schema{}}
		if m := x.mapping(n, "event", nil); m != nil {
			for _, e := range m.entries {
				s.members[e.name] = x.schema(e.value)
			}
		}
		return s
	case *ast.SequenceNode:
		s := &schema{kinds: aList | aNil}
		switch len(n.Values) {
		case 0:
		case 1:
			s.items = x.schema(n.Values[0])
		default:
			x.add(n, "a list has one shape for all its items: [string], [{qty: int}]")
		}
		return s
	}
	name := x.plain(n, "a field's type")
	types := map[string]kinds{"string": aText, "text": aText, "int": anInt, "float": aFloat, "number": aNumber,
		"bool": aBool, "list": aList, "map": aMap, "any": anything}
	k, ok := types[name]
	if !ok {
		message := "unknown type " + name
		if near := nearest(name, sortedNames(types)); near != "" {
			message += ": did you mean " + near + "?"
		} else {
			message += ": there are " + strings.Join(sortedNames(types), ", ") + ", {name: type, …} and [type]"
		}
		x.add(n, "%s", message)
	}
	if k == anything {
		return unknown
	}
	return &schema{kinds: k | aNil}
}
