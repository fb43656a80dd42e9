package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/snapshotstore"
)

// api answers over HTTP for a running worker.
type api struct {
	worker interface {
		Status() []consumer.UnitStatus
		Alive() error
		Ready() error
	}
	status *statusReader
	values *values
	// subject is that of the event at a seq of a stream; nil: it can't be asked.
	subject   func(ctx context.Context, stream string, seq uint64) (string, error)
	announced announced
	metrics   prometheus.Gatherer
	log       *zap.Logger
	redact    func(string) string
	store     string // its name, without secrets
	// mayDrop allows dropping snapshots from this machine: with a store that only this process can open.
	mayDrop bool
	gate    *gate
}

// Bounds of requests. A key is at most 64 KiB, three times that when percent-encoded.
const (
	maxHeader      = 256 << 10
	maxBody        = 4 << 10
	maxHeaderTime  = 5 * time.Second
	defaultTimeout = 2 * time.Second
	maxTimeout     = 30 * time.Second
	storeTimeout   = 10 * time.Second
)

// newServer puts bounds on all that a client can make the server wait for or keep.
func (a *api) newServer() *http.Server {
	errorLog, _ := zap.NewStdLogAt(a.log.Named("http"), zap.WarnLevel)
	return &http.Server{
		Handler:           http.MaxBytesHandler(a, maxBody),
		ReadHeaderTimeout: maxHeaderTime, ReadTimeout: 2 * maxHeaderTime,
		WriteTimeout: maxTimeout + 15*time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: maxHeader, ErrorLog: errorLog,
		Protocols: oneProtocol(),
	}
}

// ServeHTTP routes by the path as it was sent: http.ServeMux would clean away keys such as "..".
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	path := r.URL.EscapedPath()
	if path != "/livez" && path != "/readyz" { // what asks these has no token, and must be answered under any load
		if !a.gate.knows(r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="tailfold"`)
			a.fail(w, http.StatusUnauthorized, errNoToken, nil)
			return
		}
		if !enter(a.gate.requests) {
			a.tooMany(w, "requests")
			return
		}
		defer leave(a.gate.requests)
	}
	if rest, ok := strings.CutPrefix(path, "/api/v1/projections/"); ok {
		a.projection(w, r, rest)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		a.fail(w, http.StatusMethodNotAllowed, fmt.Errorf("%s is not allowed here: use GET", r.Method), nil)
		return
	}
	switch path {
	case "/livez":
		a.health(w, a.worker.Alive())
	case "/readyz":
		a.health(w, a.worker.Ready())
	case "/metrics":
		promhttp.HandlerFor(a.metrics, promhttp.HandlerOpts{ErrorLog: zap.NewStdLog(a.log.Named("metrics"))}).ServeHTTP(w, r)
	case "/api/v1/status":
		a.serveStatus(w, r)
	default:
		a.fail(w, http.StatusNotFound, errors.New("there is nothing here: ask /livez, /readyz, /metrics, "+
			"/api/v1/status, "+
			"/api/v1/projections/{name}/keys/{key} or /api/v1/projections/{name}/value?key={key}"), nil)
	}
}

func (a *api) health(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, a.redact(err.Error()))
		return
	}
	fmt.Fprintln(w, "ok")
}

func (a *api) serveStatus(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	answer, err := a.status.all(ctx)
	var logAway *logAwayError
	if err != nil && !errors.As(err, &logAway) {
		a.storeFailed(w, err)
		return
	}
	answer.Store = a.store
	a.answer(w, http.StatusOK, answer)
}

// projection serves what is below /api/v1/projections/.
func (a *api) projection(w http.ResponseWriter, r *http.Request, rest string) {
	escapedName, what, _ := strings.Cut(rest, "/")
	name, err := url.PathUnescape(escapedName)
	if err != nil {
		a.fail(w, http.StatusBadRequest, err, nil)
		return
	}
	if r.Method == http.MethodDelete && what == "" {
		a.drop(w, r, name)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		a.fail(w, http.StatusMethodNotAllowed, fmt.Errorf("%s is not allowed here: use GET", r.Method), nil)
		return
	}
	escapedKey, byKey := strings.CutPrefix(what, "keys/")
	switch {
	case what == "keys":
		a.keys(w, r, name)
	case what == "snapshots":
		a.snapshots(w, r, name)
	case what == "value":
		a.value(w, r, name, r.URL.Query().Get("key"))
	case byKey:
		key, err := url.PathUnescape(escapedKey)
		if err != nil {
			a.fail(w, http.StatusBadRequest, err, nil)
			return
		}
		a.value(w, r, name, key)
	default:
		a.fail(w, http.StatusNotFound, errors.New("there is nothing here: ask …/keys/{key} or …/value?key={key}"), nil)
	}
}

// answer writes JSON.
func (a *api) answer(w http.ResponseWriter, code int, value any) {
	text, err := json.Marshal(value, json.Deterministic(true))
	if err != nil {
		a.log.Error("an answer is not JSON", zap.Error(err))
		code, text = http.StatusInternalServerError, []byte(`{"error":"the answer can't be written as JSON: see the worker's log"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(append(text, '\n'))
}

// fail answers with an error, and with the facts that a program wants of it.
func (a *api) fail(w http.ResponseWriter, code int, err error, facts map[string]any) {
	body := map[string]any{"error": toUTF8(a.redact(err.Error()))}
	for name, fact := range facts {
		body[name] = fact
	}
	a.answer(w, code, body)
}

// storeFailed answers for a store that could not do what it was asked.
func (a *api) storeFailed(w http.ResponseWriter, err error) {
	var corrupt *snapshotstore.CorruptError
	var unknown *unknownProjectionError
	switch {
	case errors.As(err, &corrupt):
		a.fail(w, http.StatusInternalServerError, err, map[string]any{"verdict": string(consumer.Corrupt)})
	case errors.As(err, &unknown):
		a.fail(w, http.StatusNotFound, err, nil)
	default:
		a.fail(w, http.StatusServiceUnavailable, err, map[string]any{"verdict": string(consumer.StoreUnavailable)})
	}
}

// listen opens the address of the configuration, and reads the certificate; nil where it is off.
func (c *Config) listen() (*listening, error) {
	if c.HTTP.Listen == "off" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", c.HTTP.Listen)
	if err != nil {
		return nil, usage(&ConfigError{Where: c.where("http.listen"), Path: "http.listen",
			Problem: fmt.Sprintf("can't listen on %s: %v: is a worker running already? Give this one another "+
				"address (--listen HOST:PORT), or off", c.HTTP.Listen, reason(err))})
	}
	l := &listening{Listener: bounded(listener, maxConnections)}
	if c.HTTP.TLS.Cert != "" {
		l.certificate, err = newCertificate(c.HTTP.TLS.Cert, c.HTTP.TLS.Key)
		if err != nil {
			listener.Close()
			return nil, usage(&ConfigError{Where: c.where("http.tls.cert"), Path: "http.tls.cert", Problem: err.Error()})
		}
	}
	return l, nil
}

// reason is an error of the network less the address, which its message says already.
func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// serve answers until ctx is done, then lets the requests under way finish for a moment.
func serve(ctx context.Context, server *http.Server, l *listening) error {
	done := make(chan error, 1)
	go func() {
		if l.certificate == nil {
			done <- server.Serve(l)
			return
		}
		server.TLSConfig = l.certificate.config()
		done <- server.ServeTLS(l, "", "")
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if server.Shutdown(last) != nil {
		server.Close()
	}
	<-done
	return nil
}
