// Package redistest starts real redis-server processes for tests: on loopback, on free ports, each in a directory of
// its own, gone when the test ends.
//
//	server := redistest.Start(t)                          // nothing on disk
//	server := redistest.Start(t, "--appendonly", "yes")   // any setting of redis.conf, as redis-server takes them
//	server.Kill(); server.Restart()                       // what a crash does
//	server.Pause(); server.Continue()                     // what a stalled machine does
package redistest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// patience is how long a server may take to start or to stop before the test fails.
const patience = 30 * time.Second

// Server is one redis-server process. Its methods fail the test when they can't do what they say; they are for one
// goroutine at a time.
type Server struct {
	t    testing.TB
	dir  string
	port int
	args []string

	tls      *Certificates // nil: plain
	sentinel bool

	cmd    *exec.Cmd
	exited chan struct{}
	log    *output
	client *redis.Client
}

// Start starts a server with the given settings ("--maxmemory", "10mb", …) and waits until it answers. Unless the
// settings say otherwise it writes nothing to disk and allows DEBUG. It is killed when the test ends.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	return start(t, &Server{args: settings})
}

// start starts s, of which args, tls and sentinel are set.
func start(t testing.TB, s *Server) *Server {
	t.Helper()
	s.t, s.dir = t, t.TempDir()
	t.Cleanup(s.end)
	for attempt := 1; ; attempt++ {
		s.port = FreePort(t)
		err := s.launch()
		if err == nil {
			return s
		}
		if attempt == 3 { // another process may have taken the port meanwhile: seldom, and not three times
			t.Fatalf("redistest: %v", err)
		}
	}
}

// FreePort is a loopback port that nothing listens on at this moment.
func FreePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("redistest: no free port: %v", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func (s *Server) launch() error {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return fmt.Errorf("these tests need redis-server 7.0 or newer in the PATH " +
			"(`apt-get install redis-server`, `brew install redis`)")
	}
	listen := []string{"--port", strconv.Itoa(s.port)}
	if s.tls != nil {
		listen = []string{"--port", "0", "--tls-port", strconv.Itoa(s.port)}
	}
	args := append(append(listen, s.tls.settings()...), "--bind", "127.0.0.1", "--dir", s.dir, "--daemonize", "no", "--logfile", "")
	if s.sentinel { // it keeps what it learns in its own file
		file := filepath.Join(s.dir, "sentinel.conf")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			return err
		}
		args = append([]string{file, "--sentinel"}, args...)
	} else {
		args = append(args, "--save", "", "--enable-debug-command", "yes",
			"--repl-diskless-sync-delay", "0")
	}
	s.log = &output{}
	s.cmd = exec.Command(path, append(args, s.args...)...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.SysProcAttr = dieWithParent()
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("%s does not start: %w", path, err)
	}
	exited := make(chan struct{})
	s.exited = exited
	go func() { // ends with the process, for which stopped waits
		_ = s.cmd.Wait()
		close(exited)
	}()
	return s.awaitAnswer()
}

// awaitAnswer waits until the server has loaded its data and answers, or refuses for want of a password.
func (s *Server) awaitAnswer() error {
	client := redis.NewClient(s.options())
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.dial() // go-redis would log each attempt
		if err == nil {
			err = client.Ping(ctx).Err()
		}
		if err == nil || redis.HasErrorPrefix(err, "NOAUTH") || redis.HasErrorPrefix(err, "NOPERM") ||
			redis.HasErrorPrefix(err, "MASTERDOWN") {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("redis-server on port %d ended at once, and said:\n%s", s.port, s.log)
		case <-ctx.Done():
			s.Kill()
			return fmt.Errorf("redis-server on port %d does not answer: %v; it said:\n%s", s.port, err, s.log)
		case <-tick.C:
		}
	}
}

func (s *Server) dial() error {
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		return err
	}
	return conn.Close()
}

// Addr is the server's address, host:port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Dir is the server's working directory, where it keeps its files.
func (s *Server) Dir() string { return s.dir }

// URL is the server's address as redisstore takes it, for database 0.
func (s *Server) URL() string {
	if s.tls != nil {
		return "rediss://" + s.Addr() + "/0?ca=" + s.tls.CA
	}
	return "redis://" + s.Addr() + "/0"
}

// Client is a plain client of the server, for looking at it behind the tested code's back. It is closed when the test
// ends.
func (s *Server) Client() *redis.Client {
	if s.client == nil {
		s.client = redis.NewClient(s.options())
	}
	return s.client
}

func (s *Server) options() *redis.Options {
	options := &redis.Options{Addr: s.Addr(), MaxRetries: -1, DialerRetries: 1, Protocol: 2, DisableIdentity: true,
		ContextTimeoutEnabled: true}
	if s.tls != nil {
		options.TLSConfig = s.tls.config()
	}
	return options
}

// Do sends one command ("CONFIG", "SET", "maxmemory", "1mb") and returns its answer; an error of it fails the test.
func (s *Server) Do(words ...any) any {
	s.t.Helper()
	answer, err := s.Client().Do(context.Background(), words...).Result()
	if err != nil && err != redis.Nil {
		s.t.Fatalf("redistest: %v: %v", words, err)
	}
	return answer
}

// Stop asks the server to end (SIGTERM), which saves what its settings say, and waits until it has.
func (s *Server) Stop() { s.signal(syscall.SIGTERM); s.stopped() }

// Kill ends the server as a crash does (SIGKILL), and waits until it has ended.
func (s *Server) Kill() { s.signal(syscall.SIGKILL); s.stopped() }

// Pause stops the process (SIGSTOP): its connections stay open and nothing answers.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Continue lets a paused process go on (SIGCONT).
func (s *Server) Continue() { s.signal(syscall.SIGCONT) }

// Restart ends the server as Stop does if it runs, and starts it again on the same port and directory, with further
// settings if given, which stay.
func (s *Server) Restart(settings ...string) {
	s.t.Helper()
	if s.running() {
		s.Stop()
	}
	s.args = append(s.args[:len(s.args):len(s.args)], settings...)
	if err := s.launch(); err != nil {
		s.t.Fatalf("redistest: %v", err)
	}
}

// Log is what the process has printed since it was last started.
func (s *Server) Log() string { return s.log.String() }

func (s *Server) running() bool {
	if s.exited == nil {
		return false
	}
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

func (s *Server) signal(signal syscall.Signal) {
	if s.running() {
		_ = s.cmd.Process.Signal(signal) // it may end at this very moment
	}
}

func (s *Server) stopped() {
	s.t.Helper()
	if s.exited == nil {
		return
	}
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	select {
	case <-s.exited:
	case <-deadline.C:
		_ = s.cmd.Process.Kill()
		<-s.exited
		s.t.Errorf("redistest: redis-server on port %d did not end within %v; it said:\n%s", s.port, patience, s.log)
	}
}

func (s *Server) end() {
	if s.client != nil {
		_ = s.client.Close()
	}
	s.signal(syscall.SIGKILL)
	s.stopped()
}

// output keeps what a process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
