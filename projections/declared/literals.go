package declared

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
)

func constant(v value, text string) compiled {
	return compiled{run: func(*frame) value { return v }, schema: known(1 << v.kind()), text: text, fixed: &v}
}

func (c *compiler) floatLiteral(n *ast.FloatNode) compiled {
	if !finite(n.Value) {
		return c.fault(c.at(n), "the number is beyond what a float can hold")
	}
	return constant(ofFloat(n.Value), string(appendFloat(nil, n.Value)))
}

func (c *compiler) textLiteral(n *ast.StringNode) compiled {
	if !utf8.ValidString(n.Value) {
		return c.fault(c.at(n), "the text is not UTF-8")
	}
	return constant(ofText(n.Value), string(appendQuoted(nil, n.Value)))
}

func (c *compiler) array(n *ast.ArrayNode) compiled {
	at := c.at(n)
	items := make([]code, len(n.Nodes))
	texts := make([]string, len(n.Nodes))
	for i, node := range n.Nodes {
		item := c.compile(node)
		items[i], texts[i] = item.run, item.text
	}
	return compiled{schema: known(aList), text: "[" + strings.Join(texts, ", ") + "]", run: func(f *frame) value {
		made := make([]value, len(items))
		for i, item := range items {
			if made[i] = item(f); made[i].kind() == bad {
				return made[i]
			}
		}
		return f.newList(at, made)
	}}
}

// mapping compiles {a: 1, "b": 2, (c): 3}. Names that are written out are sorted now, computed ones when it runs.
func (c *compiler) mapping(n *ast.MapNode) compiled {
	at := c.at(n)
	type pair struct {
		name  compiled
		value code
		text  string
		fixed string
	}
	var pairs []pair
	computed := false
	for _, node := range n.Pairs {
		p, ok := node.(*ast.PairNode)
		if !ok {
			return c.fault(c.at(node), "this is not a member of a map")
		}
		v := c.compile(p.Value)
		name := c.compile(p.Key)
		fixed, isFixed := p.Key.(*ast.StringNode)
		made := pair{name: name, value: v.run, text: name.text + ": " + v.text}
		if isFixed {
			made.fixed = fixed.Value
			if slices.ContainsFunc(pairs, func(q pair) bool { return q.fixed == fixed.Value && q.name.text == name.text }) {
				c.fault(c.at(p.Key), "the map names %s twice", name.text)
			}
		} else {
			made.text = "(" + name.text + "): " + v.text
			computed = true
			c.want(c.at(p.Key), name, aText|anInt, "a member's name")
		}
		pairs = append(pairs, made)
	}
	if !computed {
		slices.SortStableFunc(pairs, func(a, b pair) int { return strings.Compare(a.fixed, b.fixed) })
	}
	texts := make([]string, len(pairs))
	for i, p := range pairs {
		texts[i] = p.text
	}
	out := compiled{schema: known(aMap), text: "{" + strings.Join(texts, ", ") + "}"}
	if !computed {
		out.run = func(f *frame) value {
			fields := make([]field, 0, len(pairs))
			for i := range pairs {
				switch v := pairs[i].value(f); v.kind() {
				case bad:
					return v
				case null:
				default:
					fields = append(fields, field{pairs[i].fixed, v})
				}
			}
			return f.newDict(at, fields)
		}
		return out
	}
	out.run = func(f *frame) value {
		var fields []field
		for i := range pairs {
			name := pairs[i].name.run(f)
			if name.kind() == bad {
				return name
			}
			s, ok := f.memberName(at, name)
			if !ok {
				return failed()
			}
			v := pairs[i].value(f)
			if v.kind() == bad {
				return v
			}
			fields = with(fields, s, v)
		}
		return f.newDict(at, fields)
	}
	return out
}
