package faults

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// life is one worker process, from its start to its end.
type life struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	output *output
	exited chan struct{}
}

// line is one line of a worker's log.
type line struct {
	Level      string `json:"level"`
	Msg        string `json:"msg"`
	Projection string `json:"projection"`
	State      string `json:"state"`
	Verdict    string `json:"verdict"`
	Evidence   string `json:"evidence"`
	WayOut     string `json:"way_out"`
	Why        string `json:"why"`
	EventSeq   uint64 `json:"event_seq"`
	Key        string `json:"key"`
}

// lines are those that the worker has logged so far, or those that are as wanted.
func (l *life) lines(wanted func(line) bool) []line {
	var all []line
	for text := range strings.SplitSeq(l.output.String(), "\n") {
		var x line
		if json.Unmarshal([]byte(text), &x) == nil && wanted(x) {
			all = append(all, x)
		}
	}
	return all
}

// says waits until the worker logs a line as wanted, and returns the first.
func (l *life) says(what string, wanted func(line) bool) line {
	l.t.Helper()
	return l.saysWithin(40*time.Second, what, wanted)
}

func (l *life) saysWithin(patience time.Duration, what string, wanted func(line) bool) line {
	l.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		if found := l.lines(wanted); len(found) > 0 {
			return found[0]
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("%s does not say %s; it said:\n%s", l.name, what, l.output.end())
		}
		time.Sleep(5 * time.Millisecond) // polls what another process prints
	}
}

func halts(projection, verdict string) func(line) bool {
	return func(x line) bool { return x.Msg == "halted" && x.Projection == projection && x.Verdict == verdict }
}

func is(projection, state string) func(line) bool {
	return func(x line) bool { return x.Msg == "is "+state && x.Projection == projection }
}

func waitsFor(verdict string) func(line) bool {
	return func(x line) bool { return x.Msg == "waits" && x.Verdict == verdict }
}

// mustNotHalt demands that no unit has been halted in this life: every verdict would be a false one.
func (l *life) mustNotHalt() {
	l.t.Helper()
	for _, x := range l.lines(func(x line) bool { return x.Msg == "halted" }) {
		l.t.Errorf("%s halted %s without a reason: %s: %s", l.name, x.Projection, x.Verdict, x.Evidence)
	}
}

// signal sends a signal, which may come when the process has ended already.
func (l *life) signal(signal syscall.Signal) { _ = l.cmd.Process.Signal(signal) }

// pause stops the process as a stalled machine does; it goes on when it is continued.
func (l *life) pause()      { l.signal(syscall.SIGSTOP) }
func (l *life) continueOn() { l.signal(syscall.SIGCONT) }

// kill kills the process, if it still lives, and waits until it is gone.
func (l *life) kill() {
	_ = l.cmd.Process.Kill()
	<-l.exited
}

// ends waits for the process's own end, for d at most.
func (l *life) ends(d time.Duration) bool {
	select {
	case <-l.exited:
		return true
	case <-time.After(d):
		return false
	}
}

// terminate asks the process to end (SIGTERM), and demands that it does so within d, with exit code 0.
func (l *life) terminate(within time.Duration) (took time.Duration) {
	l.t.Helper()
	began := time.Now()
	l.signal(syscall.SIGTERM)
	if !l.ends(within) {
		l.kill()
		l.t.Fatalf("%s has not ended %v after SIGTERM; it said:\n%s", l.name, within, l.output.end())
	}
	if code := l.cmd.ProcessState.ExitCode(); code != 0 {
		l.t.Errorf("%s ended with code %d after SIGTERM; it said:\n%s", l.name, code, l.output.end())
	}
	return time.Since(began)
}

// memory is the most and the present resident memory of the process, in MiB.
func (l *life) memory() (most, now int) {
	l.t.Helper()
	return memoryOf(l.t, l.cmd.Process)
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

func (o *output) end() string {
	text := o.String()
	return text[max(0, len(text)-4000):]
}

// live starts a worker process with further environment variables.
func (s *scene) live(environment ...string) *life {
	s.t.Helper()
	s.lives++
	executable, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	l := &life{t: s.t, name: nameOf(s.lives), cmd: exec.Command(executable), output: &output{}, exited: make(chan struct{})}
	l.cmd.Env = append(append(append(os.Environ(), "TAILFOLD_FAULTS_NATS="+s.natsURL, "TAILFOLD_FAULTS_REDIS="+s.redisURL,
		"TAILFOLD_FAULTS_NAME="+l.name, "TAILFOLD_FAULTS_CACHE="+cacheOf(s.rng)), s.environment...), environment...)
	l.cmd.Stdout, l.cmd.Stderr = l.output, l.output
	if err := l.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.helpers.Go(func() {
		_ = l.cmd.Wait() // how it ended is seen by what it left behind, or by its exit code
		close(l.exited)
	})
	s.all = append(s.all, l)
	return l
}
