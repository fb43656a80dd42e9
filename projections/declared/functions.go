package declared

import (
	"fmt"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// function is one that takes values. Its arguments are checked against params (the last stands for all further ones)
// before it is called, so that it sees none that it is not made for.
type function struct {
	params   []kinds
	optional int   // how many of the last params may be left out
	variadic bool  // the last param may be repeated
	result   kinds // what it can return
	check    func(c *compiler, at spot, args []ast.Node)
	run      func(f *frame, at spot, args []value) value
}

// refused are functions of expr that can't be exact or the same at every replay, with what to write instead.
var refused = map[string]string{
	"now":      "there is no clock: use time, the log's time of the event, or a field of the event",
	"date":     "it reads the host's time zone: use ms(text) for comparing, bucket(text, \"1d\") for the day, text[0:10] for a part of it",
	"duration": "use minutes(n), or an int of milliseconds",
	"timezone": "zones differ by host: all times are UTC here",
	"string":   "use text(x)",
	"toJSON":   "keep the value itself: it is stored as JSON",
	"fromJSON": "publish the field as JSON, not as text in JSON, or write this projection in Go",
	"random":   "there is no randomness: a replay must give the same value",
	"rand":     "there is no randomness: a replay must give the same value",
	"uuid":     "there is no randomness: use seq, which is unique",
	"env":      "there is no environment: a replay must give the same value",
}

// call compiles a call of a function.
func (c *compiler) call(n ast.Node, name string, args []ast.Node) compiled {
	at := c.at(n)
	if why, ok := refused[name]; ok {
		return c.fault(at, "%s does not exist here: %s", name, why)
	}
	if p, ok := predicates[name]; ok {
		return c.predicate(at, name, p, args)
	}
	fn, ok := functions[name]
	if !ok {
		return c.fault(at, "%s", c.unknownFunction(name))
	}
	if len(args) < len(fn.params)-fn.optional || len(args) > len(fn.params) && !fn.variadic {
		return c.fault(at, "%s takes %s, but here are %d", name, fn.arity(), len(args))
	}
	faults := len(c.faults)
	runs, texts := make([]code, len(args)), make([]string, len(args))
	for i, arg := range args {
		x := c.compile(arg)
		c.want(c.at(arg), x, fn.param(i), name)
		runs[i], texts[i] = x.run, x.text
	}
	if fn.check != nil && len(c.faults) == faults {
		fn.check(c, at, args)
	}
	return compiled{schema: known(fn.result), text: name + "(" + strings.Join(texts, ", ") + ")", run: func(f *frame) value {
		base := len(f.args)
		for i, run := range runs {
			v := run(f)
			if !fn.param(i).has(v) {
				f.args = f.args[:base]
				return f.badArgument(at, name, fn.param(i), v, texts[i])
			}
			f.args = append(f.args, v)
		}
		v := fn.run(f, at, f.args[base:])
		f.args = f.args[:base]
		return v
	}}
}

func (fn *function) param(i int) kinds { return fn.params[min(i, len(fn.params)-1)] }

func (fn *function) arity() string {
	most := len(fn.params)
	switch least := most - fn.optional; {
	case fn.variadic:
		return fmt.Sprintf("%d or more arguments", least)
	case least == most && most == 1:
		return "1 argument"
	case least == most:
		return fmt.Sprintf("%d arguments", most)
	default:
		return fmt.Sprintf("%d to %d arguments", least, most)
	}
}

func (f *frame) badArgument(at spot, name string, need kinds, v value, of string) value {
	if v.kind() == bad {
		return v
	}
	if v.kind() == null {
		other := "0"
		switch {
		case need&aList != 0:
			other = "[]"
		case need&aMap != 0:
			other = "{}"
		case need&aText != 0:
			other = `""`
		}
		return f.fail(at, "%s of nil: %s is nil; write (%s ?? %s), or another value that fits", name, of, of, other)
	}
	return f.fail(at, "%s needs %v, but %s is %v", name, need, of, v.kind())
}

func (c *compiler) unknownFunction(name string) string {
	var names []string
	for n := range functions {
		names = append(names, n)
	}
	for n := range predicates {
		names = append(names, n)
	}
	if near := nearest(name, names); near != "" {
		return fmt.Sprintf("unknown function %s: did you mean %s?", name, near)
	}
	return fmt.Sprintf("unknown function %s", name)
}

// functions are all that take values; predicates.go has those that take an expression per item.
var functions = join(collectionFunctions, numberFunctions, textFunctions, eventFunctions)

func join(sets ...map[string]*function) map[string]*function {
	all := map[string]*function{}
	for _, set := range sets {
		for name, fn := range set {
			all[name] = fn
		}
	}
	return all
}

// params is a list of them, for reading.
func params(k ...kinds) []kinds { return k }
