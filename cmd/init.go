package cmd

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/tailfold/tailfold/projections"
)

type initCommand struct {
	Stream     string `name:"stream" placeholder:"NAME" help:"Stream to look at; with --events, the name to give the stream."`
	Events     string `name:"events" placeholder:"FILE" help:"Look at a file instead: one JSON object a line, also with gzip; - for standard input."`
	Out        string `name:"out" short:"o" default:"tailfold.yaml" placeholder:"FILE" help:"File to write. Default: tailfold.yaml."`
	Force      bool   `name:"force" help:"Write it also where there is such a file."`
	Sample     int    `name:"sample" default:"5000" placeholder:"N" help:"How many events to look at. Default: 5000."`
	Partitions int    `name:"partitions" placeholder:"N" help:"Divide the stream into N partitions, and show how the NATS server does it."`
	NATS       string `name:"nats" placeholder:"URL" help:"NATS server. Default: as for a configuration without nats."`
	Store      string `name:"store" aliases:"redis" placeholder:"URL|FILE" help:"Store to write into the configuration. Default: a Redis on this machine."`
}

// Help completes --help.
func (initCommand) Help() string {
	return `It looks at some events, finds what could be the type, the key and the numbers in them, and writes a configuration with a first
projection, explained line by line, and tests of it made of these events. tailfold check and tailfold test pass on it as it is.
Nothing stays on the server.

Examples:

    tailfold init --stream ORDERS --partitions 8 --nats nats://127.0.0.1:4222
    tailfold init --events orders.ndjson --stream ORDERS -o projections/orders.yaml`
}

// Run writes the file.
func (c *initCommand) Run(app *App) error {
	switch {
	case c.Stream == "" && c.Events == "":
		return usage(errors.New("name what to look at: --stream ORDERS for a stream on NATS, or --events orders.ndjson for a file with one JSON object a line"))
	case c.Partitions < 0 || c.Partitions > maxPartitions:
		return usage(fmt.Errorf("--partitions is %d: write 1 to %d", c.Partitions, maxPartitions))
	case c.Sample < 1 || c.Sample > maxSample:
		return usage(fmt.Errorf("--sample is %d: write 1 to %d", c.Sample, maxSample))
	}
	if _, err := os.Stat(c.Out); err == nil && !c.Force {
		return usage(fmt.Errorf("%s is there already: write another file with --out FILE, or over this one with --force", c.Out))
	}
	flags := map[string]string{}
	for name, value := range map[string]string{"nats": c.NATS, "store": c.Store} {
		if value != "" {
			flags[name] = value
		}
	}
	config, err := Load(Sources{Environ: app.Environ, Flags: flags})
	if err != nil {
		return usage(err)
	}
	d := &draft{config: config, program: app.Name, out: c.Out, partitions: c.Partitions}
	if c.Events != "" {
		err = c.fromFile(app, d)
	} else {
		err = c.fromStream(app, d)
	}
	if err != nil {
		return err
	}
	if len(d.events) == 0 {
		return notSo(fmt.Errorf("%s holds no events yet: publish some first, so that there is something to look at", d.source))
	}
	text, err := d.write()
	if err != nil {
		return err
	}
	if err := writeFile(c.Out, text, c.Force); err != nil {
		return usage(err)
	}
	fmt.Fprintf(app.Stdout, "%s: the projection %s over stream %s, with %s, from %s events of %s\n", c.Out, d.name, d.stream,
		count(len(d.tests), "test"), thousands(len(d.events)), d.source)
	fmt.Fprintf(app.Stdout, "next: read it, then\n    %[1]s test %[2]s\n    %[1]s check %[2]s --sample 1000\n    %[1]s run --config %[2]s\n", app.Name, c.Out)
	return nil
}

// writeFile writes all of a file or nothing, over another one only where told to.
func writeFile(path string, text []byte, force bool) error {
	if folder := filepath.Dir(path); folder != "." {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	if force {
		return os.WriteFile(path, text, 0o644)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: write another file with --out FILE, or over this one with --force", path)
	}
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func (c *initCommand) fromStream(app *App, d *draft) error {
	d.stream, d.source = c.Stream, "stream "+c.Stream
	streams := &streams{config: d.config}
	defer streams.close()
	// The newest events are what publishers do now.
	found, err := streams.sample(app.Context, c.Stream, c.Sample, true)
	if err != nil {
		return err
	}
	d.events, d.subjects, d.fromLog = found.events, found.bounds.Subjects, true
	return nil
}

func (c *initCommand) fromFile(app *App, d *draft) error {
	var in io.Reader = app.Stdin
	d.source, d.stream = "standard input", c.Stream
	if c.Events != "-" {
		f, err := os.Open(c.Events)
		if err != nil {
			return usage(fmt.Errorf("--events: %w", err))
		}
		defer f.Close()
		in, d.source = f, c.Events
		if d.stream == "" {
			d.stream = streamNameOf(c.Events)
		}
	}
	if d.stream == "" {
		d.stream = "EVENTS"
	}
	events, err := readLines(in, d.source, c.Sample)
	d.events = events
	return err
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9_]+`)

// streamNameOf makes the name of a stream from that of a file: orders-2026.ndjson.gz gives ORDERS.
func streamNameOf(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".")
	name = strings.Trim(regexp.MustCompile(`[-_ ]?[0-9]+k?$`).ReplaceAllString(name, ""), "-_ ")
	return strings.ToUpper(strings.Trim(notInNames.ReplaceAllString(name, "_"), "_"))
}

// maxEventLine is the longest line of a file of events.
const maxEventLine = 1 << 20

// readLines reads up to n events, one JSON document a line.
func readLines(in io.Reader, name string, n int) ([]projections.Event, error) {
	buffered := bufio.NewReaderSize(in, 64<<10)
	if magic, _ := buffered.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unzipped, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, usage(fmt.Errorf("%s: %w", name, err))
		}
		buffered = bufio.NewReaderSize(unzipped, 64<<10)
	}
	lines := bufio.NewScanner(buffered)
	lines.Buffer(make([]byte, 64<<10), maxEventLine)
	var events []projections.Event
	for number := 1; len(events) < n && lines.Scan(); number++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		if err := checkJSON(line); err != nil {
			return nil, usage(fmt.Errorf("%s:%d: not JSON: %s: write one JSON object on each line", name, number,
				strings.TrimPrefix(err.Error(), "jsontext: ")))
		}
		events = append(events, projections.Event{Seq: uint64(len(events) + 1), Subject: "test", Time: testTime(len(events) + 1), Data: bytes.Clone(line)})
	}
	if err := lines.Err(); err != nil {
		return nil, usage(fmt.Errorf("%s: after %d events: %w", name, len(events), err))
	}
	projections.Share(events)
	return events, nil
}
