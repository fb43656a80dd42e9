package declared

import (
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// predicate is a function that evaluates an expression for each item of a list.
type predicate struct {
	needs  kinds // of the expression's result
	bare   bool  // the expression may be left out: the item itself
	more   int   // optional arguments behind it
	result kinds
	run    func(f *frame, w *walk, items, more []value) value
}

// walk is one such call: it visits items.
type walk struct {
	at    spot
	depth int
	body  code
}

// visit evaluates the expression for one item, false where it failed.
func (w *walk) visit(f *frame, i int, item value) (value, bool) {
	if !f.spend(w.at, 1) {
		return failed(), false
	}
	f.scopes[w.depth].item, f.scopes[w.depth].index = item, int64(i)
	v := w.body(f)
	return v, v.kind() != bad
}

// search finds the first item, or the last, of which the expression says want; -1 if there is none.
func (w *walk) search(f *frame, items []value, want, fromEnd bool) (int, bool) {
	for n := range items {
		i := n
		if fromEnd {
			i = len(items) - 1 - n
		}
		v, ok := w.visit(f, i, items[i])
		if !ok {
			return -1, false
		}
		if v.bool() == want {
			return i, true
		}
	}
	return -1, true
}

func (c *compiler) predicate(at spot, name string, p *predicate, args []ast.Node) compiled {
	if len(args) == 0 || len(args) == 1 && !p.bare || len(args) > 2+p.more {
		return c.fault(at, "%s takes a list and an expression, such as %s(event.items, .qty > 0)", name, name)
	}
	if len(c.items) >= maxScopes {
		return c.fault(at, "predicates nest deeper than %d", maxScopes)
	}
	over := c.compile(args[0])
	c.want(c.at(args[0]), over, aList, name)
	texts := []string{over.text}
	depth := len(c.items)
	body := compiled{text: "#", schema: over.schema.item(), run: func(f *frame) value { return f.scopes[depth].item }}
	if len(args) > 1 {
		inner, ok := args[1].(*ast.PredicateNode)
		if !ok {
			return c.fault(at, "%s takes an expression per item", name)
		}
		c.items = append(c.items, over.schema.item())
		body = c.compile(inner.Node)
		c.items = c.items[:depth]
		c.want(c.at(args[1]), body, p.needs, name)
		texts = append(texts, "{"+body.text+"}")
	}
	var more []code
	for _, arg := range args[min(len(args), 2):] {
		x := c.compile(arg)
		more, texts = append(more, x.run), append(texts, x.text)
	}
	w := &walk{at: at, depth: depth, body: func(f *frame) value {
		v := body.run(f)
		if !p.needs.has(v) {
			return f.badArgument(at, name, p.needs, v, body.text)
		}
		return v
	}}
	schema := known(p.result)
	if name == "filter" || name == "sortBy" {
		schema = over.schema
	}
	return compiled{schema: schema, text: name + "(" + strings.Join(texts, ", ") + ")", run: func(f *frame) value {
		v := over.run(f)
		if v.kind() != list {
			return f.notList(at, name, v, over.text)
		}
		base := len(f.args)
		for _, run := range more {
			x := run(f)
			if x.kind() == bad {
				f.args = f.args[:base]
				return x
			}
			f.args = append(f.args, x)
		}
		outer := f.scopes[depth] // none by construction, but for a let that is computed within
		out := p.run(f, w, v.items(), f.args[base:len(f.args):len(f.args)])
		f.scopes[depth] = outer
		f.args = f.args[:base]
		return out
	}}
}

func (f *frame) notList(at spot, name string, v value, of string) value {
	if v.kind() == dict {
		return f.fail(at, "%s takes a list, but %s is a map: write keys(%s), values(%s) or toPairs(%s)", name, of, of, of, of)
	}
	return f.badArgument(at, name, aList, v, of)
}

// quantifier makes all, any, none: a search for the item that decides.
func quantifier(decisive, answer bool) func(f *frame, w *walk, items, more []value) value {
	return func(f *frame, w *walk, items, _ []value) value {
		i, ok := w.search(f, items, decisive, false)
		if !ok {
			return failed()
		}
		return ofBool((i >= 0) == answer)
	}
}

// finder makes find, findIndex and their counterparts from the end.
func finder(fromEnd, index bool) func(f *frame, w *walk, items, more []value) value {
	return func(f *frame, w *walk, items, _ []value) value {
		i, ok := w.search(f, items, true, fromEnd)
		switch {
		case !ok:
			return failed()
		case i < 0:
			return value{}
		case index:
			return ofInt(int64(i))
		}
		return items[i]
	}
}

// predicates: their expressions see the item as #, its members as .name, its place as #index.
var predicates = map[string]*predicate{
	"all":           {needs: aBool, result: aBool, run: quantifier(false, false)},
	"any":           {needs: aBool, result: aBool, run: quantifier(true, true)},
	"none":          {needs: aBool, result: aBool, run: quantifier(true, false)},
	"one":           {needs: aBool, result: aBool, run: countItems(true)},
	"count":         {needs: aBool, result: anInt, bare: true, run: countItems(false)},
	"find":          {needs: aBool, result: anything, run: finder(false, false)},
	"findIndex":     {needs: aBool, result: anInt | aNil, run: finder(false, true)},
	"findLast":      {needs: aBool, result: anything, run: finder(true, false)},
	"findLastIndex": {needs: aBool, result: anInt | aNil, run: finder(true, true)},
	"filter":        {needs: aBool, result: aList, run: filterItems},
	"map":           {needs: anything, result: aList, run: mapItems},
	"sum":           {needs: aNumber, result: aNumber, bare: true, run: sumItems},
	"sortBy":        {needs: aNumber | aText, result: aList, more: 1, run: sortItemsBy},
	"groupBy":       {needs: anInt | aText, result: aMap, run: groupItems},
	"reduce":        {needs: anything, result: anything, more: 1, run: reduceItems},
}

func countItems(one bool) func(f *frame, w *walk, items, more []value) value {
	return func(f *frame, w *walk, items, _ []value) value {
		n := int64(0)
		for i, item := range items {
			v, ok := w.visit(f, i, item)
			if !ok {
				return v
			}
			n += int64(v.bits)
		}
		if one {
			return ofBool(n == 1)
		}
		return ofInt(n)
	}
}

func filterItems(f *frame, w *walk, items, _ []value) value {
	var kept []value
	for i, item := range items {
		v, ok := w.visit(f, i, item)
		if !ok {
			return v
		}
		if v.bool() {
			kept = append(kept, item)
		}
	}
	return ofList(kept)
}

func mapItems(f *frame, w *walk, items, _ []value) value {
	made := make([]value, 0, min(len(items), max(f.left, 0)))
	for i, item := range items {
		v, ok := w.visit(f, i, item)
		if !ok {
			return v
		}
		made = append(made, v)
	}
	return f.newList(w.at, made)
}

func sumItems(f *frame, w *walk, items, _ []value) value {
	total := ofInt(0)
	for i, item := range items {
		v, ok := w.visit(f, i, item)
		if !ok {
			return v
		}
		if total = f.add(w.at, total, v); total.kind() == bad {
			return total
		}
	}
	return total
}

// add is the sum of two numbers.
func (f *frame) add(at spot, x, y value) value {
	if x.kind() == integer && y.kind() == integer {
		n, ok := addInt(x.int(), y.int())
		if !ok {
			return f.overflow(at, "+", x, y)
		}
		return ofInt(n)
	}
	return f.newFloat(at, asFloat(x)+asFloat(y))
}

// sortItemsBy sorts items by what the expression says of each; equals keep their order, in both directions.
func sortItemsBy(f *frame, w *walk, items, more []value) value {
	ranks := make([]value, 0, min(len(items), max(f.left, 0)))
	for i, item := range items {
		v, ok := w.visit(f, i, item)
		if !ok {
			return v
		}
		ranks = append(ranks, v)
	}
	return f.sorted(w.at, items, ranks, more)
}

// groupItems makes a map of lists, by the text (or an int's digits) that the expression gives.
func groupItems(f *frame, w *walk, items, _ []value) value {
	groups := map[string][]value{}
	for i, item := range items {
		v, ok := w.visit(f, i, item)
		if !ok {
			return v
		}
		name, ok := f.memberName(w.at, v)
		if !ok {
			return failed()
		}
		groups[name] = append(groups[name], item)
	}
	fields := make([]field, 0, len(groups))
	for name, members := range groups {
		fields = append(fields, field{strings.Clone(name), ofList(members)})
	}
	slices.SortFunc(fields, byName)
	return f.newDict(w.at, fields)
}

// reduceItems folds a list: the expression sees what it gave before as #acc, at first the third argument or, without
// one, the first item.
func reduceItems(f *frame, w *walk, items, more []value) value {
	first := 0
	var total value
	switch {
	case len(more) > 0:
		total = more[0]
	case len(items) == 0:
		return f.fail(w.at, "reduce of an empty list needs a start: write it as the third argument")
	default:
		total, first = items[0], 1
	}
	for i := first; i < len(items); i++ {
		f.scopes[w.depth].total = total
		v, ok := w.visit(f, i, items[i])
		if !ok {
			return v
		}
		total = v
	}
	return total
}
