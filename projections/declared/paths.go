package declared

import (
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"

	"github.com/tailfold/tailfold/projections"
)

// Path is a place in the event that an expression names, so that it can be held against real events.
type Path struct {
	Steps []string // names from the event on; Items stands for every item of a list
	Texts []string // that the expressions compare it with by ==, each once
	at    spot
}

// Items is the step of a Path from a list to its items.
const Items = "[]"

// String is the path as an expression has it, with [] for the items of a list: event.items[].qty.
func (p Path) String() string { return PathText(p.Steps) }

// Fault is an error at the path's first place.
func (p Path) Fault(format string, args ...any) *Error { return p.at.fault(format, args...) }

// PathText writes steps as Path.String does.
func PathText(steps []string) string {
	var b strings.Builder
	b.WriteString("event")
	for _, name := range steps {
		if name == Items {
			b.WriteString(Items)
			continue
		}
		b.WriteString(memberText(name))
	}
	return b.String()
}

// Paths are the places in the event that the projection's expressions name, each once, in the order of the file's keys
// when, let, on, gone. What is reached by a computed name or index is told up to there.
func (p *Projection) Paths() []Path {
	c := &pathCollector{program: p.program}
	c.source(p.when)
	for _, name := range p.program.names {
		c.source(p.program.lets[name].compiled)
	}
	for _, r := range p.rules {
		c.source(r.when)
		for _, k := range p.groups[r.group].of {
			c.source(k)
		}
		c.source(r.whole)
		for _, a := range r.fields {
			c.source(a.compiled)
		}
	}
	c.source(p.gone)
	return c.found
}

// pathCollector walks the trees of expressions.
type pathCollector struct {
	program *program
	at      *source
	items   [][]string // of the predicates around: the path of their list's items; nil: not known
	found   []Path
}

func (c *pathCollector) source(e *compiled) {
	if e == nil || e.at.source == nil {
		return
	}
	tree, err := parser.Parse(e.at.source.text)
	if err != nil {
		return // it was compiled: this can't be
	}
	c.at = e.at.source
	c.walk(tree.Node)
}

// walk notes the longest paths in a tree.
func (c *pathCollector) walk(n ast.Node) {
	if b, ok := n.(*ast.BuiltinNode); ok && len(b.Arguments) > 0 {
		c.call(b)
		return
	}
	if steps, ok := c.steps(n, 0); ok {
		if len(steps) > 0 && !c.isLet(n) {
			c.note(n, steps, "")
		}
		if b, ok := root(n).(*ast.BuiltinNode); ok {
			c.call(b)
		}
		return
	}
	if b, ok := n.(*ast.BinaryNode); ok && b.Operator == "==" {
		c.comparison(b.Left, b.Right)
		c.comparison(b.Right, b.Left)
	}
	for _, child := range children(n) {
		c.walk(child)
	}
}

// call walks a function's arguments, knowing what the items of its list are.
func (c *pathCollector) call(n *ast.BuiltinNode) {
	var items []string
	if steps, ok := c.steps(n.Arguments[0], 0); ok {
		items = append(slices.Clone(steps), Items)
	}
	c.walk(n.Arguments[0])
	for _, arg := range n.Arguments[1:] {
		if p, ok := arg.(*ast.PredicateNode); ok {
			c.items = append(c.items, items)
			c.walk(p.Node)
			c.items = c.items[:len(c.items)-1]
			continue
		}
		c.walk(arg)
	}
}

func (c *pathCollector) comparison(path, text ast.Node) {
	s, ok := text.(*ast.StringNode)
	if !ok {
		return
	}
	if steps, ok := c.steps(path, 0); ok && len(steps) > 0 {
		c.note(path, steps, s.Value)
	}
}

func (c *pathCollector) note(n ast.Node, steps []string, text string) {
	i := slices.IndexFunc(c.found, func(p Path) bool { return slices.Equal(p.Steps, steps) })
	if i < 0 {
		i = len(c.found)
		c.found = append(c.found, Path{Steps: steps, at: spot{c.at, root(n).Location().From}})
	}
	if text != "" && !slices.Contains(c.found[i].Texts, text) {
		c.found[i].Texts = append(c.found[i].Texts, text)
	}
}

// root is where a chain of members begins.
func root(n ast.Node) ast.Node {
	switch n := n.(type) {
	case *ast.ChainNode:
		return root(n.Node)
	case *ast.MemberNode:
		return root(n.Node)
	}
	return n
}

// isLet tells a bare name of a let: its own expression is walked where it is declared.
func (c *pathCollector) isLet(n ast.Node) bool {
	id, ok := n.(*ast.IdentifierNode)
	return ok && id.Value != "event"
}

// steps are the path that a node stands for; ok is false where it is none. Functions that hand on the items of their
// list stand for its path.
func (c *pathCollector) steps(n ast.Node, depth int) (steps []string, ok bool) {
	if depth > maxScopes {
		return nil, false
	}
	switch n := n.(type) {
	case *ast.IdentifierNode:
		if n.Value == "event" {
			return nil, true
		}
		if l := c.program.lets[n.Value]; l != nil && l.source != nil {
			if tree, err := parser.Parse(l.source.text); err == nil {
				return c.steps(tree.Node, depth+1)
			}
		}
	case *ast.PointerNode:
		if n.Name == "" && len(c.items) > 0 && c.items[len(c.items)-1] != nil {
			return c.items[len(c.items)-1], true
		}
	case *ast.ChainNode:
		return c.steps(n.Node, depth)
	case *ast.MemberNode:
		base, ok := c.steps(n.Node, depth)
		if !ok {
			return nil, false
		}
		switch p := n.Property.(type) {
		case *ast.StringNode:
			return append(slices.Clone(base), p.Value), true
		case *ast.IntegerNode:
			return append(slices.Clone(base), Items), true
		}
	case *ast.BuiltinNode:
		if slices.Contains([]string{"filter", "sortBy"}, n.Name) && len(n.Arguments) > 0 {
			return c.steps(n.Arguments[0], depth)
		}
	}
	return nil, false
}

// children are the nodes below one.
func children(n ast.Node) []ast.Node {
	switch n := n.(type) {
	case *ast.UnaryNode:
		return []ast.Node{n.Node}
	case *ast.BinaryNode:
		return []ast.Node{n.Left, n.Right}
	case *ast.ChainNode:
		return []ast.Node{n.Node}
	case *ast.MemberNode:
		return []ast.Node{n.Node, n.Property}
	case *ast.SliceNode:
		return slices.DeleteFunc([]ast.Node{n.Node, n.From, n.To}, func(n ast.Node) bool { return n == nil })
	case *ast.CallNode:
		return n.Arguments
	case *ast.BuiltinNode:
		return n.Arguments
	case *ast.PredicateNode:
		return []ast.Node{n.Node}
	case *ast.ConditionalNode:
		return []ast.Node{n.Cond, n.Exp1, n.Exp2}
	case *ast.VariableDeclaratorNode:
		return []ast.Node{n.Value, n.Expr}
	case *ast.ArrayNode:
		return n.Nodes
	case *ast.MapNode:
		return n.Pairs
	case *ast.PairNode:
		return []ast.Node{n.Key, n.Value}
	}
	return nil
}

// Mismatch is a place at which an event is not as `event:` declares it.
type Mismatch struct {
	Path     string // as PathText writes it
	Declared string // "an int"
	Found    string // "a float"
}

func (m Mismatch) String() string {
	return fmt.Sprintf("%s is declared as %s, but is %s", m.Path, m.Declared, m.Found)
}

// Mismatches holds an event against the shape that the entry declares under event:. A missing field is none; of a list,
// each kind of mismatch is told once. Without a shape, or where the event is not JSON, there are none: folding it tells.
func (p *Projection) Mismatches(event projections.Event) []Mismatch {
	if p.program.event == unknown {
		return nil
	}
	r, err := read(event.Data)
	if err != nil {
		return nil
	}
	var found []Mismatch
	p.program.event.compare(r.value(0), nil, &found)
	return found
}

func (s *schema) compare(v value, steps []string, found *[]Mismatch) {
	if v.kind() == null || v.kind() == bad {
		return
	}
	if !s.kinds.has(v) {
		m := Mismatch{PathText(steps), s.kinds.String(), v.kind().String()}
		if !slices.Contains(*found, m) {
			*found = append(*found, m)
		}
		return
	}
	for _, name := range sortedNames(s.members) {
		s.members[name].compare(v.get(name), append(slices.Clone(steps), name), found)
	}
	if s.items != nil {
		for _, item := range v.items() {
			s.items.compare(item, append(slices.Clone(steps), Items), found)
		}
	}
}
