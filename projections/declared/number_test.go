package declared

import (
	"math"
	"math/big"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// anInt64 draws ints with a liking for the edges.
func anInt64() *rapid.Generator[int64] {
	return rapid.OneOf(rapid.Int64(), rapid.Int64Range(-10, 10),
		rapid.SampledFrom([]int64{math.MaxInt64, math.MinInt64, math.MaxInt64 - 1, math.MinInt64 + 1, 1 << 53, 1<<53 + 1, 1 << 31, 1 << 32, 3037000500}))
}

func aFloat64() *rapid.Generator[float64] {
	return rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 3, 1e21, 1e-7, 1 << 53, 1 << 63, -1 << 63, math.MaxFloat64, math.SmallestNonzeroFloat64}),
		rapid.Map(anInt64(), func(n int64) float64 { return float64(n) }))
}

func TestIntArithmeticIsExactOrRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anInt64().Draw(t, "a"), anInt64().Draw(t, "b")
		check := func(op string, n int64, ok bool, exact *big.Int) {
			if ok != exact.IsInt64() || ok && n != exact.Int64() {
				t.Fatalf("%d %s %d = %d, %v, want %v", a, op, b, n, ok, exact)
			}
		}
		x, y := big.NewInt(a), big.NewInt(b)
		n, ok := addInt(a, b)
		check("+", n, ok, new(big.Int).Add(x, y))
		n, ok = subInt(a, b)
		check("-", n, ok, new(big.Int).Sub(x, y))
		n, ok = mulInt(a, b)
		check("*", n, ok, new(big.Int).Mul(x, y))
		power := rapid.Int64Range(0, 70).Draw(t, "power")
		n, ok = powInt(a, power)
		check("**", n, ok, new(big.Int).Exp(x, big.NewInt(power), nil))
	})
}

func TestIntsAndFloatsCompareExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, x := anInt64().Draw(t, "n"), aFloat64().Draw(t, "x")
		want := new(big.Float).SetInt64(n).Cmp(big.NewFloat(x))
		if got := compareNumbers(ofInt(n), ofFloat(x)); got != want {
			t.Fatalf("compare(%d, %v) = %d, want %d", n, x, got, want)
		}
		if got := compareNumbers(ofFloat(x), ofInt(n)); got != -want {
			t.Fatalf("compare(%v, %d) = %d, want %d", x, n, got, -want)
		}
	})
}

func TestFloatsReadBackAsTheSameFloat(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := aFloat64().Draw(t, "x")
		s := string(appendFloat(nil, x))
		v, what := readNumber(s)
		if what != "" || v.kind() != float || v.bits != math.Float64bits(x) || !isJSONNumber(s) {
			t.Fatalf("%v is written %s and read as %v %v (%s)", x, s, v.kind(), v.float(), what)
		}
	})
}

func TestScaledIsExactOrRefused(t *testing.T) {
	number := rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,6})?([eE][+-]?[0-9]{1,2})?`)
	rapid.Check(t, func(t *rapid.T) {
		s, digits := number.Draw(t, "s"), rapid.Int64Range(0, 18).Draw(t, "digits")
		exact, ok := new(big.Rat).SetString(s)
		if !ok {
			t.Fatalf("%s is no number to math/big", s)
		}
		exact.Mul(exact, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(digits), nil)))
		n, what := scaleDecimal(s, digits)
		switch {
		case what == "" && (!exact.IsInt() || !exact.Num().IsInt64() || exact.Num().Int64() != n):
			t.Fatalf("scaled(%s, %d) = %d, want %v", s, digits, n, exact)
		case what != "" && exact.IsInt() && exact.Num().IsInt64() && what != "has more decimals than asked for":
			t.Fatalf("scaled(%s, %d) is refused (%s), but is %v", s, digits, what, exact)
		}
	})
}

func TestJSONNumbersAreToldFromOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[-+]?[0-9]{0,3}\.?[0-9]{0,2}([eE][+-]?[0-9]{0,2})?`).Draw(t, "s")
		_, err := read([]byte(s))
		if isJSONNumber(s) != (err == nil) {
			t.Fatalf("isJSONNumber(%q) = %v, but jsontext says %v", s, isJSONNumber(s), err)
		}
	})
}

func TestTimesAreReadAsTheTimePackageReadsThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sec := rapid.Int64Range(minTime/1000, maxTime/1000).Draw(t, "sec")
		nano := rapid.Int64Range(0, 999_999_999).Draw(t, "nano")
		at := time.Unix(sec, nano).In(time.FixedZone("", 60*rapid.IntRange(-720, 840).Draw(t, "zone")))
		if y := at.Year(); y < 0 || y > 9999 {
			return
		}
		s := at.Format(time.RFC3339Nano)
		ms, ok := parseTime(s)
		if !ok || ms != at.UnixMilli() {
			t.Fatalf("parseTime(%s) = %d, %v, want %d", s, ms, ok, at.UnixMilli())
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,4})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])`).Draw(t, "s") // that package also takes +00:60
		ms, ok := parseTime(s)
		var want time.Time
		err := want.UnmarshalText([]byte(s)) // strict RFC 3339
		if ok && (err != nil || ms != want.UnixMilli()) || !ok && err == nil && want.UTC().Year() >= 0 && want.UTC().Year() <= 9999 {
			t.Fatalf("parseTime(%s) = %d, %v, the time package reads %v (%v)", s, ms, ok, want, err)
		}
	})
}

func TestIntsOfTextsAreStrict(t *testing.T) {
	for _, s := range []string{"", "+1x", "1_000", "0x10", " 1", "1.0"} {
		if got, err := evaluated("int("+strconv.Quote(s)+")", "{}", "{}"); err == nil {
			t.Errorf("int(%q) = %s, want an error", s, got)
		}
	}
}
