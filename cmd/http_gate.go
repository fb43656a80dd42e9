package cmd

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of what goes on at the same time. A request that waits for min_seq holds next to nothing but asks the store 20
// times a second; connections hold file descriptors, which log and store need too.
const (
	maxConnections = 1024
	maxRequests    = 256
	maxWaiting     = 128
)

// gate lets requests in: those that know the token, and not too many at once.
type gate struct {
	token    [sha256.Size]byte // its hash: of equal length, whatever is sent
	open     bool              // no token is asked for
	requests chan struct{}     // one for each that is let in
	waiting  chan struct{}     // one for each of these that waits for min_seq
	stall    time.Duration     // how long a client may take for a stretch of a long answer
}

func newGate(token string) *gate {
	return &gate{token: sha256.Sum256([]byte(token)), open: token == "", stall: maxTimeout,
		requests: make(chan struct{}, maxRequests), waiting: make(chan struct{}, maxWaiting)}
}

var errNoToken = errors.New("this wants the worker's token (http.token): send the header Authorization: Bearer TOKEN; " +
	"the tailfold commands take it from the worker's configuration or from TAILFOLD_HTTP_TOKEN")

// knows tells whether a request has the token, in a time that says nothing about it.
func (g *gate) knows(r *http.Request) bool {
	if g.open {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sent := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return subtle.ConstantTimeCompare(sent[:], g.token[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

// enter takes a place, if there is one.
func enter(places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	default:
		return false
	}
}

func leave(places chan struct{}) { <-places }

func (a *api) tooMany(w http.ResponseWriter, what string) {
	w.Header().Set("Retry-After", "1")
	a.fail(w, http.StatusServiceUnavailable, fmt.Errorf("too many %s at once: ask again in a second", what), nil)
}

// oneProtocol is HTTP/1: the bounds are per connection and are tested with it.
func oneProtocol() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}

// listening is an open address, and the certificate that is shown there, nil for none.
type listening struct {
	net.Listener
	certificate *certificate
}

// fewConns closes connections beyond a number at once: those who wait in the kernel's queue would wait for ever.
type fewConns struct {
	net.Listener
	most int64
	open atomic.Int64
}

func bounded(l net.Listener, most int64) net.Listener { return &fewConns{Listener: l, most: most} }

func (l *fewConns) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tcp, ok := conn.(*net.TCPConn)
		if !ok {
			return conn, nil
		}
		if l.open.Add(1) <= l.most {
			return &countedConn{TCPConn: tcp, leave: sync.OnceFunc(func() { l.open.Add(-1) })}, nil
		}
		l.open.Add(-1)
		conn.Close()
	}
}

// countedConn is a *net.TCPConn, of which the server uses more than net.Conn has (CloseWrite, to have an answer read before
// the connection is reset).
type countedConn struct {
	*net.TCPConn
	leave func()
}

func (c *countedConn) Close() error {
	c.leave()
	return c.TCPConn.Close()
}
