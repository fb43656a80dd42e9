package faults

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
)

// startProgram starts the whole program, with the models and a configuration file, as a worker. Its HTTP server is at
// address.
func startProgram(t *testing.T, name, config string) (l *life, address string) {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	l = &life{t: t, name: name, output: &output{}, exited: make(chan struct{}),
		cmd: exec.Command(executable, "run", "--config", config, "--listen", address, "--name", name, "--log-format", "json")}
	l.cmd.Env = append(os.Environ(), "TAILFOLD_FAULTS_COMMAND=1")
	l.cmd.Stdout, l.cmd.Stderr = l.output, l.output
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process, which the test's end kills and waits for
		_ = l.cmd.Wait()
		close(l.exited)
	}()
	t.Cleanup(l.kill)
	return l, address
}

// configFor writes a configuration file for a stream of so many partitions.
func configFor(t *testing.T, natsURL, redisURL string, partitions int, more string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tailfold.yaml")
	text := fmt.Sprintf("nats: {url: '%s'}\nstore: {redis: '%s'}\nstreams:\n- {name: EVENTS, partitions: %d, partition_subjects: ['events.{partition}.>']}\n%s",
		natsURL, redisURL, partitions, more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// createPartitioned makes the stream EVENTS, in whose subjects the server itself puts the partition.
func createPartitioned(t *testing.T, js jetstream.JetStream, partitions int) {
	t.Helper()
	natstest.CreateStream(t, js, jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.*"},
		SubjectTransform: &jetstream.SubjectTransformConfig{Source: "events.*",
			Destination: fmt.Sprintf("events.{{partition(%d,1)}}.{{wildcard(1)}}", partitions)}})
}

// fill publishes n events of 1000 senders as fast as the server takes them.
func fill(t *testing.T, server *natstest.Process, n int) {
	t.Helper()
	fillFrom(t, server, 1, n)
}

// fillFrom publishes n events with ids from first on.
func fillFrom(t *testing.T, server *natstest.Process, first, n int) {
	t.Helper()
	js, err := jetstream.New(server.Connect(), jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		t.Fatal(err)
	}
	for id := first; id < first+n; id++ {
		x := event{ID: id, From: "a" + strconv.Itoa(id%1000), To: "b" + strconv.Itoa(id%777), Amount: id % 1000}
		if _, err := js.PublishAsync("events."+x.From, []byte(text(x)), jetstream.WithStallWait(20*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		t.Fatal("the server does not take the events within a minute")
	}
}

// cpu is the time that a process has had of the processors.
func (l *life) cpu() time.Duration {
	l.t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", l.cmd.Process.Pid))
	if err != nil {
		l.t.Fatal(err)
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+2:]))
	user, errUser := strconv.Atoi(fields[11])
	system, errSystem := strconv.Atoi(fields[12])
	if errUser != nil || errSystem != nil {
		l.t.Fatalf("%s can't be read", raw)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // the kernel's ticks
}

// awaitReady waits until the program says that it is.
func awaitReady(t *testing.T, l *life, address string, patience time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		response, err := http.Get("http://" + address + "/readyz")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return time.Since(began)
			}
		}
		if time.Since(began) > patience {
			t.Fatalf("%s is not ready after %v; it said:\n%s", l.name, patience, l.output.end())
		}
		time.Sleep(5 * time.Millisecond) // polls another process
	}
}
