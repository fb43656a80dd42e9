package cmd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"pgregory.net/rapid"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/storetest"
)

// fakeWorker says what a test wants.
type fakeWorker struct {
	rows         []consumer.UnitStatus
	alive, ready error
}

func (w *fakeWorker) Status() []consumer.UnitStatus { return w.rows }
func (w *fakeWorker) Alive() error                  { return w.alive }
func (w *fakeWorker) Ready() error                  { return w.ready }

var totalsUnit = snapshotstore.Unit{Projection: "totals", Version: 1}

// commit saves values of totalsUnit at a seq.
func commit(t interface {
	Helper()
	Fatal(...any)
}, store snapshotstore.Store, u snapshotstore.Unit, seq uint64, put map[string]string) {
	t.Helper()
	held, err := store.Head(context.Background(), u)
	if err != nil {
		t.Fatal(err)
	}
	c := snapshotstore.Checkpoint{From: held, To: snapshotstore.Mark{Seq: seq, Stream: "ORDERS", Epoch: 1,
		Writer: "w-1"}.Seal(fmt.Sprint(u, seq))}
	for key, value := range put {
		c.Put = append(c.Put, snapshotstore.Entry{Key: key, Data: []byte(value)})
	}
	if err := store.Commit(context.Background(), u, c); err != nil {
		t.Fatal(err)
	}
}

// newAPI serves a memory store with a projection "totals" on partitions 0 and 1 and one "single" on one.
func newAPI(store snapshotstore.Store, worker *fakeWorker) *api {
	units := []unit{{Unit: snapshotstore.Unit{Projection: "single", Version: 3}, stream: "ORDERS"},
		{totalsUnit, "ORDERS", []string{"orders.0.>"}},
		{snapshotstore.Unit{Projection: "totals", Version: 1, Partition: 1}, "ORDERS", []string{"orders.1.>"}}}
	bounds := func(context.Context, string) (consumer.Bounds, error) { return consumer.Bounds{Last: 20}, nil }
	return &api{worker: worker, metrics: prometheus.NewRegistry(), log: zap.NewNop(), redact: withoutSecret, gate: newGate(""),
		store:  "memory",
		values: &values{store, units}, status: &statusReader{store: store, units: units, bounds: bounds}}
}

func ask(a *api, method, target string) (int, string) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, target, nil)
	r.RemoteAddr = "127.0.0.1:9"
	a.ServeHTTP(w, r)
	return w.Code, strings.TrimSpace(w.Body.String())
}

func TestWhatTheAPIAnswers(t *testing.T) {
	store := storetest.NewMemory()
	second := snapshotstore.Unit{Projection: "totals", Version: 1, Partition: 1}
	commit(t, store, totalsUnit, 10, map[string]string{"a": `{"n":1}`, "both": "1", "a/b c": "2", "..": "3", "": "4",
		"bin": "\x00\xff", "\xff": "5", "big": "9007199254740993"})
	commit(t, store, second, 12, map[string]string{"both": "2"})
	commit(t, store, snapshotstore.Unit{Projection: "single", Version: 3}, 7, map[string]string{"": `[1]`})
	worker := &fakeWorker{rows: []consumer.UnitStatus{
		{Projection: "totals", Version: 1, Head: 15, State: consumer.Live}, {Projection: "totals", Version: 1,
			Partition: 1, Head: 15, State: consumer.Live},
		{Projection: "single", Version: 3, Head: 15, State: consumer.Halted, Verdict: "GAP",
			Detail: "seq 8 is gone from redis://u:secretpw@h"}}}
	a := newAPI(store, worker)
	const p = "/api/v1/projections/"
	for _, c := range []struct {
		ask  string
		code int
		want string
	}{
		{p + "totals/keys/a", 200, `{"projection":"totals","version":1,"partition":0,"key":"a","seq":10,"exists":true,"value":{"n":1}}`},
		{p + "totals/value?key=a&version=1", 200, `{"projection":"totals","version":1,"partition":0,"key":"a","seq":10,"exists":true,"value":{"n":1}}`},
		{p + "totals/keys/a%2Fb%20c", 200, `{"projection":"totals","version":1,"partition":0,"key":"a/b c","seq":10,"exists":true,"value":2}`},
		{p + "totals/keys/a/b%20c", 200, `{"projection":"totals","version":1,"partition":0,"key":"a/b c","seq":10,"exists":true,"value":2}`},
		{p + "totals/keys/..", 200, `{"projection":"totals","version":1,"partition":0,"key":"..","seq":10,"exists":true,"value":3}`},
		{p + "totals/keys/", 200, `{"projection":"totals","version":1,"partition":0,"key":"","seq":10,"exists":true,"value":4}`},
		{p + "totals/keys/bin", 200, `{"projection":"totals","version":1,"partition":0,"key":"bin","seq":10,"exists":true,"value_base64":"AP8="}`},
		{p + "totals/keys/%FF", 200, `{"projection":"totals","version":1,"partition":0,"key":"` + "\ufffd" +
			`","key_base64":"/w==","seq":10,"exists":true,"value":5}`},
		{p + "totals/keys/big", 200, `{"projection":"totals","version":1,"partition":0,"key":"big","seq":10,"exists":true,"value":9007199254740993}`},
		{p + "totals/keys/both", 200, `{"projection":"totals","version":1,"key":"both","results":[` +
			`{"projection":"totals","version":1,"partition":0,"key":"both","seq":10,"exists":true,"value":1},` +
			`{"projection":"totals","version":1,"partition":1,"key":"both","seq":12,"exists":true,"value":2}]}`},
		{p + "totals/keys/none", 404, `{"projection":"totals","version":1,"key":"none","results":[` +
			`{"projection":"totals","version":1,"partition":0,"key":"none","seq":10,"exists":false,"value":null},` +
			`{"projection":"totals","version":1,"partition":1,"key":"none","seq":12,"exists":false,"value":null}]}`},
		{p + "single/value", 200, `{"projection":"single","version":3,"partition":0,"key":"","seq":7,"exists":true,"value":[1],"verdict":"GAP","detail":"seq 8 is gone from redis://***@h"}`},
		{p + "single/value?version=9", 404, `{"projection":"single","version":9,"partition":0,"key":"","seq":0,"exists":false,"value":null}`},
		{p + "totals/keys/a?min_seq=10&timeout=1s", 200, `{"projection":"totals","version":1,"partition":0,"key":"a","seq":10,"exists":true,"value":{"n":1}}`},
		{p + "totals/keys/a?min_seq=18&timeout=5ms", 504, ``}, // the worker knows of 15, the log of 20
		{p + "totals/keys/a?min_seq=21", 400, `{"error":"min_seq 21 is beyond the log's head, 20: use the seq that the publisher got in its acknowledgement","head":20}`},
		{p + "single/value?min_seq=8&timeout=1ms", 504, ``},
		{p + "totals/keys/a?min_seq=x&timeout=9&version=0&sort=up", 400,
			`{"error":"min_seq is \"x\": write a seq, a number\nthere is no parameter \"sort\": known here: key, min_seq, timeout, version\n` +
				`timeout is \"9\": write a time up to 30s, such as 2s\nversion is \"0\": write a number from 1"}`},
		{p + "total/keys/a", 404, `{"error":"there is no projection \"total\": did you mean \"totals\"?"}`},
		{p + "totals", 404, ``}, {p + "totals/other", 404, ``}, {"/", 404, ``}, {"/api/v1/statuses", 404, ``},
		{"/livez", 200, "ok"}, {"/readyz", 200, "ok"}, {"/metrics", 200, ""},
	} {
		code, body := ask(a, http.MethodGet, c.ask)
		if code != c.code || c.want != "" && body != "ok" && sorted(t, body) != sorted(t, c.want) {
			t.Errorf("%s\n got %d %s\nwant %d %s", c.ask, code, body, c.code, c.want)
		}
		if code == 504 && (!strings.Contains(body, `"seq":`) || !strings.Contains(body, `"error":`)) {
			t.Errorf("%s: the answer does not say how far it is: %s", c.ask, body)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		if code, _ := ask(a, method, p+"totals/keys/a"); code != 405 {
			t.Errorf("%s is answered by %d", method, code)
		}
	}
	worker.ready, worker.alive = errors.New("totals/v1/0 waits for redis://u:secretpw@h"), errors.New("stuck")
	if code, body := ask(a, http.MethodGet, "/readyz"); code != 503 || body != "totals/v1/0 waits for redis://***@h" {
		t.Errorf("readyz: %d %s", code, body)
	}
	if code, body := ask(a, http.MethodGet, "/livez"); code != 503 || body != "stuck" {
		t.Errorf("livez: %d %s", code, body)
	}
}

func TestMinSeqWaitsForTheCheckpoint(t *testing.T) {
	store := storetest.NewMemory()
	u := snapshotstore.Unit{Projection: "single", Version: 3}
	commit(t, store, u, 7, map[string]string{"": "1"})
	a := newAPI(store, &fakeWorker{})
	answered := make(chan string)
	go func() {
		_, body := ask(a, http.MethodGet, "/api/v1/projections/single/value?min_seq=9&timeout=20s")
		answered <- body
	}()
	commit(t, store, u, 8, map[string]string{"": "2"})
	commit(t, store, u, 9, map[string]string{"": "3"})
	if body := <-answered; !strings.Contains(body, `"seq":9`) || !strings.Contains(body, `"value":3`) {
		t.Errorf("got %s", body)
	}
}

func TestAStoreThatIsAwayOrDamagedIsAnsweredSo(t *testing.T) {
	store := storetest.NewMemory()
	commit(t, store, totalsUnit, 1, map[string]string{"a": "1"})
	store.SetMark(totalsUnit, nil)
	code, body := ask(newAPI(store, &fakeWorker{}), http.MethodGet, "/api/v1/projections/totals/keys/a")
	if code != 500 || !strings.Contains(body, `"verdict":"CORRUPT"`) {
		t.Errorf("damaged: %d %s", code, body)
	}
	store.Close()
	for _, target := range []string{"/api/v1/projections/totals/keys/a", "/api/v1/status"} {
		code, body = ask(newAPI(store, &fakeWorker{}), http.MethodGet, target)
		if code != 503 || !strings.Contains(body, `"verdict":"STORE_UNAVAILABLE"`) {
			t.Errorf("%s: %d %s", target, code, body)
		}
	}
}

func TestKeysOfAnyBytesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		store := storetest.NewMemory()
		key := string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "key"))
		commit(t, store, snapshotstore.Unit{Projection: "single", Version: 3}, 1, map[string]string{key: `"here"`})
		server := httptest.NewServer(newAPI(store, &fakeWorker{}))
		defer server.Close()
		r := &remote{base: server.URL, client: server.Client()}
		answers, err := r.get(context.Background(), "single", 3, key)
		if err != nil || len(answers) != 1 || !answers[0].Exists || string(answers[0].raw) != `"here"` {
			t.Fatalf("value: %v %v", answers, err)
		}
		response, err := server.Client().Get(server.URL + "/api/v1/projections/single/keys/" + url.PathEscape(key))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var answer valueAnswer
		if err := json.UnmarshalRead(response.Body, &answer); err != nil || response.StatusCode != 200 {
			t.Fatalf("keys: %d %v", response.StatusCode, err)
		}
		if utf8.ValidString(key) && answer.Key != key || !utf8.ValidString(key) && string(answer.KeyBase64) != key {
			t.Fatalf("asked for %q, answered is %q %q", key, answer.Key, answer.KeyBase64)
		}
		var listed []string
		err = r.keys(context.Background(), "single", 0, "", func(_ int, key string) error {
			listed = append(listed,
				key)
			return nil
		})
		if diff := cmp.Diff([]string{key}, listed); diff != "" || err != nil {
			t.Fatalf("list: %s %v", diff, err)
		}
	})
}

// FuzzPath asks for any path: there is an answer, of a code that is meant for clients.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{"/", "/api/v1/projections/single/keys/%2e%2e", "/api/v1/projections//keys/",
		"/api/v1/projections/single/value?key=%zz", "/api/v1/projections/a%2Fb/value", "//livez"} {
		f.Add(seed)
	}
	store := storetest.NewMemory()
	commit(f, store, snapshotstore.Unit{Projection: "single", Version: 3}, 1, map[string]string{"": "1"})
	a := newAPI(store, &fakeWorker{})
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || len(target) > 4096 || strings.Contains(target, "timeout") {
			return
		}
		w := httptest.NewRecorder()
		a.ServeHTTP(w, &http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}, Host: "localhost"})
		switch w.Code {
		case 200, 400, 404, 504:
		default:
			t.Errorf("%q is answered by %d %s", target, w.Code, w.Body)
		}
	})
}

func TestDroppingOverHTTPIsForThisMachineAndAFile(t *testing.T) {
	store := storetest.NewMemory()
	a := newAPI(store, &fakeWorker{})
	a.mayDrop = true
	drop := func(change func(*http.Request)) int {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodDelete, "/api/v1/projections/totals?version=1", nil)
		r.RemoteAddr, r.Host = "127.0.0.1:9", "127.0.0.1:8321"
		change(r)
		a.ServeHTTP(w, r)
		return w.Code
	}
	for _, c := range []struct {
		name   string
		change func(*http.Request)
		want   int
	}{
		{"from here", func(*http.Request) {}, 200},
		{"by IPv6", func(r *http.Request) { r.RemoteAddr, r.Host = "[::1]:9", "[::1]:8321" }, 200},
		{"by name", func(r *http.Request) { r.Host = "localhost:8321" }, 200},
		{"from another machine", func(r *http.Request) { r.RemoteAddr = "10.0.0.9:9" }, 403},
		{"by a page's own name for us", func(r *http.Request) { r.Host = "evil.example:8321" }, 403},
		{"without a version", func(r *http.Request) { r.URL.RawQuery = "" }, 400},
		{"where the store is not ours alone", func(*http.Request) { a.mayDrop = false }, 403},
	} {
		a.mayDrop = true
		commitAgain(t, store)
		if got := drop(c.change); got != c.want {
			t.Errorf("%s: answered by %d, want %d", c.name, got, c.want)
		}
		mark, err := store.Head(t.Context(), totalsUnit)
		if err != nil || mark.IsZero() != (c.want == 200) {
			t.Errorf("%s: the snapshot is at %d (%v)", c.name, mark.Seq, err)
		}
	}
}

func commitAgain(t *testing.T, store *storetest.Memory) {
	t.Helper()
	if err := store.Drop(t.Context(), totalsUnit); err != nil {
		t.Fatal(err)
	}
	commit(t, store, totalsUnit, 1, map[string]string{"a": "1"})
}

func TestTheServerBoundsWhatItReadsAndEndsInGoodOrder(t *testing.T) {
	a := newAPI(storetest.NewMemory(), &fakeWorker{})
	c := &Config{HTTP: HTTPConfig{Listen: "127.0.0.1:0"}}
	listener, err := c.listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- serve(ctx, a.newServer(), listener) }()
	base := "http://" + listener.Addr().String()
	if code, body := get(t, base+"/livez"); code != 200 {
		t.Errorf("livez: %d %s", code, body)
	}
	if code, _ := get(t, base+"/api/v1/projections/single/keys/"+strings.Repeat("%41", 64<<10)); code != 404 {
		t.Errorf("the longest key is answered by %d", code)
	}
	if code, _ := get(t, base+"/api/v1/projections/single/keys/"+strings.Repeat("a",
		1<<20)); code != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a key of 1 MiB is answered by %d", code)
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the server does not end")
	}
	if code, _ := get(t, base+"/livez"); code != 0 {
		t.Errorf("it still answers: %d", code)
	}
}
