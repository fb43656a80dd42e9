package cmd

import (
	"fmt"
	"slices"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

// loaded is a configuration and the projections that it comes to.
type loaded struct {
	*Config
	registry *projections.Registry
	units    []unit // by projection, version, partition
	started  func(Running)
}

// unit is a unit and the stream that it reads.
type unit struct {
	snapshotstore.Unit
	stream   string
	subjects []string // of its partition; none: the whole stream
}

// load reads a configuration, and merges what it declares with the program's own projections.
func (a *App) load(from Sources) (*loaded, error) {
	config, err := Load(from)
	if err != nil {
		return nil, usage(err)
	}
	registry, err := mergeProjections(a.Registry, config)
	if err != nil {
		return nil, usage(err)
	}
	l := &loaded{Config: config, registry: registry}
	for _, p := range registry.All() {
		d := p.Definition()
		stream := config.stream(d.Stream)
		for partition := range stream.Partitions {
			l.units = append(l.units, unit{snapshotstore.Unit{Projection: d.Name, Version: d.Version,
				Partition: partition}, d.Stream, stream.subjects(partition)})
		}
	}
	return l, nil
}

func (c *Config) stream(name string) StreamConfig {
	for _, s := range c.Streams {
		if s.Name == name {
			return s
		}
	}
	return StreamConfig{Name: name, Partitions: 1}
}

// subjects are those of one partition.
func (s StreamConfig) subjects(partition int) []string {
	return consumer.Stream{PartitionSubjects: s.PartitionSubjects}.Subjects(partition)
}

// projectionNames are the names of all projections, each once.
func projectionNames(units []unit) []string {
	var names []string
	for _, u := range units {
		names = append(names, u.Projection)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// unitsOf are the units of one version of a projection; of one that is not in the configuration (dropped from it, or
// folded by another program) the first partition's.
func unitsOf(units []unit, projection string, version int) []snapshotstore.Unit {
	var of []snapshotstore.Unit
	for _, u := range units {
		if u.Projection == projection && u.Version == version {
			of = append(of, u.Unit)
		}
	}
	if of == nil {
		of = []snapshotstore.Unit{{Projection: projection, Version: version}}
	}
	return of
}

// unknownProjectionError is a projection that neither the configuration nor the store knows.
type unknownProjectionError struct {
	name  string
	known []string
}

func (e *unknownProjectionError) Error() string {
	if len(e.known) == 0 {
		return fmt.Sprintf("there is no projection %q: the configuration has none at all", e.name)
	}
	return fmt.Sprintf("there is no projection %q: %s", e.name, didYouMean(e.name, e.known))
}

// storeAway is an error of a store, with what to look at.
func (l *loaded) storeAway(err error) error {
	err, class := l.redacted(err), snapshotstore.ClassOf(err)
	if l.Store.File == "" && class == snapshotstore.Again {
		return away(fmt.Errorf("%w: is it running, and is store.redis (%s: %s) its address?", err,
			l.where("store.redis"), withoutSecret(l.Store.Redis)))
	}
	return away(err)
}

// workerConfig is what the configuration means to the engine.
func (l *loaded) workerConfig() consumer.Config {
	shard, _ := parseShard(l.Shard) // it was checked
	config := consumer.Config{
		Registry: l.registry, LeaseTTL: l.Leases.TTL,
		Checkpoint: consumer.Checkpoint{
			Every: l.Checkpoint.Every, MaxPause: l.Checkpoint.MaxPause, MaxBytes: int(l.Checkpoint.MaxBytes),
			Replay: consumer.CheckpointBounds{Every: l.Checkpoint.Replay.Every, MaxPause: l.Checkpoint.Replay.MaxPause,
				MaxBytes: int(l.Checkpoint.Replay.MaxBytes)},
		},
		StepTimeout: l.StepTimeout, Cache: int(l.Cache.MaxBytes), MaxKey: int(l.Limits.MaxKey), MaxValue: int(l.Limits.MaxValue),
		Payloads: l.Log.Payloads,
	}
	if l.Assign == "static" {
		config.Shard = shard
	}
	if config.Cache == 0 {
		config.Cache = -1 // the engine's word for keeping nothing
	}
	for _, s := range l.Streams {
		config.Streams = append(config.Streams, consumer.Stream{Name: s.Name, Partitions: s.Partitions,
			PartitionSubjects: s.PartitionSubjects, AcceptHoles: s.Holes == "accept"})
	}
	return config
}
