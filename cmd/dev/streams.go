package dev

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/projections"
)

// streamSubjects are the streams that projections read, with the subjects that each needs: those that the projections
// name; where one of them reads the whole stream, also everything below the stream's name in small letters.
func streamSubjects(registry *projections.Registry) map[string][]string {
	streams := map[string][]string{}
	for _, p := range registry.All() {
		d := p.Definition()
		wanted := d.Subjects
		if len(wanted) == 0 {
			wanted = []string{strings.ToLower(d.Stream) + ".>"}
		}
		for _, subject := range wanted {
			streams[d.Stream] = addSubject(streams[d.Stream], subject)
		}
	}
	return streams
}

// addSubject adds a subject to a stream's. A stream's subjects must not overlap: where two do, and neither covers the
// other, everything below their first token takes the place of both.
func addSubject(subjects []string, subject string) []string {
	for i, have := range subjects {
		both, overlap := projections.IntersectSubjects(have, subject)
		if !overlap {
			continue
		}
		if both == subject {
			return subjects
		}
		if both != have {
			first, _, _ := strings.Cut(have, ".")
			subject = first + ".>"
		}
		return addSubject(slices.Delete(slices.Clone(subjects), i, i+1), subject)
	}
	return slices.Sorted(slices.Values(append(slices.Clone(subjects), subject)))
}

// exampleSubject is a subject that a filter lets pass.
func exampleSubject(filter string) string {
	tokens := strings.Split(filter, ".")
	for i, token := range tokens {
		if token == "*" || token == ">" {
			tokens[i] = "event"
		}
	}
	return strings.Join(tokens, ".")
}

// chooseStream is the stream that events go into.
func chooseStream(streams map[string][]string, named string) (string, error) {
	names := slices.Sorted(maps.Keys(streams))
	switch {
	case named == "" && len(names) == 1:
		return names[0], nil
	case named == "":
		return "", fmt.Errorf("the projections read several streams (%s): say which the events go into with --stream NAME", strings.Join(names, ", "))
	case !slices.Contains(names, named):
		return "", fmt.Errorf("--stream: no projection reads a stream %s: they read %s", named, strings.Join(names, ", "))
	}
	return named, nil
}

// makeStreams makes the streams that are missing, and gives those that are there the subjects that they lack.
func makeStreams(ctx context.Context, js jetstream.JetStream, streams map[string][]string) error {
	for _, name := range slices.Sorted(maps.Keys(streams)) {
		subjects := streams[name]
		config := jetstream.StreamConfig{Name: name, Storage: jetstream.FileStorage}
		stream, err := js.Stream(ctx, name)
		switch {
		case err == nil:
			config = stream.CachedInfo().Config
			for _, have := range config.Subjects {
				subjects = addSubject(subjects, have)
			}
		case !errors.Is(err, jetstream.ErrStreamNotFound):
			return fmt.Errorf("stream %s: %w", name, err)
		}
		if err == nil && slices.Equal(config.Subjects, subjects) {
			continue
		}
		config.Subjects = subjects
		if _, err := js.CreateOrUpdateStream(ctx, config); err != nil {
			return fmt.Errorf("stream %s with the subjects %s can't be made: %w: change the projections' subjects, or begin anew with --fresh",
				name, strings.Join(subjects, ", "), err)
		}
	}
	return nil
}
