package projectiontest

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tailfold/tailfold/projections"
)

// Fold folds events from the beginning and returns every key with its encoded value. A Single's key is "". The test
// ends here if an event can't be folded.
func Fold(t testing.TB, p projections.Projection, events ...projections.Event) map[string][]byte {
	t.Helper()
	values, err := Replay(p, events, nil)
	if err != nil {
		t.Fatalf("%s: %v", nameOf(p), err)
	}
	return values
}

// Expect folds events from the beginning and compares the values of all keys with those that are wanted; a nil slice
// or map equals an empty one. Stored values are read by the projection's codec, where it is a Single[V] or a Keyed[V],
// else as JSON. Want a map of []byte to compare stored bytes.
func Expect[V any](t testing.TB, p projections.Projection, events []projections.Event, want map[string]V) {
	t.Helper()
	codec := codecOf[V](p)
	got := map[string]V{}
	for key, stored := range Fold(t, p, events...) {
		value, err := codec.Decode(stored)
		if err != nil {
			t.Errorf("%s, key %q: %s can't be read as a %v: %v", nameOf(p), key, show(stored), reflect.TypeFor[V](), err)
			continue
		}
		got[key] = value
	}
	everyField := cmp.Exporter(func(reflect.Type) bool { return true })
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), everyField); diff != "" {
		t.Errorf("%s: values after %d events (-want +got):\n%s", nameOf(p), len(events), diff)
	}
}

func codecOf[V any](p projections.Projection) (codec projections.Codec[V]) {
	switch p := p.(type) {
	case projections.Single[V]:
		codec = p.Codec
	case *projections.Single[V]:
		codec = p.Codec
	case projections.Keyed[V]:
		codec = p.Codec
	case *projections.Keyed[V]:
		codec = p.Codec
	default:
		if reflect.TypeFor[V]() == reflect.TypeFor[[]byte]() {
			return stored[V]{}
		}
	}
	if codec == nil {
		codec = projections.JSONCodec[V]{}
	}
	return codec
}

// stored reads values as the bytes that they are.
type stored[V any] struct{ projections.JSONCodec[V] }

func (stored[V]) Decode(stored []byte) (V, error) { return any(stored).(V), nil }
