package docs_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/snapshotstore/read"
	"github.com/tailfold/tailfold/snapshotstore/redisstore"
)

// Customer is a value of customer-totals.
type Customer struct {
	Orders int   `json:"orders"`
	Cents  int64 `json:"cents"`
}

// readCustomer reads a customer as of event seq or later: the one that the publisher got in its PubAck.
func readCustomer(ctx context.Context, url, id string, seq uint64) (Customer, error) {
	store, err := redisstore.Open(redisstore.Options{URL: url}) // a service opens it once
	if err != nil {
		return Customer{}, err
	}
	defer store.Close()
	reader, err := read.New(store, read.Options{Projection: "customer-totals"})
	if err != nil {
		return Customer{}, err
	}
	result, err := reader.After(seq, 2*time.Second).Get(ctx, id)
	if err != nil {
		return Customer{}, err
	}
	return read.JSON[Customer](result)
}

// The README's configuration, run as it stands, and read in the README's ways.
func TestTheReadmeWorks(t *testing.T) {
	p := newPlace(t)
	p.stream(jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}})
	readme := named(t, "README.md")
	config := p.dir + "/readme.yaml"
	write(t, config, readme.snippets("yaml")[0])
	address := freeAddress(t)
	p.worker(config, "TAILFOLD_NATS_URL="+p.nats.URL(), "TAILFOLD_STORE_REDIS="+p.redis.URL(), "TAILFOLD_HTTP_LISTEN="+address)
	seq := p.publish("orders.placed", `{"type":"OrderPlaced","customer":"c-77","amount":19.99}`,
		`{"type":"OrderPlaced","customer":"c-77","amount":"0.10"}`)

	curl := regexp.MustCompile(`curl 'http://127\.0\.0\.1:8321(/\S*)'`).FindStringSubmatch(readme.text)
	if curl == nil {
		t.Fatal("the README shows no curl")
	}
	const want = `"value":{"cents":2009,"orders":2}`
	for deadline := time.Now().Add(patience); ; {
		said := ask(t, "http://"+address+curl[1])
		if strings.Contains(said, want) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s answers %q", curl[1], said)
		}
	}
	customer, err := readCustomer(t.Context(), p.redis.URL(), "c-77", seq)
	if want := (Customer{Orders: 2, Cents: 2009}); err != nil || customer != want {
		t.Errorf("package read reads %+v (%v), want %+v", customer, err, want)
	}
	hmget := regexp.MustCompile(`redis-cli HMGET '(\S+)' '(\S+)' (c-77)`).FindStringSubmatch(readme.text)
	if hmget == nil {
		t.Fatal("the README shows no HMGET")
	}
	found, _ := p.redis.Do("HMGET", hmget[1], hmget[2], hmget[3]).([]any)
	if len(found) != 2 || found[1] != `{"cents":2009,"orders":2}` {
		t.Errorf("HMGET %v answers %v", hmget[1:], found)
	}
	for _, name := range []string{hmget[1], `"$mark", "c-77"`} {
		if python := readme.snippets("python"); len(python) != 1 || !strings.Contains(python[0], name) {
			t.Errorf("the README's Python does not read %s", name)
		}
	}
}

// The page shows the files that are tested in ../deploy.
func TestPermissionsOfThePageAreThoseThatAreTested(t *testing.T) {
	blocks := named(t, "docs/permissions.md").snippets("text")
	files := []string{"nats/permissions.conf", "redis/users.acl"}
	if len(blocks) != len(files) {
		t.Fatalf("the page has %d blocks, want those of %v", len(blocks), files)
	}
	for i, name := range files {
		text, err := os.ReadFile(filepath.Join(root, "deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(text), blocks[i]); diff != "" {
			t.Errorf("the page's block differs from deploy/%s:\n%s", name, diff)
		}
	}
}

// Two streams are joined as docs/joining-streams.md says, with its own projection.
func TestSourcedStreamsAreJoined(t *testing.T) {
	p := newPlace(t)
	for _, name := range []string{"ORDERS", "PAYMENTS"} {
		p.stream(jetstream.StreamConfig{Name: name, Subjects: []string{strings.ToLower(name) + ".>"}})
	}
	ctx, js := t.Context(), p.js
	_, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name:    "SHOP",
		Sources: []*jetstream.StreamSource{{Name: "ORDERS"}, {Name: "PAYMENTS"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.publish("payments.p1", `{"type":"PaymentReceived","reference":{"order":"o-1"},"amount":30}`)
	p.publish("orders.o-1", `{"type":"OrderPlaced","order":"o-1","amount":50}`)
	p.publish("payments.p2", `{"type":"PaymentReceived","reference":{"order":"o-1"},"amount":20}`)
	config := p.config(named(t, "docs/joining-streams.md").snippets("yaml")[0])
	p.worker(config)
	for deadline := time.Now().Add(patience); ; {
		out, _ := tailfold(t, "get", "order-payment", "o-1", "--config", config).Output() // fails until it is folded
		if strings.TrimSpace(string(out)) == `{"due":50,"paid":50,"settled":true}` {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the order is %s", out)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// ask is what a URL answers, or why it does not.
func ask(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
