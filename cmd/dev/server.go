package dev

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Bounds of the NATS server in this process.
const (
	logMemory  = 64 << 20
	logDisk    = 4 << 30
	logPort    = 4322 // beside a NATS server that listens on the usual 4222
	startsUpIn = time.Minute
)

// startServer runs a NATS server with JetStream on a loopback port, its store in a folder of its own.
//
// A stream with one replica that does not ask for asynchronous persistence is written to the file before a message is
// acknowledged or handed to a consumer (nats-server 2.15.2: stream.go sets AsyncFlush only for replicas and
// AsyncPersistMode, filestore.go then flushes in place). So a SIGKILL of this process loses nothing that a snapshot
// could be ahead of. A machine that loses its power may lose the last SyncInterval.
func startServer(storeFolder string, port int, lines io.Writer) (*server.Server, error) {
	s, err := server.NewServer(&server.Options{
		ServerName: "tailfold-dev", Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: storeFolder, SyncInterval: time.Second,
		JetStreamMaxMemory: logMemory, JetStreamMaxStore: logDisk,
	})
	if err != nil {
		return nil, fmt.Errorf("the NATS server can't be set up: %w", err)
	}
	notes := &serverLines{to: lines}
	s.SetLoggerV2(notes, false, false, false)
	s.Start()
	if !s.ReadyForConnections(startsUpIn) || !s.JetStreamEnabled() {
		stopServer(s)
		return nil, fmt.Errorf("the NATS server did not start: %w", notes.failure())
	}
	return s, nil
}

func stopServer(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// serverLines keeps what the server says that matters.
type serverLines struct {
	mu   sync.Mutex
	to   io.Writer
	last string // error
}

var _ server.Logger = (*serverLines)(nil)

func (l *serverLines) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == "" {
		return fmt.Errorf("it was not ready within %v", startsUpIn)
	}
	return errors.New(l.last)
}

func (l *serverLines) write(level, format string, args []any) {
	text := fmt.Sprintf(format, args...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if level == "error" {
		l.last = text
	}
	fmt.Fprintf(l.to, "{\"level\":%q,\"time\":%q,\"logger\":\"nats-server\",\"msg\":%q}\n", level, time.Now().Format(time.RFC3339Nano), text)
}

// Noticef implements server.Logger.
func (l *serverLines) Noticef(string, ...any) {}

// Warnf implements server.Logger.
func (l *serverLines) Warnf(format string, args ...any) { l.write("warn", format, args) }

// Errorf implements server.Logger.
func (l *serverLines) Errorf(format string, args ...any) { l.write("error", format, args) }

// Fatalf implements server.Logger. The server goes on: its owner finds that it is not ready.
func (l *serverLines) Fatalf(format string, args ...any) { l.write("error", format, args) }

// Debugf implements server.Logger.
func (l *serverLines) Debugf(string, ...any) {}

// Tracef implements server.Logger.
func (l *serverLines) Tracef(string, ...any) {}

// freePort is the wanted port on loopback or the next one that is free, out of a few; else any.
func freePort(wanted int) (int, error) {
	for port := wanted; port < wanted+20; port++ {
		if free(port) {
			return port, nil
		}
		if port == wanted && settles(port) {
			return port, nil
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("no port on 127.0.0.1 is free: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

func free(port int) bool {
	listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	listener.Close()
	return true
}

// settles waits a moment for a port: a process that was just killed lets go of its files before its ports.
func settles(port int) bool {
	for range 5 {
		time.Sleep(20 * time.Millisecond)
		if free(port) {
			return true
		}
	}
	return false
}
