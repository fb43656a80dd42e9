package natstest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// Process is a NATS server in a process of its own.
type Process struct {
	t       testing.TB
	binary  string
	options Options
	address string // host:port, once it is known
	command *exec.Cmd
	logged  chan struct{} // closed when the process has closed its log
	mu      sync.Mutex
	log     []string
}

// StartProcess runs a server process until the test ends. The server is the one of this module's tool line, which the
// go command builds once and keeps in its cache, or, to test with another version, the binary that the environment
// variable TAILFOLD_TEST_NATS_SERVER names.
func StartProcess(t testing.TB, options ...Options) *Process {
	t.Helper()
	p := &Process{t: t, binary: os.Getenv(otherServer), options: one(options)}
	if p.binary == "" {
		out, err := exec.Command("go", "tool", "-n", "nats-server").Output()
		if err != nil {
			t.Fatalf("natstest: building nats-server by \"go tool -n nats-server\": %v%s", err, stderr(err))
		}
		p.binary = strings.TrimSpace(string(out))
	}
	if p.options.Dir == "" {
		p.options.Dir = t.TempDir()
	}
	p.start(-1)
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			p.mu.Lock()
			defer p.mu.Unlock()
			t.Logf("log of the nats-server process:\n%s", strings.Join(p.log, "\n"))
		}
	})
	return p
}

func stderr(err error) string {
	if exit, ok := err.(*exec.ExitError); ok {
		return "\n" + string(exit.Stderr)
	}
	return ""
}

func (p *Process) start(port int) {
	p.t.Helper()
	p.command = exec.Command(p.binary, "-c", p.options.write(p.t, port))
	pipe, err := p.command.StderrPipe()
	if err != nil {
		p.t.Fatalf("natstest: %v", err)
	}
	if err := p.command.Start(); err != nil {
		p.t.Fatalf("natstest: %v", err)
	}
	ready := make(chan struct{})
	p.logged = make(chan struct{})
	go p.follow(pipe, ready)
	patient := time.NewTimer(patience)
	defer patient.Stop()
	select {
	case <-ready:
	case <-p.logged:
		p.t.Fatalf("natstest: nats-server ended at once:\n%s", strings.Join(p.log, "\n"))
	case <-patient.C:
		p.t.Fatalf("natstest: nats-server is not ready after %v", patience)
	}
}

// follow keeps the server's log, learns from it which port the server was given, and tells when it is ready.
func (p *Process) follow(log io.Reader, ready chan<- struct{}) {
	defer close(p.logged)
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		line := lines.Text()
		p.mu.Lock()
		p.log = append(p.log, line)
		if _, address, ok := strings.Cut(line, "Listening for client connections on "); ok {
			p.address = address
		}
		p.mu.Unlock()
		if strings.HasSuffix(line, "Server is ready") {
			close(ready)
		}
	}
}

// URL is where clients connect. It stays the same when the server is restarted.
func (p *Process) URL() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return "nats://" + p.address
}

// Log is what the server has logged so far.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, "\n")
}

// otherServer names the binary of another version of nats-server.
const otherServer = "TAILFOLD_TEST_NATS_SERVER"

// Stop ends the process in good order. Stopping it twice is no error.
func (p *Process) Stop() {
	if p.command.ProcessState != nil {
		return
	}
	_ = p.command.Process.Signal(syscall.SIGTERM) // it may have ended
	<-p.logged
	_ = p.command.Wait()
}

// Kill ends the process by SIGKILL and waits until it is gone. Killing it twice is no error.
func (p *Process) Kill() {
	if p.command.ProcessState != nil {
		return
	}
	_ = p.command.Process.Kill()
	<-p.logged
	_ = p.command.Wait() // it was killed
}

// Restart starts the server again, on the same port and store, after Kill if it still runs.
func (p *Process) Restart() {
	p.t.Helper()
	p.Kill()
	var port int
	if _, err := fmt.Sscanf(p.address, "127.0.0.1:%d", &port); err != nil {
		p.t.Fatalf("natstest: address %q: %v", p.address, err)
	}
	p.start(port)
}

// Pause stops the process by SIGSTOP and waits until it stands: it keeps its connections and does nothing.
func (p *Process) Pause() {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(p.command.Process.Pid, &status, syscall.WUNTRACED, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil || !status.Stopped():
			p.t.Fatalf("natstest: the server did not stop, but ended: status %v, %v", status, err)
		default:
			return
		}
	}
}

// Continue lets a paused process go on.
func (p *Process) Continue() { p.signal(syscall.SIGCONT) }

func (p *Process) signal(signal syscall.Signal) {
	p.t.Helper()
	if err := p.command.Process.Signal(signal); err != nil {
		p.t.Fatalf("natstest: %v: %v", signal, err)
	}
}

// Dir is the directory of store ("store") and configuration.
func (p *Process) Dir() string { return p.options.Dir }

// Connect makes a connection that is closed when the test ends.
func (p *Process) Connect(options ...nats.Option) *nats.Conn {
	p.t.Helper()
	return connect(p.t, p.URL(), options...)
}
