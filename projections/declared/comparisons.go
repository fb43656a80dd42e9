package declared

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/expr-lang/expr/ast"
)

func (c *compiler) equality(at spot, a, b compiled, text string, equal bool) compiled {
	x, y := a.schema.kinds, b.schema.kinds
	if x&y == 0 && (x&aNumber == 0 || y&aNumber == 0) && x != aNil && y != aNil {
		c.fault(at, "mismatched types: %s is %v and %s is %v: they are never equal", a.text, x, b.text, y)
	}
	general := equalityOf(at, a, b, text, equal)
	if b.fixed == nil || b.fixed.kind() != kindText {
		return general
	}
	word, run := b.fixed.str(), a.run // the usual case: is a field this word?
	return compiled{schema: general.schema, text: text, run: func(f *frame) value {
		x := run(f)
		switch x.kind() {
		case kindText:
			return ofBool((x.str() == word) == equal)
		case bad:
			return x
		}
		return ofBool(!equal)
	}}
}

func equalityOf(at spot, a, b compiled, text string, equal bool) compiled {
	return compiled{schema: known(aBool), text: text, run: func(f *frame) value {
		x, y, ok := both(f, a.run, b.run)
		if !ok {
			return failed()
		}
		if x.kind() == kindText && y.kind() == kindText {
			if x.size() != y.size() {
				return ofBool(!equal)
			}
			if x.size() > 1024 && !f.spendText(at, int(x.size())) {
				return failed()
			}
			return ofBool((x.str() == y.str()) == equal)
		}
		is := same(x, y, func(cost int) bool { return f.spend(at, cost) })
		if f.left < 0 {
			return failed()
		}
		return ofBool(is == equal)
	}}
}

const kindText = text // where a parameter is called text

// ordering compares two numbers exactly, or two texts bytewise.
func (c *compiler) ordering(at spot, a, b compiled, op, text string) compiled {
	const need = "two numbers or two texts"
	c.want(at, a, aNumber|aText, op)
	c.want(at, b, aNumber|aText, op)
	if x, y := a.schema.kinds&(aNumber|aText), b.schema.kinds&(aNumber|aText); (x == aText) != (y == aText) && x&y == 0 && x != 0 && y != 0 {
		c.fault(at, "mismatched types: %s needs %s, but %s is %v and %s is %v", op, need, a.text, a.schema.kinds, b.text, b.schema.kinds)
	}
	less, equal, greater := op[0] == '<', len(op) == 2, op[0] == '>'
	return compiled{schema: known(aBool), text: text, run: func(f *frame) value {
		x, y, ok := both(f, a.run, b.run)
		if !ok {
			return failed()
		}
		var order int
		switch {
		case x.isNumber() && y.isNumber():
			order = compareNumbers(x, y)
		case x.kind() == kindText && y.kind() == kindText:
			if n := min(x.size(), y.size()); n > 1024 && !f.spendText(at, int(n)) {
				return failed()
			}
			order = strings.Compare(x.str(), y.str())
		default:
			return f.mismatch(at, op, x, y, a.text, b.text, need)
		}
		return ofBool(order < 0 && less || order == 0 && equal || order > 0 && greater)
	}}
}

// contained is x in list, or name in map.
func (c *compiler) contained(at spot, a, b compiled, text string) compiled {
	c.want(at, b, aList|aMap, "in")
	return compiled{schema: known(aBool), text: text, run: func(f *frame) value {
		x, y, ok := both(f, a.run, b.run)
		switch {
		case !ok:
			return failed()
		case y.kind() == null:
			return f.fail(at, "in on nil: %s is nil; write (%s ?? []), or has(%s, …)", b.text, b.text, b.text)
		case x.kind() == null && y.kind() == list:
			return f.fail(at, "in on nil: %s is nil; write (%s ?? \"\"), or another value that fits", a.text, a.text)
		case y.kind() == list || y.kind() == dict:
			return f.has(at, y, x)
		}
		return f.fail(at, "in needs a list or a map, but %s is %v", b.text, y.kind())
	}}
}

// has tells whether a list holds an item, or a map a name.
func (f *frame) has(at spot, collection, x value) value {
	if collection.kind() == dict {
		name, ok := f.memberName(at, x)
		if !ok {
			return failed()
		}
		_, found := findField(collection.fields(), name)
		return ofBool(found)
	}
	i := f.find(at, collection.items(), x)
	if f.left < 0 {
		return failed()
	}
	return ofBool(i >= 0)
}

// find is the place of the first item that equals x, -1 if there is none or the steps are used up.
func (f *frame) find(at spot, items []value, x value) int {
	visit := func(cost int) bool { return f.spend(at, cost) }
	for i := range items {
		if !visit(1) {
			return -1
		}
		if same(items[i], x, visit) && f.left >= 0 {
			return i
		}
	}
	return -1
}

func (c *compiler) textTest(at spot, a, b compiled, op, text string, test func(s, part string) bool) compiled {
	c.wantPair(at, a, b, aText, op, "two texts")
	return compiled{schema: known(aBool), text: text, run: func(f *frame) value {
		x, y, ok := both(f, a.run, b.run)
		if !ok || x.kind() != kindText || y.kind() != kindText {
			return f.mismatchText(at, op, x, y, a.text, b.text)
		}
		if !f.spendText(at, int(x.size())) {
			return failed()
		}
		return ofBool(test(x.str(), y.str()))
	}}
}

func (f *frame) mismatchText(at spot, op string, x, y value, xText, yText string) value {
	switch {
	case x.kind() == null:
		return f.fail(at, "%s on nil: write (%s ?? \"\")", op, xText)
	case y.kind() == null && x.kind() != bad:
		return f.fail(at, "%s on nil: write (%s ?? \"\")", op, yText)
	}
	return f.mismatch(at, op, x, y, xText, yText, "two texts")
}

// matches takes a pattern that is written out: it is checked and compiled at start. RE2: linear in the text.
func (c *compiler) matches(n *ast.BinaryNode) compiled {
	at := c.at(n)
	pattern, ok := n.Right.(*ast.StringNode)
	if !ok {
		return c.fault(at, "matches needs its pattern written out as a text")
	}
	re, size, err := compilePattern(pattern.Value)
	if err != nil {
		return c.fault(c.at(n.Right), "the pattern is not a regular expression: %v", err)
	}
	if size > maxPattern {
		return c.fault(c.at(n.Right), "the pattern is too large: %d instructions, over the limit of %d", size, maxPattern)
	}
	x, right := c.compile(n.Left), c.compile(n.Right)
	c.want(at, x, aText, "matches")
	return compiled{schema: known(aBool), text: fmt.Sprintf("(%s matches %s)", x.text, right.text), run: func(f *frame) value {
		v := x.run(f)
		if v.kind() != kindText {
			return f.mismatchText(at, "matches", v, v, x.text, x.text)
		}
		if !f.spend(at, 1+int(v.size())*size/256) {
			return failed()
		}
		return ofBool(re.MatchString(v.str()))
	}}
}

// maxPattern is how many instructions a pattern may have: matching costs at most that many times the text's length.
const maxPattern = 1000

func compilePattern(pattern string) (re *regexp.Regexp, size int, err error) {
	if re, err = regexp.Compile(pattern); err != nil {
		return nil, 0, err
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, 0, err
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, 0, err
	}
	return re, len(program.Inst), nil
}
