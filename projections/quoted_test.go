package projections_test

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/tailfold/tailfold/projections"
)

// payload stands in data wherever a test puts some: no text of an error has it.
const payload = "m4rk3r"

type parcel struct {
	Weight int64            `json:"weight"`
	Names  []string         `json:"names"`
	Prices map[string]int64 `json:"prices"`
	Inner  *struct{ At int64 }
}

func TestErrorsOfDataSayWhereAndQuoteNothing(t *testing.T) {
	fields := projections.FieldsOf(
		projections.Field("weight", func(p *parcel) *int64 { return &p.Weight }),
		projections.Field("prices", func(p *parcel) *map[string]int64 { return &p.Prices }))
	for _, c := range []struct{ data, whole, byFields string }{
		{`{"weight":"m4rk3r"}`, "a JSON string can't be read as Go int64, within /weight, at byte 10", `member "weight"`},
		{`{"weight":90071992547409931234}`, "a JSON number can't be read as Go int64: out of range, within /weight", `member "weight"`},
		{`{"prices":{"m4rk3r":"x"}}`, "within /prices/*", `member "prices"`},
		{`{"names":[1]}`, "within /names/0", ""},
		{`{"Inner":{"At":"m4rk3r"}}`, "within /Inner/At", ""},
		{`{"m4rk3r":1,"m4rk3r":2}`, "it is not valid JSON: a member is there twice", "a member is there twice"},
		{`{"m4rk3r":{"m4rk3r":}}`, "it is not valid JSON, at byte", "it is not valid JSON, at byte"},
		{`{"weight":m4rk3r}`, "it is not valid JSON, within /weight", "it is not valid JSON"},
		{`{"m4rk3r":"`, "it ends too early", "it ends too early"},
		{"{\"m4rk3r\":\"\xff\"}", "it is not UTF-8", "it is not UTF-8"},
		{`["m4rk3r"]`, "a JSON array can't be read as Go projections_test.parcel", "a JSON array can't be read as Go map"},
		{``, "", ""},
	} {
		event := projections.Event{Seq: 1, Data: []byte(c.data)}
		_, whole := projections.JSON[parcel](event)
		_, stored := projections.JSONCodec[parcel]{}.Decode([]byte(c.data))
		_, byFields := fields.JSON(event)
		for _, got := range []struct {
			err  error
			want string
		}{{whole, c.whole}, {stored, c.whole}, {byFields, c.byFields}, {fmt.Errorf("my own words: %w", whole), "my own words: "}} {
			if got.err == nil && (c.byFields == "" || c.data == "") {
				continue
			}
			if got.err == nil || !strings.Contains(got.err.Error(), got.want) || strings.Contains(got.err.Error(), payload) {
				t.Errorf("%s\n got %v\nwant %s", c.data, got.err, got.want)
			}
		}
		if strings.HasSuffix(c.data, `"m4rk3r":2}`) {
			for _, err := range []error{whole, stored, byFields, fmt.Errorf("my own words: %w", whole), &projections.EventError{Seq: 1, Err: whole}} {
				if full := projections.Quoted(err); !strings.Contains(full, payload) {
					t.Errorf("where data may be shown it is not: %s", full)
				}
			}
		}
	}
	for _, value := range []map[string]float64{{payload: math.NaN()}, {payload: math.Inf(1)}} {
		_, err := projections.JSONCodec[map[string]float64]{}.Encode(value)
		if err == nil || strings.Contains(err.Error(), payload) || !strings.Contains(err.Error(), "Go float64 can't be written as JSON, within /*") {
			t.Errorf("a value that can't be written: %v", err)
		}
	}
}

func TestAPanicShowsItsValueOnlyWhereDataMayBe(t *testing.T) {
	var none map[string]int
	for _, c := range []struct {
		panics func()
		want   string
	}{
		{func() { panic(payload) }, "panic with a value of type string"},
		{func() { panic(errors.New(payload)) }, "panic with a value of type *errors.errorString"},
		{func() { regexp.MustCompile(strings.Repeat("(", 2) + payload) }, "panic with a value of type string"},
		{func() { none[payload] = 1 }, "panic: assignment to entry in nil map"},
		{func() { _ = any(payload).(int) }, "panic: interface conversion: interface {} is string, not int"},
	} {
		p := projections.Single[int]{Step: func(int, projections.Event) (int, error) { c.panics(); return 0, nil }}
		err := newRig(p, projections.FoldOptions{}).foldAll(text(3, ""))
		if got := fmt.Sprint(err); got != "event 3 (text.en): "+c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
		var panicked *projections.PanicError
		if !errors.As(err, &panicked) || strings.Contains(string(panicked.Stack), payload) || !strings.Contains(string(panicked.Stack), "quoted_test.go") {
			t.Errorf("the stack is %v", panicked)
		}
		if strings.Contains(c.want, "value of type") && !strings.Contains(projections.Quoted(err), payload) {
			t.Errorf("where data may be shown it is not: %s", projections.Quoted(err))
		}
	}
	if err := errors.New("plain"); projections.Quoted(err) != "plain" {
		t.Error("an error that has no data is changed")
	}
}
