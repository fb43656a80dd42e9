package dev

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tailfold/tailfold/examples/flights"
)

// source is where events come from: lines, one JSON object each.
type source struct {
	name    string // in messages: "orders.ndjson", "flights", "standard input"
	ids     string // first part of its messages' ids
	what    string // what a line is: "events", "flights"
	count   int    // how many lines there are; 0: not known
	subject *template
	open    func() (io.ReadCloser, error)
	repeats bool // it can be opened more than once
}

// flightsSource is the 20,000 flights.
func flightsSource() (*source, error) {
	subject, err := parseTemplate(flights.Subject)
	return &source{name: "flights", ids: "flights", what: "flights", count: flights.Count, subject: subject, repeats: true,
		open: func() (io.ReadCloser, error) { return io.NopCloser(flights.Open()), nil }}, err
}

// fileSource is a file of the user's, "-" for standard input.
func fileSource(path string, stdin io.Reader, subject *template) (*source, error) {
	if path == "-" {
		return &source{name: "standard input", ids: "stdin-" + rand.Text(), what: "events", subject: subject,
			open: func() (io.ReadCloser, error) { return io.NopCloser(stdin), nil }}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--events: %w", err)
	}
	defer f.Close()
	if stat, err := f.Stat(); err == nil && stat.IsDir() {
		return nil, fmt.Errorf("--events: %s is a folder: name a file with one JSON object a line", path)
	}
	return &source{name: filepath.Base(path), ids: filepath.Base(path), what: "events", subject: subject, repeats: true,
		open: func() (io.ReadCloser, error) { return os.Open(path) }}, nil
}

// line is one event to publish.
type line struct {
	round   int // how often the source was read before
	number  int // from 1
	subject string
	data    []byte
}

// id is the line's Nats-Msg-Id: it says where publishing is to go on after a restart.
func (l line) id(ids string) string {
	return fmt.Sprintf("%s:%d:%d:%s", ids, l.round, l.number, hashOf(l.data))
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:4])
}

// place is a line that was published, as its id tells.
type place struct {
	round, number int
	hash          string
}

// placeOf reads an id of this source.
func placeOf(id, ids string) (place, bool) {
	rest, ok := strings.CutPrefix(id, ids+":")
	fields := strings.Split(rest, ":")
	if !ok || len(fields) != 3 {
		return place{}, false
	}
	round, err := strconv.Atoi(fields[0])
	number, err2 := strconv.Atoi(fields[1])
	return place{round, number, fields[2]}, err == nil && err2 == nil
}

// maxLine is the longest line: what a NATS server takes unless it is configured otherwise, less some header.
const maxLine = 1<<20 - 1<<10

// lineError is a line that can't be published.
type lineError struct {
	source string
	number int
	err    error
}

func (e *lineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.source, e.number, e.err) }

func (e *lineError) Unwrap() error { return e.err }

// lines reads a source once. next returns a *lineError for a line that can't be published, and can be called again.
type lines struct {
	source *source
	round  int
	number int
	reader *bufio.Reader
	closer io.Closer
}

func (s *source) lines(round int) (*lines, error) {
	opened, err := s.open()
	if err != nil {
		return nil, err
	}
	return &lines{source: s, round: round, reader: bufio.NewReaderSize(opened, 64<<10), closer: opened}, nil
}

func (l *lines) close() { l.closer.Close() }

// skip passes over the lines up to one that was published before, and checks that it is still the same.
func (l *lines) skip(to place) error {
	for l.number < to.number {
		text, err := l.read()
		if err != nil && !errors.As(err, new(*lineError)) {
			if errors.Is(err, io.EOF) {
				return &changedError{l.source.name, to.number, fmt.Sprintf("it has only %d lines now", l.number)}
			}
			return err
		}
		if l.number == to.number && hashOf(text) != to.hash {
			return &changedError{l.source.name, to.number, "that line is another one now"}
		}
	}
	return nil
}

// changedError is a source that is not the one that was published up to a line.
type changedError struct {
	source string
	number int
	why    string
}

func (e *changedError) Error() string {
	return fmt.Sprintf("%s was published up to line %d, but %s: lines may only be added at its end; give the new events a file of another name, or begin anew with --fresh",
		e.source, e.number, e.why)
}

// next is the next line that is not empty; io.EOF at the end.
func (l *lines) next() (line, error) {
	for {
		text, err := l.read()
		switch {
		case err != nil:
			return line{}, err
		case len(text) == 0:
			continue
		}
		if err := checkObject(text); err != nil {
			return line{}, &lineError{l.source.name, l.number, err}
		}
		subject, err := l.source.subject.of(text)
		if err != nil {
			return line{}, &lineError{l.source.name, l.number, err}
		}
		return line{l.round, l.number, subject, text}, nil
	}
}

func checkObject(text []byte) error {
	if kind := jsontext.Value(text).Kind(); kind != '{' {
		return fmt.Errorf("%s is no JSON object: write {\"name\": value, …} on one line", excerpt(text))
	}
	decoder := jsontext.NewDecoder(bytes.NewReader(text))
	_, err := decoder.ReadValue()
	if err == nil {
		_, err = decoder.ReadToken()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = errors.New("more than one value on a line")
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("it ends before the object does")
	}
	return fmt.Errorf("not JSON: %s", strings.TrimPrefix(err.Error(), "jsontext: "))
}

func excerpt(text []byte) string {
	const most = 40
	if len(text) > most {
		return strconv.Quote(string(text[:most])) + "…"
	}
	return strconv.Quote(string(text))
}

// read is the next line without its end and the white space around it.
func (l *lines) read() ([]byte, error) {
	var text []byte
	size := 0
	for {
		part, err := l.reader.ReadSlice('\n')
		if size += len(part); size <= maxLine+1 {
			text = append(text, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (!errors.Is(err, io.EOF) || size == 0):
			return nil, err
		}
		l.number++
		if size > maxLine+1 {
			return nil, &lineError{l.source.name, l.number, fmt.Errorf("the line has %d bytes: an event may have %d", size, maxLine)}
		}
		return bytes.Trim(text, " \t\r\n"), nil
	}
}
