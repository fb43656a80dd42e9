package faults

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// cutter stands between a worker and a server, and cuts connections at random bytes, in both directions.
type cutter struct {
	listener net.Listener
	backend  string
	wg       sync.WaitGroup

	mu    sync.Mutex
	rng   *rand.Rand
	least int // bytes that a connection lives at least
	most  int
	conns map[net.Conn]struct{}
	ended bool
}

func startCutter(t *testing.T, backend string, rng *rand.Rand, least, most int) *cutter {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{listener: listener, backend: backend, rng: rng, least: least, most: most, conns: map[net.Conn]struct{}{}}
	c.wg.Go(c.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		c.mu.Lock()
		c.ended = true
		for conn := range c.conns {
			_ = conn.Close()
		}
		c.mu.Unlock()
		c.wg.Wait()
	})
	return c
}

// heal stops cutting.
func (c *cutter) heal() {
	c.mu.Lock()
	c.least, c.most = 0, 0
	c.mu.Unlock()
}

func (c *cutter) accept() {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", c.backend)
		if err != nil {
			_ = client.Close()
			continue
		}
		c.mu.Lock()
		if c.ended {
			_, _ = client.Close(), server.Close()
		}
		c.conns[client], c.conns[server] = struct{}{}, struct{}{}
		c.mu.Unlock()
		c.wg.Go(func() { c.copy(server, client) })
		c.wg.Go(func() { c.copy(client, server) })
	}
}

// copy passes bytes on until the connection is cut, in the middle of whatever it is.
func (c *cutter) copy(to, from net.Conn) {
	c.mu.Lock()
	limit := int64(1) << 60
	if c.most > 0 {
		limit = int64(c.least + c.rng.IntN(c.most-c.least))
	}
	c.mu.Unlock()
	_, _ = io.CopyN(to, from, limit)
	_, _ = to.Close(), from.Close()
	c.mu.Lock()
	delete(c.conns, to)
	delete(c.conns, from)
	c.mu.Unlock()
}

func hostOf(t *testing.T, address string) string {
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func TestConnectionsCutAtRandomBytes(t *testing.T) {
	s := newScene(t)
	toNATS := startCutter(t, hostOf(t, s.natsURL), rand.New(rand.NewPCG(s.rng.Uint64(), 3)), 2_000, 400_000)
	toRedis := startCutter(t, s.redis.Addr(), rand.New(rand.NewPCG(s.rng.Uint64(), 4)), 500, 100_000)
	s.natsURL = "nats://" + toNATS.listener.Addr().String()
	s.redisURL = "redis://" + toRedis.listener.Addr().String()
	s.startWorker("")
	s.await(time.Duration(*kills) * 500 * time.Millisecond)
	toNATS.heal()
	toRedis.heal()
	s.finish()
}

func TestEveryThirdCommitLosesItsReply(t *testing.T) {
	s := newScene(t)
	proxy := startReplyEater(t, s.redis.Addr())
	s.redisURL = "redis://" + proxy.listener.Addr().String()
	s.startWorker("")
	for range 1 + *kills/6 {
		s.await(2 * time.Second)
		s.killWorker()
		s.startWorker("")
	}
	proxy.mu.Lock()
	eaten := proxy.eaten
	proxy.off = true
	proxy.mu.Unlock()
	if eaten < 3 {
		t.Errorf("only %d replies were lost: the test shows nothing", eaten)
	}
	t.Logf("%d replies of commits were lost", eaten)
	s.finish()
}

// replyEater passes everything on, but every third script that Redis runs for a client loses its reply, and the client
// its connection.
type replyEater struct {
	listener net.Listener
	backend  string
	wg       sync.WaitGroup
	stop     context.CancelFunc

	mu      sync.Mutex
	scripts int
	eaten   int
	off     bool
}

func startReplyEater(t *testing.T, backend string) *replyEater {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &replyEater{listener: listener, backend: backend, stop: stop}
	p.wg.Go(func() { p.accept(ctx) })
	t.Cleanup(func() { stop(); _ = listener.Close(); p.wg.Wait() })
	return p
}

func (p *replyEater) accept(ctx context.Context) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.backend)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.wg.Go(func() { p.serve(ctx, client, server) })
	}
}

// serve passes one connection's bytes on. The client sends one command at a time and waits, so that a request with
// EVALSHA in it is followed by its reply.
func (p *replyEater) serve(ctx context.Context, client, server net.Conn) {
	closeBoth := func() { _, _ = client.Close(), server.Close() }
	defer context.AfterFunc(ctx, closeBoth)()
	defer closeBoth()
	eat := make(chan struct{})
	var once sync.Once
	var up sync.WaitGroup
	up.Go(func() {
		defer closeBoth()
		buf := make([]byte, 64<<10)
		for {
			n, err := client.Read(buf)
			if n > 0 && p.isThirdCommit(buf[:n]) {
				once.Do(func() { close(eat) })
			}
			if n > 0 {
				if _, err := server.Write(buf[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		select {
		case <-eat: // Redis has carried it out: its reply ends here, and the connection with it
			p.mu.Lock()
			p.eaten++
			p.mu.Unlock()
			err = io.EOF
		default:
			if n > 0 {
				if _, werr := client.Write(buf[:n]); werr != nil {
					err = werr
				}
			}
		}
		if err != nil {
			break
		}
	}
	closeBoth()
	up.Wait()
}

func (p *replyEater) isThirdCommit(request []byte) bool {
	words := bytes.ToLower(request[:min(len(request), 64)])
	if !bytes.Contains(words, []byte("evalsha")) && !bytes.Contains(words, []byte("multi")) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.scripts++
	return p.scripts%3 == 0 && !p.off
}
