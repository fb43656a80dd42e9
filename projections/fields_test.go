package projections_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tailfold/tailfold/projections"
)

// several has a field of each kind that Fields knows, and of one that it leaves to json/v2.
type several struct {
	Text  string            `json:"text"`
	Lent  string            `json:"lent"`
	Small int64             `json:"small"`
	Int   int               `json:"int"`
	Big   uint64            `json:"big"`
	Real  float64           `json:"real"`
	Flag  bool              `json:"flag"`
	Deep  map[string]string `json:"deep"`
}

var severalFields = projections.FieldsOf(
	projections.Field("text", func(s *several) *string { return &s.Text }),
	projections.LentField("lent", func(s *several) *string { return &s.Lent }),
	projections.Field("small", func(s *several) *int64 { return &s.Small }),
	projections.Field("int", func(s *several) *int { return &s.Int }),
	projections.Field("big", func(s *several) *uint64 { return &s.Big }),
	projections.Field("real", func(s *several) *float64 { return &s.Real }),
	projections.Field("flag", func(s *several) *bool { return &s.Flag }),
	projections.Field("deep", func(s *several) *map[string]string { return &s.Deep }),
)

// sameAsJSON holds the fields of a text against those that json/v2 reads.
func sameAsJSON(t interface{ Errorf(string, ...any) }, data string) {
	event := projections.Event{Seq: 1, Subject: "s", Data: []byte(data)}
	want, wantErr := projections.JSON[several](event)
	got, err := severalFields.JSON(event)
	if (err == nil) != (wantErr == nil) {
		t.Errorf("%q: Fields says %v, JSON says %v", data, err, wantErr)
		return
	}
	if err == nil {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: (-JSON +Fields)\n%s", data, diff)
		}
	}
}

// memberValues are what stands in events: of the right kind, of a wrong one, at a bound, no JSON at all.
var memberValues = []string{`"x"`, `""`, `"é"`, `"a\nb"`, `"\ud83d\ude00"`, `"\ud83d"`, "\"\x80\"", `0`, `-0`, `7`, `-7`, `1.0`, `1e2`, `01`, `-`, `+1`, `9223372036854775807`,
	`9223372036854775808`, `18446744073709551615`, `18446744073709551616`, `-9223372036854775808`, `1e400`, `5e-324`, `0.1`, `true`, `false`, `null`, `nul`, `[]`, `[1]`, `{}`,
	`{"a":"b"}`, `{"a":1}`, `{"a":"b","a":"c"}`, `Inf`, `NaN`, `0x10`, `1_000`, ``}

func TestFieldsReadWhatJSONReads(t *testing.T) {
	names := []string{"text", "lent", "small", "int", "big", "real", "flag", "deep", "other", "Text"}
	for _, name := range names {
		for _, value := range memberValues {
			sameAsJSON(t, fmt.Sprintf(`{"%s":%s}`, name, value))
		}
	}
	for _, data := range []string{``, `{}`, ` {} `, `null`, `[]`, `1`, `"text"`, `{"text":"a"}{}`, `{"text":"a","text":"b"}`, `{"other":{"a":1,"a":2},"text":"a"}`,
		`{"t\u0065xt":"a"}`, `{"text":"a","t\u0065xt":"b"}`} {
		sameAsJSON(t, data)
	}
}

func TestFieldsReadWhatJSONReadsOfAnyObject(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := "{"
		for i := range rapid.IntRange(0, 30).Draw(t, "members") {
			if i > 0 {
				data += rapid.SampledFrom([]string{",", ", ", " ,"}).Draw(t, "comma")
			}
			name := rapid.SampledFrom([]string{"text", "lent", "small", "int", "big", "real", "flag", "deep", fmt.Sprint("n", i), fmt.Sprint("m", i)}).Draw(t, "name")
			data += `"` + name + `":` + rapid.SampledFrom(memberValues).Draw(t, "value")
		}
		sameAsJSON(t, data+rapid.SampledFrom([]string{"}", "}\n", "", "}}"}).Draw(t, "end"))
	})
}

func FuzzFieldsReadWhatJSONReads(f *testing.F) {
	for _, value := range memberValues {
		f.Add(`{"text":"a","small":1,"real":` + value + `,"deep":` + value + `}`)
	}
	f.Fuzz(func(t *testing.T, data string) { sameAsJSON(t, data) })
}

func TestATextOfAFieldDoesNotKeepTheEvent(t *testing.T) {
	data := []byte(`{"text":"mine","lent":"yours"}`)
	got, err := severalFields.JSON(projections.Event{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	copy(data, `{"text":"XXXX","lent":"XXXXX"}`) // nobody may do so; it shows whose memory it is
	if got.Text != "mine" || got.Lent != "XXXXX" {
		t.Errorf("the text is %q, the lent one %q", got.Text, got.Lent)
	}
}

func TestTwoFieldsOfOneNameAreRefused(t *testing.T) {
	defer func() {
		if r := recover(); r == nil {
			t.Error("no panic")
		}
	}()
	same := projections.Field("n", func(n *int64) *int64 { return n })
	projections.FieldsOf(same, same)
}

// fewFields is what a projection of orders reads of them.
type fewFields struct {
	Customer string
	Amount   int64
}

var fewOf = projections.FieldsOf(
	projections.LentField("customer", func(o *fewFields) *string { return &o.Customer }),
	projections.Field("amount", func(o *fewFields) *int64 { return &o.Amount }),
)

var anOrder = []byte(`{"id":"o-0001234567","type":"OrderPlaced","customer":"c-77","amount":129,"note":"deliver before noon","express":false}`)

func TestFieldsDoNotAllocate(t *testing.T) {
	event := projections.Event{Data: anOrder}
	allocations := testing.AllocsPerRun(1000, func() {
		if o, err := fewOf.JSON(event); err != nil || o.Amount != 129 {
			t.Fatal(o, err)
		}
	})
	if allocations > 1 { // outside a batch: the order itself
		t.Errorf("%v allocations per event, want 1", allocations)
	}
}

func BenchmarkDecode(b *testing.B) {
	type tagged struct {
		Customer string `json:"customer"`
		Amount   int64  `json:"amount"`
	}
	events := make([]projections.Event, 1024)
	for i := range events {
		events[i] = projections.Event{Seq: uint64(i + 1), Data: anOrder}
	}
	total := int64(math.MinInt64)
	b.Run("JSON", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if i%len(events) == 0 {
				projections.Share(events)
			}
			o, err := projections.JSON[tagged](events[i%len(events)])
			if err != nil {
				b.Fatal(err)
			}
			total += o.Amount
		}
	})
	b.Run("Fields", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if i%len(events) == 0 {
				projections.Share(events)
			}
			o, err := fewOf.JSON(events[i%len(events)])
			if err != nil {
				b.Fatal(err)
			}
			total += o.Amount
		}
	})
}
