package cmd

import (
	"context"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/natslog"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

// Setup is a worker with its surroundings, for a command that brings its own log and store, such as dev: the
// projections are those of a configuration and a registry, where they run is said by a Place.
type Setup struct {
	Config   *Config
	Registry *projections.Registry // the declared projections and those in Go

	app    App
	loaded *loaded
}

// Place is where a Setup's worker runs. It stands above all that a configuration says of NATS, store and HTTP.
type Place struct {
	NATS   string // URL of a server that wants no login
	Store  string // path of a file store, or URL of a Redis
	Listen string // of the HTTP server; off: none
}

// Running is the worker of a Setup that has begun to run.
type Running struct {
	Name   string
	Status func() []consumer.UnitStatus
	Store  snapshotstore.Store // to read from, while Run has not returned
}

// Setup reads the configuration file at path ("" for none) and merges its projections with those of registry.
func (a *App) Setup(path string, registry *projections.Registry, place Place) (*Setup, error) {
	app := *a
	app.Registry = registry
	environ := slices.DeleteFunc(slices.Clone(a.Environ), func(pair string) bool { return strings.HasPrefix(pair, "NATS_") })
	for _, setting := range settings(&Config{}) { // credentials that are only where the configuration's own NATS is are not missed
		if strings.HasPrefix(setting.Path, "nats.") && setting.Type.Kind() == reflect.String && len(setting.OneOf) == 0 {
			environ = append(environ, setting.Env()+"=")
		}
	}
	l, err := app.load(Sources{File: path, Environ: environ,
		Flags: map[string]string{"nats": place.NATS, "store": place.Store, "listen": place.Listen}})
	if err != nil {
		return nil, err
	}
	if len(l.units) == 0 {
		return nil, usage(l.noProjections())
	}
	l.NATS, l.nats = NATSConfig{URL: place.NATS, Reader: l.NATS.Reader}, natslog.Options{URL: place.NATS, Reader: l.nats.Reader}
	return &Setup{Config: l.Config, Registry: l.registry, app: app, loaded: l}, nil
}

// Run runs the worker until ctx is done, as the command run does. It logs to logs. started is called once, before the
// first event is folded, and must not block.
func (s *Setup) Run(ctx context.Context, logs io.Writer, started func(Running)) error {
	app, l := s.app, *s.loaded
	app.Context, app.Stderr, l.started = ctx, logs, started
	return app.run(&l)
}
