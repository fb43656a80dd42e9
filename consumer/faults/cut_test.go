package faults

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// cutter cuts connections at random bytes, in both directions.
type cutter struct {
	*passage

	mu    sync.Mutex
	rng   *rand.Rand
	least int // bytes that a connection lives at least
	most  int
}

func startCutter(t *testing.T, backend string, rng *rand.Rand, least, most int) *cutter {
	c := &cutter{passage: newPassage(t, backend), rng: rng, least: least, most: most}
	c.open(func(client, server net.Conn) {
		bothWays(client, server, func() { c.copy(server, client) }, func() { c.copy(client, server) })
	})
	return c
}

// heal stops cutting.
func (c *cutter) heal() {
	c.mu.Lock()
	c.least, c.most = 0, 0
	c.mu.Unlock()
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
	s.natsURL = toNATS.in(t, s.natsURL)
	s.redisURL = toRedis.in(t, s.redisURL)
	s.startWorker("")
	s.await(time.Duration(*kills) * 500 * time.Millisecond)
	toNATS.heal()
	toRedis.heal()
	s.finish()
}

func TestEveryThirdCommitLosesItsReply(t *testing.T) {
	s := newScene(t)
	proxy := startReplyEater(t, s.redis.Addr())
	s.redisURL = proxy.in(t, s.redisURL)
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
// its connection. The client sends one command at a time and waits, so that a request with EVALSHA in it is followed by
// its reply.
type replyEater struct {
	*passage

	mu      sync.Mutex
	scripts int
	eaten   int
	off     bool
}

func startReplyEater(t *testing.T, backend string) *replyEater {
	p := &replyEater{passage: newPassage(t, backend)}
	p.open(func(client, server net.Conn) {
		eat := make(chan struct{})
		bothWays(client, server, func() { p.there(client, server, eat) }, func() { p.back(client, server, eat) })
	})
	return p
}

func (p *replyEater) there(client, server net.Conn, eat chan struct{}) {
	var once sync.Once
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
}

func (p *replyEater) back(client, server net.Conn, eat chan struct{}) {
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		select {
		case <-eat: // Redis has carried it out: its reply ends here, and the connection with it
			p.mu.Lock()
			p.eaten++
			p.mu.Unlock()
			return
		default:
		}
		if n > 0 {
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
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
