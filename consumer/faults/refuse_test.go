package faults

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// refuser stands before Redis and has it refuse single commands: what it answers in its place was never seen by Redis,
// or, afterwards, is put in the place of the answer to what Redis has carried out.
type refuser struct {
	*passage

	mu      sync.Mutex
	command string // to be refused next, as the client sends it; "": none
	answer  string
	applied bool // Redis carries it out first
	refused int
}

func startRefuser(t *testing.T, backend string) *refuser {
	p := &refuser{passage: newPassage(t, backend)}
	p.open(p.serve)
	return p
}

// next has the next such command refused.
func (p *refuser) next(command, answer string, applied bool) {
	p.mu.Lock()
	p.command, p.answer, p.applied, p.refused = command, answer, applied, 0
	p.mu.Unlock()
}

func (p *refuser) done() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused > 0
}

// refuses tells whether a request is the one, and how it is answered. Only a model's key counts: a worker's announcement
// of itself is a script, too.
func (p *refuser) refuses(request []byte) (answer string, applied, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if head := request[:min(len(request), 200)]; p.command == "" || !bytes.Contains(head, []byte("\r\n"+p.command+"\r\n")) || !bytes.Contains(head, []byte("/v1/0}")) {
		return "", false, false
	}
	p.command = ""
	p.refused++
	return p.answer, p.applied, true
}

// serve passes one connection's bytes on. The client sends one request at a time and waits for its reply.
func (p *refuser) serve(client, server net.Conn) {
	var instead atomic.Pointer[string] // of the next reply
	bothWays(client, server, func() { p.there(client, server, &instead) }, func() {
		buffer := make([]byte, 64<<10)
		for {
			n, err := server.Read(buffer)
			reply := buffer[:n]
			if n > 0 {
				if other := instead.Swap(nil); other != nil {
					reply = []byte(*other)
				}
			}
			if _, werr := client.Write(reply); err != nil || werr != nil {
				return
			}
		}
	})
}

func (p *refuser) there(client, server net.Conn, instead *atomic.Pointer[string]) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		answer, applied, ok := p.refuses(buffer[:n])
		answer = "-" + answer + "\r\n"
		switch {
		case ok && applied:
			instead.Store(&answer)
		case ok:
			if _, err := client.Write([]byte(answer)); err != nil {
				return
			}
			continue
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// passing are the refusals of Redis that end by themselves or by what an operator does there.
var passing = []string{
	"NOSCRIPT No matching script. Please use EVAL.",
	"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
	"LOADING Redis is loading the dataset in memory",
	"READONLY You can't write against a read only replica.",
	"ASK 3999 127.0.0.1:1",
	"TRYAGAIN Multiple keys request during rehashing of slot",
	"CLUSTERDOWN The cluster is down",
	"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
	"NOREPLICAS Not enough good replicas to write.",
	"OOM command not allowed when used memory > 'maxmemory'.",
	"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
	"NOAUTH Authentication required.",
	"WRONGPASS invalid username-password pair or user is disabled.",
	"NOPERM this user has no permissions to run the 'evalsha' command",
	"UNKILLABLE Sorry the script already executed write commands against the dataset.",
	"ERR something that no version of Redis has said yet",
}

// TestEachRefusalOfRedisIsWaitedOut has Redis refuse a checkpoint and a read with each of its errors, and says of
// checkpoints that it has applied that it has refused them.
func TestEachRefusalOfRedisIsWaitedOut(t *testing.T) {
	s := newScene(t)
	p := startRefuser(t, s.redis.Addr())
	s.redisURL = p.in(t, s.redisURL)
	w := s.live("TAILFOLD_FAULTS_CACHE=-1") // values are read again for each batch
	s.worker = w
	s.awaitSeq(100, allModels...)
	for _, answer := range passing {
		for _, c := range []struct {
			command string
			applied bool
		}{{"evalsha", false}, {"evalsha", true}, {"hmget", false}} {
			what := fmt.Sprintf("%s answered with %s, applied %v", c.command, answer, c.applied)
			p.next(c.command, answer, c.applied)
			for deadline := time.Now().Add(20 * time.Second); !p.done(); {
				if time.Now().After(deadline) {
					t.Fatalf("%s: none came", what)
				}
				time.Sleep(time.Millisecond) // polls another goroutine
			}
			began := time.Now()
			s.awaitSeq(s.published()+1, allModels...)
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("%s: it went on after %v", what, took)
			}
		}
	}
	w.mustNotHalt()
	s.finish()
}

// TestARefusalThatNoWaitingMendsNamesItsWayOut has Redis answer as what it should not be.
func TestARefusalThatNoWaitingMendsNamesItsWayOut(t *testing.T) {
	for answer, out := range map[string]string{
		"MOVED 3999 127.0.0.1:1":    "redis+cluster://",
		"ERR unknown command 'X', ": "rename-command",
	} {
		t.Run(strings.Fields(answer)[0], func(t *testing.T) {
			s := newScene(t)
			p := startRefuser(t, s.redis.Addr())
			s.redisURL = p.in(t, s.redisURL)
			w := s.startWorker("")
			s.awaitSeq(100, allModels...)
			p.next("evalsha", answer, false)
			x := w.says("a verdict", func(x line) bool { return x.Msg == "halted" && x.Verdict == "UNSUITABLE" })
			if !strings.Contains(x.Evidence, strings.TrimSpace(answer)) || !strings.Contains(x.WayOut, out) {
				t.Errorf("it says %+v, want %q", x, out)
			}
			s.finish() // a halted unit looks again by itself
		})
	}
}
