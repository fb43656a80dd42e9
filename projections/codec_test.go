package projections_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tailfold/tailfold/projections"
)

// counted is an event type that counts how often it is decoded.
type counted struct{ Word string }

type decodings struct{ count atomic.Int32 }

func (d *decodings) decode(event projections.Event, into *counted) error {
	d.count.Add(1)
	if len(event.Data) == 0 {
		return errors.New("no data")
	}
	into.Word = string(event.Data)
	return nil
}

func TestEventIsDecodedOncePerBatchForAllWhoWantTheSameShape(t *testing.T) {
	var calls decodings
	p := projections.Keyed[int]{
		Key: func(event projections.Event) (string, error) {
			c, err := projections.Shared(event, &calls, calls.decode)
			return c.Word, err
		},
		Step: func(_ string, n int, event projections.Event) (int, error) {
			_, err := projections.Shared(event, &calls, calls.decode)
			return n + 1, err
		},
	}
	events := []projections.Event{text(1, "a"), text(2, "b"), text(3, "a")}
	projections.Share(events)
	for range 4 { // projections of one feed
		r := newRig(p, projections.FoldOptions{})
		if err := r.foldAll(events...); err != nil {
			t.Fatal(err)
		}
		if err := r.commit(); err != nil {
			t.Fatal(err)
		}
		r.want(t, map[string]string{"a": "2", "b": "1"})
	}
	if n := calls.count.Load(); n != 3 {
		t.Errorf("3 events were decoded %d times", n)
	}
	projections.Share(events)
	if _, err := projections.Shared(events[0], &calls, calls.decode); err != nil || calls.count.Load() != 4 {
		t.Errorf("in a new batch an event is decoded anew: %d times, %v", calls.count.Load(), err)
	}
}

func TestSharedKeepsAnErrorLikeAResult(t *testing.T) {
	var calls decodings
	events := []projections.Event{text(1, "")}
	projections.Share(events)
	for range 3 {
		if _, err := projections.Shared(events[0], &calls, calls.decode); err == nil || err.Error() != "no data" {
			t.Errorf("error is %v", err)
		}
	}
	if n := calls.count.Load(); n != 1 {
		t.Errorf("it was decoded %d times", n)
	}
}

func TestSharedTellsShapesApart(t *testing.T) {
	type named struct{ Name string }
	events := []projections.Event{text(1, `{"Name":"json","Word":"w"}`)}
	projections.Share(events)
	byHand := func(_ projections.Event, into *named) error { into.Name = "by hand"; return nil }
	for range 2 {
		j, err := projections.JSON[named](events[0])
		if err != nil || j.Name != "json" {
			t.Errorf("JSON gives %+v, %v", j, err)
		}
		c, err := projections.JSON[counted](events[0])
		if err != nil || c.Word != "w" {
			t.Errorf("JSON gives %+v, %v", c, err)
		}
		h, err := projections.Shared(events[0], "by hand", byHand)
		if err != nil || h.Name != "by hand" {
			t.Errorf("Shared gives %+v, %v", h, err)
		}
	}
}

func TestSharedMeetsAPanicAgainAndFromAFreshValue(t *testing.T) {
	events := []projections.Event{text(1, "a")}
	projections.Share(events)
	tries := 0
	decode := func(event projections.Event, into *counted) error {
		into.Word += string(event.Data)
		if tries++; tries < 3 {
			panic("not yet")
		}
		return nil
	}
	for range 2 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			_, _ = projections.Shared(events[0], "panics", decode)
		}()
	}
	c, err := projections.Shared(events[0], "panics", decode)
	if err != nil || c.Word != "a" {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestSharedMayBeAskedByManyAtOnce(t *testing.T) {
	const units, shapes = 8, 3
	events := make([]projections.Event, 200)
	for i := range events {
		events[i] = text(uint64(i+1), fmt.Sprintf("word %d", i))
	}
	projections.Share(events)
	var calls [shapes]decodings
	var wg sync.WaitGroup
	for unit := range units {
		wg.Go(func() {
			for i := range events {
				for s := range calls {
					calls := &calls[(s+unit)%shapes]
					c, err := projections.Shared(events[i], calls, calls.decode)
					if err != nil || c.Word != string(events[i].Data) {
						t.Errorf("unit %d, event %d: %+v, %v", unit, i+1, c, err)
					}
				}
			}
		})
	}
	wg.Wait()
	for s := range calls {
		if n := calls[s].count.Load(); int(n) != len(events) {
			t.Errorf("shape %d: %d events were decoded %d times", s, len(events), n)
		}
	}
}

func TestJSONIsStrictAndLeavesUnknownMembersAlone(t *testing.T) {
	for data, ok := range map[string]bool{
		`{"Word":"a"}`:             true,
		`{"Word":"a","More":[1]}`:  true,
		`{"Word":"a","Word":"b"}`:  false,
		"{\"Word\":\"\xff\"}":      false,
		`{"Word":"a"} {}`:          false,
		`{"Word":1}`:               false,
		`{"Word":"a"`:              false,
		``:                         false,
		"\ufeff" + `{"Word":"a"}`:  false,
		` {"Word":"a"} ` + "\n\t ": true,
	} {
		c, err := projections.JSON[counted](text(1, data))
		if (err == nil) != ok || ok && c.Word != "a" {
			t.Errorf("%q: %+v, %v", data, c, err)
		}
	}
}

func TestJSONCodecGivesTheSameBytesForTheSameValueAndReadsThemBack(t *testing.T) {
	type inner struct {
		Names map[string]int64
		List  []string
	}
	type value struct {
		Inner map[string]inner
		Rate  float64
		Big   uint64
		Note  *string
	}
	var codec projections.JSONCodec[value]
	names := rapid.MapOf(rapid.String(), rapid.Int64())
	rapid.Check(t, func(t *rapid.T) {
		v := value{Rate: rapid.Float64Range(-1e300, 1e300).Draw(t, "rate"), Big: rapid.Uint64().Draw(t, "big")}
		v.Inner = rapid.MapOf(rapid.String(), rapid.Custom(func(t *rapid.T) inner {
			return inner{names.Draw(t, "names"), rapid.SliceOf(rapid.String()).Draw(t, "list")}
		})).Draw(t, "inner")
		first, err := codec.Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			again, err := codec.Encode(v)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(first), string(again)); diff != "" {
				t.Fatalf("encoded twice: %s", diff)
			}
		}
		back, err := codec.Decode(first)
		if err != nil {
			t.Fatal(err)
		}
		again, err := codec.Encode(back)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(first), string(again)); diff != "" {
			t.Fatalf("decoded and encoded: %s", diff)
		}
	})
}
