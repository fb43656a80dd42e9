package snapshotstore_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tailfold/tailfold/snapshotstore"
	"pgregory.net/rapid"
)

func exampleMark() snapshotstore.Mark {
	at := time.Date(2026, 3, 29, 1, 59, 59, 123456789, time.UTC)
	return snapshotstore.Mark{
		Seq: 18_446_744_073_709_551_615, Since: 1, Stream: "ORDERS", Created: at,
		Witnesses:   []snapshotstore.Witness{{Seq: 41, Time: at, Hash: "0123"}, {Seq: 7, Time: at, Hash: "4567"}},
		Fingerprint: "f00d", Epoch: 7, Tries: 2, Attempt: 42, Writer: "worker-1", At: at,
	}
}

// The names are in the hands of every program that reads a snapshot.
func TestSealWritesTheMarkOfTheContract(t *testing.T) {
	sealed := exampleMark().Seal("the-id")
	want := `{"format":1,"id":"the-id","seq":18446744073709551615,"since":1,"stream":"ORDERS",` +
		`"created":"2026-03-29T01:59:59.123456789Z","witnesses":[` +
		`{"seq":41,"time":"2026-03-29T01:59:59.123456789Z","hash":"0123"},` +
		`{"seq":7,"time":"2026-03-29T01:59:59.123456789Z","hash":"4567"}],` +
		`"fingerprint":"f00d","epoch":7,"tries":2,"attempt":42,"writer":"worker-1","at":"2026-03-29T01:59:59.123456789Z"}`
	if diff := cmp.Diff(want, string(sealed.Raw)); diff != "" {
		t.Errorf("the bytes (-want +got):\n%s", diff)
	}
	first := snapshotstore.Mark{}.Seal("x")
	if want := `"witnesses":[]`; !strings.Contains(string(first.Raw), want) || strings.Contains(string(first.Raw), "attempt") {
		t.Errorf("a mark of nothing is %s; want %s and no attempt", first.Raw, want)
	}
	if first.IsZero() || !(snapshotstore.Mark{}).IsZero() {
		t.Error("only the mark of a unit without a snapshot is zero")
	}
}

func TestWhatSealReturnsIsWhatParseMarkReads(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
	moment := rapid.Custom(func(t *rapid.T) time.Time {
		zone := time.FixedZone("", rapid.IntRange(-50_000, 50_000).Draw(t, "offset"))
		return time.Unix(rapid.Int64().Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).In(zone)
	})
	witness := rapid.Custom(func(t *rapid.T) snapshotstore.Witness {
		return snapshotstore.Witness{Seq: rapid.Uint64().Draw(t, "seq"), Time: moment.Draw(t, "time"), Hash: text.Draw(t, "hash")}
	})
	rapid.Check(t, func(t *rapid.T) {
		mark := snapshotstore.Mark{
			Seq: rapid.Uint64().Draw(t, "seq"), Since: rapid.Uint64().Draw(t, "since"), Stream: text.Draw(t, "stream"),
			Created: moment.Draw(t, "created"), Witnesses: rapid.SliceOfN(witness, 0, 4).Draw(t, "witnesses"),
			Fingerprint: text.Draw(t, "fingerprint"), Epoch: rapid.Uint64().Draw(t, "epoch"), Tries: rapid.Int().Draw(t, "tries"),
			Attempt: rapid.Uint64().Draw(t, "attempt"), Writer: text.Draw(t, "writer"), At: moment.Draw(t, "at"),
		}
		before := mark
		before.Witnesses = append([]snapshotstore.Witness{}, mark.Witnesses...)
		sealed := mark.Seal(text.Draw(t, "id"))
		if diff := cmp.Diff(before.Witnesses, append([]snapshotstore.Witness{}, mark.Witnesses...)); diff != "" {
			t.Fatalf("Seal changed the mark that it was called on: %s", diff)
		}
		read, err := snapshotstore.ParseMark(sealed.Raw)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(sealed, read); diff != "" {
			t.Fatalf("sealed and read (-sealed +read):\n%s", diff)
		}
		if again := sealed.Seal(sealed.ID); !bytes.Equal(again.Raw, sealed.Raw) {
			t.Fatalf("sealed again under the same id:\n%s\n%s", sealed.Raw, again.Raw)
		}
		if sealed.Seq != mark.Seq || sealed.Epoch != mark.Epoch || sealed.Attempt != mark.Attempt || sealed.Tries != mark.Tries {
			t.Fatalf("%+v was sealed as %+v", mark, sealed)
		}
	})
}

// A witness's time is compared with the log's: to the nanosecond, and in whatever zone the log tells it.
func TestSealKeepsTimesThatJSONCanHave(t *testing.T) {
	zone := time.FixedZone("", -3*3600)
	for _, at := range []time.Time{
		{}, time.Unix(0, 1), time.Date(2026, 3, 29, 1, 59, 59, 999_999_999, zone), time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC), time.Now(),
	} {
		sealed := snapshotstore.Mark{Witnesses: []snapshotstore.Witness{{Time: at}}, Created: at, At: at}.Seal("x")
		if !sealed.Witnesses[0].Time.Equal(at) || !sealed.Created.Equal(at) || !sealed.At.Equal(at) {
			t.Errorf("%v was sealed as %s", at, sealed.Raw)
		}
	}
	late := snapshotstore.Mark{At: time.UnixMilli(1_774_749_599_123_456)}.Seal("x") // microseconds, told as milliseconds
	if want := time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC); !late.At.Equal(want) {
		t.Errorf("the year 58,209 was sealed as %v; want %v", late.At, want)
	}
}

func TestParseMarkKeepsWhatItDoesNotKnow(t *testing.T) {
	sealed := exampleMark().Seal("x")
	newer := []byte(strings.Replace(string(sealed.Raw), `{`, `{ "paused": {"by": ["me", 1e3]},`, 1))
	read, err := snapshotstore.ParseMark(newer)
	if err != nil {
		t.Fatal(err)
	}
	want := sealed
	want.Raw = newer
	if diff := cmp.Diff(want, read); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseMarkRefusesWhatIsNoMark(t *testing.T) {
	for raw, why := range map[string]string{
		"":                               "EOF",
		"null":                           "format 0",
		"{}":                             "format 0",
		`{"format":2,"seq":7}`:           "format 2, this Tailfold reads format 1",
		`{"format":1,"seq":-7}`:          "/seq",
		`{"format":1,"seq":"7"}`:         "/seq",
		`{"format":1,"seq":1.5}`:         "/seq",
		`{"format":1,"seq":7} trail`:     "after top-level value",
		`{"format":1,"seq":7,"seq":8}`:   "duplicate",
		"{\"format\":1,\"id\":\"\xff\"}": "UTF-8",
		"a value":                        "invalid character",
	} {
		mark, err := snapshotstore.ParseMark([]byte(raw))
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("ParseMark(%q): %v; want an error with %q", raw, err, why)
		}
		if !mark.IsZero() || mark.Raw != nil {
			t.Errorf("ParseMark(%q) returned an error and %+v", raw, mark)
		}
	}
}

func FuzzParseMark(f *testing.F) {
	f.Add(exampleMark().Seal("x").Raw)
	f.Add(snapshotstore.Mark{}.Seal("").Raw)
	f.Add([]byte(`{"format":1,"witnesses":null,"created":"0001-01-01T00:00:00Z","from the future":[{}]}`))
	f.Add([]byte(`{"format":1,"at":"9999-12-31T23:59:59.999999999-23:59"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		mark, err := snapshotstore.ParseMark(raw)
		if err != nil {
			if !mark.IsZero() {
				t.Fatalf("an error, and a mark: %+v", mark)
			}
			return
		}
		if mark.IsZero() || !bytes.Equal(mark.Raw, raw) {
			t.Fatalf("%q was read as %+v, held as %q", raw, mark, mark.Raw)
		}
		sealed := mark.Seal(mark.ID)
		read, err := snapshotstore.ParseMark(sealed.Raw)
		if err != nil {
			t.Fatalf("%q was read, sealed as %q, and can't be read again: %v", raw, sealed.Raw, err)
		}
		if diff := cmp.Diff(sealed, read); diff != "" {
			t.Fatalf("sealed and read (-sealed +read):\n%s", diff)
		}
	})
}
