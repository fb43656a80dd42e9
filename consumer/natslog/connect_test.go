package natslog_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/natslog"
	"github.com/tailfold/tailfold/consumer/natslog/natstest"
)

var ignorePrivate = cmpopts.IgnoreUnexported(natslog.Options{})

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
}

func TestOptionsComeFromTheEnvironmentOfTheCommandLineTool(t *testing.T) {
	got, err := natslog.OptionsFromEnv(lookup(map[string]string{
		"NATS_URL": "nats://a:1,nats://b:2", "NATS_CONTEXT": "prod", "NATS_CREDS": "/c", "NATS_NKEY": "/n", "NATS_USER": "u",
		"NATS_PASSWORD": "p", "NATS_CERT": "/cert", "NATS_KEY": "/key", "NATS_CA": "/ca", "NATS_TIMEOUT": "7s",
	}))
	want := natslog.Options{URL: "nats://a:1,nats://b:2", Context: "prod", Creds: "/c", NKey: "/n", User: "u", Password: "p",
		Cert: "/cert", Key: "/key", CA: "/ca", Timeout: 7 * time.Second}
	if diff := cmp.Diff(want, got, ignorePrivate); err != nil || diff != "" {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	got, err = natslog.OptionsFromEnv(lookup(nil))
	if diff := cmp.Diff(natslog.Options{}, got, ignorePrivate); err != nil || diff != "" {
		t.Errorf("an empty environment: error %v (-want +got):\n%s", err, diff)
	}
	if _, err := natslog.OptionsFromEnv(lookup(map[string]string{"NATS_TIMEOUT": "soon"})); err == nil {
		t.Error("a timeout of \"soon\" is taken")
	}
}

// contexts writes the file of a context named prod and returns its directory.
func contexts(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "prod.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestContextFillsInWhatIsNotSet(t *testing.T) {
	dir := contexts(t, `{"description":"x","url":"nats://ctx:4222","user":"u","password":"p","token":"","creds":"",
		"cert":"/c.pem","key":"/k.pem","ca":"/ca.pem","jetstream_domain":"hub","jetstream_api_prefix":"",
		"inbox_prefix":"_INBOX_w","tls_first":true,"nsc":"","color_scheme":"red"}`)
	filled := natslog.Options{URL: "nats://ctx:4222", User: "u", Password: "p", Cert: "/c.pem", Key: "/k.pem", CA: "/ca.pem",
		Domain: "hub", InboxPrefix: "_INBOX_w", TLSFirst: true, ContextDir: dir}
	for name, c := range map[string]struct{ set, want func(*natslog.Options) }{
		"nothing is set": {func(*natslog.Options) {}, func(*natslog.Options) {}},
		"the URL is set": {
			func(o *natslog.Options) { o.URL = "nats://mine" },
			func(o *natslog.Options) { o.URL = "nats://mine" },
		},
		"a prefix is set": {
			func(o *natslog.Options) { o.APIPrefix = "JS" },
			func(o *natslog.Options) { o.APIPrefix, o.Domain = "JS", "" },
		},
		"there are creds": {
			func(o *natslog.Options) { o.Creds = "/x" },
			func(o *natslog.Options) { o.Creds, o.User, o.Password = "/x", "", "" },
		},
		"a path is the name": {
			func(o *natslog.Options) { o.Context = filepath.Join(dir, "prod.json") },
			func(*natslog.Options) {},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o, want := natslog.Options{Context: "prod", ContextDir: dir}, filled
			c.set(&o)
			c.want(&want)
			got, err := o.Resolve()
			if diff := cmp.Diff(want, got, ignorePrivate); err != nil || diff != "" {
				t.Errorf("error %v (-want +got):\n%s", err, diff)
			}
		})
	}
	t.Setenv("XDG_CONFIG_HOME", filepath.Dir(dir))
	usual := filepath.Join(filepath.Dir(dir), "nats", "context")
	if err := os.MkdirAll(usual, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "prod.json"), filepath.Join(usual, "prod.json")); err != nil {
		t.Fatal(err)
	}
	if got, err := (natslog.Options{Context: "prod"}).Resolve(); err != nil || got.URL != "nats://ctx:4222" {
		t.Errorf("the context of XDG_CONFIG_HOME gives %q, %v", got.URL, err)
	}
}

func TestErrorsOfConnectSayWhatToDoAndHoldNoSecret(t *testing.T) {
	const secret = "s3cr3t"
	prod := func(text string) natslog.Options {
		return natslog.Options{Context: "prod", ContextDir: contexts(t, text)}
	}
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		options natslog.Options
		says    string
	}{
		"a URL that can't be read": {natslog.Options{URL: "nats://u:" + secret + "%zz@h"}, "server URL 1 of 1"},
		"a port that is none":      {natslog.Options{URL: "nats://ok,u:" + secret + "@h:x" + secret}, "server URL 2 of 2"},
		"a space in a password":    {natslog.Options{URL: "nats://u:" + secret + " x@h"}, "percent-encoded"},
		"another scheme":           {natslog.Options{URL: "http://u:" + secret + "@h"}, `scheme "http"`},
		"mixed schemes":            {natslog.Options{URL: "ws://h,nats://u:" + secret + "@h"}, "connect to NATS"},
		"two ways to log in":       {natslog.Options{User: "u", Password: secret, Token: secret}, "several ways to log in"},
		"a password alone":         {natslog.Options{Password: secret}, "password without a user"},
		"no creds file":            {natslog.Options{Creds: "/nonexistent/creds"}, "/nonexistent/creds"},
		"no nkey file":             {natslog.Options{NKey: "/nonexistent/nkey"}, "/nonexistent/nkey"},
		"a bad nkey file":          {natslog.Options{NKey: bad}, bad},
		"a cert without a key":     {natslog.Options{Cert: bad}, "needs both cert and key"},
		"a bad cert":               {natslog.Options{Cert: bad, Key: bad}, "certificate"},
		"a bad CA":                 {natslog.Options{CA: bad}, bad},
		"no such context":          {natslog.Options{Context: "none", ContextDir: "/nonexistent"}, "/nonexistent/none.json"},
		"a context out of the way": {natslog.Options{Context: "../x"}, "neither a name nor an absolute path"},
		"a context that is none":   {prod(`{"password":"` + secret), "is not the JSON"},
		"a context of nsc":         {prod(`{"nsc":"nsc://` + secret + `"}`), "nsc is not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := natslog.Connect(c.options)
			if err == nil {
				conn.Close()
				t.Fatal("it is taken")
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("it says %q, want %q in it", err, c.says)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("it tells the secret: %q", err)
			}
		})
	}
}

// connect makes a connection and waits until it is there.
func connect(t *testing.T, options natslog.Options) (*nats.Conn, chan error) {
	t.Helper()
	up, failed, closed := make(chan struct{}), make(chan error, 100), make(chan struct{})
	options.Notify = func(event string, err error) {
		switch event {
		case "connected":
			close(up)
		case "closed":
			close(closed)
		default:
			select {
			case failed <- fmt.Errorf("%s: %w", event, err):
			default:
			}
		}
	}
	conn, err := natslog.Connect(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		<-closed
	})
	select {
	case <-up:
	case <-time.After(20 * time.Second):
		t.Fatalf("not connected: %v", <-failed)
	}
	return conn, failed
}

func TestEachWayToLogInWorks(t *testing.T) {
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := user.PublicKey()
	seed, _ := user.Seed()
	file := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(file, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		config  string
		options func(url string) natslog.Options
	}{
		"none": {"", func(url string) natslog.Options { return natslog.Options{URL: url} }},
		"user and password": {`authorization { user: u, password: p }`, func(url string) natslog.Options {
			return natslog.Options{URL: url, User: "u", Password: "p"}
		}},
		"in the URL": {`authorization { user: u, password: p }`, func(url string) natslog.Options {
			return natslog.Options{URL: strings.Replace(url, "nats://", "nats://u:p@", 1)}
		}},
		"token": {`authorization { token: tok }`, func(url string) natslog.Options {
			return natslog.Options{URL: url, Token: "tok"}
		}},
		"token as user": {`authorization { token: tok }`, func(url string) natslog.Options {
			return natslog.Options{URL: url, User: "tok"}
		}},
		"nkey": {`authorization { users [ { nkey: ` + public + ` } ] }`, func(url string) natslog.Options {
			return natslog.Options{URL: url, NKey: file}
		}},
		"without a scheme": {"", func(url string) natslog.Options {
			return natslog.Options{URL: strings.TrimPrefix(url, "nats://")}
		}},
		"context": {`authorization { user: u, password: p }`, func(url string) natslog.Options {
			return natslog.Options{Context: "prod", ContextDir: contexts(t, `{"url":"`+url+`","user":"u","password":"p"}`)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			server := natstest.Start(t, natstest.Options{Config: c.config})
			conn, _ := connect(t, c.options(server.URL()))
			if err := conn.Flush(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Which reader is used is told once, with the reason where it is not the fast one, and events are read either way.
func TestTheReaderIsChosenByWhatTheConnectionIs(t *testing.T) {
	a := newAuthority(t)
	a.issue("server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	encrypted := fmt.Sprintf("tls { cert_file: %q, key_file: %q }", a.file("server.pem"), a.file("server.key"))
	for name, c := range map[string]struct {
		config  string
		options natslog.Options
		want    string
	}{
		"by default":     {"", natslog.Options{}, "fast reader"},
		"auto":           {"", natslog.Options{Reader: natslog.ReaderAuto}, "fast reader"},
		"plain":          {"", natslog.Options{Reader: natslog.ReaderPlain}, "plain reader: as configured"},
		"encrypted":      {encrypted, natslog.Options{CA: a.file("ca.pem")}, "plain reader: the connection is encrypted"},
		"encrypted, too": {encrypted, natslog.Options{CA: a.file("ca.pem"), Reader: natslog.ReaderPlain}, "plain reader: as configured"},
	} {
		t.Run(name, func(t *testing.T) {
			server := natstest.Start(t, natstest.Options{Config: c.config})
			told := make(chan string, 1000)
			closed := make(chan struct{})
			c.options.URL = server.URL()
			c.options.Notify = func(event string, _ error) {
				if event == "closed" {
					close(closed)
				}
				told <- event
			}
			conn, err := natslog.Connect(c.options)
			if err != nil {
				t.Fatal(err)
			}
			publish(t, conn, 2_000)
			events, _ := follow(t, newLog(t, natslog.Config{Conn: conn}), 2_000, nil, func(uint64) {})
			complete(t, events, 2_000, func(int) bool { return true })
			server.Restart()
			conn.Close()
			<-closed
			var reader []string
			for len(told) > 0 {
				if event := <-told; strings.Contains(event, "reader") {
					reader = append(reader, event)
				}
			}
			if diff := cmp.Diff([]string{c.want}, reader); diff != "" {
				t.Errorf("of the reader is told (-want +got):\n%s", diff)
			}
		})
	}
	if conn, err := natslog.Connect(natslog.Options{Reader: "quick"}); err == nil {
		conn.Close()
		t.Error(`a reader "quick" is taken`)
	}
}

func TestConnectionWaitsForItsServerAndTellsWhatHappens(t *testing.T) {
	server := natstest.Start(t)
	url := server.URL()
	server.Stop()
	told := make(chan string, 1000)
	tell := func(event string, _ error) { told <- event }
	conn, err := natslog.Connect(natslog.Options{URL: url, Name: "me", Notify: tell})
	if err != nil {
		t.Fatal(err)
	}
	log, err := natslog.New(natslog.Config{Conn: conn, Stream: "S"})
	if err != nil {
		t.Fatal(err)
	}
	var logError *consumer.LogError
	if _, err := log.Bounds(t.Context()); !errors.As(err, &logError) {
		t.Errorf("bounds without a server: %v", err)
	} else {
		t.Log(err)
	}
	await := func(want string) {
		t.Helper()
		for {
			select {
			case event := <-told:
				if event == want {
					return
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("%q is not told", want)
			}
		}
	}
	await("not connected")
	server.Restart()
	await("connected")
	if _, err := log.Bounds(t.Context()); !errors.Is(err, consumer.ErrNoLog) {
		t.Errorf("bounds of a stream that is not there: %v", err)
	} else {
		t.Log(err)
	}
	server.Restart()
	await("disconnected")
	await("reconnected")
	conn.Close()
	await("closed")
}

// Each request that the server refuses names the subject and the permission to add.
func TestRefusedRequestsNameThePermission(t *testing.T) {
	for denied, c := range map[string]struct {
		permission string // what the message asks for
		do         func(log *natslog.Log) error
	}{
		"$JS.API.STREAM.INFO.>": {"$JS.API.STREAM.INFO.S", func(l *natslog.Log) error {
			_, err := l.Bounds(t.Context())
			return err
		}},
		"$JS.API.STREAM.MSG.GET.>": {"$JS.API.STREAM.MSG.GET.S", func(l *natslog.Log) error {
			_, err := l.Witness(t.Context(), 1)
			return err
		}},
		"$JS.API.CONSUMER.CREATE.>": {"$JS.API.CONSUMER.CREATE.S.>", func(l *natslog.Log) error {
			_, err := l.Open(t.Context(), 0, nil)
			return err
		}},
		"$JS.API.CONSUMER.DELETE.>":   {"$JS.API.CONSUMER.DELETE.S.>", closeReader(t)},
		"$JS.API.CONSUMER.MSG.NEXT.>": {"$JS.API.CONSUMER.MSG.NEXT.S.>", nextOf(t)},
		"$JS.API.CONSUMER.INFO.>":     {"$JS.API.CONSUMER.INFO.S.>", nextOf(t, "s.never")},
	} {
		t.Run(denied, func(t *testing.T) {
			server := natstest.Start(t, natstest.Options{Config: `authorization { users [
				{ user: admin, password: p }
				{ user: worker, password: p, permissions: { publish: { deny: ["` + denied + `"] } } }
			] }`})
			publish(t, server.Connect(nats.UserInfo("admin", "p")), 3)
			err := c.do(newLog(t, natslog.Config{Conn: server.Connect(nats.UserInfo("worker", "p"))}))
			var logError *consumer.LogError
			if !errors.As(err, &logError) || !strings.Contains(logError.Fix, "allow the user to publish to "+c.permission) {
				t.Errorf("it says %v", err)
			}
		})
	}
	t.Run("the inbox", func(t *testing.T) {
		server := natstest.Start(t, natstest.Options{Config: `authorization { users [
			{ user: worker, password: p, permissions: { subscribe: { allow: ["_INBOX_w.>"] } } }
		] }`})
		log := newLog(t, natslog.Config{Conn: server.Connect(nats.UserInfo("worker", "p"))})
		_, err := log.Bounds(t.Context())
		if err == nil || !strings.Contains(err.Error(), "allow the user to subscribe to its inboxes") {
			t.Errorf("it says %v", err)
		}
		conn, _ := connect(t, natslog.Options{URL: server.URL(), User: "worker", Password: "p", InboxPrefix: "_INBOX_w"})
		if _, err := newLog(t, natslog.Config{Conn: conn}).Bounds(t.Context()); !errors.Is(err, consumer.ErrNoLog) {
			t.Errorf("with the inbox prefix that is allowed: %v", err)
		}
	})
}

func closeReader(t *testing.T) func(*natslog.Log) error {
	return func(l *natslog.Log) error {
		r, err := l.Open(t.Context(), 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r.Close(t.Context())
	}
}

func nextOf(t *testing.T, subjects ...string) func(*natslog.Log) error {
	return func(l *natslog.Log) error {
		r, err := l.Open(t.Context(), 0, subjects)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := r.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		for {
			if _, err := r.Next(t.Context()); err != nil {
				return err
			}
		}
	}
}

func TestServerWithoutJetStreamIsTold(t *testing.T) {
	for name, options := range map[string]natstest.Options{
		"off on the server":   {NoJetStream: true},
		"off for the account": {Config: `accounts { A { jetstream: disabled, users [ { user: u, password: p } ] } }`},
	} {
		t.Run(name, func(t *testing.T) {
			server := natstest.Start(t, options)
			_, err := newLog(t, natslog.Config{Conn: server.Connect(nats.UserInfo("u", "p"))}).Bounds(t.Context())
			if err == nil || !strings.Contains(err.Error(), "enable JetStream") {
				t.Errorf("it says %v", err)
			}
		})
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	conn := natstest.Start(t).Connect()
	for name, config := range map[string]natslog.Config{
		"no connection":      {Stream: "S"},
		"no stream":          {Conn: conn},
		"a stream with dots": {Conn: conn, Stream: "a.b"},
		"domain and prefix":  {Conn: conn, Stream: "S", Domain: "d", APIPrefix: "p"},
		"a negative time":    {Conn: conn, Stream: "S", Timeout: -1},
		"a rare heartbeat":   {Conn: conn, Stream: "S", Heartbeat: time.Minute},
	} {
		if _, err := natslog.New(config); err == nil {
			t.Errorf("%s: it is taken", name)
		} else {
			t.Log(err)
		}
	}
}
