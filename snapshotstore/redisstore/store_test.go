package redisstore_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var unit = snapshotstore.Unit{Projection: "totals", Version: 1, Partition: 0}

// open makes a store on the server, closed when the test ends.
func open(t testing.TB, url string) *redisstore.Store { return openWith(t, url, "") }

func openWith(t testing.TB, url, prefix string) *redisstore.Store {
	t.Helper()
	return openAs(t, redisstore.Options{URL: url, Prefix: prefix})
}

func openAs(t testing.TB, options redisstore.Options) *redisstore.Store {
	t.Helper()
	store, err := redisstore.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// marks numbers the marks of all tests, which have ids of their own thereby.
var marks atomic.Int64

func mark(seq uint64) snapshotstore.Mark {
	return snapshotstore.Mark{Seq: seq, Stream: "ORDERS", Writer: "w1"}.Seal(fmt.Sprintf("mark-%d", marks.Add(1)))
}

func TestOpenRefusesWhatCanNotWork(t *testing.T) {
	dir := t.TempDir()
	notPEM := filepath.Join(dir, "not.pem")
	if err := os.WriteFile(notPEM, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		options redisstore.Options
		why     string
	}{
		{redisstore.Options{URL: "localhost"}, "is not a URL"},
		{redisstore.Options{URL: "redis://u:sekret@h/x"}, "number of a database"},
		{redisstore.Options{URL: "redis://h", Prefix: "a{b"}, "brace"},
		{redisstore.Options{URL: "redis://h", Timeout: -1}, "below 0"},
		{redisstore.Options{URL: "redis://h", Connections: -1}, "below 0"},
		{redisstore.Options{URL: "redis://h", TLS: &tls.Config{}}, "rediss"},
		{redisstore.Options{URL: "redis://h", Replicas: -1}, "below 0"},
		{redisstore.Options{URL: "redis://h", ReplicasTimeout: time.Second}, "none are asked for"},
		{redisstore.Options{URL: "redis://h", Replicas: 1, ReplicasTimeout: time.Microsecond}, "from 1ms"}, // WAIT takes 0 for endless
		{redisstore.Options{URL: "redis://h", Replicas: 1, ReplicasTimeout: time.Second, Timeout: time.Second}, "less than"},
		{redisstore.Options{URL: "rediss://h?ca=" + dir + "/none.pem"}, "none.pem"},
		{redisstore.Options{URL: "rediss://h?ca=" + notPEM}, "no certificate in PEM form"},
		{redisstore.Options{URL: "rediss://h?cert=" + notPEM + "&key=" + notPEM}, "cert and key"},
	} {
		store, err := redisstore.Open(c.options)
		if err == nil || !strings.Contains(err.Error(), c.why) || strings.Contains(err.Error(), "sekret") {
			t.Errorf("%+v: %v, %v; want an error that says %q", c.options, store, err, c.why)
		}
	}
}

func TestNothingThatIsPrintedShowsThePassword(t *testing.T) {
	store := open(t, "redis://bob:sekret@127.0.0.1:1/2")
	_, err := store.Head(context.Background(), unit)
	for _, text := range []string{store.String(), fmt.Sprint(store), fmt.Sprintf("%+v", store), fmt.Sprintf("%#v", store),
		fmt.Sprintf("%+v %#v", err, err)} {
		if strings.Contains(text, "sekret") || !strings.Contains(text, "127.0.0.1:1") && !strings.Contains(text, "0x") {
			t.Errorf("printed as %s", text)
		}
	}
}

func TestClosedStoreRefuses(t *testing.T) {
	store := open(t, "redis://127.0.0.1:1")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := store.Head(context.Background(), unit)
	wantError(t, err, snapshotstore.Stop, "closed", "")
}
