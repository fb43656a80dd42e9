// Package flights has 20,000 real flights as events, and four read models of them: three declared in projections.yaml,
// one, Routes, in Go. README.md tells where the flights come from.
package flights

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed" // the flights are part of the program
	"errors"
	"fmt"
	"io"
)

// Stream is the name of the stream that the projections read.
const Stream = "FLIGHTS"

// Subject is the subject of a flight: flights.<airport of origin>. {origin} stands for the event's member.
const Subject = "flights.{origin}"

// Count is how many flights there are.
const Count = 20000

// Projections are the declared projections and their tests, as written in projections.yaml.
//
//go:embed projections.yaml
var Projections []byte

//go:embed flights-20k.ndjson.gz
var compressed []byte

// Open reads the flights as text: one JSON object a line, in order of departure.
func Open() io.Reader {
	unpacked, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return failing{fmt.Errorf("the flights in this program are damaged: %w", err)}
	}
	return unpacked
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Lines are the flights, each as JSON.
func Lines() ([][]byte, error) {
	lines := make([][]byte, 0, Count)
	reader := bufio.NewReader(Open())
	for {
		line, err := reader.ReadBytes('\n')
		if line = bytes.TrimSuffix(line, []byte("\n")); len(line) > 0 {
			lines = append(lines, line)
		}
		switch {
		case errors.Is(err, io.EOF):
			return lines, nil
		case err != nil:
			return nil, err
		}
	}
}
