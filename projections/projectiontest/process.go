package projectiontest

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tailfold/tailfold/projections"
)

// childEnv names the folder by which a test and its other process speak: request there, answer back.
const childEnv = "TAILFOLD_PROJECTIONTEST_FOLDER"

// request is what the other process is to fold, and in which test it finds the projection.
type request struct {
	Test       string
	Projection string
	Version    int
	Events     []plainEvent
}

type plainEvent struct {
	Seq     uint64
	Subject string
	Time    time.Time
	Header  []byte
	Data    []byte
}

// inAnotherProcess runs this test again in a process of its own, in another time zone, up to the same check.
func inAnotherProcess(t *testing.T, p projections.Projection, events []projections.Event) ([]record, error) {
	d := p.Definition()
	r := request{Test: t.Name(), Projection: d.Name, Version: d.Version, Events: make([]plainEvent, len(events))}
	for i, e := range events {
		r.Events[i] = plainEvent{e.Seq, e.Subject, e.Time, e.Header.Block(), e.Data}
	}
	folder := t.TempDir()
	if err := write(filepath.Join(folder, "request"), r); err != nil {
		return nil, err
	}
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(t.Context(), binary, "-test.run="+pattern(t.Name()), "-test.count=1", "-test.timeout=2m")
	command.Env = append(os.Environ(), childEnv+"="+folder, "TZ=Pacific/Chatham",
		"GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE")) // else a test binary with the race detector ends a second late
	output, failed := command.CombinedOutput()
	var answer []record
	err = read(filepath.Join(folder, "answer"), &answer)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the test %s, run again in a process of its own, did not come to this check (%v). It printed:\n%s",
			t.Name(), failed, output)
	case err != nil:
		return nil, err
	}
	return answer, nil
}

// pattern matches one test or subtest by its whole name.
func pattern(test string) string {
	parts := strings.Split(test, "/")
	for i := range parts {
		parts[i] = "^" + regexp.QuoteMeta(parts[i]) + "$"
	}
	return strings.Join(parts, "/")
}

// child is this process where it is the other one.
type child struct{ folder string }

func asChild() (child, bool) {
	folder, ok := os.LookupEnv(childEnv)
	return child{folder}, ok
}

// answer folds what is asked for if this is the check that asked, and ends the test.
func (c child) answer(t *testing.T, p projections.Projection) {
	var r request
	if err := read(filepath.Join(c.folder, "request"), &r); err != nil {
		t.Fatal(err)
	}
	if d := p.Definition(); t.Name() != r.Test || d.Name != r.Projection || d.Version != r.Version {
		return
	}
	events := make([]projections.Event, len(r.Events))
	for i, e := range r.Events {
		header := projections.HeaderOf(e.Header)
		events[i] = projections.Event{Seq: e.Seq, Subject: e.Subject, Time: e.Time.UTC(), Header: header, Data: e.Data}
	}
	if err := write(filepath.Join(c.folder, "answer"), recordsOf(p, events)); err != nil {
		t.Fatal(err)
	}
	t.SkipNow() // the rest is for the first process
}

// write and read use gob, because keys may be any bytes.
func write(path string, value any) error {
	var encoded bytes.Buffer
	if err := gob.NewEncoder(&encoded).Encode(value); err != nil {
		return err
	}
	return os.WriteFile(path, encoded.Bytes(), 0o600)
}

func read(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return gob.NewDecoder(bytes.NewReader(data)).Decode(into)
}
