package dev

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/cmd"
	"github.com/tailfold/tailfold/examples/flights"
	"github.com/tailfold/tailfold/projections"
)

// stage is all that a worker and a publisher need, standing in one folder.
type stage struct {
	folder *folder
	place  cmd.Place
	setup  *cmd.Setup
	source *source // nil: nothing is published
	stream string  // that the source goes into

	lines  *logLines
	server *server.Server
	conn   *nats.Conn
	js     jetstream.JetStream
}

// memoryLimit is what the garbage collector keeps the process under, if it can: the log's server and the worker share it.
const memoryLimit = 1 << 30

// httpPort is the usual one of a worker.
const httpPort = 8321

// newStage reads the projections and starts the log. listen is whether the worker answers over HTTP.
func (c *Command) newStage(app *cmd.App, f *folder, listen bool) (s *stage, err error) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	s = &stage{folder: f}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	port, err := freePort(logPort)
	if err != nil {
		return s, err
	}
	s.place = cmd.Place{NATS: "nats://127.0.0.1:" + strconv.Itoa(port), Store: f.file(storeFile), Listen: "off"}
	if listen {
		port, err := freePort(httpPort)
		if err != nil {
			return s, err
		}
		s.place.Listen = "127.0.0.1:" + strconv.Itoa(port)
	}
	if err := c.writeConfig(app, s); err != nil {
		return s, usage(err)
	}
	if s.setup, err = c.setup(app, f, s.place); err != nil {
		return s, err
	}
	streams := streamSubjects(s.setup.Registry)
	if err := c.chooseSource(app, s, streams); err != nil {
		return s, usage(err)
	}
	lines, err := f.lines()
	if err != nil {
		return s, err
	}
	s.lines = lines
	if s.server, err = startServer(f.file(logFolder), port, s.lines); err != nil {
		return s, &cmd.ExitError{Code: 3, Err: err}
	}
	return s, s.connect(app, streams)
}

func (s *stage) connect(app *cmd.App, streams map[string][]string) (err error) {
	s.conn, err = nats.Connect(s.place.NATS, nats.Name("tailfold dev"), nats.MaxReconnects(-1), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		return fmt.Errorf("the NATS server of this process at %s can't be reached: %w", s.place.NATS, err)
	}
	if s.js, err = jetstream.New(s.conn, jetstream.WithPublishAsyncTimeout(startsUpIn)); err != nil {
		return err
	}
	ctx, cancel := deadline(app.Context)
	defer cancel()
	return makeStreams(ctx, s.js, streams)
}

// close stops the log. The folder stays.
func (s *stage) close() {
	if s.conn != nil {
		s.conn.Close()
	}
	if s.server != nil {
		stopServer(s.server)
	}
	if s.lines != nil {
		s.lines.close()
	}
}

// writeConfig leaves a configuration in the folder by which the other commands find the worker; for the flights it also
// has the declared projections.
func (c *Command) writeConfig(app *cmd.App, s *stage) error {
	var text bytes.Buffer
	fmt.Fprintf(&text, "# Written by tailfold dev at each start, for tailfold status, get and the like.\n"+
		"nats: {url: %q}\nstore: {file: %s}\nhttp: {listen: %q}\n", s.place.NATS, storeFile, s.place.Listen)
	if c.demo(app) {
		text.WriteString("\n# The projection routes is in Go (examples/flights/routes.go).\n")
		text.Write(flights.Projections)
	}
	path := s.folder.file(configFile)
	if err := os.WriteFile(path+".new", text.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// setup is the worker's: of the flights, or of the user's configuration.
func (c *Command) setup(app *cmd.App, f *folder, place cmd.Place) (*cmd.Setup, error) {
	if !c.demo(app) {
		return app.Setup(c.Config, app.Registry, place)
	}
	registry := &projections.Registry{}
	if err := registry.Add(flights.Routes()); err != nil {
		return nil, err
	}
	return app.Setup(f.file(configFile), registry, place)
}

// chooseSource says what is published into which stream, and with which subject.
func (c *Command) chooseSource(app *cmd.App, s *stage, streams map[string][]string) (err error) {
	if c.demo(app) {
		s.stream = flights.Stream
		s.source, err = flightsSource()
		return err
	}
	if c.Events == "" {
		return nil
	}
	if s.stream, err = chooseStream(streams, c.Stream); err != nil {
		return err
	}
	text := c.Subject
	if text == "" {
		text = exampleSubject(streams[s.stream][0])
	}
	subject, err := parseTemplate(text)
	if err != nil {
		return fmt.Errorf("--subject: %w", err)
	}
	streams[s.stream] = addSubject(streams[s.stream], subject.pattern())
	s.source, err = fileSource(c.Events, app.Stdin, subject)
	return err
}

func (s *stage) publisher(c *Command, tell func(string, ...any)) *publisher {
	return &publisher{js: s.js, stream: s.stream, source: s.source, rate: c.rate(), loop: c.Loop, tell: tell}
}

// configPath is the written configuration, as it is named in the commands that are shown.
func (s *stage) configPath() string {
	return quote(strings.TrimPrefix(filepath.Clean(s.folder.file(configFile)), "./"))
}
