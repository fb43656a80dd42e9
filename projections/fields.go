package projections

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unsafe"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tailfold/tailfold/projections/internal/strict"
)

// Fields decodes the named members of JSON events into an E, and only these: some times faster than JSON, which has to
// look at all of an E by reflection. What it gives and what it refuses is the same as of JSON with a struct that has just
// these members: the whole text is checked, no name may be there twice, other members are passed over, a member that
// lacks leaves its field as it is. Make it once, beside the projection:
//
//	var order = projections.FieldsOf(
//		projections.Field("customer", func(o *Order) *string { return &o.Customer }),
//		projections.Field("amount", func(o *Order) *int64 { return &o.Amount }),
//	)
type Fields[E any] struct {
	fields []FieldOf[E]
	decode func(event Event, into *E) error // once, and not for each event
}

// FieldOf says where one member goes.
type FieldOf[E any] struct {
	name string
	// set reads a value of a usual form, false at any other.
	set func(into *E, value string) bool
	// read is json/v2's way.
	read func(into *E, value jsontext.Value) error
}

// FieldsOf makes a decoder of fields. It panics where two have the same name.
func FieldsOf[E any](fields ...FieldOf[E]) *Fields[E] {
	for i, f := range fields {
		for _, other := range fields[:i] {
			if f.name == other.name {
				panic(fmt.Sprintf("projections.FieldsOf: two fields are named %q", f.name))
			}
		}
	}
	f := &Fields[E]{fields: fields}
	f.decode = f.decodeEvent
	return f
}

// Field decodes the member called name into what at points to. Texts, integers, floats and booleans are fast; anything
// else is decoded by json/v2.
func Field[E, T any](name string, at func(into *E) *T) FieldOf[E] {
	f := FieldOf[E]{name: name, set: func(*E, string) bool { return false }}
	f.read = func(into *E, value jsontext.Value) error {
		if err := json.Unmarshal(value, at(into)); err != nil {
			return jsonError(err, reflect.TypeFor[T]())
		}
		return nil
	}
	switch at := any(at).(type) {
	case func(*E) *string:
		f.set = func(into *E, value string) bool {
			inner, ok := unquoted(value)
			if ok {
				*at(into) = strings.Clone(inner)
			}
			return ok
		}
	case func(*E) *int64:
		f.set = func(into *E, value string) bool {
			n, err := strconv.ParseInt(value, 10, 64)
			*at(into) = n
			return err == nil
		}
	case func(*E) *int:
		f.set = func(into *E, value string) bool {
			n, err := strconv.Atoi(value)
			*at(into) = n
			return err == nil
		}
	case func(*E) *uint64:
		f.set = func(into *E, value string) bool {
			n, err := strconv.ParseUint(value, 10, 64)
			*at(into) = n
			return err == nil
		}
	case func(*E) *float64:
		f.set = func(into *E, value string) bool {
			if c := value[0]; c != '-' && (c < '0' || c > '9') {
				return false
			}
			x, err := strconv.ParseFloat(value, 64)
			*at(into) = x
			return err == nil
		}
	case func(*E) *bool:
		f.set = func(into *E, value string) bool {
			*at(into) = value == "true"
			return value == "true" || value == "false"
		}
	}
	return f
}

// LentField is Field for a text that is only looked at: a key, a type, an id to compare. It is a part of the event's data
// and costs no allocation, but a value that keeps it keeps that data, with many events beside it, in memory: use Field for
// texts that go into values.
func LentField[E any](name string, at func(into *E) *string) FieldOf[E] {
	f := Field(name, at)
	f.set = func(into *E, value string) bool {
		inner, ok := unquoted(value)
		*at(into) = inner
		return ok
	}
	return f
}

// unquoted is the inside of a text without escapes.
func unquoted(value string) (string, bool) {
	if value[0] != '"' {
		return "", false
	}
	return value[1 : len(value)-1], true
}

// JSON decodes an event's data. As of the function JSON, the result is shared within a batch and must not be changed.
func (f *Fields[E]) JSON(event Event) (*E, error) { return Shared(event, f, f.decode) }

func (f *Fields[E]) decodeEvent(event Event, into *E) error {
	known := true
	text := unsafe.String(unsafe.SliceData(event.Data), len(event.Data)) // it is never changed
	walked := strict.Object(text, func(name, value string) {
		for i := range f.fields {
			if f.fields[i].name == name {
				known = known && f.fields[i].set(into, value)
				return
			}
		}
	})
	if walked && known {
		return nil
	}
	var fresh E
	*into = fresh
	var members map[string]jsontext.Value
	if err := json.Unmarshal(event.Data, &members); err != nil {
		return jsonError(err, nil)
	}
	for i := range f.fields {
		value, ok := members[f.fields[i].name]
		if !ok {
			continue
		}
		if err := f.fields[i].read(into, value); err != nil {
			return fmt.Errorf("member %q: %w", f.fields[i].name, err)
		}
	}
	return nil
}
