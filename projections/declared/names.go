package declared

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
)

// let is a named expression.
type let struct {
	source   *source
	slot     int
	compiled *compiled
	err      error
	open     bool // being compiled: meeting it again is a circle
}

// identifier compiles a name on its own.
func (c *compiler) identifier(n *ast.IdentifierNode) compiled {
	for i, l := range slices.Backward(c.locals) {
		if l.name == n.Value {
			return compiled{run: func(f *frame) value { return f.locals[i] }, schema: l.schema, text: fmt.Sprintf("$%d", i)}
		}
	}
	at := c.at(n)
	switch n.Value {
	case "event":
		return c.path(n, nil)
	case "value":
		c.readsValue(at)
		c.reads.whole = true
		return compiled{run: func(f *frame) value { return f.state }, schema: unknown, text: "value"}
	case "key":
		if c.noKey {
			return c.fault(at, "key is not known yet here: this expression computes it")
		}
		c.reads.key = true
		return compiled{run: func(f *frame) value { return ofText(f.key) }, schema: known(aText), text: "key"}
	case "seq":
		return compiled{run: func(f *frame) value { return ofInt(int64(f.event.Seq)) }, schema: known(anInt), text: "seq"}
	case "subject":
		return compiled{run: func(f *frame) value { return f.outside(at, "the subject", f.event.Subject) }, schema: known(aText), text: "subject"}
	case "time":
		return compiled{run: func(f *frame) value { return ofText(f.timeText()) }, schema: known(aText), text: "time"}
	}
	if l, ok := c.program.lets[n.Value]; ok {
		return c.let(at, n.Value, l)
	}
	return c.fault(at, "%s", c.unknownName(n.Value))
}

func (c *compiler) readsValue(at spot) {
	if c.noValue {
		c.fault(at, "a key can't depend on value: the key says which value it is")
	}
	c.reads.value = true
}

// unknownName is the message for a name that does not exist, with the cure.
func (c *compiler) unknownName(name string) string {
	names := slices.Concat(languageNames, c.program.names)
	for _, l := range c.locals {
		names = append(names, l.name)
	}
	switch {
	case name == "null" || name == "None" || name == "undefined":
		return fmt.Sprintf("unknown name %s: it is nil here", name)
	case bareWords(c.source.text, names) && functions[name] == nil && predicates[name] == nil:
		message := fmt.Sprintf("unknown name %s: if a text is meant, YAML takes the quotes away; write '%q'", name, c.source.text)
		if near := nearest(name, names); near != "" {
			message += fmt.Sprintf(" (or did you mean %s?)", near)
		}
		return message
	}
	if near := nearest(name, names); near != "" {
		return fmt.Sprintf("unknown name %s: did you mean %s?", name, near)
	}
	if functions[name] != nil || predicates[name] != nil {
		return fmt.Sprintf("%s is a function: call it, %s(…)", name, name)
	}
	return fmt.Sprintf("unknown name %s: the names are %s; a field of the event is event.%s, a text is \"%s\"", name, strings.Join(names, ", "), name, name)
}

// bareWords tells a text that somebody forgot to quote twice: words with spaces or dashes between, none of them a name.
func bareWords(s string, names []string) bool {
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '-' })
	for _, word := range words {
		if slices.Contains(names, word) || !isWord(word) || strings.Contains("0123456789", word[:1]) && len(words) == 1 {
			return false
		}
	}
	return len(words) > 0
}

func isWord(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// outside is a text that comes from the log beside the event's data: it may be anything.
func (f *frame) outside(at spot, what, s string) value {
	if !utf8.ValidString(s) {
		return f.fail(at, "%s is not UTF-8", what)
	}
	return lentText(s)
}

// let compiles the use of a named expression: computed at first use, once per event or once per key.
func (c *compiler) let(at spot, name string, l *let) compiled {
	if l.open {
		return c.fault(at, "let %s needs itself to be computed", name)
	}
	c.program.finish(l)
	if l.compiled.reads.value {
		c.readsValue(at)
	}
	if l.compiled.reads.key && c.noKey {
		return c.fault(at, "let %s reads key, which is not known yet here: this expression computes it", name)
	}
	c.reads.add(l.compiled.reads)
	slot, run := l.slot, l.compiled.run
	turn := func(f *frame) uint64 { return f.eventTurn }
	if l.compiled.reads.perKey() {
		turn = func(f *frame) uint64 { return f.keyTurn }
	}
	return compiled{schema: l.compiled.schema, text: name, run: func(f *frame) value {
		if now := turn(f); f.letAt[slot] != now {
			f.lets[slot] = run(f)
			f.letAt[slot] = now
		}
		return f.lets[slot]
	}}
}

// finish compiles a let unless it is. One with faults, which are reported where it is declared, stands for anything.
func (p *program) finish(l *let) {
	if l.compiled != nil {
		return
	}
	l.open = true
	if l.compiled, l.err = p.compile(l.source, usageAny); l.err != nil {
		l.compiled = &compiled{run: func(*frame) value { return failed() }, schema: unknown}
	}
	l.open = false
}

// local compiles let x = …; … within an expression.
func (c *compiler) local(n *ast.VariableDeclaratorNode) compiled {
	if slices.Contains(languageNames, n.Name) {
		c.fault(c.at(n), "%s is a name of the language: call it something else", n.Name)
	}
	v := c.compile(n.Value)
	slot := len(c.locals)
	if slot >= maxLocals {
		return c.fault(c.at(n), "more than %d names within one expression", maxLocals)
	}
	c.locals = append(c.locals, local{n.Name, v.schema})
	body := c.compile(n.Expr)
	c.locals = c.locals[:slot]
	return compiled{schema: body.schema, text: fmt.Sprintf("(let $%d = %s; %s)", slot, v.text, body.text), run: func(f *frame) value {
		x := v.run(f)
		if x.kind() == bad {
			return x
		}
		f.locals[slot] = x
		return body.run(f)
	}}
}

const maxLocals = 16
