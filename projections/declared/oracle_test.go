package declared

import (
	"fmt"
	"math"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/expr-lang/expr"
	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"
)

// oracleRuns is how many expressions are compared: TAILFOLD_ORACLE_RUNS, or some tens of thousands.
func oracleRuns(t *testing.T) int {
	text := os.Getenv("TAILFOLD_ORACLE_RUNS")
	if text == "" {
		return 20_000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("TAILFOLD_ORACLE_RUNS is %q: it is a number of expressions", text)
	}
	return n
}

// The by-design differences: what this language says, and what expr's own machine says. The oracle's expressions keep
// away from them.
var differences = []struct{ expression, ours, theirs string }{
	{`9223372036854775807 + 1`, `! overflow`, `-9223372036854775808`},
	{`1 / 0`, `! division by zero`, `+Inf`},
	{`2 ** 3`, `8`, `8.0`},
	{`9007199254740993 == 9007199254740992.0`, `false`, `true`},
	{`event.h[1]`, `"é"`, `195`},
	{`"héllo"[0:2]`, `"hé"`, `"h\xc3"`},
	{`indexOf("héllo", "l")`, `2`, `3`},
	{`[1, 2][5]`, `null`, `! out of range`},
	{`{a: nil}`, `{}`, `{"a":null}`},
	{`event.s.x`, `! a map is needed`, `! invalid operation`},
	{`nil in [1]`, `! in on nil`, `false`},
	{`max(len("abcdefg"), 7.5) == 7`, `false`, `! interface conversion`},
	{`map([1, 2], findLastIndex(event.empty, true) ?? -1)`, `[-1,-1]`, `[false,-1]`}, // a fault of that machine's stack
	{`abs(-0.0)`, `0.0`, `-0.0`},
	{`map([1, 2], reduce([], #acc, #index))`, `[0,1]`, `[0,0]`}, // there the start already sees the inner list
	{`string(1.50)`, `! text(x)`, `"1.5"`},
	{`int("0012")`, `12`, `12`},
	{`groupBy([1], #)`, `{"1":[1]}`, `{1:[1]}`},
	{`sum([9007199254740993, 0.5])`, `9007199254740992.0`, `9007199254740992.0`},
}

func TestDifferencesFromExprAreThoseByDesign(t *testing.T) {
	for _, d := range differences {
		ours, err := evaluated(d.expression, `{"s":"x","h":"héllo","empty":[]}`, "{}")
		checkSide(t, d.expression, "ours", d.ours, ours, err)
		theirs, err := exprResult(d.expression, map[string]any{"s": "x", "h": "héllo", "empty": []any{}})
		checkSide(t, d.expression, "expr's", d.theirs, theirs, err)
	}
}

func checkSide(t *testing.T, expression, side, want, got string, err error) {
	t.Helper()
	if message, fails := strings.CutPrefix(want, "! "); fails {
		if err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s, %s: %s, %v, want the error %q", expression, side, got, err, message)
		}
	} else if err != nil || got != want {
		t.Errorf("%s, %s: %s, %v, want %s", expression, side, got, err, want)
	}
}

// exprResult runs an expression on expr's machine.
func exprResult(expression string, event map[string]any) (result string, err error) {
	env := map[string]any{"event": event}
	program, err := expr.Compile(expression, expr.Env(map[string]any{"event": map[string]any{}}),
		expr.Optimize(false)) // it turns last(filter(…)) into findLast(…), which has a fault of its own, see differences
	if err != nil {
		return "", err
	}
	v, err := expr.Run(program, env)
	if err != nil {
		return "", err
	}
	return write(reflect.ValueOf(v)), nil
}

// write writes what the machine gave as it would be stored here.
func write(v reflect.Value) string {
	for v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Invalid:
		return "null"
	case reflect.Int, reflect.Int64, reflect.Uint8:
		return fmt.Sprint(v.Interface())
	case reflect.Float64:
		if math.IsInf(v.Float(), 0) || math.IsNaN(v.Float()) {
			return fmt.Sprint(v.Float())
		}
		return string(appendFloat(nil, v.Float()))
	case reflect.String:
		quoted, err := jsontext.AppendQuote(nil, v.String())
		if err != nil {
			return strconv.Quote(v.String())
		}
		return string(quoted)
	case reflect.Slice, reflect.Array:
		var items []string
		for i := range v.Len() {
			items = append(items, write(v.Index(i)))
		}
		return "[" + strings.Join(items, ",") + "]"
	case reflect.Map:
		members := map[string]string{}
		for _, k := range v.MapKeys() {
			members[write(k)] = write(v.MapIndex(k))
		}
		var sorted []string
		for _, name := range sortedNames(members) {
			sorted = append(sorted, name+":"+members[name])
		}
		return "{" + strings.Join(sorted, ",") + "}"
	}
	return fmt.Sprint(v.Interface())
}

// plainOf is an event as expr's machine knows it.
func plainOf(v value) any {
	switch v.kind() {
	case boolean:
		return v.bool()
	case integer:
		return int(v.int())
	case float:
		return v.float()
	case text:
		return v.str()
	case list:
		items := []any{}
		for _, item := range v.items() {
			items = append(items, plainOf(item))
		}
		return items
	case dict:
		m := map[string]any{}
		for _, f := range v.fields() {
			m[f.name] = plainOf(f.value)
		}
		return m
	}
	return nil
}

// Random typed expressions agree with expr's own machine wherever both are defined.
func TestExpressionsAgreeWithTheOracle(t *testing.T) {
	runs, defined, compared := oracleRuns(t), 0, 0
	check := func(t *rapid.T) {
		event := anOrder().Draw(t, "event")
		r, err := read([]byte(event))
		if err != nil {
			t.Fatal(err)
		}
		plain := plainOf(r.value(0)).(map[string]any)
		for range 10 { // expressions over the same event
			of := rapid.SampledFrom([]string{"int", "float", "text", "bool", "ints", "texts", "rows"}).Draw(t, "type")
			expression := writer{t: t}.expr(of, rapid.IntRange(1, 4).Draw(t, "depth"))
			compared++
			ours, err := evaluated(expression, event, "{}")
			if err != nil {
				if strings.HasPrefix(err.Error(), "compile:") && !strings.Contains(err.Error(), "never equal") {
					t.Fatalf("%s: %v", expression, err)
				}
				continue
			}
			theirs, err := exprResult(expression, plain)
			if err != nil {
				continue
			}
			defined++
			if ours != theirs {
				t.Fatalf("%s over %s:\nours   %s\nexpr's %s", expression, event, ours, theirs)
			}
		}
	}
	for compared < runs {
		rapid.Check(t, check)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d expressions, %d of them defined on both sides", compared, defined)
	if defined < compared*7/10 {
		t.Errorf("only %d of %d expressions are defined on both sides: the comparison says little", defined, compared)
	}
}
