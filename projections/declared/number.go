package declared

import (
	"cmp"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// addInt, subInt and mulInt tell whether the exact result fits 64 bits.
func addInt(a, b int64) (int64, bool) {
	c := a + b
	return c, (c > a) == (b > 0)
}

func subInt(a, b int64) (int64, bool) {
	c := a - b
	return c, (c < a) == (b > 0)
}

func mulInt(a, b int64) (int64, bool) {
	negative := (a < 0) != (b < 0)
	high, low := bits.Mul64(magnitude(a), magnitude(b))
	if high != 0 {
		return 0, false
	}
	if negative {
		return -int64(low), low <= 1<<63
	}
	return int64(low), low < 1<<63
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

// powInt is a to the n-th, n not negative and small.
func powInt(a, n int64) (int64, bool) {
	result, ok := int64(1), true
	for ; n > 0 && ok; n-- {
		result, ok = mulInt(result, a)
	}
	return result, ok
}

// finite is false for NaN and the infinities, which JSON can't hold.
func finite(x float64) bool { return x-x == 0 }

// asFloat is a number as a float64, rounded to nearest where an int has more than 53 bits.
func asFloat(v value) float64 {
	if v.kind() == integer {
		return float64(v.int())
	}
	return v.float()
}

// compareNumbers is exact, also between an int and a float: 9007199254740993 is greater than 9007199254740992.0.
func compareNumbers(a, b value) int {
	switch {
	case a.kind() == integer && b.kind() == integer:
		return cmp.Compare(a.int(), b.int())
	case a.kind() == float && b.kind() == float:
		return compareFloats(a.float(), b.float())
	case a.kind() == integer:
		return compareIntFloat(a.int(), b.float())
	}
	return -compareIntFloat(b.int(), a.float())
}

func compareFloats(a, b float64) int { // not cmp.Compare, for which -0 is less than 0
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func compareIntFloat(n int64, x float64) int {
	switch {
	case x >= 1<<63:
		return -1
	case x < -1<<63:
		return 1
	}
	whole := math.Trunc(x) // fits an int64 now, exactly
	if c := cmp.Compare(n, int64(whole)); c != 0 {
		return c
	}
	return compareFloats(whole, x)
}

// truncate is a float's integer part, false where it does not fit.
func truncate(x float64) (int64, bool) {
	if x >= 1<<63 || x < -1<<63 {
		return 0, false
	}
	return int64(x), true
}

// appendFloat writes the shortest text that reads back as the same float, and always with '.' or 'e': a 3.0 stored as
// 3 would come back as an int.
func appendFloat(b []byte, x float64) []byte {
	size := math.Abs(x)
	if size != 0 && (size < 1e-6 || size >= 1e21) {
		return strconv.AppendFloat(b, x, 'e', -1, 64)
	}
	start := len(b)
	b = strconv.AppendFloat(b, x, 'f', -1, 64)
	for _, c := range b[start:] {
		if c == '.' {
			return b
		}
	}
	return append(b, '.', '0')
}

// readNumber reads a JSON number: an int where it has neither '.' nor 'e', else a float. What says why it can't.
func readNumber(s string) (v value, what string) {
	if strings.ContainsAny(s, ".eE") {
		x, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return value{}, "is beyond what a float can hold"
		}
		return ofFloat(x), ""
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return value{}, "is beyond 64 bits"
	}
	return ofInt(n), ""
}

// scaleDecimal reads a decimal text (in the grammar of JSON numbers) as an exact int of 10^-digits.
func scaleDecimal(s string, digits int64) (n int64, what string) {
	if !isJSONNumber(s) {
		return 0, "is not a decimal number"
	}
	mantissa, shift := s, int64(0)
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa = s[:i]
		e, err := strconv.ParseInt(strings.TrimPrefix(s[i+1:], "+"), 10, 32)
		if err != nil {
			return 0, "has an exponent out of range"
		}
		shift = e
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	shift += digits - int64(len(fraction))
	var ok bool
	for _, c := range []byte(whole + fraction) { // does not escape: no allocation for usual lengths
		if c == '-' {
			continue
		}
		if n, ok = mulInt(n, 10); !ok {
			return 0, "is beyond 64 bits (overflow)"
		}
		if n, ok = subInt(n, int64(c-'0')); !ok { // negative all along: the range has one more there
			return 0, "is beyond 64 bits (overflow)"
		}
	}
	if n == 0 && shift >= 0 {
		return 0, ""
	}
	if shift < 0 {
		return 0, "has more decimals than asked for"
	}
	for ; shift > 0; shift-- {
		if n, ok = mulInt(n, 10); !ok {
			return 0, "is beyond 64 bits (overflow)"
		}
	}
	if !strings.HasPrefix(s, "-") {
		if n == math.MinInt64 {
			return 0, "is beyond 64 bits (overflow)"
		}
		n = -n
	}
	return n, ""
}

// isJSONNumber checks the grammar: -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func isJSONNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	whole := digits(s)
	if whole == 0 || whole > 1 && s[0] == '0' {
		return false
	}
	s = s[whole:]
	if strings.HasPrefix(s, ".") {
		n := digits(s[1:])
		if n == 0 {
			return false
		}
		s = s[1+n:]
	}
	if s != "" && (s[0] == 'e' || s[0] == 'E') {
		s = s[1:]
		if s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		n := digits(s)
		return n > 0 && n == len(s)
	}
	return s == ""
}

func digits(s string) int {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return i
		}
	}
	return len(s)
}
