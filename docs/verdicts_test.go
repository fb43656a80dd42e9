package docs_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer"
)

const totals = `projections:
- {name: totals, version: 1, stream: ORDERS, key: event.customer, value: {cents: '(value.cents ?? 0) + scaled(event.amount, 2)'}}
`

const order = `{"customer":"c-4","amount":"4.50"}`

// The examples of docs/verdicts.md are what `tailfold status` prints, but for times, numbers, hashes and names of files.
func TestVerdictsArePrintedAsThePageSays(t *testing.T) {
	p := newPlace(t)
	orders := jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}}
	expect := func(config, verdict string) {
		t.Helper()
		state := "halted"
		if verdict == "LOG_UNAVAILABLE" {
			state = "starting"
		}
		stop := p.worker(config)
		shows(t, verdict, p.status(config, state, verdict+":"))
		stop()
	}
	live := func(config string) {
		t.Helper()
		stop := p.worker(config)
		p.status(config, "live")
		stop()
	}
	drop := func(config string) {
		t.Helper()
		if out, err := tailfold(t, "drop", "totals", "--version", "1", "--yes", "--config", config).CombinedOutput(); err != nil {
			t.Fatalf("drop: %v\n%s", err, out)
		}
	}
	config := p.config(totals)
	expect(config, "LOG_UNAVAILABLE")

	p.stream(orders)
	p.publish("orders.c-4", order, order, order, order, order)
	live(config)
	expect(p.config(strings.Replace(totals, "scaled", "2 * scaled", 1)), "CHANGED")

	config = p.config(totals)
	p.redis.Do("HSET", "tailfold:{totals/v1/0}", "c-4", `{"cents":`)
	p.publish("orders.c-4", order)
	expect(config, "CORRUPT")
	p.redis.Do("HDEL", "tailfold:{totals/v1/0}", "$mark")
	expect(config, "CORRUPT")
	drop(config)
	live(config)

	p.publish("orders.c-4", order, order, order, order)
	stream, err := p.js.Stream(t.Context(), "ORDERS")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(9)); err != nil {
		t.Fatal(err)
	}
	expect(config, "GAP")

	p.stream(orders)
	p.publish("orders.c-4", order)
	expect(config, "DIVERGED")
	drop(config)
	p.publish("orders.c-1", `{"customer":"c-1","amount":"1.999"}`)
	expect(config, "POISON")

	notes := `projections:
- {name: notes, version: 1, stream: ORDERS, key: event.customer, value: {all: 'keep_last(value.all, event.note, 1000)'}}
limits: {max_value: 1KiB}
`
	p.publish("orders.c-9", `{"customer":"c-9","note":"`+strings.Repeat("x", 1100)+`"}`)
	expect(p.config(notes), "TOO_LARGE")

	p.stream(jetstream.StreamConfig{Name: "WORK", Subjects: []string{"work.>"}, Retention: jetstream.WorkQueuePolicy})
	expect(p.config(strings.NewReplacer("totals", "jobs", "ORDERS", "WORK").Replace(totals)), "UNSUITABLE")
	p.stream(jetstream.StreamConfig{Name: "LAST", Subjects: []string{"last.>"}, MaxMsgsPerSubject: 1})
	expect(p.config(strings.NewReplacer("totals", "latest", "ORDERS", "LAST").Replace(totals)), "UNSUITABLE")
}

// shows checks that one of the page's examples of a verdict stands in a status.
func shows(t *testing.T, verdict, status string) {
	t.Helper()
	printed := plain(status)
	var examples []string
	for _, example := range named(t, "docs/verdicts.md").snippets("text") {
		if strings.HasPrefix(example, verdict) {
			examples = append(examples, plain(example))
		}
	}
	for _, example := range examples {
		if strings.Contains(printed, example) {
			return
		}
	}
	t.Errorf("no example of %s on the page is what is printed:\n%s\nexamples:\n%s", verdict, printed, strings.Join(examples, "\n"))
}

// plain is a text without line breaks, and with what differs from run to run written the same.
func plain(text string) string {
	for _, r := range []struct{ what, with string }{
		{`\d{4}-\d\d-\d\dT[0-9:.]+Z`, "TIME"},
		{`\b[0-9a-f]{32}\b`, "HASH"},
		{`\S*\.yaml:`, "FILE:"},
		{`127\.0\.0\.1:\d+`, "ADDRESS"},
		{`\b\d+\b`, "N"},
		{`\s+`, " "},
	} {
		text = regexp.MustCompile(r.what).ReplaceAllString(text, r.with)
	}
	return strings.TrimSpace(text)
}

// Each verdict has a section, and each section is a verdict's.
func TestEachVerdictHasASection(t *testing.T) {
	text := named(t, "docs/verdicts.md").text
	for _, reason := range []consumer.Reason{consumer.Gap, consumer.Diverged, consumer.Changed, consumer.Corrupt, consumer.Poison,
		consumer.Stuck, consumer.TooLarge, consumer.Unsuitable, consumer.LogUnavailable, consumer.StoreUnavailable} {
		section := regexp.MustCompile(`(?ms)^## ` + string(reason) + `$.*?(?:^## |\z)`).FindString(text)
		if !strings.Contains(section, "```text\n"+string(reason)) || !regexp.MustCompile(`Ways? out|ends by itself`).MatchString(section) {
			t.Errorf("%s has no section with an example and ways out", reason)
		}
	}
}

func TestALogThatIsAwayIsTold(t *testing.T) {
	p := newPlace(t)
	p.nats.Stop()
	config := p.config(totals)
	p.worker(config)
	shows(t, "LOG_UNAVAILABLE", p.status(config, "starting", "connection refused"))
}

// While the store is away, /readyz says so in the words of the page; status can't be asked then.
func TestAStoreThatIsAwayIsTold(t *testing.T) {
	p := newPlace(t)
	p.stream(jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}})
	p.redis.Kill()
	address := freeAddress(t)
	p.worker(p.config(totals), "TAILFOLD_HTTP_LISTEN="+address)
	for deadline := time.Now().Add(patience); ; {
		said := ask(t, "http://"+address+"/readyz")
		if strings.Contains(said, "STORE_UNAVAILABLE") {
			shows(t, "STORE_UNAVAILABLE", said)
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("/readyz says %q", said)
		}
		select {
		case <-t.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}
