package cmd

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
	"github.com/tailfold/tailfold/snapshotstore/storetest"
)

const httpToken = "http-Pa55word-of-a-worker"

// askWith asks with a header of authorization; client nil is one that trusts the system.
func askWith(t *testing.T, client *http.Client, method, address, authorization string) (*http.Response, string) {
	t.Helper()
	if client == nil {
		client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	}
	request, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(text)
}

func TestWithATokenNothingButHealthIsAnsweredWithoutIt(t *testing.T) {
	server, redis := natstest.Start(t), redistest.Start(t)
	orders(t, server.Connect(), 3)
	worker := start(t, nil, "-c", configFile(t, totals+"http: {token: "+httpToken+"}\n"), "--nats", server.URL(), "--store", redis.URL())
	worker.ready() // without the token
	for _, path := range []string{"/metrics", "/api/v1/status", "/", "/livez/", "//livez", "/livez/../metrics", "/%6civez",
		"/api/v1/projections/customer-totals/keys/c-1", "/api/v1/projections/customer-totals/keys",
		"/api/v1/projections/customer-totals/value?key=c-1", "/api/v1/projections/x/keys/livez"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete, http.MethodOptions} {
			for _, sent := range []string{"", "Bearer", "Bearer ", "Bearer wrong", "Bearer " + httpToken + "x", "Bearer " + httpToken[1:],
				"Basic " + httpToken, httpToken} {
				response, body := askWith(t, nil, method, worker.base+path, sent)
				if response.StatusCode != http.StatusUnauthorized || response.Header.Get("WWW-Authenticate") != `Bearer realm="tailfold"` ||
					!strings.Contains(body, "http.token") || strings.Contains(body, httpToken) {
					t.Fatalf("%s %s with %q: %s %s", method, path, sent, response.Status, body)
				}
			}
		}
	}
	for _, sent := range []string{"Bearer " + httpToken, "bearer " + httpToken} {
		response, body := askWith(t, nil, http.MethodGet, worker.base+"/api/v1/projections/customer-totals/keys/c-1", sent)
		if response.StatusCode != 200 || !strings.Contains(body, `"total"`) {
			t.Errorf("with %q: %s %s", sent, response.Status, body)
		}
	}
	if code, body := get(t, worker.base+"/livez"); code != 200 {
		t.Errorf("livez: %d %s", code, body)
	}
}

// fileStoreWorker runs a worker that commands have to ask, since it holds its store's file.
func fileStoreWorker(t *testing.T, http string) (worker *running, args []string) {
	t.Helper()
	server := natstest.Start(t)
	orders(t, server.Connect(), 3)
	args = []string{"-c", configFile(t, totals+http), "--nats", server.URL(), "--store", filepath.Join(t.TempDir(), "x.db")}
	worker = start(t, nil, args...)
	await(t, "the worker to serve", func() bool {
		return strings.Contains(worker.program.stderr.String(), "resumed at seq 0")
	})
	return worker, append(args, "--listen", strings.TrimPrefix(worker.base, "http://"))
}

func TestCommandsThatAskTheWorkerSendTheTokenAndSpeakTLS(t *testing.T) {
	a := newAuthority(t)
	a.issue("worker", leaf{names: []string{"worker.example.com"}}) // not of the address that is asked
	encrypted := fmt.Sprintf("http: {token: %s, tls: {cert: %q, key: %q}}\n", httpToken, a.file("worker.pem"), a.file("worker.key"))
	worker, args := fileStoreWorker(t, encrypted)
	await(t, "the values", func() bool {
		code, out, _ := call(t, append([]string{"get", "customer-totals", "c-1"}, args...)...)
		return code == 0 && strings.Contains(out, `"total"`)
	})
	for _, command := range [][]string{{"status"}, {"get", "customer-totals"}, {"drop", "customer-totals", "--version", "1", "--yes"}} {
		if code, out, errs := call(t, append(command, args...)...); code != 0 && command[0] != "drop" || strings.Contains(errs, "worker at") {
			t.Errorf("%v: code %d, printed %q and %q", command, code, out, errs)
		}
	}
	a.issue("other", leaf{})
	for _, c := range []struct{ name, http, want string }{
		{"no TLS", "http: {token: " + httpToken + "}\n", "it speaks TLS, and this configuration has no http.tls"},
		{"no token", strings.Replace(encrypted, "token: "+httpToken+",", "", 1), "this wants the worker's token"},
		{"a wrong token", strings.Replace(encrypted, httpToken, "another-token-of-16", 1), "this wants the worker's token"},
		{"another certificate", strings.ReplaceAll(encrypted, "worker.", "other."), "shows another certificate than"},
	} {
		asked := append([]string{"get", "customer-totals", "c-1"}, args...)
		asked[4] = configFile(t, totals+c.http)
		code, out, errs := call(t, asked...)
		if code != 3 || out != "" || !strings.Contains(errs, c.want) || strings.Contains(errs, httpToken) {
			t.Errorf("%s: code %d, printed %q and %q", c.name, code, out, errs)
		}
	}
	worker.stopped()
	keepsSecret(t, worker.program.stderr.String(), httpToken)

	_, args = fileStoreWorker(t, "")
	asked := append([]string{"status"}, args...)
	asked[2] = configFile(t, totals+encrypted)
	if code, _, errs := call(t, asked...); code != 3 || !strings.Contains(errs, "it speaks plain HTTP, and this configuration has http.tls") {
		t.Errorf("TLS towards a plain port: code %d, printed %q", code, errs)
	}
}

// served serves an API over a real listener until the test ends.
func served(t *testing.T, a *api, c *Config, change func(*http.Server)) (address string, log *observer.ObservedLogs) {
	t.Helper()
	core, log := observer.New(zap.DebugLevel)
	a.log = zap.New(core)
	c.HTTP.Listen = "127.0.0.1:0"
	l, err := c.listen()
	if err != nil {
		t.Fatal(err)
	}
	l.certificate.tell(a.log)
	server := a.newServer()
	if change != nil {
		change(server)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, server, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), log
}

func TestARenewedHTTPCertificateIsTakenWithoutRestart(t *testing.T) {
	a := newAuthority(t)
	a.issue("worker", leaf{})
	address, log := served(t, newAPI(storetest.NewMemory(), &fakeWorker{}),
		&Config{HTTP: HTTPConfig{TLS: HTTPTLSConfig{Cert: a.file("worker.pem"), Key: a.file("worker.key")}}}, nil)
	shown := func() *x509.Certificate {
		t.Helper()
		conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: a.pool()})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0]
	}
	first := shown()
	half := a.read("worker.key")
	second := a.issue("worker", leaf{})
	renewedKey := a.read("worker.key")
	a.write("worker.key", half) // the certificate is renewed, its key not yet
	if got := shown(); !got.Equal(first) {
		t.Error("half a pair was used")
	}
	shown()
	if n := log.FilterMessageSnippet("can't be used, the one from before is").Len(); n != 1 {
		t.Errorf("half a pair was told %d times", n)
	}
	a.write("worker.key", renewedKey)
	if got := shown(); !got.Equal(second) {
		t.Error("the renewed certificate is not shown")
	}
	a.issue("worker", leaf{expired: true})
	if _, err := tls.Dial("tcp", address, &tls.Config{RootCAs: a.pool()}); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("an expired certificate: %v", err)
	}
	if log.FilterMessageSnippet("http.tls.cert has expired at").Len() != 1 {
		t.Errorf("the log does not tell that it has expired: %v", log.All())
	}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		if _, err := tls.Dial("tcp", address, &tls.Config{RootCAs: a.pool(), MinVersion: tls.VersionTLS10, MaxVersion: version}); err == nil {
			t.Errorf("TLS %x is spoken", version)
		}
	}
	response, body := askWith(t, nil, http.MethodGet, "http://"+address+"/livez", "")
	if response.StatusCode != 400 || !strings.Contains(body, "HTTPS server") {
		t.Errorf("plain HTTP: %s %s", response.Status, body)
	}
}

func TestWhatIsWrongWithTheHTTPConfigurationIsSaid(t *testing.T) {
	a := newAuthority(t)
	a.issue("one", leaf{})
	a.issue("two", leaf{})
	for _, c := range []struct{ http, want string }{
		{"token: short", "http.token: is shorter than 16"},
		{"token: 'with spaces in the token'", "http.token: is shorter than 16 characters, or has others"},
		{"tls: {cert: one.pem}", "http.tls.cert: cert and key belong together"},
		{"tls: {key: one.pem}", "http.tls.key: cert and key belong together"},
		{"tls: {cert: none.pem, key: none.key}", "none.pem: no such file"},
		{fmt.Sprintf("tls: {cert: %q, key: %q}", a.file("one.pem"), a.file("two.key")), "are no certificate with its key"},
	} {
		code, _, errs := call(t, "run", "-c", configFile(t, totals+"http: {"+c.http+"}\n"), "--listen", "127.0.0.1:0")
		if code != 2 || !strings.Contains(errs, c.want) || strings.Contains(errs, "with spaces") {
			t.Errorf("%s: code %d, printed %q", c.http, code, errs)
		}
	}
}

func TestListeningForOthersWithoutProtectionIsWarnedOf(t *testing.T) {
	const noToken, plain = "whoever reaches it can read all values", "go there unencrypted"
	for _, c := range []struct{ http, want string }{
		{"listen: '127.0.0.1:1'", ""}, {"listen: 'localhost:1'", ""}, {"listen: '[::1]:1'", ""}, {"listen: 'off'", ""}, {"", ""},
		{"listen: ':1'", noToken}, {"listen: '0.0.0.0:1'", noToken}, {"listen: '[::]:1'", noToken}, {"listen: 'worker:1'", noToken},
		{"listen: ':1', tls: {cert: a, key: b}", noToken},
		{"listen: ':1', token: " + httpToken, plain},
		{"listen: ':1', token: " + httpToken + ", tls: {cert: a, key: b}", ""},
	} {
		config, err := Load(Sources{File: configFile(t, "http: {"+c.http+"}\n")})
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(config.Warnings, "\n")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) || strings.Contains(got, httpToken) {
			t.Errorf("%s: warned %q", c.http, got)
		}
	}
	server, redis := natstest.Start(t), redistest.Start(t)
	p := launch(t, "run", "--nats", server.URL(), "--store", redis.URL(), "--listen", "0.0.0.0:0")
	p.says(noToken)
}

func TestMoreRequestsThanTheWorkerTakesAreSentAway(t *testing.T) {
	store := storetest.NewMemory()
	commit(t, store, snapshotstore.Unit{Projection: "single", Version: 3}, 7, map[string]string{"": "1"})
	a := newAPI(store, &fakeWorker{})
	a.gate.requests, a.gate.waiting = make(chan struct{}, 2), make(chan struct{}, 1)
	address, _ := served(t, a, &Config{}, nil)
	base := "http://" + address
	const value = "/api/v1/projections/single/value"
	waited := make(chan int)
	go func() {
		code, _ := get(t, base+value+"?min_seq=9&timeout=20s")
		waited <- code
	}()
	await(t, "the first to wait", func() bool { return len(a.gate.waiting) == 1 })
	response, body := askWith(t, nil, http.MethodGet, base+value+"?min_seq=8&timeout=20s", "")
	if response.StatusCode != 503 || response.Header.Get("Retry-After") != "1" || !strings.Contains(body, "too many requests that wait for min_seq") {
		t.Errorf("a second that waits: %s %v %s", response.Status, response.Header, body)
	}
	if code, body := get(t, base+value); code != 200 {
		t.Errorf("one that does not wait: %d %s", code, body)
	}
	a.gate.requests <- struct{}{} // another one is under way
	response, body = askWith(t, nil, http.MethodGet, base+value, "")
	if response.StatusCode != 503 || response.Header.Get("Retry-After") != "1" || !strings.Contains(body, "too many requests at once") {
		t.Errorf("a third: %s %v %s", response.Status, response.Header, body)
	}
	for _, path := range []string{"/livez", "/readyz"} {
		if code, body := get(t, base+path); code != 200 {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	<-a.gate.requests
	commit(t, store, snapshotstore.Unit{Projection: "single", Version: 3}, 9, map[string]string{"": "2"})
	if code := <-waited; code != 200 {
		t.Errorf("the one that waited: %d", code)
	}
	await(t, "all to have left", func() bool { return len(a.gate.requests) == 0 && len(a.gate.waiting) == 0 })
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

func TestClientsThatDawdleAreCutOff(t *testing.T) {
	if s := newAPI(storetest.NewMemory(), &fakeWorker{}).newServer(); s.ReadHeaderTimeout != 5*time.Second ||
		s.ReadTimeout != 10*time.Second || s.WriteTimeout != 45*time.Second || s.IdleTimeout != time.Minute {
		t.Errorf("the bounds are %v %v %v %v", s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout, s.IdleTimeout)
	}
	address, _ := served(t, newAPI(storetest.NewMemory(), &fakeWorker{}), &Config{}, func(s *http.Server) {
		s.ReadHeaderTimeout, s.ReadTimeout, s.IdleTimeout = 100*time.Millisecond, 200*time.Millisecond, 100*time.Millisecond
	})
	for _, c := range []struct{ name, begin, drip string }{
		{"a header that never ends", "GET /livez HTTP/1.1\r\nHost: x\r\n", "X-A: b\r\n"},
		{"not a word", "", ""},
		{"a body that never comes", "DELETE /api/v1/projections/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", "a"},
		{"an idle connection", "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := dial(t, address)
			if _, err := io.WriteString(conn, c.begin); err != nil {
				t.Fatal(err)
			}
			stop := make(chan struct{})
			defer close(stop)
			go func() {
				for tick := time.NewTicker(10 * time.Millisecond); ; {
					select {
					case <-stop:
						tick.Stop()
						return
					case <-tick.C:
						io.WriteString(conn, c.drip) // fails once it is cut off
					}
				}
			}()
			if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("it was not cut off: %v", err)
			}
		})
	}
	conn := dial(t, address)
	go io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: "+strings.Repeat("a", maxHeader+8<<10)+"\r\n\r\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "431") {
		t.Errorf("a header of %d bytes is answered by %q (%v)", maxHeader, line, err)
	}
}

// endless is a store with keys without end.
type endless struct {
	snapshotstore.Store
	ended chan struct{}
}

func (s endless) Scan(ctx context.Context, _ snapshotstore.Unit) iter.Seq2[snapshotstore.Entry, error] {
	return func(yield func(snapshotstore.Entry, error) bool) {
		defer close(s.ended)
		for i := 0; ctx.Err() == nil; i++ {
			if !yield(snapshotstore.Entry{Key: fmt.Sprintf("%0200d", i)}, nil) {
				return
			}
		}
	}
}

func TestAListOfKeysThatNobodyReadsOnEnds(t *testing.T) {
	memory := storetest.NewMemory()
	commit(t, memory, snapshotstore.Unit{Projection: "single", Version: 3}, 7, map[string]string{"": "1"})
	store := endless{memory, make(chan struct{})}
	a := newAPI(store, &fakeWorker{})
	a.gate.stall = 100 * time.Millisecond
	address, _ := served(t, a, &Config{}, nil)
	conn := dial(t, address) // stays open, and reads nothing
	if _, err := io.WriteString(conn, "GET /api/v1/projections/single/keys?version=3 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-store.ended:
	case <-time.After(patience):
		t.Fatal("it goes on writing to a client that does not read")
	}
	await(t, "the request to end", func() bool { return len(a.gate.requests) == 0 })
}

func TestConnectionsBeyondTheBoundAreClosed(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := bounded(inner, 2)
	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
	first, second := dial(t, inner.Addr().String()), dial(t, inner.Addr().String())
	await(t, "both to be in", func() bool { return l.(*fewConns).open.Load() == 2 })
	third := dial(t, inner.Addr().String())
	if n, err := third.Read(make([]byte, 1)); n != 0 || err == nil || os.IsTimeout(err) {
		t.Errorf("the third was not closed: %d %v", n, err)
	}
	first.Close()
	await(t, "room for another", func() bool {
		code, _ := get(t, "http://"+inner.Addr().String())
		return code == 404
	})
	second.Close()
	await(t, "all to be counted out", func() bool { return l.(*fewConns).open.Load() == 0 })
}
