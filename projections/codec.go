package projections

import (
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/go-json-experiment/json"
)

// Codec turns a projection's values into the bytes that are stored, and back. After every step
// Decode(Encode(value)) must equal value, so that it makes no difference whether a value stayed in memory or came back
// from the store. Encode must give the same bytes for the same value. Both may be called from one goroutine at a time.
type Codec[V any] interface {
	Name() string // part of the definition; a change of the name is a change of the definition
	Encode(value V) ([]byte, error)
	Decode(stored []byte) (V, error)
}

// JSONCodec is the default: encoding/json/v2 with maps in sorted order. Duplicate names and invalid UTF-8 are refused.
type JSONCodec[V any] struct{}

// Name is "json".
func (JSONCodec[V]) Name() string { return "json" }

// Encode gives the one JSON text of the value.
func (JSONCodec[V]) Encode(value V) ([]byte, error) {
	encoded, err := json.Marshal(value, json.Deterministic(true))
	if err != nil {
		return nil, jsonError(err, reflect.TypeFor[V]())
	}
	return encoded, nil
}

// Appender is a Codec that can encode many values of a checkpoint into one piece of memory.
type Appender[V any] interface {
	// Append appends to to what Encode gives.
	Append(to []byte, value V) ([]byte, error)
}

// appenderOf is how values are appended by a codec, nil where it can only encode them one by one. Whole numbers as JSON,
// which are what many projections keep, need no encoder.
func appenderOf[V any](codec Codec[V]) Appender[V] {
	if _, isJSON := codec.(JSONCodec[V]); !isJSON {
		appends, _ := codec.(Appender[V])
		return appends
	}
	var numbers any
	switch any(*new(V)).(type) {
	case int64:
		numbers = appendInt[int64]{}
	case int:
		numbers = appendInt[int]{}
	case uint64:
		numbers = appendUint{}
	}
	appends, _ := numbers.(Appender[V])
	return appends
}

type appendInt[V int | int64] struct{}

func (appendInt[V]) Append(to []byte, value V) ([]byte, error) {
	return strconv.AppendInt(to, int64(value), 10), nil
}

type appendUint struct{}

func (appendUint) Append(to []byte, value uint64) ([]byte, error) {
	return strconv.AppendUint(to, value, 10), nil
}

// Decode reads what Encode wrote.
func (JSONCodec[V]) Decode(stored []byte) (V, error) {
	var value V
	if err := json.Unmarshal(stored, &value); err != nil {
		return value, jsonError(err, reflect.TypeFor[V]())
	}
	return value, nil
}

// JSON decodes an event's data as an E, strictly (duplicate names and invalid UTF-8 are errors, unknown members are
// not). Within a batch each event is decoded once for all projections that ask for the same E, in whatever goroutine:
// the result is shared and must not be changed.
func JSON[E any](event Event) (*E, error) {
	return Shared(event, jsonShape[E]{}, decodeJSON[E])
}

// jsonShape is a type of its own, so that no other decoding of an E is taken for this one.
type jsonShape[E any] struct{}

func decodeJSON[E any](event Event, into *E) error {
	if err := json.Unmarshal(event.Data, into); err != nil {
		return jsonError(err, reflect.TypeFor[E]())
	}
	return nil
}

// Shared returns what decode makes of an event, computed once per batch, event and shape. The shape (a comparable
// value that names what decode does; always the same T for the same shape) is the key: a type, or a pointer to a
// description. The result is shared between goroutines and must not be changed; a value that keeps it keeps the
// decodings of the whole batch, so copy what you keep. Outside a batch decode runs each time.
func Shared[T any](event Event, shape any, decode func(event Event, into *T) error) (*T, error) {
	if event.batch == nil {
		value := new(T)
		return value, decode(event, value)
	}
	col := columnOf[T](event.batch, shape)
	c := &col.cells[event.index]
	switch c.state.Load() { // the fast path makes no closure
	case decoded:
		return &c.value, nil
	case failed:
		return &c.value, col.errorOf(event.index)
	}
	return &c.value, col.decode(event, decode)
}

// Share makes a batch of events: from now on what Shared and JSON decode of them is kept as long as the batch is.
// It must be called before the events are handed to any projection.
func Share(events []Event) {
	batch := &memo{size: len(events)}
	for i := range events {
		events[i].batch, events[i].index = batch, int32(i)
	}
}

// memo holds the decodings of one batch, a column per shape.
type memo struct {
	size    int
	mu      sync.Mutex
	columns atomic.Pointer[[]column] // copied on write: readers take no lock
}

type column struct {
	shape any
	cells any // *columnFor[T]
}

// columnFor has what is made of each event of a batch. Most events are decoded well: errors are kept apart.
type columnFor[T any] struct {
	cells  []cell[T]
	locks  [16]sync.Mutex // of the cells whose index has these last bits
	mu     sync.Mutex
	errors map[int32]error
}

type cell[T any] struct {
	state atomic.Uint32
	value T
}

// States of a cell; 0: not decoded yet.
const (
	decoded = 1
	failed  = 2
)

func (c *columnFor[T]) decode(event Event, decode func(event Event, into *T) error) error {
	lock := &c.locks[event.index%int32(len(c.locks))]
	lock.Lock()
	defer lock.Unlock()
	cell := &c.cells[event.index]
	switch cell.state.Load() {
	case decoded:
		return nil
	case failed:
		return c.errorOf(event.index)
	}
	var fresh T
	cell.value = fresh                                 // of what a panic left half done
	if err := decode(event, &cell.value); err != nil { // a panic leaves it undone: the next one meets it again
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.errors == nil {
			c.errors = map[int32]error{}
		}
		c.errors[event.index] = err
		cell.state.Store(failed)
		return err
	}
	cell.state.Store(decoded)
	return nil
}

func (c *columnFor[T]) errorOf(index int32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.errors[index]
}

func columnOf[T any](m *memo, shape any) *columnFor[T] {
	if cells, ok := findColumn[T](m, shape); ok {
		return cells
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if cells, ok := findColumn[T](m, shape); ok {
		return cells
	}
	var columns []column
	if old := m.columns.Load(); old != nil {
		columns = append(columns, *old...)
	}
	cells := &columnFor[T]{cells: make([]cell[T], m.size)}
	columns = append(columns, column{shape, cells})
	m.columns.Store(&columns)
	return cells
}

func findColumn[T any](m *memo, shape any) (*columnFor[T], bool) {
	columns := m.columns.Load()
	if columns == nil {
		return nil, false
	}
	for i := range *columns {
		if (*columns)[i].shape == shape {
			return (*columns)[i].cells.(*columnFor[T]), true
		}
	}
	return nil, false
}
