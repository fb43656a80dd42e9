package faults

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// valve has directions that can be shut, each by itself: bytes are then held back, as by a network that has lost one way,
// and connections stay.
type valve struct {
	*passage

	mu      sync.Mutex
	changed *sync.Cond
	shut    map[string]bool // "to" the server, "from" it
}

func startValve(t *testing.T, backend string) *valve {
	v := &valve{passage: newPassage(t, backend), shut: map[string]bool{}}
	v.changed = sync.NewCond(&v.mu)
	v.open(func(client, server net.Conn) {
		bothWays(client, server, func() { v.copy("to", server, client) }, func() { v.copy("from", client, server) })
	})
	context.AfterFunc(v.ctx, func() { // those that wait are to see that the test has ended
		v.mu.Lock()
		defer v.mu.Unlock()
		v.changed.Broadcast()
	})
	return v
}

func (v *valve) set(way string, shut bool) {
	v.mu.Lock()
	v.shut[way] = shut
	v.changed.Broadcast()
	v.mu.Unlock()
}

func (v *valve) copy(way string, to, from net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		v.mu.Lock()
		for v.shut[way] && v.ctx.Err() == nil {
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
					s.redisURL = v.in(t, s.redisURL)
				} else {
					s.natsURL = v.in(t, s.natsURL)
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
