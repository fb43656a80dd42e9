package declared

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/go-json-experiment/json/jsontext"
)

// aValue draws any value that an expression could make.
func aValue(depth int) *rapid.Generator[value] {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "a", "\x00\u2028\"\\</", "3.0"}))
	return rapid.Custom(func(t *rapid.T) value {
		most := 6
		if depth == 0 {
			most = 4
		}
		switch rapid.IntRange(0, most).Draw(t, "kind") {
		case 0:
			return value{}
		case 1:
			return ofBool(rapid.Bool().Draw(t, "bool"))
		case 2:
			return ofInt(anInt64().Draw(t, "int"))
		case 3:
			return ofFloat(aFloat64().Draw(t, "float"))
		case 4:
			return ofText(strings.ToValidUTF8(text.Draw(t, "text"), ""))
		case 5:
			return ofList(rapid.SliceOfN(aValue(depth-1), 0, 4).Draw(t, "list"))
		}
		var fields []field
		for range rapid.IntRange(0, 4).Draw(t, "members") {
			fields = with(fields, strings.ToValidUTF8(text.Draw(t, "name"), ""), aValue(depth-1).Draw(t, "value"))
		}
		return ofFields(fields)
	})
}

// identical is equality of everything that is stored: 3 and 3.0 differ.
func identical(a, b value) bool {
	if a.kind() != b.kind() {
		return false
	}
	switch a.kind() {
	case list:
		return slices.EqualFunc(a.items(), b.items(), identical)
	case dict:
		return slices.EqualFunc(a.fields(), b.fields(), func(x, y field) bool { return x.name == y.name && identical(x.value, y.value) })
	case text:
		return a.str() == b.str()
	}
	return a.bits == b.bits
}

func TestWhatIsStoredReadsBackAsTheSameValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := aValue(3).Draw(t, "value")
		stored, err := codec{}.Encode(state{value: v})
		if err != nil {
			t.Fatal(err)
		}
		got, err := codec{}.Decode(stored)
		if err != nil {
			t.Fatalf("%s: %v", stored, err)
		}
		if !identical(v, got.value) || got.value.head != v.head {
			t.Fatalf("%s was read back as %s", stored, appendJSON(nil, got.value))
		}
	})
}

func TestStoredTextsAreCanonicalOrRefused(t *testing.T) {
	for _, s := range []string{``, ` 1`, `1 `, `{"b":1,"a":2}`, `{"a":1,"a":2}`, `{"a":null}`, `{"a": 1}`, `01`, `1e3`, `1.50`, `"\u0061"`,
		`[1,]`, `{"a":1}x`, "\"\xff\"", `9223372036854775808`, `1e400`, `-0`, `1E21`, strings.Repeat("[", 101) + strings.Repeat("]", 101)} {
		if v, err := (codec{}).Decode([]byte(s)); err == nil {
			t.Errorf("%s was read as %s, want an error", s, appendJSON(nil, v.value))
		}
	}
}

func TestEventsAreDecodedStrictly(t *testing.T) {
	for _, s := range []string{``, `{`, `{"a":1}}`, `{"a":1,"a":2}`, `{"b":{"c":1,"c":2},"a":1}`, "{\"a\":\"\xff\"}", "{\"b\":\"\xff\",\"a\":1}", `{"a":01}`, `{"a":1} x`, `nul`} {
		if got, err := evaluated("event.a", s, "{}"); err == nil {
			t.Errorf("event.a of %q = %s, want an error", s, got)
		}
		if got, err := evaluated("seq", s, "{}"); err != nil || got != "7" {
			t.Errorf("seq of %q = %s, %v: an event that nobody looks into may hold anything", s, got, err)
		}
	}
}

// A number out of range is poison only to the expression that reads it.
func TestABadNumberHurtsOnlyWhoReadsIt(t *testing.T) {
	const event = `{"a":{"b":1,"big":1e999},"c":2}`
	for _, expression := range []string{"event.a.b", "event.a.b + 0 * event.c", "event.missing ?? event.a.b"} {
		if got, err := evaluated(expression, event, "{}"); err != nil || got != "1" {
			t.Errorf("%s = %s, %v", expression, got, err)
		}
	}
	for _, expression := range []string{"event.a", "event", "event.a.big", "event.a.b + event.a.big"} {
		if got, err := evaluated(expression, event, "{}"); err == nil {
			t.Errorf("%s = %s, want an error", expression, got)
		}
	}
	// The whole of a map is named beside a member of it: the member stays readable.
	if got, err := evaluated("event.c == 9 ? event.a : event.a.b", event, "{}"); err != nil || got != "1" {
		t.Errorf("got %s, %v", got, err)
	}
}

// A path reads the same whether it is named alone, with others, or by way of the whole event.
func TestPathsReadTheSameHoweverTheyAreNamed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := aValue(3).Draw(t, "event")
		event := string(appendJSON(nil, v))
		path := rapid.SampledFrom([]string{"event.a", "event.a.b", "event[\"\"]", "event.a[\"3.0\"].a"}).Draw(t, "path")
		alone, aloneErr := evaluated(path, event, "{}")
		beside, besideErr := evaluated("seq == 0 ? [event, event.a, event.a.b] : "+path, event, "{}")
		if alone != beside || (aloneErr == nil) != (besideErr == nil) {
			t.Fatalf("%s of %s: alone %s (%v), beside others %s (%v)", path, event, alone, aloneErr, beside, besideErr)
		}
	})
}

func TestEscapedNamesAreTheNamesTheyMean(t *testing.T) {
	got, err := evaluated(`event.ab + event.m.cd`, `{"\u0061b":1,"m":{"c\u0064":2}}`, "{}")
	if err != nil || got != "3" {
		t.Fatalf("got %s, %v", got, err)
	}
}

func FuzzStored(f *testing.F) {
	for _, s := range []string{`{"a":1,"b":[1.0,"x",null,true]}`, `""`, `-0.0`, `1e+21`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, stored []byte) {
		v, err := parseStored(stored)
		if err != nil {
			return
		}
		if again := appendJSON(nil, v); string(again) != string(stored) || !utf8.Valid(stored) || !jsontext.Value(stored).IsValid() {
			t.Fatalf("%q is read and written as %q", stored, again)
		}
	})
}
