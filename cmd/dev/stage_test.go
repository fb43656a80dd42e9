package dev

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tailfold/tailfold/cmd"
	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/filestore"
)

// newTestStage has the flights, a log and nothing published.
func newTestStage(t *testing.T) (*Command, *stage) {
	t.Helper()
	rate := 0
	c := &Command{Dir: filepath.Join(t.TempDir(), "state"), Rate: &rate}
	f, err := openFolder(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	app := &cmd.App{Name: "tailfold", Registry: &projections.Registry{}, Context: t.Context(), Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard}
	s, err := c.newStage(app, f, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.close()
		f.close()
	})
	return c, s
}

// fold runs a worker until every projection has folded the log up to seq.
func fold(t *testing.T, s *stage, seq uint64) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	running := make(chan cmd.Running, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- s.setup.Run(ctx, s.lines, func(r cmd.Running) { running <- r })
	}()
	worker := <-running
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for furthestBehind(worker.Status()).Seq < seq {
		select {
		case err := <-ended:
			t.Fatalf("the worker ended: %v", err)
		case <-look.C:
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func (s *stage) publishFlights(t *testing.T, c *Command, count int) {
	t.Helper()
	all := s.source
	s.source = &source{name: all.name, ids: all.ids, what: all.what, subject: all.subject, repeats: true, open: func() (io.ReadCloser, error) {
		opened, err := all.open()
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(opened)
		return io.NopCloser(bytes.NewReader(bytes.Join(bytes.SplitAfterN(text, []byte("\n"), count+1)[:count], nil))), err
	}}
	if err := s.publisher(c, t.Errorf).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.source = all
}

// tamper changes a snapshot behind the worker's back.
func tamper(t *testing.T, s *stage, unit snapshotstore.Unit, change func(*snapshotstore.Checkpoint)) {
	t.Helper()
	store, err := filestore.Open(filestore.Options{Path: s.place.Store})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	mark, err := store.Head(t.Context(), unit)
	if err != nil {
		t.Fatal(err)
	}
	checkpoint := snapshotstore.Checkpoint{From: mark, To: mark}
	change(&checkpoint)
	checkpoint.To = checkpoint.To.Seal(fmt.Sprint("tampered", mark.ID))
	if err := store.Commit(t.Context(), unit, checkpoint); err != nil {
		t.Fatal(err)
	}
}

func TestComparisonFindsEveryDifference(t *testing.T) {
	const events = 600
	c, s := newTestStage(t)
	s.publishFlights(t, c, events)
	fold(t, s, events)
	out := &bytes.Buffer{}
	k := &killer{command: c, stage: s, out: newScreen(out)}
	expect := func(want int, said string) {
		t.Helper()
		out.Reset()
		if got, err := k.compare(t.Context()); err != nil || got != want || !strings.Contains(out.String(), said) {
			t.Errorf("%d differences, %v, want %d; it said\n%s", got, err, want, out)
		}
	}
	expect(0, fmt.Sprintf("with a full replay of %d events\ndifferences: 0\n", events))
	airports, days := snapshotstore.Unit{Projection: "airports", Version: 1}, snapshotstore.Unit{Projection: "days", Version: 1}
	routes, total := snapshotstore.Unit{Projection: "routes", Version: 1}, snapshotstore.Unit{Projection: "total", Version: 1}
	tamper(t, s, airports, func(c *snapshotstore.Checkpoint) { c.Delete = []string{"ATL"} })
	expect(1, `airports/v1/0: key "ATL" is missing, a full replay gives {`)
	tamper(t, s, days, func(c *snapshotstore.Checkpoint) {
		c.Put = []snapshotstore.Entry{{Key: "2001-01-01", Data: []byte(`{"flights":1}`)}}
	})
	expect(2, `days/v1/0: key "2001-01-01" is {"flights":1}, a full replay gives {`)
	tamper(t, s, routes, func(c *snapshotstore.Checkpoint) {
		c.Put = []snapshotstore.Entry{{Key: "XXX-YYY", Data: []byte(`{}`)}}
	})
	expect(3, `routes/v1/0: key "XXX-YYY" is {}, a full replay has no such key`)
	tamper(t, s, total, func(c *snapshotstore.Checkpoint) { c.To.Seq-- })
	expect(5, fmt.Sprintf("total/v1/0: the snapshot is at seq %d, the log ends at %d", events-1, events)) // and its value is one event ahead
}

func TestPublishingAgainAddsNothing(t *testing.T) {
	c, s := newTestStage(t)
	s.publishFlights(t, c, 300)
	s.publishFlights(t, c, 500)
	if _, err := s.js.Publish(t.Context(), "flights.other", []byte(`{}`)); err != nil { // by someone else
		t.Fatal(err)
	}
	s.publishFlights(t, c, 700)
	events, err := readAll(t.Context(), s.js, s.stream)
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 701 {
		t.Fatalf("%d events, want 701", len(events))
	}
	seen := map[string]bool{}
	for _, event := range events {
		id, _ := event.Header.Get("Nats-Msg-Id")
		if seen[id] {
			t.Errorf("event %d, %s, comes twice", event.Seq, id)
		}
		seen[id] = true
	}
}

func TestTableOfTheFlightsFitsASmallTerminal(t *testing.T) {
	_, s := newTestStage(t)
	v := &view{called: invocation{"tailfold", "dev"}, stage: s, demo: true, out: newScreen(io.Discard), opened: true}
	s.place.Listen = "127.0.0.1:65535"
	s.folder.path = "tailfold-dev"
	v.publisher = &publisher{source: s.source, rate: 1_000_000}
	v.publisher.update(func(p *progress) { p.lines, p.round, p.bad = 19_999, 999, 0 })
	v.resumed = "resumed at seq 99999999, replayed 99999999 events in 99999 ms"
	var rows []consumer.UnitStatus
	for _, name := range []string{"airports", "days", "routes", "total"} {
		rows = append(rows, consumer.UnitStatus{Projection: name, Version: 1, State: consumer.Replaying, Seq: 99_999_999, Lag: 999_999, CheckpointAgeMS: 3_599_000})
	}
	for i := range shownAirports {
		v.top.rows = append(v.top.rows, airport{key: fmt.Sprintf("AA%d", i)})
		v.top.rows[i].value.MeanDelay = -1234.5
	}
	frame := v.frame(rows)
	if len(frame) > 23 || !strings.HasPrefix(frame[len(frame)-1], "  ") {
		t.Errorf("%d lines:\n%s", len(frame), strings.Join(frame, "\n"))
	}
	for _, line := range frame {
		if utf8.RuneCountInString(line) > 80 {
			t.Errorf("%d columns: %s", utf8.RuneCountInString(line), line)
		}
	}
}

func TestCommandsAreFoldedWhereAShellJoinsThem(t *testing.T) {
	words := strings.Fields("kill -9 12345 && tailfold dev --config my.yaml --events ev.ndjson --subject 'orders.{type}' --rate 5")
	lines := foldCommand(words, 40)
	if len(lines) < 3 {
		t.Errorf("it is not folded: %q", lines)
	}
	for i, line := range lines {
		if len(line) > 40 || strings.HasSuffix(line, " \\") != (i < len(lines)-1) {
			t.Errorf("line %d of %d: %q", i, len(lines), line)
		}
	}
	if joined := strings.Join(strings.Fields(strings.ReplaceAll(strings.Join(lines, "\n"), "\\\n", " ")), " "); joined != strings.Join(words, " ") {
		t.Errorf("a shell reads %q", joined)
	}
}
