// Package jsonfault says what is wrong with a JSON text without quoting any of it: names of members too may be data.
package jsonfault

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Describe describes an error of the JSON packages. into is the Go type that was to be read or written, nil if there is none:
// the names of its fields are the program's own, and are shown.
func Describe(err error, into reflect.Type) string {
	var b strings.Builder
	if e, ok := errors.AsType[*json.SemanticError](err); ok {
		kind, goType := "it", "a Go value"
		switch e.JSONKind {
		case 0:
		case '{':
			kind = "a JSON object"
		case '[':
			kind = "a JSON array"
		default:
			kind = "a JSON " + e.JSONKind.String()
		}
		if e.GoType != nil {
			goType = "Go " + e.GoType.String()
		}
		if strings.Contains(err.Error(), " marshal ") { // the error has no other sign of it
			fmt.Fprintf(&b, "%s can't be written as JSON", goType)
		} else {
			fmt.Fprintf(&b, "%s can't be read as %s", kind, goType)
		}
		why(&b, e.Err)
		where(&b, e.JSONPointer, e.ByteOffset, into)
		return b.String()
	}
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		b.WriteString("it is not valid JSON")
		why(&b, e.Err)
		where(&b, e.JSONPointer, e.ByteOffset, into)
		return b.String()
	}
	b.WriteString("it is not valid JSON")
	why(&b, err)
	return b.String()
}

// why names the causes that are known to quote nothing.
func why(b *strings.Builder, err error) {
	if err == nil {
		return
	}
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		b.WriteString(": a member is there twice")
	case errors.Is(err, jsontext.ErrNonStringName):
		b.WriteString(": a member's name is not a string")
	case errors.Is(err, json.ErrUnknownName):
		b.WriteString(": a member is unknown")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		b.WriteString(": it ends too early")
	case errors.Is(err, strconv.ErrRange):
		b.WriteString(": out of range")
	case strings.Contains(err.Error(), "invalid UTF-8"):
		b.WriteString(": it is not UTF-8")
	}
}

func where(b *strings.Builder, pointer jsontext.Pointer, offset int64, into reflect.Type) {
	if path := known(pointer, into); path != "" {
		fmt.Fprintf(b, ", within %s", path)
	}
	fmt.Fprintf(b, ", at byte %d", offset)
}

// known is as much of a pointer as are names of fields of Go and indexes of lists; a map's key is a "*".
func known(pointer jsontext.Pointer, t reflect.Type) string {
	var b strings.Builder
	for token := range pointer.Tokens() {
		for t != nil && t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t == nil {
			break
		}
		switch t.Kind() {
		case reflect.Slice, reflect.Array:
			t = t.Elem()
		case reflect.Map:
			token, t = "*", t.Elem()
		case reflect.Struct:
			if t = fieldNamed(t, token); t == nil {
				return b.String()
			}
		default:
			return b.String()
		}
		b.WriteString("/" + token)
	}
	return b.String()
}

func fieldNamed(t reflect.Type, name string) reflect.Type {
	for _, f := range reflect.VisibleFields(t) {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && (tag == name || tag == "" && f.Name == name) {
			return f.Type
		}
	}
	return nil
}
