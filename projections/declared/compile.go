package declared

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	exprfile "github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
)

// compiled is an expression made ready.
type compiled struct {
	run    code
	schema *schema
	text   string // canonical: one form whatever the spacing and spelling
	at     spot   // where it begins
	fixed  *value // its value, where it is a constant
	reads  reads
}

// reads tells what an expression depends on beside the event.
type reads struct {
	value bool // reads "value", or a let that does
	whole bool // reads "value" itself, not only members of it: then its map must not be changed in place
	key   bool
}

func (r *reads) add(o reads) {
	r.value, r.whole, r.key = r.value || o.value, r.whole || o.whole, r.key || o.key
}

// perKey tells whether it can differ between the keys of one event.
func (r reads) perKey() bool { return r.value || r.key }

// program is what the expressions of one projection have in common while they are compiled.
type program struct {
	shape *shape
	event *schema // declared by `event:`, or unknown
	lets  map[string]*let
	names []string // of the lets, sorted: their slots
}

// compiler turns the syntax tree of one expression into code.
type compiler struct {
	program *program
	source  *source
	reads   reads
	noValue bool // a key can't depend on the value that it picks
	noKey   bool
	nodes   int
	locals  []local
	items   []*schema // of the predicates around
	faults  []error
}

type local struct {
	name   string
	schema *schema
}

// errCut ends the compilation of an expression whose fault has been noted.
var errCut = errors.New("cut")

// compile parses, checks and compiles an expression.
func (p *program) compile(src *source, where usage) (*compiled, error) {
	if err := checkText(src); err != nil {
		return nil, err
	}
	tree, err := parser.Parse(src.text)
	if err != nil {
		return nil, syntaxFault(src, err)
	}
	c := &compiler{program: p, source: src, noValue: where == usageKey, noKey: where == usageKey}
	out, ok := c.compileRoot(tree.Node)
	if !ok {
		return nil, errors.Join(c.faults...)
	}
	out.reads, out.at = c.reads, spot{src, 0}
	return &out, nil
}

// usage says where an expression stands.
type usage int

const (
	usageAny usage = iota
	usageKey
)

func checkText(src *source) error {
	at := spot{src, 0}
	switch {
	case strings.TrimSpace(src.text) == "":
		return at.fault("the expression is empty")
	case isDate(src.text):
		return at.fault("this is the number %s, as a subtraction: if a text is meant, YAML takes the quotes away; write '%q'",
			strings.ReplaceAll(src.text, "-", " - "), src.text)
	case len(src.text) > maxExpression:
		return (spot{&source{file: src.file, line: src.line, column: src.column, indent: -1}, 0}).fault(
			"the expression has %d bytes, over the limit of %d: split it with let", len(src.text), maxExpression)
	case !utf8.ValidString(src.text):
		return at.fault("the expression is not UTF-8")
	}
	return nil
}

// isDate tells a bare date, such as 2026-11-23.
func isDate(s string) bool {
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}

func syntaxFault(src *source, err error) error {
	var e *exprfile.Error
	if !errors.As(err, &e) {
		return spot{src, 0}.fault("%v", err)
	}
	message := e.Message
	if strings.Contains(message, "unexpected token EOF") {
		message = "the expression ends too early"
	}
	if bareWords(src.text, languageNames) {
		message += fmt.Sprintf("; if a text is meant, YAML takes the quotes away: write '%q'", src.text)
	}
	if src.comma && strings.Count(src.text, "(")+strings.Count(src.text, "[") > strings.Count(src.text, ")")+strings.Count(src.text, "]") {
		message += "; within {…} and […] YAML ends it at the comma: put quotes around the whole expression"
	}
	if src.cut {
		message += "; YAML has cut it off at \" #\", which begins a comment: put quotes around the whole expression"
	}
	return spot{src, e.From}.fault("%s", message)
}

func (c *compiler) compileRoot(n ast.Node) (out compiled, ok bool) {
	defer func() {
		if r := recover(); r != nil {
			if r != errCut { // thrown by this package alone
				panic(r)
			}
			ok = false
		}
	}()
	out = c.compile(n)
	return out, len(c.faults) == 0
}

// at is the spot of a node.
func (c *compiler) at(n ast.Node) spot { return spot{c.source, n.Location().From} }

// fault notes an error and goes on: one run shows them all.
func (c *compiler) fault(at spot, format string, args ...any) compiled {
	c.faults = append(c.faults, at.fault(format, args...))
	return compiled{run: func(*frame) value { return failed() }, schema: unknown, text: "?"}
}

func (c *compiler) compile(n ast.Node) compiled {
	c.nodes++
	if c.nodes > maxNodes {
		c.fault(spot{c.source, 0}, "the expression has more than %d nodes: split it with let", maxNodes)
		panic(errCut)
	}
	switch n := n.(type) {
	case *ast.NilNode:
		return constant(value{}, "nil")
	case *ast.BoolNode:
		return constant(ofBool(n.Value), fmt.Sprint(n.Value))
	case *ast.IntegerNode:
		return constant(ofInt(int64(n.Value)), fmt.Sprint(n.Value))
	case *ast.FloatNode:
		return c.floatLiteral(n)
	case *ast.StringNode:
		return c.textLiteral(n)
	case *ast.IdentifierNode:
		return c.identifier(n)
	case *ast.PointerNode:
		return c.pointer(n)
	case *ast.ChainNode:
		return c.compile(n.Node)
	case *ast.MemberNode:
		return c.member(n)
	case *ast.SliceNode:
		return c.slice(n)
	case *ast.UnaryNode:
		return c.unary(n)
	case *ast.BinaryNode:
		return c.binary(n)
	case *ast.ConditionalNode:
		return c.conditional(n)
	case *ast.VariableDeclaratorNode:
		return c.local(n)
	case *ast.ArrayNode:
		return c.array(n)
	case *ast.MapNode:
		return c.mapping(n)
	case *ast.BuiltinNode:
		return c.call(n, n.Name, n.Arguments)
	case *ast.CallNode:
		if callee, ok := n.Callee.(*ast.IdentifierNode); ok {
			return c.call(n, callee.Value, n.Arguments)
		}
		return c.fault(c.at(n), "values have no methods: write a function, such as upper(x) for x.upper()")
	case *ast.SequenceNode:
		return c.fault(c.at(n), "several expressions with ';': only the last would count; write one")
	case *ast.BytesNode:
		return c.fault(c.at(n), "there are no bytes here: write a text, \"…\"")
	}
	return c.fault(c.at(n), "this is not part of the language (%T)", n)
}

// pointer compiles #, .field's list item, #index and #acc.
func (c *compiler) pointer(n *ast.PointerNode) compiled {
	depth := len(c.items) - 1
	if depth < 0 {
		return c.fault(c.at(n), "# stands outside of a predicate")
	}
	switch n.Name {
	case "":
		return compiled{run: func(f *frame) value { return f.scopes[depth].item }, schema: c.items[depth], text: "#"}
	case "index":
		return compiled{run: func(f *frame) value { return ofInt(f.scopes[depth].index) }, schema: known(anInt), text: "#index"}
	case "acc":
		return compiled{run: func(f *frame) value { return f.scopes[depth].total }, schema: unknown, text: "#acc"}
	}
	return c.fault(c.at(n), "unknown pointer #%s: there are #, #index and, in reduce, #acc", n.Name)
}

// conditional compiles a ? b : c and if a { b } else { c }.
func (c *compiler) conditional(n *ast.ConditionalNode) compiled {
	cond, then, otherwise := c.compile(n.Cond), c.compile(n.Exp1), c.compile(n.Exp2)
	at := c.at(n.Cond)
	c.want(at, cond, aBool, "a condition")
	return compiled{
		schema: &schema{kinds: then.schema.kinds | otherwise.schema.kinds},
		text:   fmt.Sprintf("(%s ? %s : %s)", cond.text, then.text, otherwise.text),
		run: func(f *frame) value {
			switch v := cond.run(f); {
			case v.kind() == boolean && v.bool():
				return then.run(f)
			case v.kind() == boolean:
				return otherwise.run(f)
			default:
				return f.notBool(at, v, "a condition", cond.text)
			}
		}}
}

// want notes a fault where what is known of an operand rules out all that is needed.
func (c *compiler) want(at spot, x compiled, need kinds, what string) {
	if x.schema.kinds&need == 0 {
		c.fault(at, "mismatched types: %s needs %v, but %s is %v", what, need, x.text, x.schema.kinds)
	}
}

func (f *frame) notBool(at spot, v value, what, of string) value {
	switch v.kind() {
	case bad:
		return v
	case null:
		return f.fail(at, "%s needs a bool, but %s is nil: write (%s ?? false)", what, of, of)
	}
	return f.fail(at, "%s needs a bool, but %s is %v", what, of, v.kind())
}
