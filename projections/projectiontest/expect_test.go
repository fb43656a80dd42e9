package projectiontest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/projections/projectiontest"
)

type order struct {
	Customer string `json:"customer"`
	Amount   int    `json:"amount"`
}

type total struct {
	Orders int            `json:"orders"`
	Total  int            `json:"total"`
	Sizes  map[string]int `json:"sizes"`
}

// totals is a projection as a user would write it.
var totals = projections.Keyed[total]{
	Name: "customer-totals", Version: 1, Stream: "ORDERS", Subjects: []string{"orders.>"},
	Key: func(event projections.Event) (string, error) {
		o, err := projections.JSON[order](event)
		return o.Customer, err
	},
	Seed: func() total { return total{Sizes: map[string]int{}} },
	Step: func(_ string, value total, event projections.Event) (total, error) {
		o, err := projections.JSON[order](event)
		if err != nil {
			return value, err
		}
		if o.Amount == 0 {
			return total{}, nil
		}
		size := "small"
		if o.Amount >= 10 {
			size = "big"
		}
		value.Sizes[size]++
		value.Orders++
		value.Total += o.Amount
		return value, nil
	},
	Gone: func(value total) bool { return value.Orders == 0 },
}

var orders = projectiontest.Events("orders.eu",
	order{"ann", 5}, order{"bob", 12}, order{"ann", 10}, order{"cid", 1}, order{"bob", 0}, order{"bob", 3}, `not JSON`, order{"ann", 2})

func TestExpectComparesTheValuesOfAllKeys(t *testing.T) {
	events := projectiontest.Events("orders.eu", order{"ann", 5}, order{"bob", 12}, order{"ann", 10}, order{"bob", 0})
	projectiontest.Expect(t, totals, events, map[string]total{"ann": {2, 15, map[string]int{"small": 1, "big": 1}}})
	projectiontest.Expect(t, &totals, events, map[string]total{"ann": {2, 15, map[string]int{"small": 1, "big": 1}}})
	projectiontest.Expect(t, totals, events, map[string]any{"ann": map[string]any{"orders": 2.0, "total": 15.0, "sizes": map[string]any{"small": 1.0, "big": 1.0}}})

	failed := failures(func(t testing.TB) {
		projectiontest.Expect(t, totals, events, map[string]total{"ann": {2, 16, map[string]int{"small": 1, "big": 1}}, "cid": {}})
	})
	for _, part := range []string{"projection customer-totals version 1: values after 4 events", `"cid"`, "16", "15"} {
		if !strings.Contains(failed, part) {
			t.Errorf("the failure does not say %q: %s", part, failed)
		}
	}
}

// hex is a codec of a user's own.
type hex struct{}

func (hex) Name() string                 { return "hex" }
func (hex) Encode(n int) ([]byte, error) { return fmt.Appendf(nil, "%x", n), nil }
func (hex) Decode(b []byte) (n int, _ error) {
	_, err := fmt.Sscanf(string(b), "%x", &n)
	return n, err
}

func TestExpectReadsValuesByTheProjectionsCodec(t *testing.T) {
	bytes := projections.Single[int]{Name: "bytes", Version: 1, Stream: "S", Codec: hex{},
		Step: func(n int, event projections.Event) (int, error) { return n + len(event.Data), nil }}
	events := projectiontest.Events("s", "twelve chars")
	projectiontest.Expect(t, bytes, events, map[string]int{"": 12})
	projectiontest.Expect(t, &bytes, events, map[string]int{"": 12})
	projectiontest.Expect(t, bytes, events, map[string][]byte{"": []byte("c")})
	projectiontest.Check(t, bytes, events)
}

func TestFoldNamesTheEventThatCannotBeFolded(t *testing.T) {
	failed := failures(func(t testing.TB) { projectiontest.Fold(t, totals, orders...) })
	if !strings.HasPrefix(failed, "projection customer-totals version 1: event 7 (orders.eu): ") {
		t.Errorf("the failure does not name event 7: %s", failed)
	}
}

func TestLogGivesSeqAndTimeWhereTheyAreMissing(t *testing.T) {
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	a := projectiontest.Event("a", order{"ann", 1}, "Trace-Id", "7")
	b := projectiontest.Event("b", []byte("raw"))
	b.Seq, b.Time = 10, noon
	c := projectiontest.Event("c", nil)
	var got []string
	for _, e := range projectiontest.Log(a, b, c) {
		trace, _ := e.Header.Get("Trace-Id")
		got = append(got, fmt.Sprintf("%d %s %s %q %s", e.Seq, e.Subject, e.Time.Format(time.RFC3339), e.Data, trace))
	}
	want := []string{
		`1 a 2026-01-01T00:00:01Z "{\"customer\":\"ann\",\"amount\":1}" 7`,
		`10 b 2026-06-01T12:00:00Z "raw" `,
		`11 c 2026-01-01T00:00:11Z "" `,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLogRefusesSeqsThatDoNotRise(t *testing.T) {
	defer func() {
		if diff := cmp.Diff("projectiontest: event 2 has seq 3, but comes after seq 4: a log's seqs rise", recover()); diff != "" {
			t.Error(diff)
		}
	}()
	projectiontest.Log(projections.Event{Seq: 4}, projections.Event{Seq: 3})
}

// recorder is a testing.TB that keeps what fails.
type recorder struct {
	testing.TB
	failed strings.Builder
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) { fmt.Fprintf(&r.failed, format, args...) }

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic(r)
}

// failures runs a test and returns what it says of its failure.
func failures(test func(t testing.TB)) string {
	r := &recorder{}
	func() {
		defer func() {
			if p := recover(); p != nil && p != any(r) {
				panic(p)
			}
		}()
		test(r)
	}()
	return r.failed.String()
}
