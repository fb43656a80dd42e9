package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/filestore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore"
)

// models is where status, get and drop find out: the store itself, or the worker that holds it.
type models interface {
	status(ctx context.Context) (statusAnswer, error)
	// get asks for a key; version 0 is the one that readers should use.
	get(ctx context.Context, projection string, version int, key string) ([]valueAnswer, error)
	keys(ctx context.Context, projection string, version int, prefix string, yield func(partition int,
		key string) error) error
	snapshots(ctx context.Context, projection string, version int) ([]snapshotFound, error)
	drop(ctx context.Context, projection string, version int) ([]snapshotFound, error)
	close()
}

// openStore opens the store of the configuration. It does no I/O for Redis.
func (c *Config) openStore() (snapshotstore.Store, error) {
	if c.Store.File != "" {
		store, err := filestore.Open(filestore.Options{Path: c.Store.File, Wait: 2 * time.Second})
		if err != nil {
			return nil, away(fmt.Errorf("store %s: %w", c.storeName(), err))
		}
		return store, nil
	}
	options := redisstore.Options{URL: c.Store.Redis, Prefix: c.Store.Prefix, Replicas: c.Store.Replicas}
	if c.Store.Replicas > 0 {
		options.ReplicasTimeout = c.Store.ReplicasTimeout
	}
	store, err := redisstore.Open(options)
	if err != nil {
		return nil, usage(&ConfigError{Where: c.where("store.redis"), Path: "store.redis",
			Problem: c.redact(err.Error())})
	}
	return store, nil
}

// storeName names the store for people, and for telling two stores apart: without secrets.
func (c *Config) storeName() string {
	if c.Store.File == "" {
		return withoutSecret(c.Store.Redis) + " prefix " + c.Store.Prefix
	}
	path, err := filepath.Abs(c.Store.File)
	if err != nil {
		return c.Store.File
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return path
}

// openModels finds the way to the models: Redis itself; a file by the worker that holds it, else by itself.
func (l *loaded) openModels(ctx context.Context) (models, error) {
	if l.Store.File == "" {
		return l.openDirect()
	}
	remote, err := l.askWorker(ctx)
	if remote != nil {
		return remote, nil
	}
	var other *otherStoreError
	if errors.As(err, &other) {
		return nil, away(err)
	}
	if _, missing := os.Stat(l.Store.File); errors.Is(missing, os.ErrNotExist) {
		return nil, away(fmt.Errorf("the store's file %s does not exist: no worker has run with this "+
			"configuration (tailfold run makes it)", l.storeName()))
	}
	direct, openErr := l.openDirect()
	if openErr != nil && err != nil {
		return nil, away(fmt.Errorf("%w; and no worker answers: %v (give the address of its HTTP server with "+
			"--listen HOST:PORT)", openErr, err))
	}
	return direct, openErr
}

// direct reads the store itself.
type direct struct {
	*values
	reader *statusReader
	log    *streams
}

func (l *loaded) openDirect() (models, error) {
	store, err := l.openStore()
	if err != nil {
		return nil, err
	}
	log := l.newStreams()
	return &direct{&values{store, l.units}, &statusReader{store: store, units: l.units, bounds: log.bounds}, log}, nil
}

func (d *direct) status(ctx context.Context) (statusAnswer, error) { return d.reader.all(ctx) }

func (d *direct) get(ctx context.Context, projection string, version int, key string) ([]valueAnswer, error) {
	version, err := d.version(ctx, projection, version)
	if err != nil {
		return nil, err
	}
	return d.of(ctx, projection, version, key)
}

func (d *direct) keys(ctx context.Context, projection string, version int, prefix string, yield func(int,
	string) error) error {
	version, err := d.version(ctx, projection, version)
	if err != nil {
		return err
	}
	return d.values.keys(ctx, projection, version, prefix, yield)
}

func (d *direct) close() {
	d.log.close()
	d.store.Close()
}
