package natstest

import (
	"os"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Server is a NATS server inside the test's process; where another version is named for tests (see StartProcess), it is a
// process of that one.
type Server struct {
	t       testing.TB
	options Options
	port    int
	server  *server.Server
	process *Process
}

// Start runs a server until the test ends.
func Start(t testing.TB, options ...Options) *Server {
	t.Helper()
	s := &Server{t: t, options: one(options), port: -1}
	if s.options.Dir == "" {
		s.options.Dir = t.TempDir()
	}
	if os.Getenv(otherServer) != "" {
		s.process = StartProcess(t, s.options)
		return s
	}
	s.start()
	t.Cleanup(s.Stop)
	return s
}

func (s *Server) start() {
	s.t.Helper()
	config, err := server.ProcessConfigFile(s.options.write(s.t, s.port))
	if err != nil {
		s.t.Fatalf("natstest: configuration: %v", err)
	}
	config.NoSigs, config.NoLog = true, true
	s.server, err = server.NewServer(config)
	if err != nil {
		s.t.Fatalf("natstest: %v", err)
	}
	s.server.Start()
	if !s.server.ReadyForConnections(patience) {
		s.t.Fatalf("natstest: the server is not ready after %v", patience)
	}
	s.port = config.Port
}

// URL is where clients connect. It stays the same when the server is restarted.
func (s *Server) URL() string {
	if s.process != nil {
		return s.process.URL()
	}
	return s.server.ClientURL()
}

// Stop stops the server in good order. Stopping it twice is no error.
func (s *Server) Stop() {
	if s.process != nil {
		s.process.Stop()
		return
	}
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

// Restart stops the server, if it runs, and starts it on the same port and store.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	if s.process != nil {
		s.process.Restart()
		return
	}
	s.start()
}

// Dir is the directory of store ("store") and configuration.
func (s *Server) Dir() string { return s.options.Dir }

// Connect makes a connection that is closed when the test ends.
func (s *Server) Connect(options ...nats.Option) *nats.Conn {
	s.t.Helper()
	return connect(s.t, s.URL(), options...)
}

func one(options []Options) Options {
	if len(options) == 0 {
		return Options{}
	}
	return options[0]
}
