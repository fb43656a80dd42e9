package cmd

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// payload is in the data and the header of each poison event, and in the values that it meets.
const payload = "m4rk3r-of-a-customer"

// bill is what the folds in Go read.
type bill struct {
	Customer string           `json:"customer"`
	Note     string           `json:"note"`
	Amount   int64            `json:"amount"`
	Items    map[string]int64 `json:"items"`
}

// halting are projections that each meet poison of their own kind, under both policies.
func halting(t *testing.T) *projections.Registry {
	t.Helper()
	var registry projections.Registry
	for _, policy := range []projections.OnPoison{projections.Halt, projections.Skip} {
		for name, step := range map[string]func(string, string, projections.Event) (string, error){
			"decode": func(_, _ string, e projections.Event) (string, error) {
				b, err := projections.JSON[bill](e)
				if err != nil {
					return "", fmt.Errorf("bill: %w", err)
				}
				return b.Note, nil
			},
			"panic": func(_, old string, e projections.Event) (string, error) {
				if e.Subject == "orders.bad" {
					note, _ := e.Header.Get("Note")
					panic(fmt.Sprintf("%s %s %s", old, note, e.Data))
				}
				return payload, nil
			},
			"own-words": func(_, _ string, e projections.Event) (string, error) {
				if e.Subject == "orders.bad" {
					return "", fmt.Errorf("this order has no amount")
				}
				return payload, nil
			},
		} {
			err := registry.Add(projections.Keyed[string]{Name: name + "-" + string(policy), Version: 1, Stream: "ORDERS",
				Subjects: []string{"orders.>"}, OnPoison: policy, Step: step,
				Key: func(projections.Event) (string, error) { return "c-1", nil }})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return &registry
}

const haltingDeclared = `
projections:
  - {name: number-halt, version: 1, stream: ORDERS, subjects: ["orders.>"], key: '"c-1"', value: {note: event.note, n: int(event.note ?? "1")}}
  - {name: number-skip, version: 1, stream: ORDERS, subjects: ["orders.>"], on_poison: skip, key: '"c-1"', value: {note: '"` + payload + `"', n: '0 + event.items["` + `x"]'}}
  - {name: header-halt, version: 1, stream: ORDERS, subjects: ["orders.>"], key: '"c-1"', value: {n: int(header("Note") ?? "1")}}
`

// disturb publishes one event that all can fold and one that none can, and waits until each unit has met it.
func disturb(t *testing.T, payloads bool) (worker *running, redis *redistest.Server, shown string) {
	t.Helper()
	server, redis := natstest.Start(t), redistest.Start(t)
	js := natstest.JetStream(t, server.Connect())
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}}); err != nil {
		t.Fatal(err)
	}
	file := configFile(t, haltingDeclared+fmt.Sprintf("log: {payloads: %v}\n", payloads))
	args := []string{"-c", file, "--nats", server.URL(), "--store", redis.URL()}
	registry := halting(t)
	worker = start(t, registry, args...)
	for _, m := range []*nats.Msg{
		{Subject: "orders.good", Data: []byte(`{"customer":"c-1","amount":1,"items":{"x":1}}`)},
		{Subject: "orders.bad", Header: nats.Header{"Note": {payload}}, Data: []byte(`{"customer":"c-1","note":"` + payload + `","amount":"` + payload +
			`","items":{"` + payload + `":"` + payload + `","x":"` + payload + `"}}`)},
		{Subject: "orders.bad", Header: nats.Header{"Note": {payload}}, Data: []byte(`{"` + payload + `":1,"` + payload + `":2}`)},
	} {
		if _, err := js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	var all []string
	await(t, "each unit to halt or to skip", func() bool {
		p := programRun{registry: registry}
		p.run(t.Context(), append([]string{"status", "--json"}, args...)...)
		halted, skipped := 0, 0
		for _, u := range unitsIn(t, p.stdout.String()) {
			if u.Verdict == "POISON" {
				halted++
			}
			skipped += int(u.Skipped)
		}
		all = []string{p.stdout.String(), p.stderr.String()}
		return halted == 5 && skipped == 8
	})
	table := programRun{registry: registry}
	table.run(t.Context(), append([]string{"status"}, args...)...)
	all = append(all, table.stdout.String(), table.stderr.String())
	for _, path := range []string{"/metrics", "/api/v1/status", "/readyz", "/livez"} {
		_, body := get(t, worker.base+path)
		all = append(all, body)
	}
	for _, name := range []string{"decode-skip", "panic-skip", "own-words-skip", "number-skip"} {
		record, _ := redis.Do("HGET", "tailfold:{"+name+"/v1/0}", "$skipped").(string)
		if !strings.Contains(record, `"seq":3`) || !json.Valid([]byte(record)) {
			t.Errorf("$skipped of %s is %s", name, record)
		}
		all = append(all, record)
	}
	return worker, redis, strings.Join(all, "\n")
}

func TestNoDataOfEventsAndValuesIsShownUnlessAsked(t *testing.T) {
	worker, redis, shown := disturb(t, false)
	// A value that somebody else has written over.
	redis.Do("HSET", "tailfold:{decode-skip/v1/0}", "c-1", `{"`+payload+`":`)
	worker.stopped()
	shown += worker.program.stderr.String()
	keepsSecret(t, shown, payload)
	for _, want := range []string{
		"can't fold event 2 of stream ORDERS: event 2 (orders.bad), key \\\"c-1\\\": bill: the data is not as it must be: a JSON string can't be read as Go int64, within /amount, at byte",
		"it is not valid JSON: a member is there twice",
		"panic with a value of type string", "payload_test.go", // where it was
		"this order has no amount", // the step's own words
		`int(…): it is not the decimal text of an int within 64 bits`,
		"skipped an event that can't be folded", `"key":"c-1"`,
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("nowhere is said %s", want)
		}
	}
}

func TestDataIsShownWhereAskedFor(t *testing.T) {
	worker, _, shown := disturb(t, true)
	worker.stopped()
	for _, text := range []string{shown, worker.program.stderr.String()} {
		for _, want := range []string{"panic: " + payload, payload + `\\\"): it is not the decimal text`} {
			if !strings.Contains(text, want) && !strings.Contains(text, strings.ReplaceAll(want, `\\`, "")) && !strings.Contains(text, strings.ReplaceAll(want, `\\\`, `\`)) {
				t.Errorf("%q is not shown", want)
			}
		}
	}
}

// A value that can't be read back halts its unit with CORRUPT, which names the key.
func TestAValueThatCantBeReadIsNotShown(t *testing.T) {
	server, redis := natstest.Start(t), redistest.Start(t)
	js := orders(t, server.Connect(), 3)
	args := []string{"-c", configFile(t, totals), "--nats", server.URL(), "--store", redis.URL()}
	worker := start(t, nil, args...)
	worker.ready()
	worker.stopped()
	redis.Do("HSET", "tailfold:{customer-totals/v1/0}", "c-1", `{"`+payload+`":"`+payload)
	publish(t, js, 1, 20)
	again := start(t, nil, args...)
	await(t, "the verdict", func() bool { return strings.Contains(again.program.stderr.String(), "CORRUPT") })
	_, body := get(t, again.base+"/api/v1/status")
	again.stopped()
	shown := body + again.program.stderr.String()
	keepsSecret(t, shown, payload)
	if !strings.Contains(shown, "c-1") || !strings.Contains(shown, "it ends too early") {
		t.Errorf("key and cause are not named in %s", shown)
	}
}
