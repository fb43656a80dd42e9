package declared

import (
	"strings"

	"github.com/expr-lang/expr/ast"
)

func (c *compiler) unary(n *ast.UnaryNode) compiled {
	at := c.at(n)
	x := c.compile(n.Node)
	switch n.Operator {
	case "not", "!":
		c.want(at, x, aBool, "not")
		return compiled{schema: known(aBool), text: "(not " + x.text + ")", run: func(f *frame) value {
			v := x.run(f)
			if v.kind() != boolean {
				return f.notBool(at, v, "not", x.text)
			}
			return ofBool(!v.bool())
		}}
	case "-", "+":
		c.want(at, x, aNumber, n.Operator)
		minus := n.Operator == "-"
		return compiled{schema: &schema{kinds: x.schema.kinds & aNumber}, text: "(" + n.Operator + x.text + ")", run: func(f *frame) value {
			switch v := x.run(f); {
			case v.kind() == integer && !minus:
				return ofInt(v.int())
			case v.kind() == float && !minus:
				return ofFloat(v.float())
			case v.kind() == integer:
				negative, ok := subInt(0, v.int())
				if !ok {
					return f.fail(at, "overflow: -(%d) is beyond 64 bits", quote(v.int()))
				}
				return ofInt(negative)
			case v.kind() == float:
				return ofFloat(-v.float())
			default:
				return f.mismatch(at, n.Operator, v, v, x.text, x.text, "numbers")
			}
		}}
	}
	return c.fault(at, "the operator %s is not part of the language", n.Operator)
}

func (c *compiler) binary(n *ast.BinaryNode) compiled {
	at := c.at(n)
	if n.Operator == "matches" {
		return c.matches(n)
	}
	a, b := c.compile(n.Left), c.compile(n.Right)
	join := func(op string) string { return "(" + a.text + " " + op + " " + b.text + ")" }
	switch n.Operator {
	case "and", "&&":
		return c.logic(at, a, b, join("and"), "and", false)
	case "or", "||":
		return c.logic(at, a, b, join("or"), "or", true)
	case "??":
		return compiled{schema: &schema{kinds: a.schema.kinds&^aNil | b.schema.kinds}, text: join("??"), run: func(f *frame) value {
			if v := a.run(f); v.kind() != null {
				return v
			}
			return b.run(f)
		}}
	case "==", "!=":
		return c.equality(at, a, b, join(n.Operator), n.Operator == "==")
	case "<", "<=", ">", ">=":
		return c.ordering(at, a, b, n.Operator, join(n.Operator))
	case "+":
		return c.plus(at, a, b, join("+"))
	case "-":
		return c.arithmetic(at, a, b, "-", join("-"), subInt, func(x, y float64) float64 { return x - y })
	case "*":
		return c.arithmetic(at, a, b, "*", join("*"), mulInt, func(x, y float64) float64 { return float64(x * y) })
	case "/":
		return c.divide(at, a, b, join("/"))
	case "%":
		return c.remainder(at, a, b, join("%"))
	case "**", "^":
		return c.power(at, a, b, join("**"))
	case "in":
		return c.contained(at, a, b, join("in"))
	case "..":
		return c.rangeOf(at, a, b, join(".."))
	case "contains":
		return c.textTest(at, a, b, n.Operator, join(n.Operator), strings.Contains)
	case "startsWith":
		return c.textTest(at, a, b, n.Operator, join(n.Operator), strings.HasPrefix)
	case "endsWith":
		return c.textTest(at, a, b, n.Operator, join(n.Operator), strings.HasSuffix)
	}
	return c.fault(at, "the operator %s is not part of the language", n.Operator)
}

// both evaluates two operands; false where one failed.
func both(f *frame, a, b code) (x, y value, ok bool) {
	if x = a(f); x.kind() == bad {
		return x, y, false
	}
	y = b(f)
	return x, y, y.kind() != bad
}

// mismatch is the failure of an operator on operands that it is not made for.
func (f *frame) mismatch(at spot, op string, x, y value, xText, yText, need string) value {
	switch {
	case x.kind() == bad || y.kind() == bad:
		return failed()
	case x.kind() == null:
		return f.fail(at, "%s on nil: %s is nil; write (%s ?? 0), or another value that fits", op, xText, xText)
	case y.kind() == null:
		return f.fail(at, "%s on nil: %s is nil; write (%s ?? 0), or another value that fits", op, yText, yText)
	case x.kind() == dict && xText == "value":
		return f.fail(at, "%s needs %s, but value is a map: a new key starts as {} unless seed says otherwise, such as seed: 0", op, need)
	case xText == yText:
		return f.fail(at, "%s needs %s, but %s is %v", op, need, xText, x.kind())
	}
	return f.fail(at, "%s needs %s, but %s is %v and %s is %v", op, need, xText, x.kind(), yText, y.kind())
}

func (c *compiler) logic(at spot, a, b compiled, text, op string, decisive bool) compiled {
	c.want(at, a, aBool, op)
	c.want(at, b, aBool, op)
	return compiled{schema: known(aBool), text: text, run: func(f *frame) value {
		x := a.run(f)
		if x.kind() != boolean {
			return f.notBool(at, x, op, a.text)
		}
		if x.bool() == decisive {
			return x
		}
		y := b.run(f)
		if y.kind() != boolean {
			return f.notBool(at, y, op, b.text)
		}
		return y
	}}
}

// plus adds numbers and joins texts.
func (c *compiler) plus(at spot, a, b compiled, text string) compiled {
	const need = "two numbers or two texts"
	numbers := c.arithmetic(at, a, b, "+", text, addInt, func(x, y float64) float64 { return x + y })
	x, y := a.schema.kinds&(aNumber|aText), b.schema.kinds&(aNumber|aText)
	c.wantPair(at, a, b, aNumber|aText, "+", need)
	if x == aText && y&aText == 0 || y == aText && x&aText == 0 {
		c.fault(at, "mismatched types: + needs %s, but %s is %v and %s is %v: write text(…) around the number", need, a.text, a.schema.kinds, b.text, b.schema.kinds)
	}
	return compiled{schema: &schema{kinds: numbers.schema.kinds&aNumber | x&y&aText}, text: text, run: func(f *frame) value {
		x, y, ok := both(f, a.run, b.run)
		switch {
		case !ok:
			return failed()
		case x.kind() == integer && y.kind() == integer:
			sum, ok := addInt(x.int(), y.int())
			if !ok {
				return f.overflow(at, "+", x, y)
			}
			return ofInt(sum)
		case x.isNumber() && y.isNumber():
			return f.newFloat(at, asFloat(x)+asFloat(y))
		case x.kind() == kindText && y.kind() == kindText:
			if !f.spendText(at, int(x.size())+int(y.size())) {
				return failed()
			}
			return f.newText(at, x.str()+y.str())
		}
		return f.mismatch(at, "+", x, y, a.text, b.text, need)
	}}
}

func (f *frame) overflow(at spot, op string, x, y value) value {
	return f.fail(at, "overflow: %d %s %d is beyond 64 bits", quote(x.int()), op, quote(y.int()))
}

func (c *compiler) wantPair(at spot, a, b compiled, need kinds, op, what string) {
	for _, x := range []compiled{a, b} {
		if x.schema.kinds&need == 0 {
			c.fault(at, "mismatched types: %s needs %s, but %s is %v", op, what, x.text, x.schema.kinds)
		}
	}
}

// arithmetic is exact on two ints and float64 otherwise. The float results pass through a call each, and products
// through a conversion, so that no processor fuses a multiplication with an addition.
func (c *compiler) arithmetic(at spot, a, b compiled, op, text string, ints func(x, y int64) (int64, bool), floats func(x, y float64) float64) compiled {
	result := aFloat
	if a.schema.kinds&anInt != 0 && b.schema.kinds&anInt != 0 {
		result = aNumber
	}
	if a.schema.kinds == anInt && b.schema.kinds == anInt {
		result = anInt
	}
	if op != "+" {
		c.wantPair(at, a, b, aNumber, op, "two numbers")
	}
	return compiled{schema: known(result), text: text, run: func(f *frame) value {
		x, y, ok := both(f, a.run, b.run)
		switch {
		case !ok:
			return failed()
		case x.kind() == integer && y.kind() == integer:
			n, ok := ints(x.int(), y.int())
			if !ok {
				return f.overflow(at, op, x, y)
			}
			return ofInt(n)
		case x.isNumber() && y.isNumber():
			return f.newFloat(at, floats(asFloat(x), asFloat(y)))
		}
		return f.mismatch(at, op, x, y, a.text, b.text, "two numbers")
	}}
}

func (c *compiler) divide(at spot, a, b compiled, text string) compiled {
	c.wantPair(at, a, b, aNumber, "/", "two numbers")
	return compiled{schema: known(aFloat), text: text, run: func(f *frame) value {
		x, y, ok := both(f, a.run, b.run)
		if !ok || !x.isNumber() || !y.isNumber() {
			return f.mismatch(at, "/", x, y, a.text, b.text, "two numbers")
		}
		divisor := asFloat(y)
		if divisor == 0 {
			return f.fail(at, "division by zero: %s is 0", b.text)
		}
		return f.newFloat(at, asFloat(x)/divisor)
	}}
}

func (c *compiler) remainder(at spot, a, b compiled, text string) compiled {
	c.wantPair(at, a, b, anInt, "%", "two ints")
	return compiled{schema: known(anInt), text: text, run: func(f *frame) value {
		x, y, ok := both(f, a.run, b.run)
		if !ok || x.kind() != integer || y.kind() != integer {
			return f.mismatch(at, "%", x, y, a.text, b.text, "two ints")
		}
		if y.int() == 0 {
			return f.fail(at, "division by zero: %s is 0", b.text)
		}
		return ofInt(x.int() % y.int())
	}}
}

// power takes whole exponents only: others have results that differ between processors.
func (c *compiler) power(at spot, a, b compiled, text string) compiled {
	c.wantPair(at, a, b, aNumber, "**", "two numbers")
	return compiled{schema: known(aNumber), text: text, run: func(f *frame) value {
		x, y, ok := both(f, a.run, b.run)
		if !ok || !x.isNumber() || !y.isNumber() {
			return f.mismatch(at, "**", x, y, a.text, b.text, "two numbers")
		}
		if y.kind() != integer || y.int() < 0 || y.int() > 1024 {
			return f.fail(at, "** takes an int from 0 to 1024 as its exponent: other powers are not the same on every processor")
		}
		if x.kind() == integer {
			n, ok := powInt(x.int(), y.int())
			if !ok {
				return f.overflow(at, "**", x, y)
			}
			return ofInt(n)
		}
		result := 1.0
		for range y.int() {
			result = float64(result * x.float())
		}
		return f.newFloat(at, result)
	}}
}

func (c *compiler) rangeOf(at spot, a, b compiled, text string) compiled {
	c.wantPair(at, a, b, anInt, "..", "two ints")
	return compiled{schema: known(aList), text: text, run: func(f *frame) value {
		x, y, ok := both(f, a.run, b.run)
		if !ok || x.kind() != integer || y.kind() != integer {
			return f.mismatch(at, "..", x, y, a.text, b.text, "two ints")
		}
		if y.int() < x.int() {
			return ofList(nil)
		}
		n, fits := subInt(y.int(), x.int())
		if !fits || n >= maxItems {
			return f.fail(at, "the list has more than %d items", maxItems)
		}
		if !f.spend(at, int(n)+1) {
			return failed()
		}
		items := make([]value, n+1)
		for i := range items {
			items[i] = ofInt(x.int() + int64(i))
		}
		return f.newList(at, items)
	}}
}
