package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/projections/projectiontest"
	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/filestore"
)

// compare folds the whole log anew in the plainest way there is, one event at a time, and holds every key of the store
// against it. Log and replay are read and made by other code than the worker's.
func (k *killer) compare(ctx context.Context) (differences int, err error) {
	store, err := filestore.Open(filestore.Options{Path: k.stage.place.Store})
	if err != nil {
		return 0, err
	}
	defer store.Close()
	logs := map[string][]projections.Event{}
	keys, events := 0, 0
	for _, p := range k.stage.setup.Registry.All() {
		d := p.Definition()
		if logs[d.Stream] == nil {
			if logs[d.Stream], err = readAll(ctx, k.stage.js, d.Stream); err != nil {
				return 0, fmt.Errorf("reading stream %s: %w", d.Stream, err)
			}
			events += len(logs[d.Stream])
		}
		c := &comparison{projection: p, log: logs[d.Stream], store: store, unit: snapshotstore.Unit{Projection: d.Name, Version: d.Version}}
		if err := c.make(ctx); err != nil {
			return 0, fmt.Errorf("%s: %w", c.unit, err)
		}
		keys, differences = keys+c.keys, differences+len(c.differences)
		for i, text := range c.differences {
			if i < 10 {
				k.out.say("%s: %s", c.unit, text)
			}
		}
	}
	k.out.say("compared %d keys of %d projections with a full replay of %d events", keys, len(k.stage.setup.Registry.All()), events)
	k.out.say("differences: %d", differences)
	return differences, nil
}

// readAll reads a stream from its first message to its last. The streams of dev lose none in between.
func readAll(ctx context.Context, js jetstream.JetStream, name string) ([]projections.Event, error) {
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: time.Minute, MemoryStorage: true})
	if err != nil {
		return nil, err
	}
	state := stream.CachedInfo().State
	events := make([]projections.Event, 0, state.Msgs)
	for want := uint64(1); want <= state.LastSeq; {
		batch, err := consumer.Fetch(int(min(1000, state.LastSeq-want+1)), jetstream.FetchMaxWait(10*time.Second))
		if err != nil {
			return nil, err
		}
		before := want
		for message := range batch.Messages() {
			event, err := eventOf(message)
			if err != nil {
				return nil, err
			}
			if event.Seq != want {
				return nil, fmt.Errorf("message %d is missing: %d came", want, event.Seq)
			}
			events = append(events, event)
			want++
		}
		if err := batch.Error(); err != nil {
			return nil, err
		}
		if want == before {
			return nil, fmt.Errorf("message %d of %d did not come", want, state.LastSeq)
		}
	}
	return events, nil
}

func eventOf(message jetstream.Msg) (projections.Event, error) {
	meta, err := message.Metadata()
	if err != nil {
		return projections.Event{}, err
	}
	var header []string
	for _, name := range slices.Sorted(maps.Keys(message.Headers())) {
		for _, value := range message.Headers()[name] {
			header = append(header, name, value)
		}
	}
	return projections.Event{Seq: meta.Sequence.Stream, Subject: message.Subject(), Time: meta.Timestamp.UTC(),
		Header: projections.NewHeader(header...), Data: message.Data()}, nil
}

// comparison is of one projection.
type comparison struct {
	projection projections.Projection
	log        []projections.Event
	store      snapshotstore.Store
	unit       snapshotstore.Unit

	keys        int
	differences []string
}

func (c *comparison) differ(format string, args ...any) {
	c.differences = append(c.differences, fmt.Sprintf(format, args...))
}

func (c *comparison) make(ctx context.Context) error {
	mark, skipped, err := c.store.Skipped(ctx, c.unit)
	if err != nil {
		return err
	}
	stored := map[string][]byte{}
	for entry, err := range c.store.Scan(ctx, c.unit) {
		if err != nil {
			return err
		}
		stored[entry.Key] = entry.Data
	}
	skip := map[uint64]bool{}
	for _, s := range skipped {
		skip[s.Seq] = true
	}
	reached := c.log[:min(mark.Seq, uint64(len(c.log)))]
	replayed, err := projectiontest.Replay(c.projection, reached, skip)
	if err != nil {
		return fmt.Errorf("the full replay fails: %w", err)
	}
	if mark.Seq != uint64(len(c.log)) {
		c.differ("the snapshot is at seq %d, the log ends at %d%s", mark.Seq, len(c.log), c.why())
	}
	for key := range union(stored, replayed) {
		c.keys++
		is, ok := stored[key]
		want, wanted := replayed[key]
		switch {
		case !ok:
			c.differ("key %q is missing, a full replay gives %s", key, want)
		case !wanted:
			c.differ("key %q is %s, a full replay has no such key", key, is)
		case !bytes.Equal(is, want):
			c.differ("key %q is %s, a full replay gives %s", key, is, want)
		}
	}
	return nil
}

// why says what stands in the way of the event behind the mark, if a fold can tell.
func (c *comparison) why() string {
	_, err := projectiontest.Replay(c.projection, c.log, nil)
	var poison *projections.EventError
	if errors.As(err, &poison) {
		return ": " + poison.Error()
	}
	return ""
}

func union(a, b map[string][]byte) map[string]bool {
	keys := map[string]bool{}
	for key := range a {
		keys[key] = true
	}
	for key := range b {
		keys[key] = true
	}
	return keys
}
