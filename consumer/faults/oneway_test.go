package faults

import (
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// valve stands between a worker and a server. Each direction can be shut: bytes are then held back, as by a network that
// has lost one way, and connections stay.
type valve struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex
	backend string
	changed *sync.Cond
	shut    map[string]bool // "to" the server, "from" it
	conns   []net.Conn
	ended   bool
}

func startValve(t *testing.T, backend string) *valve {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &valve{listener: listener, backend: backend, shut: map[string]bool{}}
	v.changed = sync.NewCond(&v.mu)
	v.wg.Go(v.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		v.mu.Lock()
		v.ended = true
		for _, conn := range v.conns {
			_ = conn.Close()
		}
		v.changed.Broadcast()
		v.mu.Unlock()
		v.wg.Wait()
	})
	return v
}

func (v *valve) set(way string, shut bool) {
	v.mu.Lock()
	v.shut[way] = shut
	v.changed.Broadcast()
	v.mu.Unlock()
}

// lead leads new connections to another server, and closes the old ones.
func (v *valve) lead(backend string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.backend = backend
	for _, conn := range v.conns {
		_ = conn.Close()
	}
	v.conns = nil
}

func (v *valve) accept() {
	for {
		client, err := v.listener.Accept()
		if err != nil {
			return
		}
		v.mu.Lock()
		backend := v.backend
		v.mu.Unlock()
		server, err := net.Dial("tcp", backend)
		if err != nil {
			_ = client.Close()
			continue
		}
		v.mu.Lock()
		v.conns = append(v.conns, client, server)
		if v.ended || v.backend != backend {
			_, _ = client.Close(), server.Close()
		}
		v.mu.Unlock()
		v.wg.Go(func() { v.copy("to", server, client) })
		v.wg.Go(func() { v.copy("from", client, server) })
	}
}

func (v *valve) copy(way string, to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		v.mu.Lock()
		for v.shut[way] && !v.ended {
			v.changed.Wait()
		}
		v.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// address is url with the valve's host.
func (v *valve) address(t *testing.T, server string) string {
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = v.listener.Addr().String()
	return u.String()
}

// TestNetworksThatLoseOneWay shuts each way of each connection for some seconds, under load: a server that hears nothing, and
// one that is not heard, which is how a commit loses its reply.
func TestNetworksThatLoseOneWay(t *testing.T) {
	for _, server := range []string{"NATS", "Redis"} {
		for _, way := range []string{"to", "from"} {
			t.Run(way+" "+server, func(t *testing.T) {
				t.Parallel() // it mostly waits
				s := newScene(t)
				v := startValve(t, hostOf(t, s.natsURL))
				if server == "Redis" {
					v = startValve(t, s.redis.Addr())
					s.redisURL = v.address(t, s.redisURL)
				} else {
					s.natsURL = v.address(t, s.natsURL)
				}
				w := s.startWorker("")
				s.awaitSeq(300, allModels...)
				for range 2 {
					v.set(way, true)
					time.Sleep(*zombieFor) // the time is what is tested
					v.set(way, false)
					s.awaitEvents(200)
					s.awaitSeq(s.published(), allModels...)
				}
				w.mustNotHalt()
				s.finish()
			})
		}
	}
}
