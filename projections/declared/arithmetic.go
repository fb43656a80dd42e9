package declared

import (
	"math"
	"math/bits"
	"slices"
	"strconv"
)

// numberFunctions compute with numbers. int(), div() and scaled() give exact ints, or fail.
var numberFunctions = map[string]*function{
	"div":    {params: params(anInt|aNil, anInt|aNil), result: anInt, run: divide},
	"scaled": {params: params(aNumber|aText|aNil, anInt), result: anInt, run: scaled},
	"int":    {params: params(aNumber | aText), result: anInt, run: toInt},
	"float":  {params: params(aNumber | aText), result: aFloat, run: toFloat},
	"abs": {params: params(aNumber), result: aNumber, run: func(f *frame, at spot, args []value) value {
		if args[0].kind() == float {
			return ofFloat(math.Abs(args[0].float()))
		}
		if args[0].int() == math.MinInt64 {
			return f.fail(at, "overflow: abs(%d) is beyond 64 bits", quote(args[0].int()))
		}
		return ofInt(int64(magnitude(args[0].int())))
	}},
	"ceil":   rounding(math.Ceil),
	"floor":  rounding(math.Floor),
	"round":  rounding(math.Round),
	"max":    {params: params(aNumber | aList), variadic: true, result: aNumber | aNil, run: extreme("max", 1)},
	"min":    {params: params(aNumber | aList), variadic: true, result: aNumber | aNil, run: extreme("min", -1)},
	"mean":   {params: params(aNumber | aList), variadic: true, result: aFloat, run: mean},
	"median": {params: params(aNumber | aList), variadic: true, result: aFloat, run: median},

	"bitand":  bitwise(func(a, b int64) int64 { return a & b }),
	"bitor":   bitwise(func(a, b int64) int64 { return a | b }),
	"bitxor":  bitwise(func(a, b int64) int64 { return a ^ b }),
	"bitnand": bitwise(func(a, b int64) int64 { return a &^ b }),
	"bitnot": {params: params(anInt), result: anInt, run: func(_ *frame, _ spot, args []value) value {
		return ofInt(^args[0].int())
	}},
	"bitshl": shift(func(n int64, by uint) (int64, bool) {
		return n << by, bits.LeadingZeros64(magnitude(n)) > int(by)
	}),
	"bitshr":  shift(func(n int64, by uint) (int64, bool) { return n >> by, true }),
	"bitushr": shift(func(n int64, by uint) (int64, bool) { return int64(uint64(n) >> by), true }),
}

func divide(f *frame, at spot, args []value) value {
	a, b := args[0], args[1]
	if a.kind() == null || b.kind() == null {
		return f.fail(at, "div on nil: write (… ?? 0), or another value that fits")
	}
	if b.int() == 0 {
		return f.fail(at, "division by zero in div")
	}
	if a.int() == math.MinInt64 && b.int() == -1 {
		return f.fail(at, "overflow: div(%d, -1) is beyond 64 bits", quote(a.int()))
	}
	return ofInt(a.int() / b.int())
}

// scaled reads a decimal's own text, so that no digit passes through a float.
func scaled(f *frame, at spot, args []value) value {
	x, n := args[0], args[1].int()
	if n < 0 || n > 18 {
		return f.fail(at, "scaled takes from 0 to 18 decimals, not %d", quote(n))
	}
	var s string
	switch {
	case x.kind() == null:
		return f.fail(at, "scaled of nil: write scaled(… ?? 0, %d), or filter such events out with when", n)
	case x.kind() == text || x.size() > 0:
		s = x.str()
	case x.kind() == integer:
		s = strconv.FormatInt(x.int(), 10)
	default:
		return f.fail(at, "scaled reads a number's text from the event; this float was computed or stored, and its text is lost: keep scaled ints in value")
	}
	if len(s) > 400 {
		return f.fail(at, "scaled takes a number of at most 400 characters")
	}
	result, what := scaleDecimal(s, n)
	if what != "" {
		return f.fail(at, "scaled(%s, %d): it %s", quote(shorten(s, 60)), n, what)
	}
	return ofInt(result)
}

func toInt(f *frame, at spot, args []value) value {
	switch x := args[0]; x.kind() {
	case integer:
		return ofInt(x.int())
	case float:
		n, ok := truncate(x.float())
		if !ok {
			return f.fail(at, "overflow: int(%s) is beyond 64 bits", quote(appendFloat(nil, x.float())))
		}
		return ofInt(n)
	default:
		if !f.spendText(at, int(x.size())) {
			return failed()
		}
		n, err := strconv.ParseInt(x.str(), 10, 64)
		if err != nil {
			return f.fail(at, "int(%q): it is not the decimal text of an int within 64 bits", quote(shorten(x.str(), 60)))
		}
		return ofInt(n)
	}
}

func toFloat(f *frame, at spot, args []value) value {
	x := args[0]
	if x.kind() != text {
		return ofFloat(asFloat(x))
	}
	if !f.spendText(at, int(x.size())) {
		return failed()
	}
	if !isJSONNumber(x.str()) {
		return f.fail(at, "float(%q): it is not a decimal number", quote(shorten(x.str(), 60)))
	}
	n, err := strconv.ParseFloat(x.str(), 64)
	if err != nil {
		return f.fail(at, "float(%q): it is beyond what a float can hold", quote(shorten(x.str(), 60)))
	}
	return ofFloat(n)
}

// rounding makes a function from numbers to whole floats; int(round(x)) is an int.
func rounding(round func(float64) float64) *function {
	return &function{params: params(aNumber), result: aFloat, run: func(_ *frame, _ spot, args []value) value {
		return ofFloat(round(asFloat(args[0])))
	}}
}

func bitwise(op func(a, b int64) int64) *function {
	return &function{params: params(anInt, anInt), result: anInt, run: func(_ *frame, _ spot, args []value) value {
		return ofInt(op(args[0].int(), args[1].int()))
	}}
}

func shift(op func(n int64, by uint) (int64, bool)) *function {
	return &function{params: params(anInt, anInt), result: anInt, run: func(f *frame, at spot, args []value) value {
		by := args[1].int()
		if by < 0 || by > 63 {
			return f.fail(at, "a shift is by 0 to 63 bits, not %d", quote(by))
		}
		n, ok := op(args[0].int(), uint(by))
		if !ok {
			return f.fail(at, "overflow: the shifted int is beyond 64 bits")
		}
		return ofInt(n)
	}}
}

// numbers visits all numbers in the arguments, also those in lists; false where one is not a number.
func (f *frame) numbers(at spot, name string, args []value, visit func(value)) bool {
	for _, x := range args {
		if !f.spend(at, 1) {
			return false
		}
		switch {
		case x.isNumber():
			visit(x)
		case x.kind() == list:
			if !f.numbers(at, name, x.items(), visit) {
				return false
			}
		case x.kind() == null:
			f.fail(at, "%s of nil: write (… ?? 0), or filter such items out", name)
			return false
		default:
			f.fail(at, "%s takes numbers and lists of them, not %v", name, x.kind())
			return false
		}
	}
	return true
}

// extreme is the highest (sign 1) or lowest number, the first among equals; nil if there is none.
func extreme(name string, sign int) func(f *frame, at spot, args []value) value {
	return func(f *frame, at spot, args []value) value {
		var best value
		if !f.numbers(at, name, args, func(x value) {
			if best.kind() == null || sign*compareNumbers(x, best) > 0 {
				best = x
			}
		}) {
			return failed()
		}
		return best.bare()
	}
}

func mean(f *frame, at spot, args []value) value {
	total, n := 0.0, 0
	if !f.numbers(at, "mean", args, func(x value) { total, n = total+asFloat(x), n+1 }) {
		return failed()
	}
	if n == 0 {
		return ofFloat(0)
	}
	return f.newFloat(at, total/float64(n))
}

func median(f *frame, at spot, args []value) value {
	var all []float64
	if !f.numbers(at, "median", args, func(x value) { all = append(all, asFloat(x)) }) {
		return failed()
	}
	if len(all) == 0 {
		return ofFloat(0)
	}
	slices.Sort(all)
	middle := len(all) / 2
	if len(all)%2 == 1 {
		return ofFloat(all[middle])
	}
	return f.newFloat(at, (all[middle-1]+all[middle])/2)
}
