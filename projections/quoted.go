package projections

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"

	"github.com/tailfold/tailfold/projections/internal/jsonfault"
)

// DataError is data of an event, or a stored value, that can't be read, or a value that can't be written. Its text says
// what is wrong and where, and quotes nothing of the data, so that it can stand in a log. A decoder or a Codec of your own
// can return one too.
type DataError struct {
	What string // what is wrong, without data
	Err  error  // the decoder's own error, which may quote data
}

func (e *DataError) Error() string { return e.What }

func (e *DataError) Unwrap() error { return e.Err }

// Quoted is the text with the data.
func (e *DataError) Quoted() string { return e.Err.Error() }

// jsonError is an error of the JSON package without the data that it quotes. into is what was to be read or written.
func jsonError(err error, into reflect.Type) error {
	return &DataError{What: "the data is not as it must be: " + jsonfault.Describe(err, into), Err: err}
}

// Quoted is the text of an error with the data of events and values that its own text leaves out, as far as an error
// within it has any: a DataError, a PanicError, or a failed expression of a declared projection.
func Quoted(err error) string {
	text := err.Error()
	inner, ok := errors.AsType[interface {
		error
		Quoted() string
	}](err)
	if !ok {
		return text
	}
	if full := inner.Quoted(); strings.Contains(text, inner.Error()) {
		return strings.Replace(text, inner.Error(), full, 1)
	} else if full != inner.Error() {
		return text + ": " + full
	}
	return text
}

// Error tells what the runtime says of a panic; of another value only the type: it may hold data, as regexp.MustCompile's
// does.
func (e *PanicError) Error() string {
	if _, ok := e.Value.(runtime.Error); ok {
		return e.Quoted()
	}
	return fmt.Sprintf("panic with a value of type %T", e.Value)
}

// Quoted is the text with the value.
func (e *PanicError) Quoted() string { return fmt.Sprintf("panic: %v", e.Value) }
