package cmd

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
)

// mixed is a stream with two types of events, one text that is no JSON, and a late change of a field's type.
func mixed(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}}); err != nil {
		t.Fatal(err)
	}
	put := func(subject, format string, args ...any) {
		t.Helper()
		if _, err := js.Publish(t.Context(), subject, fmt.Appendf(nil, format, args...)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 8 {
		put("orders.placed", `{"type":"OrderPlaced","customer":"c-%d","amount":%d,"items":[{"sku":"s"}]}`, i%2, i)
		put("orders.paid", `{"type":"OrderPaid","customer":"c-%d"}`, i%2)
	}
	put("orders.note", "hello")
	put("orders.placed", `{"type":"OrderPlaced","customer":"c-0","amount":9223372036854775807}`)
	put("orders.placed", `{"type":"OrderPlaced","customer":"c-0","amount":"12"}`)
	put("orders.placed", `{"type":"OrderPlaced","customer":"c-0","amount":1}`)
}

const wrongPaths = `
projections:
- name: totals
  version: 1
  stream: ORDERS
  subjects: [orders.placed, orders.paid]
  when: event.type == "OrderPlaced"
  key: event.customer
  seed: 0
  value: value + event.amount
- name: wrong
  version: 2
  stream: ORDERS
  when: event.type == "OrderPlacd"
  key: event.custommer
  value: {n: 'count(event.items, .skuu == "s")'}
  on_poison: skip
`

func TestASampleShowsWhatTheEventsGiveAndLeavesNoTrace(t *testing.T) {
	server := natstest.Start(t)
	js := natstest.JetStream(t, server.Connect())
	mixed(t, js)
	file := configFile(t, wrongPaths)
	code, out, errs := call(t, "check", file, "--sample", "16", "--nats", server.URL())
	_, shown, _ := strings.Cut(out, "\n\n")
	want := `sample of stream ORDERS: the first 16 events of 20 (seq 1 to 16), as a replay begins; --newest takes the last ones
  totals version 1: 8 of 16 events matched, 2 keys
    c-0  12
    c-1  16
  wrong version 2: 0 of 16 events matched, 0 keys
    warning: F:14:9: event.type is never "OrderPlacd" in 16; did you mean "OrderPlaced" (8)?
      | event.type == "OrderPlacd"
      | ^
    warning: F:15:8: event.custommer in 0 of 16; did you mean event.customer (16)?
      | event.custommer
      | ^
    warning: F:16:34: event.items[].skuu in 0 of 16; did you mean event.items[].sku (8)?
      | count(event.items, .skuu == "s")
      |                    ^
ok
`
	if diff := cmp.Diff(want, strings.ReplaceAll(shown, file, "F")); diff != "" || code != 0 || errs != "" {
		t.Errorf("code %d, %s%s", code, errs, diff)
	}

	code, out, errs = call(t, "check", file, "--sample", "4", "--newest", "--nats", server.URL())
	_, shown, _ = strings.Cut(out, "\n\n")
	shown = strings.ReplaceAll(shown, file, "F")
	for _, part := range []string{
		"sample of stream ORDERS: the newest 4 events of 20 (seq 17 to 20): values and poison are as if there had been none before\n" +
			"  1 event is not a JSON object: expressions that name a path of event can't read such\n",
		"  totals version 1: 1 of 4 events matched (3 have one of its subjects), 1 key\n    c-0  9223372036854775807\n" +
			"    POISON: 2 events, seq 19, 20\n      seq 19, key \"c-0\": F:10:16: ",
		"\n        | value + event.amount\n        |       ^\n      seq 20, key \"c-0\": F:10:16: ",
		"\n    POISON, to be skipped: 1 event, seq 17\n",
	} {
		if !strings.Contains(shown, part) {
			t.Errorf("it does not say\n%s\nbut\n%s", part, shown)
		}
	}
	if code != 1 || errs != "tailfold: projection totals version 1: 2 events of the sample would be POISON, the first is seq 19\n" {
		t.Errorf("newest: code %d, %s", code, errs)
	}

	stream, err := js.Stream(t.Context(), "ORDERS")
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Consumers; n != 0 {
		t.Errorf("the stream has %d consumers left", n)
	}
}

func TestASampleAsJSONHasAllOfIt(t *testing.T) {
	server := natstest.Start(t)
	mixed(t, natstest.JetStream(t, server.Connect()))
	file := configFile(t, strings.Replace(wrongPaths, "  seed: 0\n", "  seed: 0\n  event: {type: string, customer: string, amount: int}\n", 1))
	code, out, errs := call(t, "check", file, "--sample", "100", "--json", "--nats", server.URL())
	var got checkReport
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 1 || errs != "" || got.OK || len(got.Errors) != 2 {
		t.Fatalf("code %d, %v: %s%s", code, err, errs, out)
	}
	s := got.Samples[0]
	if s.Which != "all" || s.Events != 20 || s.NotJSON != 1 || len(s.Projections) != 2 {
		t.Errorf("the sample is %+v", s)
	}
	totals := s.Projections[0]
	if len(totals.Values) != 2 || len(totals.Poison) != 2 || totals.Poison[0].Seq != 18 || len(totals.Mismatches) != 1 ||
		totals.Mismatches[0].Problem != "event.amount is declared as an int, but is a text in 1 of 19, first at seq 19: correct event:, or the publisher" {
		t.Errorf("of totals it says %+v", totals)
	}
	if len(s.Projections[1].Warnings) != 3 || s.Projections[1].Warnings[1].Problem != "event.custommer in 0 of 20; did you mean event.customer (19)?" {
		t.Errorf("of the other it says %+v", s.Projections[1])
	}
}

func TestCheckAsJSONNamesEachFaultWithItsPlace(t *testing.T) {
	file := configFile(t, "assign: leases\nprojections:\n- {name: a, version: 1, stream: S, value: x1 + 1}\n- {name: a b, version: 1, stream: S, value: y1}\n")
	for text, want := range map[string][]checkFault{
		"leases: {ttl: 1ms}\nshard: 2/2\n" + totals: {
			{Where: "F:2:8", Problem: `shard: is "2/2": write i/n, share i of n, with i from 0 to n-1, such as 0/3, 1/3 and 2/3 for three workers`},
			{Where: "F:1:15", Problem: "leases.ttl: is 1ms: write 300ms to 10m0s"}},
		"projections:\n- {name: a, version: 1, stream: S, value: xx1 + 1}\n- {name: a b, version: 1, stream: S, value: seq}\n": {
			{"F:2:43", "unknown name xx1: the names are event, value, key, seq, subject, time; a field of the event is event.xx1, a text is \"xx1\"", "xx1 + 1", 0},
			{Where: "F:3:10", Problem: "the name \"a b\" is not legal"}},
	} {
		file = configFile(t, text)
		code, out, errs := call(t, "check", file, "--json")
		var got checkReport
		if err := json.Unmarshal([]byte(strings.ReplaceAll(out, file, "F")), &got); err != nil || code != 2 || errs != "" {
			t.Fatalf("code %d, %v: %s%s", code, err, errs, out)
		}
		for i := range got.Errors {
			if i < len(want) && strings.HasPrefix(got.Errors[i].Problem, want[i].Problem) {
				got.Errors[i].Problem = want[i].Problem
			}
		}
		if diff := cmp.Diff(want, got.Errors); diff != "" {
			t.Error(diff)
		}
	}
}

func TestASampleOfNothingSaysWhatIsMissing(t *testing.T) {
	server := natstest.Start(t)
	file := configFile(t, totals)
	code, _, errs := call(t, "check", file, "--sample", "5", "--nats", server.URL())
	if code != 1 || !strings.Contains(errs, "ORDERS") || !strings.Contains(errs, "does not exist") {
		t.Errorf("no stream: code %d, %s", code, errs)
	}
	orders(t, server.Connect(), 0)
	code, out, errs := call(t, "check", file, "--sample", "5", "--nats", server.URL())
	if code != 0 || !strings.Contains(out, "it holds no events yet") {
		t.Errorf("no events: code %d, %s%s", code, out, errs)
	}
	code, _, errs = call(t, "check", file, "--sample", "5", "--nats", "nats://"+nowhere(t))
	if code != 3 || !strings.Contains(errs, "NATS is at nats://") {
		t.Errorf("no NATS: code %d, %s", code, errs)
	}
	code, _, errs = call(t, "check", file, "--newest")
	if code != 2 || !strings.Contains(errs, "--sample N") {
		t.Errorf("no sample: code %d, %s", code, errs)
	}
}
