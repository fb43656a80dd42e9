package declared

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
)

// member compiles x.name, x?.name, x["name"] and x[i]. A chain of names that starts at event is a path with a slot.
func (c *compiler) member(n *ast.MemberNode) compiled {
	if path, root := pathOf(n); root != nil {
		if id, ok := root.(*ast.IdentifierNode); ok && id.Value == "event" && !c.isLocal("event") {
			c.nodes += len(path)
			return c.path(n, path)
		}
	}
	at := c.at(n)
	name, named := n.Property.(*ast.StringNode)
	if id, ok := n.Node.(*ast.IdentifierNode); ok && named && id.Value == "value" && !c.isLocal("value") {
		c.readsValue(at)
		return c.stateMember(at, name.Value)
	}
	base := c.compile(n.Node)
	if named {
		return c.namedMember(at, base, name.Value)
	}
	index := c.compile(n.Property)
	c.want(c.at(n.Property), index, anInt|aText, "an index")
	return compiled{schema: base.schema.item(), text: fmt.Sprintf("%s[%s]", base.text, index.text), run: func(f *frame) value {
		x := base.run(f)
		if x.kind() == bad {
			return x
		}
		i := index.run(f)
		if i.kind() == bad {
			return i
		}
		return f.index(at, x, i, index.text)
	}}
}

func (c *compiler) isLocal(name string) bool {
	return slices.ContainsFunc(c.locals, func(l local) bool { return l.name == name })
}

// pathOf takes a chain of constant names apart: the names and the node at their root, nil if it is not such a chain.
func pathOf(n ast.Node) (path []string, root ast.Node) {
	switch n := n.(type) {
	case *ast.ChainNode:
		return pathOf(n.Node)
	case *ast.MemberNode:
		name, ok := n.Property.(*ast.StringNode)
		if !ok {
			return nil, nil
		}
		path, root := pathOf(n.Node)
		return append(path, name.Value), root
	case *ast.IdentifierNode:
		return nil, n
	}
	return nil, nil
}

// path compiles event or event.a.b: a slot of the shape.
func (c *compiler) path(n ast.Node, path []string) compiled {
	at := c.at(n)
	s := c.program.event
	for i, name := range path {
		if s.members == nil {
			if s != unknown && s.kinds&aMap == 0 {
				c.fault(at, "mismatched types: %s is %v, which has no members", pathText(path[:i]), s.kinds&^aNil)
			}
			s = unknown
			break
		}
		next, ok := s.members[name]
		if !ok {
			message := fmt.Sprintf("unknown field %s", name)
			if near := nearest(name, sortedNames(s.members)); near != "" {
				message += fmt.Sprintf(": did you mean %s?", near)
			}
			return c.fault(at, "%s", message)
		}
		s = next
	}
	slot, name := c.program.shape.slot(path), pathText(path)
	return compiled{schema: s, text: name, run: func(f *frame) value {
		v := f.slots[slot]
		if v.broken() {
			return f.fail(at, "%s can't be read: %v", name, reason(v.why()))
		}
		return v
	}}
}

func pathText(path []string) string {
	var b strings.Builder
	b.WriteString("event")
	for _, name := range path {
		b.WriteString(memberText(name))
	}
	return b.String()
}

// memberText is .name, or ["name"] where it is not a plain name.
func memberText(name string) string {
	plain := name != "" && (name[0] < '0' || name[0] > '9')
	for _, r := range []byte(name) {
		plain = plain && (r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	}
	if plain {
		return "." + name
	}
	return "[" + string(appendQuoted(nil, strings.ToValidUTF8(name, "\uFFFD"))) + "]"
}

// stateMember compiles value.name: no copy of the state is handed out.
func (c *compiler) stateMember(at spot, name string) compiled {
	return compiled{schema: unknown, text: "value" + memberText(name), run: func(f *frame) value {
		switch f.state.kind() {
		case dict:
			return f.state.get(name)
		case null:
			return value{}
		}
		return f.fail(at, "value%s: value is %v, which has no members", memberText(name), f.state.kind())
	}}
}

func (c *compiler) namedMember(at spot, base compiled, name string) compiled {
	s := unknown
	if base.schema.members != nil {
		next, ok := base.schema.members[name]
		if !ok {
			message := fmt.Sprintf("unknown field %s", name)
			if near := nearest(name, sortedNames(base.schema.members)); near != "" {
				message += fmt.Sprintf(": did you mean %s?", near)
			}
			return c.fault(at, "%s", message)
		}
		s = next
	} else if base.schema.kinds&(aMap|aNil) == 0 {
		c.fault(at, "mismatched types: %s is %v, which has no members", base.text, base.schema.kinds)
	}
	return compiled{schema: s, text: base.text + memberText(name), run: func(f *frame) value {
		x := base.run(f)
		switch x.kind() {
		case dict:
			return x.get(name)
		case null, bad:
			return x
		}
		return f.fail(at, "%s of %v: only maps have members", name, x.kind())
	}}
}

// index is x[i]: of a list or text by place, from the end where negative, nil beyond; of a map by name.
func (f *frame) index(at spot, x, i value, what string) value {
	if i.kind() == null && x.kind() != null {
		return f.fail(at, "the index %s is nil", what)
	}
	switch x.kind() {
	case null:
		return value{}
	case dict:
		name, ok := f.memberName(at, i)
		if !ok {
			return failed()
		}
		return x.get(name)
	case list:
		if i.kind() != integer {
			return f.fail(at, "a list is indexed by an int, not by %v", i.kind())
		}
		n, ok := place(i.int(), int(x.size()))
		if !ok {
			return value{}
		}
		return x.items()[n]
	case text:
		if i.kind() != integer {
			return f.fail(at, "a text is indexed by an int, not by %v", i.kind())
		}
		if !f.spendText(at, int(x.size())) {
			return failed()
		}
		n, ok := place(i.int(), utf8.RuneCountInString(x.str()))
		if !ok {
			return value{}
		}
		return cutText(x, n, n+1)
	}
	return f.fail(at, "%v can't be indexed", x.kind())
}

// place turns an index, from the end where negative, into a place of n; false outside.
func place(i int64, n int) (int, bool) {
	if i < 0 {
		i += int64(n)
	}
	if i < 0 || i >= int64(n) {
		return 0, false
	}
	return int(i), true
}

// memberName is a value as the name of a map's member: a text, or an int's decimal text.
func (f *frame) memberName(at spot, v value) (string, bool) {
	switch v.kind() {
	case text:
		return v.str(), f.spend(at, int(v.size())/1024)
	case integer:
		return strconv.FormatInt(v.int(), 10), true
	case null:
		f.fail(at, "a member's name is nil: write (… ?? \"unknown\"), or filter such events out with when")
		return "", false
	case bad:
		return "", false
	}
	f.fail(at, "a member's name is a text or an int, not %v", v.kind())
	return "", false
}

// slice compiles x[a:b] of lists and texts; texts count code points. Bounds beyond the ends are the ends.
func (c *compiler) slice(n *ast.SliceNode) compiled {
	at := c.at(n)
	x := c.compile(n.Node)
	c.want(at, x, aList|aText, "a slice")
	from, to := constant(ofInt(0), ""), constant(value{}, "")
	if n.From != nil {
		from = c.compile(n.From)
		c.want(c.at(n.From), from, anInt, "a slice's bound")
	}
	if n.To != nil {
		to = c.compile(n.To)
		c.want(c.at(n.To), to, anInt, "a slice's bound")
	}
	open := n.To == nil
	return compiled{schema: x.schema, text: fmt.Sprintf("%s[%s:%s]", x.text, from.text, to.text), run: func(f *frame) value {
		v := x.run(f)
		if v.kind() == bad {
			return v
		}
		a, b := from.run(f), to.run(f)
		if a.kind() == bad || b.kind() == bad {
			return failed()
		}
		if a.kind() != integer || b.kind() != integer && !open {
			return f.fail(at, "a slice's bounds are ints")
		}
		switch v.kind() {
		case list:
			i, j := bounds(a, b, open, int(v.size()))
			if !f.spend(at, j-i) {
				return failed()
			}
			return ofList(slices.Clone(v.items()[i:j]))
		case text:
			if !f.spendText(at, int(v.size())) {
				return failed()
			}
			i, j := bounds(a, b, open, utf8.RuneCountInString(v.str()))
			return cutText(v, i, j)
		case null:
			return f.fail(at, "a slice of nil: write (%s ?? \"\")[…], or ?? [] for a list", x.text)
		}
		return f.fail(at, "%v can't be sliced", v.kind())
	}}
}

func bounds(a, b value, open bool, n int) (int, int) {
	clip := func(i int64) int {
		if i < 0 {
			i += int64(n)
		}
		return int(min(max(i, 0), int64(n)))
	}
	i, j := clip(a.int()), n
	if !open {
		j = clip(b.int())
	}
	return min(i, j), j
}

// cutText is the code points from i up to j, without a copy.
func cutText(v value, i, j int) value {
	s := v.str()
	start, end, n := len(s), len(s), 0
	for at := range s {
		if n == i {
			start = at
		}
		if n == j {
			end = at
			break
		}
		n++
	}
	if i >= j {
		return ofText("")
	}
	return ofText(s[start:end]).lentAs(v)
}
