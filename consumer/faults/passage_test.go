package faults

import (
	"context"
	"net"
	"net/url"
	"sync"
	"testing"
)

// passage stands between clients and a server: each connection that it accepts is served, beside one of its own to the
// server, until the test ends.
type passage struct {
	listener net.Listener
	ctx      context.Context // done when the test ends
	wg       sync.WaitGroup

	mu      sync.Mutex
	backend string
	conns   map[net.Conn]struct{}
}

func newPassage(t *testing.T, backend string) *passage {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &passage{listener: listener, ctx: ctx, backend: backend, conns: map[net.Conn]struct{}{}}
	t.Cleanup(func() {
		stop()
		_ = listener.Close()
		p.lead("")
		p.wg.Wait()
	})
	return p
}

// open lets connections in.
func (p *passage) open(serve func(client, server net.Conn)) { p.wg.Go(func() { p.accept(serve) }) }

func (p *passage) addr() string { return p.listener.Addr().String() }

// in is a server's URL with the passage's address.
func (p *passage) in(t *testing.T, server string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = p.addr()
	return u.String()
}

// lead leads new connections to another server, and closes the old ones.
func (p *passage) lead(backend string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backend = backend
	for conn := range p.conns {
		_ = conn.Close()
	}
}

func (p *passage) accept(serve func(client, server net.Conn)) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		backend := p.backend
		p.mu.Unlock()
		server, err := net.Dial("tcp", backend)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = struct{}{}, struct{}{}
		if p.backend != backend || p.ctx.Err() != nil { // led elsewhere meanwhile
			_, _ = client.Close(), server.Close()
		}
		p.mu.Unlock()
		p.wg.Go(func() {
			serve(client, server)
			_, _ = client.Close(), server.Close()
			p.mu.Lock()
			delete(p.conns, client)
			delete(p.conns, server)
			p.mu.Unlock()
		})
	}
}

// bothWays runs there and back until both have ended. When one ends the connections are closed, which ends the other.
func bothWays(client, server net.Conn, there, back func()) {
	var both sync.WaitGroup
	for _, way := range []func(){there, back} {
		both.Go(func() {
			way()
			_, _ = client.Close(), server.Close()
		})
	}
	both.Wait()
}
