package faults

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// brake stands before a server and slows down or holds up what passes: in both directions, on all connections.
type brake struct {
	listener net.Listener
	backend  string
	wg       sync.WaitGroup
	ctx      context.Context
	delay    atomic.Int64 // nanoseconds for each piece that passes
	held     atomic.Bool  // nothing passes, connections stay
}

func startBrake(t *testing.T, backend string) *brake {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	b := &brake{listener: listener, backend: backend, ctx: ctx}
	b.wg.Go(b.accept)
	t.Cleanup(func() { stop(); _ = listener.Close(); b.wg.Wait() })
	return b
}

func (b *brake) addr() string         { return b.listener.Addr().String() }
func (b *brake) port() string         { _, port, _ := net.SplitHostPort(b.addr()); return port }
func (b *brake) slow(d time.Duration) { b.delay.Store(int64(d)) }
func (b *brake) hold()                { b.held.Store(true) }
func (b *brake) release()             { b.held.Store(false) }

func (b *brake) accept() {
	for {
		client, err := b.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", b.backend)
		if err != nil {
			_ = client.Close()
			continue
		}
		closeBoth := func() { _, _ = client.Close(), server.Close() }
		stop := context.AfterFunc(b.ctx, closeBoth)
		var both sync.WaitGroup
		both.Go(func() { defer closeBoth(); b.copy(server, client) })
		both.Go(func() { defer closeBoth(); b.copy(client, server) })
		b.wg.Go(func() { both.Wait(); stop() })
	}
}

func (b *brake) copy(to, from net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if d := time.Duration(b.delay.Load()); d > 0 && pause(b.ctx, d) != nil {
			return
		}
		for b.held.Load() {
			if pause(b.ctx, time.Millisecond) != nil {
				return
			}
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
