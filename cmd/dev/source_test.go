package dev

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func fileOf(t *testing.T, text string) *source {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ev:ents.ndjson")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	template, err := parseTemplate("s.{k}")
	if err != nil {
		t.Fatal(err)
	}
	source, err := fileSource(path, nil, template)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

type found struct {
	Number  int
	Subject string
	Data    string
}

// readAllLines returns good lines, and the errors of bad ones.
func readAllLines(t *testing.T, l *lines) (good []found, bad []string) {
	t.Helper()
	for {
		line, err := l.next()
		var of *lineError
		switch {
		case errors.Is(err, io.EOF):
			return good, bad
		case errors.As(err, &of):
			bad = append(bad, err.Error())
		case err != nil:
			t.Fatal(err)
		default:
			good = append(good, found{line.number, line.subject, string(line.data)})
		}
	}
}

func TestBadLinesAreToldByNumberAndTheOthersRead(t *testing.T) {
	source := fileOf(t, `{"k":"a"}`+"\n"+
		"\n"+
		`  {"k":"b","money":19.990} `+"\r\n"+
		`{"k":`+"\n"+
		"[1]\n"+
		`{"k":"a","k":"b"}`+"\n"+
		"{\"k\":\"\xff\"}\n"+
		`{"k":"a"} {"k":"b"}`+"\n"+
		`{"n":1}`+"\n"+
		`{"k":"`+strings.Repeat("x", maxLine)+`"}`+"\n"+
		`{"k":"last"}`)
	lines, err := source.lines(0)
	if err != nil {
		t.Fatal(err)
	}
	defer lines.close()
	good, bad := readAllLines(t, lines)
	if diff := cmp.Diff([]found{{1, "s.a", `{"k":"a"}`}, {3, "s.b", `{"k":"b","money":19.990}`}, {11, "s.last", `{"k":"last"}`}}, good); diff != "" {
		t.Error(diff)
	}
	want := []string{"ev:ents.ndjson:4: not JSON: it ends", "ev:ents.ndjson:5: \"[1]\" is no JSON object", "ev:ents.ndjson:6: not JSON: duplicate",
		"ev:ents.ndjson:7: not JSON: invalid UTF-8", "ev:ents.ndjson:8: not JSON: more than one value", "ev:ents.ndjson:9: the subject s.{k}: member k is missing",
		"ev:ents.ndjson:10: the line has 1047561 bytes"}
	if len(bad) != len(want) {
		t.Fatalf("%d bad lines, want %d: %q", len(bad), len(want), bad)
	}
	for i, text := range want {
		if !strings.HasPrefix(bad[i], text) {
			t.Errorf("said %q, want %q…", bad[i], text)
		}
	}
}

func TestReadingGoesOnAfterThePublishedLine(t *testing.T) {
	source := fileOf(t, "{\"k\":\"a\"}\nbad\n{\"k\":\"b\"}\n{\"k\":\"c\"}\n")
	published, ok := placeOf(line{number: 3, data: []byte(`{"k":"b"}`)}.id(source.ids), source.ids)
	if !ok || published.number != 3 {
		t.Fatalf("the id is read as %+v, %v", published, ok)
	}
	lines, err := source.lines(0)
	if err != nil {
		t.Fatal(err)
	}
	defer lines.close()
	if err := lines.skip(published); err != nil {
		t.Fatal(err)
	}
	good, bad := readAllLines(t, lines)
	if diff := cmp.Diff([]found{{4, "s.c", `{"k":"c"}`}}, good); diff != "" || len(bad) > 0 {
		t.Errorf("%s%q", diff, bad)
	}
}

func TestFileThatIsNotTheOnePublishedIsRefused(t *testing.T) {
	source := fileOf(t, "{\"k\":\"a\"}\n{\"k\":\"b\"}\n")
	for _, at := range []place{{number: 2, hash: hashOf([]byte("another"))}, {number: 3, hash: hashOf([]byte(`{"k":"b"}`))}} {
		lines, err := source.lines(0)
		if err != nil {
			t.Fatal(err)
		}
		var changed *changedError
		if err := lines.skip(at); !errors.As(err, &changed) {
			t.Errorf("%+v: %v", at, err)
		}
		lines.close()
	}
}

func TestIDsOfOthersAreNoPlaces(t *testing.T) {
	for _, id := range []string{"", "x", "flights", "flights:1:2", "flights:a:2:h", "flights:1:b:h", "other:1:2:h", "flights:1:2:h:5"} {
		if at, ok := placeOf(id, "flights"); ok {
			t.Errorf("%q is read as %+v", id, at)
		}
	}
}
