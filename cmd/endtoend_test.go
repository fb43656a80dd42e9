package cmd

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

const totals = `
projections:
- name: customer-totals
  version: 1
  stream: ORDERS
  key: event.customer
  value:
    orders: (value.orders ?? 0) + 1
    total: (value.total ?? 0) + event.amount
`

// orders makes the stream ORDERS with n events, of customers c-0 to c-9, each of amount 5.
func orders(t *testing.T, conn *nats.Conn, n int) jetstream.JetStream {
	t.Helper()
	js := natstest.JetStream(t, conn)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS",
		Subjects: []string{"orders.>"}}); err != nil {
		t.Fatal(err)
	}
	publish(t, js, 0, n)
	return js
}

func publish(t *testing.T, js jetstream.JetStream, from, n int) (seq uint64) {
	t.Helper()
	for i := from; i < from+n; i++ {
		ack, err := js.Publish(t.Context(), fmt.Sprintf("orders.%d", i%10), fmt.Appendf(nil,
			`{"customer":"c-%d","amount":5}`, i%10))
		if err != nil {
			t.Fatal(err)
		}
		seq = ack.Sequence
	}
	return seq
}

type statusJSON struct {
	Units []consumer.UnitStatus `json:"units"`
}

func unitsIn(t *testing.T, text string) []consumer.UnitStatus {
	t.Helper()
	var s statusJSON
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return s.Units
}

func TestAWorkerFoldsAndTheCommandLineTells(t *testing.T) {
	for _, c := range []struct {
		name  string
		store func(t *testing.T) string
	}{
		{"Redis", func(t *testing.T) string { return redistest.Start(t).URL() }},
		{"file", func(t *testing.T) string { return filepath.Join(t.TempDir(), "tailfold.db") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, store := natstest.Start(t), c.store(t)
			js := orders(t, server.Connect(), 100)
			file := filepath.Join(writeFiles(t, map[string]string{"tailfold.yaml": totals}), "tailfold.yaml")
			worker := start(t, nil, "-c", file, "--nats", server.URL(), "--store", store, "--name", "w-1")
			worker.ready()
			common := []string{"-c", file, "--nats", server.URL(), "--store", store, "--listen",
				strings.TrimPrefix(worker.base, "http://")}
			ask := func(args ...string) (int, string, string) { return call(t, append(args, common...)...) }

			// What is read after a publish, with its seq, has seen it.
			seq := publish(t, js, 100, 1)
			code, body := get(t, fmt.Sprintf("%s/api/v1/projections/customer-totals/keys/c-0?min_seq=%d", worker.base,
				seq))
			want := `{"exists":true,"key":"c-0","partition":0,"projection":"customer-totals","seq":101,"value":{"orders":11,"total":55},"version":1}`
			if diff := cmp.Diff(sorted(t, want), sorted(t, body)); code != http.StatusOK || diff != "" {
				t.Errorf("code %d: %s", code, diff)
			}

			code, out, errs := ask("get", "customer-totals", "c-3")
			if code != 0 || out != `{"orders":10,"total":50}`+"\n" || errs != "customer-totals/v1/0, seq 101\n" {
				t.Errorf("get: code %d, printed %q and %q", code, out, errs)
			}
			code, out, _ = ask("get", "customer-totals", "--prefix", "c-", "--json")
			if code != 0 || strings.Count(out, `"key":"c-`) != 10 {
				t.Errorf("list: code %d, printed %q", code, out)
			}
			code, _, errs = ask("get", "customer-totals", "nobody")
			if code != 1 || errs != "tailfold: customer-totals version 1 has no key \"nobody\" at seq 101\n" {
				t.Errorf("no such key: code %d, printed %q", code, errs)
			}
			code, _, errs = ask("get", "customer-total", "x")
			if code == 0 || !strings.Contains(errs, `there is no projection "customer-total": did you mean "customer-totals"?`) {
				t.Errorf("no such projection: code %d, printed %q", code, errs)
			}

			var units []consumer.UnitStatus
			await(t, "the worker to say that it is live", func() bool { // it says so once a second
				code, out, errs = ask("status", "--json")
				units = unitsIn(t, out)
				return len(units) == 1 && units[0].State == consumer.Live
			})
			if code != 0 || len(units) != 1 || units[0].State != consumer.Live || units[0].Seq != 101 ||
				!strings.HasPrefix(units[0].Owner, "w-1-") || !units[0].Served {
				t.Errorf("status: code %d, printed %s %s", code, out, errs)
			}

			// Dropped, and asked before; then folded again.
			code, _, errs = ask("drop", "customer-totals", "--version", "1")
			if code != 1 || !strings.Contains(errs, "up to seq 101") || !strings.Contains(errs,
				"It is running (w-1-") || !strings.Contains(errs, "Readers use version 1") {
				t.Errorf("drop without an answer: code %d, printed %q", code, errs)
			}
			code, out, errs = ask("drop", "customer-totals", "--version", "1", "--yes")
			if code != 0 || out != "dropped customer-totals/v1/0\n" {
				t.Errorf("drop: code %d, printed %q and %q", code, out, errs)
			}
			seq = publish(t, js, 101, 1)
			code, body = get(t, fmt.Sprintf("%s/api/v1/projections/customer-totals/value?key=c-1&min_seq=%d&timeout=20s", worker.base, seq))
			if !strings.Contains(body, `"value":{"orders":11,"total":55}`) {
				t.Errorf("after the drop: code %d, %s", code, body)
			}

			// Stopped in good order: the snapshot is at the head, and nobody has the unit.
			if code := worker.stopped(); code != 0 {
				t.Errorf("the worker's exit code is %d", code)
			}
			code, out, errs = ask("status", "--json")
			units = unitsIn(t, out)
			if code != 0 || len(units) != 1 || units[0].State != consumer.Unowned || units[0].Seq != 102 ||
				units[0].Head != 102 || units[0].Lag != 0 {
				t.Errorf("status afterwards: code %d, printed %s %s", code, out, errs)
			}
			logged := worker.program.stderr.String()
			for _, part := range []string{`"resumed at seq 0, replayed 100 events in `, `"worker":"w-1-`,
				`"version":"v0-test"`, `"streams":["ORDERS"]`, `"projections":["customer-totals/v1"]`} {
				if !strings.Contains(logged, part) {
					t.Errorf("the log has no %s:\n%s", part, logged)
				}
			}
		})
	}
}

// sorted is JSON with its members in order, so that texts compare.
func sorted(t *testing.T, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
