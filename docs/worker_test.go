package docs_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// patience is how long a test waits for what must come. It only passes where something is broken.
const patience = 30 * time.Second

var binary string // built once, by TestMain

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tailfold-docs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "tailfold")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/tailfold").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build ./cmd/tailfold: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// tailfold is a command of the program, with nothing of this machine's configuration.
func tailfold(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	t.Cleanup(cancel)
	command := exec.CommandContext(ctx, binary, args...)
	for _, setting := range os.Environ() {
		if !strings.HasPrefix(setting, "TAILFOLD_") && !strings.HasPrefix(setting, "NATS_") {
			command.Env = append(command.Env, setting)
		}
	}
	command.Dir = t.TempDir()
	return command
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// place has real servers.
type place struct {
	t     *testing.T
	dir   string
	nats  *natstest.Server
	redis *redistest.Server
	js    jetstream.JetStream
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{t: t, dir: t.TempDir(), nats: natstest.Start(t), redis: redistest.Start(t)}
	p.js = natstest.JetStream(t, p.nats.Connect())
	return p
}

// stream makes a stream, after removing one of that name.
func (p *place) stream(config jetstream.StreamConfig) {
	p.t.Helper()
	_ = p.js.DeleteStream(p.t.Context(), config.Name) // there may be none
	if _, err := p.js.CreateStream(p.t.Context(), config); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) publish(subject string, events ...string) (seq uint64) {
	p.t.Helper()
	for _, event := range events {
		ack, err := p.js.Publish(p.t.Context(), subject, []byte(event))
		if err != nil {
			p.t.Fatal(err)
		}
		seq = ack.Sequence
	}
	return seq
}

// config writes a configuration for these servers; rest is what comes after them.
func (p *place) config(rest string) string {
	p.t.Helper()
	file := filepath.Join(p.dir, "tailfold.yaml")
	write(p.t, file, fmt.Sprintf("nats: {url: %q}\nstore: {redis: %q}\nhttp: {listen: \"off\"}\nworker: {name: worker-1}\n%s",
		p.nats.URL(), p.redis.URL(), rest))
	return file
}

// worker runs a worker with a configuration until the returned function, or the end of the test.
func (p *place) worker(config string, environment ...string) (stop func()) {
	p.t.Helper()
	var log strings.Builder
	command := tailfold(p.t, "run", "--config", config)
	command.Env = append(command.Env, environment...)
	command.Stderr = &log
	if err := command.Start(); err != nil {
		p.t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = command.Process.Signal(syscall.SIGTERM) // it may have ended
		if err := command.Wait(); err != nil {
			p.t.Errorf("tailfold run: %v", err)
		}
		if p.t.Failed() {
			p.t.Logf("log of tailfold run:\n%s", log.String())
		}
	}
	p.t.Cleanup(stop)
	return stop
}

// status is what `tailfold status` prints, once it shows all of some texts and a worker has the unit.
func (p *place) status(config string, shows ...string) string {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		out, _ := tailfold(p.t, "status", "--config", config).CombinedOutput() // exit code 1: a unit is halted
		missing := slices.ContainsFunc(shows, func(text string) bool { return !strings.Contains(string(out), text) })
		switch {
		case !missing && !strings.Contains(string(out), "unowned"):
			return string(out)
		case time.Now().After(deadline):
			p.t.Fatalf("status does not show %q:\n%s", shows, out)
		}
		select {
		case <-p.t.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}
