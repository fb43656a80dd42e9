package faults

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// refuser stands before Redis and has it refuse single commands: what it answers in its place was never seen by Redis,
// or, afterwards, is put in the place of the answer to what Redis has carried out.
type refuser struct {
	listener net.Listener
	backend  string
	wg       sync.WaitGroup

	mu      sync.Mutex
	conns   []net.Conn
	ended   bool
	command string // to be refused next, as the client sends it; "": none
	answer  string
	applied bool // Redis carries it out first
	refused int
}

func startRefuser(t *testing.T, backend string) *refuser {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &refuser{listener: listener, backend: backend}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.mu.Lock()
		p.ended = true
		for _, conn := range p.conns {
			_ = conn.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
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

func (p *refuser) accept() {
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
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		if p.ended {
			_, _ = client.Close(), server.Close()
		}
		p.mu.Unlock()
		p.wg.Go(func() { p.serve(client, server) })
	}
}

// serve passes one connection's bytes on. The client sends one request at a time and waits for its reply.
func (p *refuser) serve(client, server net.Conn) {
	defer func() { _, _ = client.Close(), server.Close() }()
	var mu sync.Mutex
	instead := "" // of the next reply
	var down sync.WaitGroup
	defer down.Wait()
	down.Go(func() {
		defer func() { _, _ = client.Close(), server.Close() }()
		buffer := make([]byte, 64<<10)
		for {
			n, err := server.Read(buffer)
			mu.Lock()
			reply := buffer[:n]
			if instead != "" && n > 0 {
				reply, instead = []byte(instead), ""
			}
			mu.Unlock()
			if _, werr := client.Write(reply); err != nil || werr != nil {
				return
			}
		}
	})
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		answer, applied, ok := p.refuses(buffer[:n])
		switch {
		case ok && applied:
			mu.Lock()
			instead = "-" + answer + "\r\n"
			mu.Unlock()
		case ok:
			if _, err := client.Write([]byte("-" + answer + "\r\n")); err != nil {
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
	s.redisURL = "redis://" + p.listener.Addr().String()
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
			s.redisURL = "redis://" + p.listener.Addr().String()
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
