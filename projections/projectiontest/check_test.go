package projectiontest

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // for the process in another time zone, also where the host has no zones

	"github.com/tailfold/tailfold/projections"
)

func keyOf(event projections.Event) (string, error) { return event.Subject, nil }

func named[V any](p projections.Keyed[V]) projections.Projection {
	p.Name, p.Version, p.Stream, p.Key = "bad", 1, "S", keyOf
	return p
}

// seconds is a value that its codec stores to the second only.
type lossy struct {
	projections.JSONCodec[time.Duration]
}

func (lossy) Encode(d time.Duration) ([]byte, error) { return fmt.Appendf(nil, "%d", d/10), nil }
func (lossy) Decode(b []byte) (d time.Duration, _ error) {
	_, err := fmt.Sscan(string(b), &d)
	return d, err
}

type half struct {
	Shown  int
	hidden int
}

// each bad projection is one that a test of values alone would let pass. The check that must name it stands beside it.
func badProjections() map[string]struct {
	projection projections.Projection
	caught     string
} {
	var calls, tries int
	shared := map[string]int{}
	return map[string]struct {
		projection projections.Projection
		caught     string
	}{
		"the clock": {named(projections.Keyed[int64]{Step: func(string, int64, projections.Event) (int64, error) {
			return time.Now().UnixNano(), nil
		}}), `folded twice: event 1 (a), key "a": first `},
		"the order of a map": {named(projections.Keyed[string]{Step: func(string, string, projections.Event) (string, error) {
			for word := range map[string]bool{"one": true, "two": true} {
				return word, nil
			}
			return "", nil
		}}), "folded twice: event "},
		"what an earlier call has left": {named(projections.Keyed[int]{Step: func(string, int, projections.Event) (int, error) {
			calls++
			return calls, nil
		}}), `folded twice: event 1 (a), key "a": first 1, then 7`},
		"a seed that is shared": {named(projections.Keyed[map[string]int]{
			Seed: func() map[string]int { return shared },
			Step: func(key string, value map[string]int, _ projections.Event) (map[string]int, error) {
				value[key]++
				return value, nil
			},
		}), `folded twice: event 1 (a), key "a": first {"a":1}, then {`},
		"an error by chance": {named(projections.Keyed[int]{Step: func(string, int, projections.Event) (int, error) {
			if tries++; tries%5 == 0 {
				return 0, errors.New("now and then")
			}
			return 1, nil
		}}), "folded twice: event "},
		"the process": {named(projections.Keyed[int]{Step: func(string, int, projections.Event) (int, error) {
			return os.Getpid(), nil
		}}), `another process: event 1 (a), key "a": first `},
		"the time zone": {named(projections.Keyed[string]{Step: func(_ string, _ string, event projections.Event) (string, error) {
			return event.Time.Local().Format(time.Kitchen), nil
		}}), `another process: event 1 (a), key "a": first `},
		"a codec that loses digits": {named(projections.Keyed[time.Duration]{Codec: lossy{},
			Step: func(_ string, d time.Duration, _ projections.Event) (time.Duration, error) { return d + 12345, nil }},
		), `decode(encode(value)): event 1 (a), key "a": stored as 1234, which is read and stored again as 123.`},
		"large numbers in an any": {named(projections.Keyed[any]{Step: func(string, any, projections.Event) (any, error) {
			return int64(math.MaxInt64), nil
		}}), `decode(encode(value)): event 1 (a), key "a": stored as 9223372036854775807, which is read and stored again as 9223372036854776000`},
		"a field that is not stored": {named(projections.Keyed[half]{Step: func(_ string, v half, _ projections.Event) (half, error) {
			v.hidden++
			v.Shown = v.hidden
			return v, nil
		}}), `cache of one key: event 4 (a), key "a": {"Shown":2}, but {"Shown":1} when each event is folded alone`},
		"values that share a map": {named(projections.Keyed[map[string]int]{Step: func(key string, value map[string]int, event projections.Event) (map[string]int, error) {
			list, err := projections.Shared(event, "list", func(_ projections.Event, into *map[string]int) error {
				*into = map[string]int{}
				return nil
			})
			if err != nil {
				return nil, err
			}
			maps.Copy(*list, value)
			(*list)[key]++
			return *list, nil
		}}), `cache of one key: event 1 (a), key "a": {"a":2}, but {"a":1} when each event is folded alone`},
		"events that are changed": {named(projections.Keyed[string]{Step: func(_ string, value string, event projections.Event) (string, error) {
			value = string(event.Data)
			event.Data[0] = 'x'
			return value, nil
		}}), `events unchanged: event 1 (a): its data was 1, and is x after folding`},
		"other subjects": {named(projections.Keyed[int]{Subjects: []string{"orders.>"}, Step: func(string, int, projections.Event) (int, error) {
			return 1, nil
		}}), `none of the 6 events changed anything, so nothing was checked: do their subjects match ["orders.>"]?`},
		"only poison": {named(projections.Keyed[int]{Step: func(string, int, projections.Event) (int, error) {
			return 0, errors.New("no such field")
		}}), `none of the 6 events was folded, so nothing was checked; the first error: event 1 (a), key "a": no such field`},
	}
}

func badEvents() []projections.Event {
	return Log(Event("a", "1"), Event("b", "2"), Event("a", "3"), Event("a", "4"), Event("b", "5"), Event("c", "6"))
}

func TestCheckCatchesEachBadProjectionByName(t *testing.T) {
	for name, bad := range badProjections() {
		t.Run(name, func(t *testing.T) {
			if child, ok := asChild(); ok {
				child.answer(t, bad.projection)
				return
			}
			faults := check(bad.projection, badEvents(), func() ([]record, error) { return inAnotherProcess(t, bad.projection, badEvents()) })
			if !strings.Contains(strings.Join(faults, "\n"), bad.caught) {
				t.Errorf("it was not caught by %q:\n%s", bad.caught, strings.Join(faults, "\n"))
			}
		})
	}
}

// The checks that come late must not lean on those before them: here each is asked alone.
func TestEachScheduleCatchesHiddenStateAlone(t *testing.T) {
	p := badProjections()["a field that is not stored"].projection
	c := &checker{projection: p, events: badEvents(), records: recordsOf(p, badEvents())}
	for want, check := range map[string]func() string{
		`cache of one key: event 4 (a), key "a": {"Shown":2}, but {"Shown":1}`:                            c.caching,
		`snapshot + tail, split behind 0 of 6 events: event 3 (a), key "a": {"Shown":2}, but {"Shown":1}`: c.splitting,
		"crashes, schedule ": c.crashing,
	} {
		if fault := check(); !strings.HasPrefix(fault, want) {
			t.Errorf("got %q, want %q…", fault, want)
		}
	}
}

func TestCheckSaysWhenTheOtherProcessDoesNotComeToIt(t *testing.T) {
	if _, ok := asChild(); ok {
		fmt.Println("something else happens here")
		return
	}
	p := named(projections.Keyed[int]{Step: func(string, int, projections.Event) (int, error) { return 1, nil }})
	_, err := inAnotherProcess(t, p, badEvents())
	if err == nil || !strings.Contains(err.Error(), "did not come to this check") || !strings.Contains(err.Error(), "something else happens here") {
		t.Errorf("error is %v", err)
	}
}

func TestKeysOfAnyBytesComeBackFromTheOtherProcess(t *testing.T) {
	p := projections.Keyed[int]{Name: "bytes", Version: 1, Stream: "S",
		Key:  func(event projections.Event) (string, error) { return string(event.Data), nil },
		Step: func(string, int, projections.Event) (int, error) { return 1, nil }}
	Check(t, p, Events("s", "\xff\x00", "$mark", "ä"))
}
