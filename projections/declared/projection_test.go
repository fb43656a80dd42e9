package declared

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/projections"
)

// one parses a file with one projection.
func one(t testing.TB, text string) *Projection {
	t.Helper()
	all, err := Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 {
		t.Fatalf("%d projections, want one", len(all))
	}
	return all[0]
}

// numbered makes events with the seqs 1, 2, 3, …
func numbered(data ...string) []projections.Event {
	events := make([]projections.Event, len(data))
	for i, d := range data {
		events[i] = projections.Event{Seq: uint64(i + 1), Subject: "s", Data: []byte(d)}
	}
	return events
}

// folded folds events in one batch, and returns all values as they are stored.
func folded(t testing.TB, p projections.Projection, events []projections.Event) (map[string]string, error) {
	t.Helper()
	s := newShelf(p)
	err := s.fold(events)
	values := map[string]string{}
	for key, stored := range s.values {
		values[key] = string(stored)
	}
	return values, err
}

func TestAFoldSumsExactly(t *testing.T) {
	p := one(t, `
projections:
- name: customer-totals
  version: 1
  stream: ORDERS
  when: event.type == "OrderPlaced"
  key: event.customer
  seed: {orders: 0, cents: 0, average: 0.0}
  let: {paid: 'scaled(event.amount, 2)'}
  value:
    orders: value.orders + 1
    cents: value.cents + paid
    average: (value.cents + paid) / (value.orders + 1)
`)
	got, err := folded(t, p, numbered(
		`{"type":"OrderPlaced","customer":"c","amount":19.99}`,
		`{"type":"Other","customer":"d","amount":"x"}`,
		`{"type":"OrderPlaced","customer":"c","amount":"0.10"}`,
		`{"type":"OrderPlaced","customer":"d","amount":9007199254740993}`,
	))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"c": `{"average":1004.5,"cents":2009,"orders":2}`,
		"d": `{"average":900719925474099300.0,"cents":900719925474099300,"orders":1}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheFirstRuleThatMatchesAKeyWins(t *testing.T) {
	p := one(t, `
projections:
- name: p
  version: 1
  stream: S
  on:
  - when: event.a != nil
    key: event.a
    value: {by: '"first"'}
  - when: value.by == nil
    key: [event.b, event.c]
    value: {by: '"second"', n: event.n + 1}
  - key: event.b
    value: {by: '"third"'}
`)
	got, err := folded(t, p, numbered(
		`{"a":"x","b":"y","c":"x","n":1}`, // x by the first rule, y by the second: the third has y too, but comes later
		`{"b":"y","c":"z","n":2}`,         // y is known: by the third; z by the second
		`{"b":null,"c":null}`,             // no key at all
	))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"x": `{"by":"first"}`, "y": `{"by":"third","n":2}`, "z": `{"by":"second","n":3}`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The rules in the middle of an event's keys: nothing of it is kept where one key fails.
func TestAnEventIsAllOrNothing(t *testing.T) {
	p := one(t, head+"  key: event.keys\n  seed: {n: 0}\n  value: {n: 'key == event.bad ? value.n + event.text : value.n + 1'}\n")
	s := newShelf(p)
	if err := s.fold(numbered(`{"keys":["a","b","a"]}`)); err != nil {
		t.Fatal(err)
	}
	err := s.fold([]projections.Event{{Seq: 2, Data: []byte(`{"keys":["a","b","c"],"bad":"b","text":"x"}`)}})
	if err == nil {
		t.Fatal("the second key was folded")
	}
	if a, b := string(s.values["a"]), string(s.values["b"]); a != `{"n":1}` || b != `{"n":1}` || len(s.values) != 2 {
		t.Errorf("after the failure: a %s, b %s, %d keys", a, b, len(s.values))
	}
}

// A let that reads value is computed once per key, others once per event; gone sees the new value.
func TestLetsAreComputedPerKeyWhereTheyReadIt(t *testing.T) {
	p := one(t, head+"  key: event.keys\n  let: {next: '(value.n ?? 0) + event.n', mine: 'key + \"!\"', twice: next * 2}\n  value: {n: next, m: mine, t: twice}\n  gone: value.n > 3 or next > 100\n")
	got, err := folded(t, p, numbered(`{"keys":["a","b"],"n":1}`, `{"keys":["b","c"],"n":2}`, `{"keys":"b","n":1}`, `{"keys":"b","n":1}`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a": `{"m":"a!","n":1,"t":2}`, "b": `{"m":"b!","n":1,"t":2}`, "c": `{"m":"c!","n":2,"t":4}`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
