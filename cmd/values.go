package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tailfold/tailfold/snapshotstore"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// valueAnswer is what a unit's snapshot has of a key.
type valueAnswer struct {
	Projection  string         `json:"projection"`
	Version     int            `json:"version"`
	Partition   int            `json:"partition"`
	Key         string         `json:"key"`
	KeyBase64   []byte         `json:"key_base64,omitempty"` // where the key is not UTF-8: its bytes, and Key is an approximation
	Seq         uint64         `json:"seq"`
	Exists      bool           `json:"exists"`
	Value       jsontext.Value `json:"value,omitzero"`         // null where it does not exist
	ValueBase64 []byte         `json:"value_base64,omitempty"` // where the stored bytes are not JSON
	Verdict     string         `json:"verdict,omitempty"`      // why the unit does not run: the value is stale
	Detail      string         `json:"detail,omitempty"`

	raw []byte // as stored
}

// severalAnswers is a key that several partitions have.
type severalAnswers struct {
	Projection string        `json:"projection"`
	Version    int           `json:"version"`
	Key        string        `json:"key"`
	Results    []valueAnswer `json:"results"`
}

func newAnswer(u snapshotstore.Unit, key string, mark snapshotstore.Mark, value snapshotstore.Value) valueAnswer {
	a := valueAnswer{Projection: u.Projection, Version: u.Version, Partition: u.Partition, Key: key, Seq: mark.Seq,
		Exists: value.Exists, raw: value.Data}
	if !utf8.ValidString(key) {
		a.Key, a.KeyBase64 = toUTF8(key), []byte(key)
	}
	switch {
	case !value.Exists:
		a.Value = jsontext.Value("null")
	case jsontext.Value(value.Data).IsValid():
		a.Value = value.Data
	default:
		a.ValueBase64 = value.Data
	}
	return a
}

func toUTF8(key string) string { return string([]rune(key)) }

// values reads models out of a store.
type values struct {
	store snapshotstore.Store
	units []unit
}

// version is the one that readers should use: the one asked for, else the one that is served, else, before the first
// checkpoint, the lowest of the configuration.
func (v *values) version(ctx context.Context, projection string, asked int) (int, error) {
	lowest := 0
	for _, u := range v.units {
		if u.Projection == projection && (lowest == 0 || u.Version < lowest) {
			lowest = u.Version
		}
	}
	if asked > 0 && lowest > 0 {
		return asked, nil
	}
	served, err := v.store.Served(ctx, projection)
	switch {
	case err != nil:
		return 0, err
	case served == 0 && lowest == 0:
		return 0, &unknownProjectionError{projection, projectionNames(v.units)}
	case asked > 0:
		return asked, nil
	}
	return cmp.Or(served, lowest), nil
}

// of asks each unit of a version for a key.
func (v *values) of(ctx context.Context, projection string, version int, key string) ([]valueAnswer, error) {
	var answers []valueAnswer
	for _, u := range unitsOf(v.units, projection, version) {
		mark, found, err := v.store.Get(ctx, u, []string{key})
		if err != nil {
			return nil, err
		}
		answers = append(answers, newAnswer(u, key, mark, found[0]))
	}
	return answers, nil
}

// tooEarlyError is a projection that has not reached a seq in time.
type tooEarlyError struct {
	unit    snapshotstore.Unit
	want    uint64
	reached uint64
	waited  time.Duration
}

func (e *tooEarlyError) Error() string {
	return fmt.Sprintf("%s has reached seq %d, not %d, after %v: ask again, or look at tailfold status", e.unit,
		e.reached, e.want, e.waited)
}

// await waits until units have reached a seq.
func (v *values) await(ctx context.Context, units []snapshotstore.Unit, seq uint64, timeout time.Duration) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for _, u := range units {
		var reached uint64
		for pause := 2 * time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
			mark, err := v.store.Head(ctx, u)
			if ctx.Err() == nil && err != nil {
				return err
			}
			if err == nil {
				reached = mark.Seq
			}
			if reached >= seq {
				break
			}
			select {
			case <-ctx.Done():
				return &tooEarlyError{u, seq, reached, time.Since(began).Round(time.Millisecond)}
			case <-time.After(pause):
			}
		}
	}
	return nil
}

// keys yields all keys of a version with a prefix, in no order, each once as far as the store says each once.
func (v *values) keys(ctx context.Context, projection string, version int, prefix string,
	yield func(partition int, key string) error,
) error {
	for _, u := range unitsOf(v.units, projection, version) {
		for entry, err := range v.store.Scan(ctx, u) {
			if err != nil {
				return err
			}
			if !strings.HasPrefix(entry.Key, prefix) {
				continue
			}
			if err := yield(u.Partition, entry.Key); err != nil {
				return err
			}
		}
	}
	return nil
}

// snapshotFound is a unit that has a snapshot.
type snapshotFound struct {
	Unit    snapshotstore.Unit `json:"-"`
	Name    string             `json:"unit"`
	Seq     uint64             `json:"seq"`
	Stream  string             `json:"stream,omitzero"`
	Corrupt string             `json:"corrupt,omitzero"` // why it can't be read
}

// snapshots finds the snapshots of a version, also those of partitions that the configuration does not have any more.
func (v *values) snapshots(ctx context.Context, projection string, version int) ([]snapshotFound, error) {
	const beyond = 16
	var found []snapshotFound
	configured := len(unitsOf(v.units, projection, version))
	for partition, missing := 0, 0; partition < configured || missing < beyond; partition++ {
		u := snapshotstore.Unit{Projection: projection, Version: version, Partition: partition}
		mark, err := v.store.Head(ctx, u)
		var corrupt *snapshotstore.CorruptError
		switch {
		case errors.As(err, &corrupt):
			found = append(found, snapshotFound{Unit: u, Name: u.String(), Corrupt: corrupt.Why})
		case err != nil:
			return nil, err
		case mark.IsZero():
			missing++
			continue
		default:
			found = append(found, snapshotFound{Unit: u, Name: u.String(), Seq: mark.Seq, Stream: mark.Stream})
		}
		missing = 0
	}
	return found, nil
}

// drop removes the snapshots of a version, and tells which there were.
func (v *values) drop(ctx context.Context, projection string, version int) ([]snapshotFound, error) {
	found, err := v.snapshots(ctx, projection, version)
	for i, snapshot := range found {
		if err := v.store.Drop(ctx, snapshot.Unit); err != nil {
			return found[:i], fmt.Errorf("%s was not dropped: %w", snapshot.Unit, err)
		}
	}
	return found, err
}
