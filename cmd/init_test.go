package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore/read"
)

// holds runs check and test on a file that init wrote.
func holds(t *testing.T, file string, args ...string) (checked string) {
	t.Helper()
	code, out, errs := call(t, append([]string{"check", file}, args...)...)
	if code != 0 || errs != "" {
		t.Errorf("check: code %d, %s%s\n%s", code, out, errs, readFile(t, file))
	}
	if code, out, errs := call(t, "test", file); code != 0 || errs != "" {
		t.Errorf("test: code %d, %s%s\n%s", code, out, errs, readFile(t, file))
	}
	for _, line := range strings.Split(readFile(t, file), "\n") {
		if len(line) > 160 && !strings.Contains(line, "raw:") && !strings.Contains(line, t.TempDir()[:10]) {
			t.Errorf("a long line: %s", line)
		}
	}
	return out
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// projectionOf leaves out comments and what stands before and after the projections.
func projectionOf(text string) string {
	var kept []string
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "projections:":
			inside = true
			continue
		case line == "tests:":
			inside = false
		}
		if inside && line != "" && !strings.HasPrefix(strings.TrimSpace(line), "#") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

func TestInitFromFlightsHoldsAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "tailfold.yaml")
	code, out, errs := call(t, "init", "--events", "../examples/flights/flights-20k.ndjson.gz", "-o", file)
	if code != 0 || !strings.Contains(out, "the projection origin-totals over stream FLIGHTS, with 1 test, from 5,000 events") {
		t.Fatalf("code %d, %s%s", code, out, errs)
	}
	holds(t, file)
	want := `- name: origin-totals
  version: 1
  stream: FLIGHTS
  key: event.origin
  seed: {count: 0, delay: 0, distance: 0}
  value:
    count: value.count + 1
    delay: value.delay + event.delay
    distance: value.distance + event.distance
    last: event.date`
	if got := projectionOf(readFile(t, file)); got != want {
		t.Errorf("it wrote\n%s", got)
	}
}

func TestInitFromAStreamHoldsAtOnceAndLeavesNoTrace(t *testing.T) {
	server := natstest.Start(t)
	js := natstest.JetStream(t, server.Connect())
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}}); err != nil {
		t.Fatal(err)
	}
	put := func(subject, format string, args ...any) {
		t.Helper()
		if _, err := js.Publish(t.Context(), subject, fmt.Appendf(nil, format, args...)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 60 {
		put(fmt.Sprintf("orders.%d.placed", i), "{\"type\":\"OrderPlaced\",\n \"order\":\"o-%d\",\"customer\":{\"id\":\"c'%d: #\"},\"amount\":%d.%d,\"at\":\"2026-11-23T10:00:%02dZ\"}", i, i%7, i, i%90+10, i)
		put(fmt.Sprintf("orders.%d.paid", i), `{"type":"OrderPaid","order":"o-%d","at":"2026-11-23T10:00:%02dZ"}`, i, i)
	}
	put("orders.0.note", "not JSON")
	file := filepath.Join(t.TempDir(), "tailfold.yaml")
	code, out, errs := call(t, "init", "--stream", "ORDERS", "--nats", server.URL(), "--store", "./my.db", "--out", file)
	if code != 0 || !strings.Contains(out, "customer-totals over stream ORDERS, with 2 tests, from 121 events") {
		t.Fatalf("code %d, %s%s", code, out, errs)
	}
	if checked := holds(t, file, "--sample", "1000"); !strings.Contains(checked, "customer-totals version 1: 60 of 121 events matched, 7 keys") {
		t.Errorf("check says\n%s", checked)
	}
	want := `- name: customer-totals
  version: 1
  stream: ORDERS
  when: event.type == "OrderPlaced"
  key: event.customer.id
  seed: {count: 0, amount_cents: 0}
  value:
    count: value.count + 1
    amount_cents: value.amount_cents + scaled(event.amount, 2)
    last: event.at
  on_poison: skip`
	if got := projectionOf(readFile(t, file)); got != want {
		t.Errorf("it wrote\n%s", got)
	}
	stream, err := js.Stream(t.Context(), "ORDERS")
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Consumers; n != 0 {
		t.Errorf("the stream has %d consumers left", n)
	}
}

// What init shows for partitions does what it says: the server puts events into them, and the configuration reads them.
func TestInitWithPartitionsShowsTheTransformThatMakesThem(t *testing.T) {
	server := natstest.Start(t)
	js := natstest.JetStream(t, server.Connect())
	config := jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}}
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "orders.c-1.placed", []byte(`{"type":"OrderPlaced","customer":"c-1","amount":1}`)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "tailfold.yaml")
	if code, out, errs := call(t, "init", "--stream", "ORDERS", "--partitions", "8", "--nats", server.URL(), "--out", file); code != 0 {
		t.Fatalf("code %d, %s%s", code, out, errs)
	}
	holds(t, file)
	text := readFile(t, file)
	shown := regexp.MustCompile(`--transform-source='([^']*)' --transform-destination='([^']*)'`).FindStringSubmatch(text)
	if shown == nil {
		t.Fatalf("no transform is shown:\n%s", text)
	}
	config.SubjectTransform = &jetstream.SubjectTransformConfig{Source: shown[1], Destination: shown[2]}
	stream, err := js.UpdateStream(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Load(Sources{File: file})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		customer := fmt.Sprintf("c-%d", i)
		ack, err := js.Publish(t.Context(), "orders."+customer+".placed", []byte(`{"type":"OrderPlaced","amount":1}`))
		if err != nil {
			t.Fatal(err)
		}
		msg, err := stream.GetMsg(t.Context(), ack.Sequence)
		if err != nil {
			t.Fatal(err)
		}
		partition := read.Partition(customer, 8)
		if want := fmt.Sprintf("orders.%d.%s.placed", partition, customer); msg.Subject != want {
			t.Errorf("the server stored %s, want %s", msg.Subject, want)
		}
		if subjects := l.stream("ORDERS").subjects(partition); !projections.MatchSubject(subjects[0], msg.Subject) {
			t.Errorf("partition %d reads %v, not %s", partition, subjects, msg.Subject)
		}
	}
	for subject, want := range map[string]transform{
		"a.>":     {"a.*.>", "a.{{partition(4,1)}}.{{wildcard(1)}}.>", "a.{partition}.>"},
		"a.*":     {"a.*", "a.{{partition(4,1)}}.{{wildcard(1)}}", "a.{partition}.>"},
		"a.b.*.c": {"a.b.*.c", "a.{{partition(4,1)}}.b.{{wildcard(1)}}.c", "a.{partition}.>"},
		"a":       {"a.*", "a.{{partition(4,1)}}.{{wildcard(1)}}", "a.{partition}.>"},
	} {
		if got := transformOf(subject, 4); got != want {
			t.Errorf("of %s: %+v, want %+v", subject, got, want)
		}
	}
}

// Whatever the events are like, what init writes holds.
func TestInitHoldsForOddEvents(t *testing.T) {
	many := func(format string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format+"\n", i, i%5)
		}
		return b.String()
	}
	for name, events := range map[string]string{
		"one event":              `{"a":1}`,
		"no object":              "1\n\"x\"\n[]\nnull\n",
		"an empty object":        "{}\n{}\n",
		"sensors":                many(`{"sensor_id":%[2]d,"at":"2026-01-01T00:00:00Z","temperature":%[1]d.5,"battery":%[1]d}`, 50),
		"floats without end":     many(`{"user":"u%[2]d","score":0.12345678901%[1]d}`, 50),
		"overflow":               `{"user":"u","amount":9223372036854775807}` + "\n" + `{"user":"u","amount":9223372036854775807}`,
		"beyond 64 bits":         many(`{"user":"u%[2]d","count":99999999999999999999%[1]d}`, 20),
		"names with spaces":      many(`{"the type":"x","customer id":"c %[2]d","total count":%[1]d,"1st":2}`, 20),
		"quotes":                 many(`{"type":"it's \"%[2]d\": #x","customer":"o'%[2]d","amount":"%[1]d.50"}`, 40),
		"names of the language":  many(`{"key":"k%[2]d","value":%[1]d,"count":%[1]d,"last":"x","event":{"type":"a"}}`, 20),
		"a field that changes":   many(`{"id":"i%[2]d","n":%[1]d}`, 20) + `{"id":"i1","n":"text"}` + "\n" + `{"id":7}`,
		"a field that is absent": many(`{"customer":"c%[2]d","amount":%[1]d.25}`, 20) + `{"customer":"c1"}`,
		"a missing key":          many(`{"customer":"c%[2]d","amount":%[1]d}`, 30) + `{"amount":1}`,
		"decimal text":           many(`{"account":"a%[2]d","fee":"-%[1]d.125"}`, 20),
		"unicode":                many(`{"kunde":"ä%[2]d","Größe":%[1]d,"☃":"\u0000 \u2028"}`, 20),
		"deep":                   many(`{"meta":{"event_type":"t%[2]d"},"data":{"user":{"userId":"u%[2]d"},"qty":%[1]d}}`, 50),
	} {
		t.Run(name, func(t *testing.T) {
			folder := writeFiles(t, map[string]string{"events.ndjson": events})
			file := filepath.Join(folder, "tailfold.yaml")
			code, out, errs := call(t, "init", "--events", filepath.Join(folder, "events.ndjson"), "-o", file)
			if code != 0 {
				t.Fatalf("code %d, %s%s", code, out, errs)
			}
			holds(t, file)
		})
	}
}

func TestInitFindsTheTypeInTheSubject(t *testing.T) {
	server := natstest.Start(t)
	js := natstest.JetStream(t, server.Connect())
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SHOP", Subjects: []string{"shop.>"}}); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		for _, what := range []string{"placed", "paid"} {
			if _, err := js.Publish(t.Context(), "shop."+what, fmt.Appendf(nil, `{"user":"u-%d","qty_%s":%d}`, i%4, what, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Chdir(t.TempDir())
	if code, out, errs := call(t, "init", "--stream", "SHOP", "--nats", server.URL()); code != 0 {
		t.Fatalf("code %d, %s%s", code, out, errs)
	}
	holds(t, "tailfold.yaml", "--sample", "100")
	if got := projectionOf(readFile(t, "tailfold.yaml")); !strings.Contains(got, `when: token(2) == "paid"`) || !strings.Contains(got, "qty_paid: value.qty_paid + event.qty_paid") {
		t.Errorf("it wrote\n%s", got)
	}
}

func TestInitWritesOverNothingAndSaysWhatItLacks(t *testing.T) {
	t.Chdir(writeFiles(t, map[string]string{"tailfold.yaml": "mine\n", "e.ndjson": `{"a":1}`, "bad.ndjson": "{\"a\":1}\n\n{\"a\":\n", "empty.ndjson": "\n"}))
	for _, c := range []struct {
		args, want string
		code       int
	}{
		{"init", "name what to look at: --stream ORDERS", 2},
		{"init --events e.ndjson", "tailfold.yaml is there already: write another file with --out FILE, or over this one with --force", 2},
		{"init --events bad.ndjson -o x.yaml", "bad.ndjson:3: not JSON: ", 2},
		{"init --events empty.ndjson -o x.yaml", "empty.ndjson holds no events yet", 1},
		{"init --events none.ndjson -o x.yaml", "--events: open none.ndjson: no such file", 2},
		{"init --events e.ndjson -o x.yaml --sample 0", "--sample is 0", 2},
		{"init --stream S -o x.yaml --nats nats://" + nowhere(t), "NATS is at nats://", 3},
	} {
		code, out, errs := call(t, strings.Fields(c.args)...)
		if code != c.code || out != "" || !strings.Contains(errs, c.want) {
			t.Errorf("%s: code %d, %s%s", c.args, code, out, errs)
		}
	}
	if readFile(t, "tailfold.yaml") != "mine\n" {
		t.Error("it wrote over the file")
	}
	if code, _, errs := call(t, "init", "--events", "e.ndjson", "--force"); code != 0 || readFile(t, "tailfold.yaml") == "mine\n" {
		t.Errorf("--force: code %d, %s", code, errs)
	}
}

func TestInitWritesNoSecret(t *testing.T) {
	t.Chdir(writeFiles(t, map[string]string{"e.ndjson": `{"a":1}`}))
	code, _, errs := call(t, "init", "--events", "e.ndjson", "--nats", "nats://u:Pa55word@h:4222", "--store", "redis://:Pa55word@h/0")
	if text := readFile(t, "tailfold.yaml"); code != 0 || strings.Contains(text, "Pa55word") || !strings.Contains(text, "TAILFOLD_NATS_PASSWORD") {
		t.Errorf("code %d, %s\n%s", code, errs, text)
	}
	holds(t, "tailfold.yaml")
}
