package faults

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// brake stands before a server and slows down or holds up what passes: in both directions, on all connections.
type brake struct {
	*passage
	delay    atomic.Int64 // nanoseconds for each piece that passes
	held     atomic.Bool  // nothing passes, connections stay
	rate     atomic.Int64 // bytes a second in each direction, of all connections together; 0: as fast as they come
	to, from lane
}

// lane is one direction.
type lane struct {
	mu     sync.Mutex
	free   time.Time // when all that was let through has passed
	passed int64
}

// take gives n bytes their turn, and returns how long they take to pass.
func (l *lane) take(n int, rate int64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	l.passed += int64(n)
	l.free = l.free.Add(time.Duration(n) * time.Second / time.Duration(rate))
	return l.free.Sub(now)
}

func (l *lane) bytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.passed
}

func startBrake(t *testing.T, backend string) *brake {
	b := &brake{passage: newPassage(t, backend)}
	b.open(func(client, server net.Conn) {
		bothWays(client, server, func() { b.copy(server, client, &b.to) }, func() { b.copy(client, server, &b.from) })
	})
	return b
}

func (b *brake) port() string         { _, port, _ := net.SplitHostPort(b.addr()); return port }
func (b *brake) slow(d time.Duration) { b.delay.Store(int64(d)) }
func (b *brake) narrow(n int64)       { b.rate.Store(n) }
func (b *brake) hold()                { b.held.Store(true) }
func (b *brake) release()             { b.held.Store(false) }

func (b *brake) copy(to, from net.Conn, way *lane) {
	if b.rate.Load() > 0 { // else the kernel takes in megabytes, and a narrow way is a long one
		_ = from.(*net.TCPConn).SetReadBuffer(64 << 10)
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if d := time.Duration(b.delay.Load()); d > 0 && pause(b.ctx, d) != nil {
			return
		}
		if rate := b.rate.Load(); rate > 0 && n > 0 && pause(b.ctx, way.take(n, rate)) != nil {
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
