package strict

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// samples are texts around the edges of the grammar.
var samples = []string{
	`{}`, `[]`, `""`, `0`, `-0`, `01`, `-`, `1.`, `.5`, `1.5e+07`, `1e`, `1E-2`, `+1`, `1_0`, `0x1`, `NaN`, `true`, `tru`, `truex`, `null`, `nul`, ``, ` `, `"`, `"a`,
	`{"a":1,"b":[1,2,{"c":null}]}`, ` { "a" : 1 , "b" : [ 1 , 2 ] } `, `{"a":1,"a":2}`, `{"x":{"a":1,"a":2}}`, `[{"a":1},{"a":2}]`, `{"a":1,}`, `[1,]`, `{,}`, `{"a"}`,
	`{"a":1}x`, `{"a":1} {"b":2}`, `{a:1}`, `{"a":"\u0061"}`, `{"a":1,"\u0061":2}`, "{\"a\":\"\x80\"}", "{\"\xff\":1}", "{\"a\":\"\x01\"}", `{"a":"é😀"}`, "{\"a\":\"\xed\xa0\x80\"}",
	"\v1", "\u00a01", "1\n", "\t[\r\n]\t", `{"a":tru}`, `{"a":"b}`, `[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]`, "\ufeff{}",
}

func TestWhatIsAcceptedIsJSON(t *testing.T) {
	accepted := 0
	for _, s := range samples {
		if Valid(s) {
			accepted++
			if !jsontext.Value(s).IsValid() {
				t.Errorf("%q is accepted", s)
			}
		}
	}
	if accepted < 15 {
		t.Errorf("only %d of the samples are accepted", accepted)
	}
}

func TestObjectHandsOverItsMembers(t *testing.T) {
	var got strings.Builder
	ok := Object(` {"a":1, "b" : "x" ,"c":{"d":[true,null]},"e":-1.5e3} `, func(name, value string) {
		got.WriteString(name + "=" + value + ";")
	})
	if want := `a=1;b="x";c={"d":[true,null]};e=-1.5e3;`; !ok || got.String() != want {
		t.Errorf("it hands over %s, %v; want %s", got.String(), ok, want)
	}
	for _, other := range []string{`[]`, `1`, `{"a":1}1`, ``, `{"a":1,"a":1}`} {
		if Object(other, nil) {
			t.Errorf("%q is taken for an object", other)
		}
	}
}

func FuzzWhatIsAcceptedIsJSON(f *testing.F) {
	for _, s := range samples {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if Valid(s) && !jsontext.Value(s).IsValid() {
			t.Errorf("%q is accepted", s)
		}
		if Object(s, nil) && (!Valid(s) || jsontext.Value(s).Kind() != '{') {
			t.Errorf("%q is taken for an object", s)
		}
	})
}

// Whatever few members, shallow nesting and no escapes there are, is known: else the walk would be of no use.
func TestTheUsualFormsAreKnown(t *testing.T) {
	for _, s := range []string{
		`{"id":"o-1","type":"OrderPlaced","customer":"c-77","amount":129,"items":[{"sku":"a","n":2},{"sku":"b","n":1}],"at":"2026-11-24T10:00:00Z"}`,
		`{"a":null,"b":true,"c":false,"d":0,"e":-0.5,"f":"","g":[],"h":{},"ü":"ß"}`,
	} {
		if !Valid(s) {
			t.Errorf("%s is not known", s)
		}
	}
}
