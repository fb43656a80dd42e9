package cmd

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/snapshotstore/redisstore"
)

type runCommand struct {
	ConfigFlags
	LogFlags
}

// Help completes --help.
func (runCommand) Help() string {
	return `It folds until SIGTERM or SIGINT, then makes the last checkpoints (for 10 s at most) and exits with 0; a second signal
ends it at once, which costs a longer replay at the next start and nothing else. Log and store may be away when it starts and
at any time later: it waits for them.

Examples:

    tailfold run --config tailfold.yaml
    TAILFOLD_CHECKPOINT_EVERY=1s tailfold run --nats nats://nats:4222 --store redis://redis:6379/0 --log-format json`
}

// Run runs a worker.
func (c *runCommand) Run(app *App) error {
	l, err := c.load(app, c.LogFlags)
	if err != nil {
		return err
	}
	if len(l.units) == 0 {
		return usage(l.noProjections())
	}
	return app.run(l)
}

func (l *loaded) noProjections() error {
	if l.File == "" {
		return errors.New("there are no projections: name a configuration that declares some with --config FILE, " +
			"or register some in Go")
	}
	return &ConfigError{Where: l.File, Path: "projections", Problem: "there are no projections: declare one, " +
		"include files that do, or register one in Go"}
}

// grace is how long the last checkpoints may take.
const grace = 10 * time.Second

// run runs a worker until the App's context is done.
func (a *App) run(l *loaded) error {
	screen := newScreen(a.Stderr)
	log := l.newLogger(screen)
	defer log.Sync()
	tuned, ownLimit := tuneMemory(a.Environ, memoryFiles(), l.ownMemory(), log)
	for _, warning := range l.Warnings {
		log.Warn(warning)
	}
	listener, err := l.listen()
	if err != nil {
		return err
	}
	if listener != nil {
		defer listener.Close()
		listener.certificate.tell(log)
	}
	store, err := l.openStore()
	if err != nil {
		return err
	}
	defer store.Close()
	streams := l.newStreams()
	defer streams.close()

	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	config := l.workerConfig()
	config.Name = uniqueName(l.Worker.Name)
	config.Version, config.Store, config.Logs, config.Logger, config.Metrics, config.Grace = a.Version, store, streams.log, log, metrics, grace
	log.Info("tailfold", l.startFields(a.Version, config.Name, listener)...)
	if err := streams.connect(a.Context, config.Name, log); err != nil {
		if a.Context.Err() != nil {
			log.Info("stopped", zap.NamedError("why", context.Cause(a.Context)))
			return nil
		}
		return err
	}
	if l.Assign == "leases" {
		if config.Membership, err = streams.members(); err != nil {
			return usage(l.redacted(err))
		}
	}
	worker, err := consumer.New(config)
	if err != nil {
		return usage(l.redacted(err))
	}
	if l.started != nil {
		l.started(Running{Name: config.Name, Status: worker.Status, Store: store})
	}

	// The server answers, and the watcher looks, until the worker has made its last checkpoints.
	beside, stop := context.WithCancel(context.WithoutCancel(a.Context))
	defer stop()
	working, fail := context.WithCancelCause(a.Context)
	defer fail(nil)
	var group errgroup.Group
	if listener != nil {
		api := &api{worker: worker, metrics: metrics, log: log, redact: l.redactor(), store: l.storeName(),
			mayDrop: l.Store.File != "", gate: newGate(l.HTTP.Token),
			values: &values{store, l.units}, subject: streams.subject,
			status: &statusReader{store: store, units: l.units, bounds: streams.bounds, own: worker.Report}}
		group.Go(func() error {
			err := serve(beside, api.newServer(), listener)
			if err != nil {
				fail(err)
			}
			return err
		})
	}
	group.Go(func() error {
		(&watcher{status: worker.Status, screen: screen, log: log}).run(beside)
		return nil
	})
	if redis, ok := store.(*redisstore.Store); ok {
		group.Go(func() error {
			warnOfStore(beside, redis, log)
			return nil
		})
	}
	if tuned {
		group.Go(func() error {
			watchMemory(beside, l.ownMemory(), ownLimit)
			return nil
		})
	}
	stopping := sync.OnceFunc(func() {
		log.Info("stopping: making the last checkpoints; a second signal ends it at once",
			zap.NamedError("why", context.Cause(working)))
	})
	defer context.AfterFunc(working, stopping)()
	group.Go(func() error {
		defer stop()
		err := worker.Run(working)
		if working.Err() != nil {
			stopping() // also where there was so little to do that it has not been said yet
		}
		return err
	})
	if err := group.Wait(); err != nil {
		return l.redacted(err)
	}
	log.Info("stopped")
	return nil
}

// storeCheck bounds one look at the settings of Redis, and is the wait before the next one, if Redis was away.
const storeCheck = 5 * time.Second

// warnOfStore warns once of settings of Redis that would hurt later. It waits for a Redis that is away; what else is wrong
// with it is said by the units.
func warnOfStore(ctx context.Context, store *redisstore.Store, log *zap.Logger) {
	tick := time.NewTicker(storeCheck)
	defer tick.Stop()
	for {
		look, cancel := context.WithTimeout(ctx, storeCheck)
		warnings, err := store.Check(look)
		cancel()
		if err == nil {
			for _, warning := range warnings {
				log.Warn("the settings of Redis may cost a replay", zap.String("redis", warning))
			}
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// startFields are what an operator wants to know of a worker that starts.
func (l *loaded) startFields(version, name string, listener *listening) []zap.Field {
	var names, streams []string
	for _, u := range l.units {
		if text := fmt.Sprintf("%s/v%d", u.Projection, u.Version); u.Partition == 0 {
			names = append(names, text)
		}
		streams = append(streams, u.stream)
	}
	address := "off"
	if listener != nil {
		address = listener.Addr().String()
		if listener.certificate != nil {
			address = "https://" + address
		}
	}
	file := l.File
	if file == "" {
		file = "none"
	}
	return []zap.Field{zap.String("version", version), zap.String("worker", name), zap.String("config", file),
		zap.String("nats", withoutSecret(l.nats.URL)),
		zap.String("store", l.storeName()), zap.Strings("streams", unique(streams)),
		zap.Strings("projections", names), zap.String("http", address)}
}

func unique(list []string) []string {
	seen := map[string]bool{}
	for _, text := range list {
		seen[text] = true
	}
	return sortedKeys(seen)
}

// uniqueName is the name that was given, or the host's, and a random part: no two starts of a process have the same one.
// A worker that was thought dead, and goes on, must not be taken for its successor.
func uniqueName(given string) string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "worker"
	}
	return cmp.Or(given, host) + "-" + strings.ToLower(rand.Text()[:8])
}
