package redistest

import (
	"bytes"
	"net"
	"sync"
	"testing"
)

// Proxy stands between a client and a server and does to what passes what a network may do. It ends with the
// test.
type Proxy struct {
	server   *Server
	listener net.Listener
	owner    sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	command []byte // whose reply is to be lost next, nil: none
	lost    chan struct{}
	text    []byte // before which before is called next, nil: none
	before  func()
	conns   map[net.Conn]struct{}
}

// StartProxy starts a proxy before the server.
func StartProxy(t testing.TB, server *Server) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	p := &Proxy{server: server, listener: listener, conns: map[net.Conn]struct{}{}}
	p.owner.Go(p.accept)
	t.Cleanup(p.end)
	return p
}

// Addr is the proxy's address, host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// URL is the server's by way of the proxy.
func (p *Proxy) URL() string { return "redis://" + p.Addr() + "/0" }

// LoseReply has the server carry out the next command of that name ("evalsha" or "eval" for a script, in lower case as
// go-redis sends it), but its reply lost, and the connection with it. NOSCRIPT is no reply here: the command was not
// carried out. The channel is closed when it has happened.
func (p *Proxy) LoseReply(command string) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.command, p.lost = []byte("\r\n"+command), make(chan struct{})
	return p.lost
}

// Before calls f when the next command with this text in its first words comes, before the server gets it. The channel
// is closed when it has happened.
func (p *Proxy) Before(text string, f func()) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	done := make(chan struct{})
	p.text, p.before = []byte(text), func() { f(); close(done) }
	return done
}

// Sever cuts all connections that there are. New ones are let through.
func (p *Proxy) Sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		server, err := net.Dial("tcp", p.server.Addr())
		if err != nil {
			_ = client.Close()
			continue
		}
		if !p.keep(client, server) {
			return
		}
		link := &link{proxy: p}
		p.owner.Go(func() { link.copy(server, client, link.asked) })
		p.owner.Go(func() { link.copy(client, server, link.answered) })
	}
}

func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		if p.closed {
			_ = conn.Close()
			continue
		}
		p.conns[conn] = struct{}{}
	}
	return !p.closed
}

func (p *Proxy) end() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Sever()
	p.owner.Wait()
}

// link is one connection through the proxy.
type link struct {
	proxy *Proxy
	armed bool // the command has passed, its reply is awaited; guarded by proxy.mu
}

// copy passes on what look lets through, and ends both connections when one ends or look says so.
func (l *link) copy(to, from net.Conn, look func(chunk []byte) bool) {
	defer func() {
		_ = to.Close()
		_ = from.Close()
		l.proxy.mu.Lock()
		delete(l.proxy.conns, from)
		l.proxy.mu.Unlock()
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !look(buffer[:n]) {
			return
		}
		if _, writeErr := to.Write(buffer[:n]); err != nil || writeErr != nil {
			return // one of the two is gone
		}
	}
}

func (l *link) asked(chunk []byte) bool {
	// A command stands at the beginning of what go-redis sends, with its number of arguments and its length before it.
	words := chunk[:min(len(chunk), 128)]
	p := l.proxy
	p.mu.Lock()
	if p.command != nil && bytes.Contains(words, p.command) {
		l.armed = true
	}
	before := p.before
	if p.text == nil || !bytes.Contains(words, p.text) {
		before = nil
	} else {
		p.text, p.before = nil, nil
	}
	p.mu.Unlock()
	if before != nil {
		before()
	}
	return true
}

func (l *link) answered(chunk []byte) bool {
	l.proxy.mu.Lock()
	defer l.proxy.mu.Unlock()
	if !l.armed || l.proxy.command == nil || bytes.HasPrefix(chunk, []byte("-NOSCRIPT")) {
		return true
	}
	l.armed, l.proxy.command = false, nil
	close(l.proxy.lost)
	return false
}
