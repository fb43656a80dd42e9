package declared

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// writer draws random expressions of a wanted type over events as drawn by anOrder. Those over an old value are for
// replay tests; the oracle knows none.
type writer struct {
	t     *rapid.T
	old   bool   // may read value
	items string // type of # in the predicate around, "" outside of one
}

func (w writer) pick(of ...string) string { return rapid.SampledFrom(of).Draw(w.t, "pick") }

func (w writer) within(items string) writer {
	w.items = items
	return w
}

// expr draws an expression of a type: int, float, text, bool, ints, texts, rows.
func (w writer) expr(of string, depth int) string {
	if depth <= 0 {
		return w.leaf(of)
	}
	sub := func(of string) string { return w.expr(of, depth-1) }
	in := func(items, of string) string { return w.within(items).expr(of, depth-1) }
	f := fmt.Sprintf
	switch of {
	case "int":
		return rapid.SampledFrom([]func() string{
			func() string { return w.leaf("int") },
			func() string { return f("(%s %s %s)", sub("int"), w.pick("+", "-", "*"), sub("int")) },
			func() string { return f("(%s %% %d)", sub("int"), rapid.IntRange(1, 9).Draw(w.t, "by")) },
			func() string { return f("(%s ? %s : %s)", sub("bool"), sub("int"), sub("int")) },
			func() string { return f("len(%s)", sub(w.pick("text", "ints", "texts", "rows"))) },
			func() string { return f("sum(%s)", sub("ints")) },
			func() string { return f("sum(%s, %s)", sub("rows"), in("row", "int")) },
			func() string { return f("count(%s, %s)", sub("ints"), in("int", "bool")) },
			func() string { return f("abs(%s)", sub("int")) },
			func() string { return f("int(%s)", sub("float")) },
			func() string { return f("(-%s)", sub("int")) },
			func() string { return f("(%s ?? %s)", sub("int"), sub("int")) },
			func() string { return f("max(%s, %s)", sub("int"), sub("int")) },
			func() string { return f("min(%s, %s)", sub("int"), sub("int")) },
			func() string { return f("(first(%s) ?? 0)", sub("ints")) },
			func() string { return f("(last(%s) ?? 0)", sub("ints")) },
			func() string { return f("reduce(%s, #acc + %s, %s)", sub("ints"), in("int", "int"), in("", "int")) },
			func() string { return f("(findIndex(%s, %s) ?? -1)", sub("texts"), in("text", "bool")) },
			func() string { return f("(find(%s, %s) ?? 1)", sub("ints"), in("int", "bool")) },
			func() string { return f("indexOf(%s, %s)", sub("text"), sub("text")) },
			func() string { return f("(let x = %s; x + x)", sub("int")) },
			func() string { return f("bitand(%s, %s)", sub("int"), sub("int")) },
		}).Draw(w.t, "int")()
	case "float":
		return rapid.SampledFrom([]func() string{
			func() string { return w.leaf("float") },
			func() string {
				return f("(%s %s %s)", sub("float"), w.pick("+", "-", "*"), sub(w.pick("int", "float")))
			},
			func() string {
				return f("(%s / %d)", sub(w.pick("int", "float")), rapid.IntRange(1, 9).Draw(w.t, "by"))
			},
			func() string {
				return f("%s(%s)", w.pick("round", "floor", "ceil", "float"), sub(w.pick("int", "float")))
			},
			func() string { return f("mean(%s)", sub("ints")) },
			func() string { return f("median(%s)", sub("ints")) },
		}).Draw(w.t, "float")()
	case "text":
		return rapid.SampledFrom([]func() string{
			func() string { return w.leaf("text") },
			func() string { return f("(%s + %s)", sub("text"), sub("text")) },
			func() string { return f("%s(%s)", w.pick("upper", "lower", "trim"), sub("text")) },
			func() string {
				return f("%s[%d:%d]", sub("text"), rapid.IntRange(0, 3).Draw(w.t, "from"), rapid.IntRange(3, 6).Draw(w.t, "to"))
			},
			func() string { return f("join(%s, %s)", sub("texts"), sub("text")) },
			func() string { return f("replace(%s, %s, %s)", sub("text"), w.leaf("text"), w.leaf("text")) },
			func() string { return f("repeat(%s, %d)", sub("text"), rapid.IntRange(0, 3).Draw(w.t, "times")) },
			func() string { return f("(%s ? %s : %s)", sub("bool"), sub("text"), sub("text")) },
			func() string { return f("trimPrefix(%s, %s)", sub("text"), w.leaf("text")) },
			func() string { return f("(first(%s) ?? \"none\")", sub("texts")) },
			func() string { return f("type(%s)", sub(w.pick("int", "float", "text", "bool", "ints"))) },
		}).Draw(w.t, "text")()
	case "bool":
		return rapid.SampledFrom([]func() string{
			func() string { return w.leaf("bool") },
			func() string {
				return f("(%s %s %s)", sub("int"), w.pick("<", "<=", ">", ">=", "==", "!="), sub(w.pick("int", "float")))
			},
			func() string {
				return f("(%s %s %s)", sub("text"), w.pick("<", "<=", ">", ">=", "==", "!="), sub("text"))
			},
			func() string { return f("(%s %s %s)", sub("bool"), w.pick("and", "or", "&&", "||"), sub("bool")) },
			func() string { return f("(%s %s)", w.pick("not", "!"), sub("bool")) },
			func() string {
				return f("(%s %s %s)", sub("text"), w.pick("contains", "startsWith", "endsWith"), sub("text"))
			},
			func() string { return f("(%s %s %s)", sub("int"), w.pick("in", "not in"), sub("ints")) },
			func() string {
				return f("%s(%s, %s)", w.pick("all", "any", "none", "one"), sub("ints"), in("int", "bool"))
			},
			func() string {
				return f("%s(%s, %s)", w.pick("all", "any", "none", "one"), sub("rows"), in("row", "bool"))
			},
			func() string { return f("(%s matches \"^[a-c]+\")", sub("text")) },
			func() string { return f("(%s == %s)", sub("ints"), sub("ints")) },
			func() string { return f("(event.none == nil)") },
			func() string { return f("(\"x\" in event.m)") },
		}).Draw(w.t, "bool")()
	case "ints":
		return rapid.SampledFrom([]func() string{
			func() string { return w.leaf("ints") },
			func() string { return f("map(%s, %s)", sub("ints"), in("int", "int")) },
			func() string { return f("map(%s, %s)", sub("rows"), in("row", "int")) },
			func() string { return f("filter(%s, %s)", sub("ints"), in("int", "bool")) },
			func() string { return f("%s(%s)", w.pick("sort", "reverse", "uniq"), sub("ints")) },
			func() string { return f("sort(%s, \"desc\")", sub("ints")) },
			func() string { return f("concat(%s, %s)", sub("ints"), sub("ints")) },
			func() string { return f("[%s, %s]", sub("int"), sub("int")) },
			func() string { return f("flatten([%s, [%s]])", sub("ints"), sub("int")) },
			func() string { return f("take(%s, %d)", sub("ints"), rapid.IntRange(0, 3).Draw(w.t, "n")) },
			func() string { return f("%s[0:%d]", sub("ints"), rapid.IntRange(0, 3).Draw(w.t, "n")) },
			func() string {
				return f("(%d..%d)", rapid.IntRange(0, 2).Draw(w.t, "from"), rapid.IntRange(0, 5).Draw(w.t, "to"))
			},
			func() string { return f("sort(values(event.m))") },
		}).Draw(w.t, "ints")()
	case "texts":
		return rapid.SampledFrom([]func() string{
			func() string { return w.leaf("texts") },
			func() string { return f("map(%s, %s)", sub("rows"), in("row", "text")) },
			func() string { return f("map(%s, %s)", sub("texts"), in("text", "text")) },
			func() string { return f("filter(%s, %s)", sub("texts"), in("text", "bool")) },
			func() string { return f("split(%s, %s)", sub("text"), w.pick(`"a"`, `","`, `""`)) },
			func() string { return f("%s(%s)", w.pick("sort", "reverse", "uniq"), sub("texts")) },
			func() string { return "sort(keys(event.m))" },
			func() string { return f("[%s]", sub("text")) },
		}).Draw(w.t, "texts")()
	}
	return rapid.SampledFrom([]func() string{
		func() string { return w.leaf("rows") },
		func() string { return f("filter(%s, %s)", sub("rows"), in("row", "bool")) },
		func() string { return f("reverse(%s)", sub("rows")) },
		func() string { return f("concat(%s, [{n: %s, s: %s}])", sub("rows"), sub("int"), sub("text")) },
	}).Draw(w.t, "rows")()
}

// leaf draws a name or a constant.
func (w writer) leaf(of string) string {
	var names []string
	switch of {
	case "int":
		names = []string{"event.a", "event.b", "event.deep.c.d", "event[\"a\"]", fmt.Sprint(rapid.IntRange(-5, 20).Draw(w.t, "constant"))}
	case "float":
		names = []string{"event.f", "event.g", "2.5", "0.1"}
	case "text":
		names = []string{"event.s", "event.u", `"a"`, `"b,c"`, `""`, "event.deep.t"}
	case "bool":
		names = []string{"event.yes", "event.no", "true", "false"}
	case "ints":
		names = []string{"event.xs", "event.ys", "[]", "[1, 2]"}
	case "texts":
		names = []string{"event.names", `["a"]`}
	case "rows":
		return "event.rows"
	}
	switch w.items + " " + of {
	case "int int", "text text":
		names = append(names, "#", "#", "#")
	case "row int":
		names = append(names, ".n", "#.n")
	case "row text":
		names = append(names, ".s")
	}
	if w.items != "" && of == "int" {
		names = append(names, "#index")
	}
	if w.old {
		switch of {
		case "int":
			names = append(names, "(value.n ?? 0)", "(value.counts.a ?? 0)", "seq", "len(value.last ?? [])")
		case "float":
			names = append(names, "(value.f ?? 0.0)", "(value.f ?? 1)")
		case "text":
			names = append(names, "key", "(value.s ?? \"\")", "subject", "(token(2) ?? \"t\")")
		case "bool":
			names = append(names, "(value.b ?? false)", "value.n == nil")
		case "ints":
			names = append(names, "(value.xs ?? [])")
		}
	}
	return w.pick(names...)
}

// anOrder draws an event's data, as JSON.
func anOrder() *rapid.Generator[string] {
	small := rapid.IntRange(-20, 20)
	word := rapid.SampledFrom([]string{"a", "b", "ab", "cba", "", "a,b,c", "Bcd", " a "})
	return rapid.Custom(func(t *rapid.T) string {
		ints := func(name string) string {
			return strings.Join(strings.Fields(fmt.Sprint(rapid.SliceOfN(small, 0, 5).Draw(t, name))), ",")
		}
		var rows, names []string
		for range rapid.IntRange(0, 4).Draw(t, "rows") {
			rows = append(rows, fmt.Sprintf(`{"n":%d,"s":%q}`, small.Draw(t, "n"), word.Draw(t, "s")))
		}
		for range rapid.IntRange(0, 4).Draw(t, "names") {
			names = append(names, fmt.Sprintf("%q", word.Draw(t, "name")))
		}
		return fmt.Sprintf(`{"a":%d,"b":%d,"f":%s,"g":-1.25,"s":%q,"u":%q,"yes":true,"no":%v,"xs":%s,"ys":%s,"names":[%s],"rows":[%s],"deep":{"c":{"d":%d},"t":%q},"m":{"z":%d,"x":2,"y":1},"k":%q}`,
			small.Draw(t, "a"), small.Draw(t, "b"), rapid.SampledFrom([]string{"0.5", "2.0", "-3.75", "0.1", "1e3"}).Draw(t, "f"),
			word.Draw(t, "s"), word.Draw(t, "u"), rapid.Bool().Draw(t, "no"), ints("xs"), ints("ys"), strings.Join(names, ","), strings.Join(rows, ","),
			small.Draw(t, "d"), word.Draw(t, "t"), small.Draw(t, "z"), rapid.SampledFrom([]string{"k1", "k2", "k3"}).Draw(t, "k"))
	})
}
