package cmd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tailfold/tailfold/projections"
)

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "tailfold-test-")
	if err != nil {
		panic(err)
	}
	binaryFolder = folder
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(folder)
		os.Exit(code)
	}))
}

// binaryFolder is where the one binary that tests start is built.
var binaryFolder string

// patience is how long a test waits for something. It only passes where something is broken.
const patience = 30 * time.Second

// output is written by a program and read by a test at the same time.
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

// program is one call of the command line, inside this process.
type programRun struct {
	registry *projections.Registry
	environ  []string
	stdin    io.Reader

	stdout, stderr output
}

func (p *programRun) run(ctx context.Context, args ...string) int {
	stdin := p.stdin
	if stdin == nil {
		stdin = strings.NewReader("")
	}
	return execute(ctx, App{Name: "tailfold", Registry: p.registry, Version: "v0-test", Environ: p.environ,
		Stdin: stdin, Stdout: &p.stdout, Stderr: &p.stderr}, args, nil)
}

// call runs a command that ends by itself.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var p programRun
	code = p.run(ctx, args...)
	return code, p.stdout.String(), p.stderr.String()
}

// running is a worker that a test started.
type running struct {
	t       *testing.T
	program programRun
	stop    context.CancelFunc
	code    chan int
	base    string // of its HTTP server
}

// start runs a worker until the test stops it, or ends. It gets a free address for its HTTP server.
func start(t *testing.T, registry *projections.Registry, args ...string) *running {
	t.Helper()
	address := freeAddress(t)
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{t: t, program: programRun{registry: registry}, stop: cancel, code: make(chan int, 1),
		base: "http://" + address}
	go func() {
		r.code <- r.program.run(ctx, append([]string{"run", "--listen", address, "--log-level", "debug"}, args...)...)
	}()
	t.Cleanup(func() {
		cancel()
		r.code <- <-r.code
		if t.Failed() {
			t.Logf("the worker said:\n%s", r.program.stderr.String())
		}
	})
	return r
}

// stopped ends the worker in good order, and tells its exit code.
func (r *running) stopped() int {
	r.stop()
	code := <-r.code
	r.code <- code
	return code
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// await tries until so is true.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	deadline := time.After(patience)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !so() {
		select {
		case <-deadline:
			t.Fatalf("waited %v in vain: %s", patience, what)
		case <-ticker.C:
		}
	}
}

// get asks an address, and returns the code (0: no answer) and the body.
func get(t *testing.T, address string) (code int, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(address)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(text)
}

// ready waits until the worker says that it is.
func (r *running) ready() {
	r.t.Helper()
	last := ""
	deadline := time.Now().Add(patience)
	await(r.t, "the worker to be ready", func() bool {
		code, body := get(r.t, r.base+"/readyz")
		last = fmt.Sprint(code, " ", body)
		if time.Now().After(deadline) {
			r.t.Logf("last answer: %s", last)
		}
		return code == http.StatusOK
	})
}
