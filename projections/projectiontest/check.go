package projectiontest

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/tailfold/tailfold/projections"
)

// Check tells whether a projection is a pure fold over these events: whether the values are
//
//   - the same when folded again ("folded twice"),
//   - the same when folded in another process, in another time zone ("another process"),
//   - the same when decoded and encoded again, after every event ("decode(encode(value))"),
//   - the same whether values stay in memory or come back from the store ("cache"),
//   - the same from a snapshot after any event and the tail behind it ("snapshot + tail"),
//   - the same whenever the worker dies and begins again from its last checkpoint ("crashes"),
//   - and whether it leaves the events as they are ("events unchanged").
//
// Take events that reach every branch of the fold; one that can't be folded is left out, as on_poison: skip does, if
// it can't be folded each time. The time taken grows with the square of the number of events: some hundred are fine.
//
// For the other process the test binary is started again with this test only, up to here; there, other checks pass
// unseen, and one of the same projection and version in the same test stands for this one.
func Check(t *testing.T, p projections.Projection, events []projections.Event) {
	t.Helper()
	if child, ok := asChild(); ok {
		child.answer(t, p)
		return
	}
	for i := 1; i < len(events); i++ {
		if events[i].Seq <= events[i-1].Seq {
			t.Fatalf("%s: event %d comes after event %d: a log's seqs rise", nameOf(p), events[i].Seq, events[i-1].Seq)
		}
	}
	for _, fault := range check(p, events, func() ([]record, error) { return inAnotherProcess(t, p, events) }) {
		t.Errorf("%s: %s", nameOf(p), fault)
	}
}

// check returns what is wrong, the first instance of each kind. Where the fold is not deterministic nothing else can
// be told.
func check(p projections.Projection, events []projections.Event, elsewhere func() ([]record, error)) (faults []string) {
	untouched := cloned(events)
	c := &checker{projection: p, events: cloned(events), records: recordsOf(p, cloned(events))}
	projections.Share(c.events) // by all the folds below: what one of them changes in there shows in the next
	defer func() {
		if fault := changed(untouched, c.events); fault != "" {
			faults = append(faults, fault)
		}
	}()
	if fault := c.someFolded(); fault != "" {
		return []string{fault}
	}
	for range 8 { // two keys of a map come in either order: seven of eight must not hide it
		if difference := compare(c.records, recordsOf(p, cloned(events))); difference != "" {
			return []string{"folded twice: " + difference + ". A fold may use nothing but its arguments: no clock, " +
				"no randomness, no order of a map, nothing that an earlier call has left"}
		}
	}
	if there, err := elsewhere(); err != nil {
		faults = append(faults, "another process: "+err.Error())
	} else if difference := compare(c.records, there); difference != "" {
		faults = append(faults, "another process: "+difference+". A fold may use nothing of its process or host: "+
			"no time zone, no environment, no hash with a seed, no address")
	}
	for _, check := range []func() string{c.recoding, c.caching, c.splitting, c.crashing} {
		if fault := check(); fault != "" {
			faults = append(faults, fault)
		}
	}
	return faults
}

type checker struct {
	projection projections.Projection
	events     []projections.Event
	records    []record // what each event does, when folded alone from the stored values
}

func (c *checker) someFolded() string {
	for _, r := range c.records {
		if r.Err == "" && len(r.Put)+len(r.Delete) > 0 {
			return ""
		}
	}
	for _, r := range c.records {
		if r.Err != "" {
			return fmt.Sprintf("none of the %d events was folded, so nothing was checked; the first error: %s", len(c.events), r.Err)
		}
	}
	return fmt.Sprintf("none of the %d events changed anything, so nothing was checked: do their subjects match %q?",
		len(c.events), c.projection.Definition().Subjects)
}

// recoding checks value == decode(encode(value)) on the bytes.
func (c *checker) recoding() string {
	fold, ok := c.projection.NewFold(projections.FoldOptions{}).(interface {
		Recode(stored []byte) ([]byte, error)
	})
	if !ok {
		return "" // a fold of another kind: the cache checks have to do
	}
	for _, r := range c.records {
		for _, key := range slices.Sorted(maps.Keys(r.Put)) {
			again, err := fold.Recode(r.Put[key])
			switch {
			case err != nil:
				return fmt.Sprintf("decode(encode(value)): %s, key %q: %s: %v", r, key, show(r.Put[key]), err)
			case !bytes.Equal(again, r.Put[key]):
				return fmt.Sprintf("decode(encode(value)): %s, key %q: stored as %s, which is read and stored again as %s. "+
					"The codec must give back what it was given", r, key, show(r.Put[key]), show(again))
			}
		}
	}
	return ""
}

// caching folds with values that stay in memory, and some that do not.
func (c *checker) caching() string {
	one := 200
	for _, r := range c.records {
		for key, value := range r.Put {
			one = max(one, 200+len(key)+2*len(value))
		}
	}
	always := func(int) bool { return true }
	never := func(int) bool { return false }
	single := func(int) int { return 1 }
	all := func(left int) int { return left }
	for _, s := range []schedule{
		{name: "cache of nothing", batch: single, keep: 0, commit: always, crash: never},
		{name: "cache of one key", batch: single, keep: one, commit: always, crash: never},
		{name: "cache of everything", batch: single, keep: math.MaxInt, commit: always, crash: never},
		{name: "cache of everything, folded in one batch", batch: all, keep: math.MaxInt, commit: never, crash: never},
	} {
		if difference := c.follow(s); difference != "" {
			return s.name + ": " + difference + hiddenState
		}
	}
	return ""
}

const hiddenState = ". A value must be wholly in what its codec stores, and belong to one key alone"

// splitting folds up to each event, takes a snapshot, and folds the tail from there.
func (c *checker) splitting() string {
	for split := range len(c.events) + 1 {
		done := 0
		difference := c.follow(schedule{
			batch: func(int) int {
				if done++; done == 1 && split > 0 {
					return split
				}
				return 1
			},
			keep:   math.MaxInt,
			commit: func(int) bool { return true },
			crash:  func(folded int) bool { return folded == split },
		})
		if difference != "" {
			return fmt.Sprintf("snapshot + tail, split behind %d of %d events: %s%s", split, len(c.events), difference, hiddenState)
		}
	}
	return ""
}

// crashing folds under schedules of crashes, each of its own seed.
func (c *checker) crashing() string {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		difference := c.follow(schedule{
			batch:  func(left int) int { return 1 + r.IntN(min(left, 7)) },
			keep:   []int{0, 300, math.MaxInt}[seed%3],
			commit: func(int) bool { return r.IntN(5) < 2 },
			crash:  func(int) bool { return r.IntN(4) == 0 },
		})
		if difference != "" {
			return fmt.Sprintf("crashes, schedule %d: %s%s", seed, difference, hiddenState)
		}
	}
	return ""
}

// cloned copies events with their data, so that what a fold does to them can be told.
func cloned(events []projections.Event) []projections.Event {
	clones := slices.Clone(events)
	for i := range clones {
		e := &clones[i]
		header := projections.HeaderOf(bytes.Clone(e.Header.Block()))
		at := e.Time.Round(0).UTC() // as a log gives it
		*e = projections.Event{Seq: e.Seq, Subject: e.Subject, Time: at, Header: header, Data: bytes.Clone(e.Data)}
	}
	return clones
}

func changed(was, is []projections.Event) string {
	for i := range was {
		if !bytes.Equal(was[i].Data, is[i].Data) || !bytes.Equal(was[i].Header.Block(), is[i].Header.Block()) {
			return fmt.Sprintf("events unchanged: event %d (%s): its data was %s, and is %s after folding. "+
				"Events are shared by all projections: copy what you change",
				was[i].Seq, was[i].Subject, show(was[i].Data), show(is[i].Data))
		}
	}
	return ""
}

func nameOf(p projections.Projection) string {
	d := p.Definition()
	return fmt.Sprintf("projection %s version %d", d.Name, d.Version)
}

// show prints stored bytes: text as it is, all else quoted.
func show(stored []byte) string {
	if len(stored) > 0 && utf8.Valid(stored) {
		return string(stored)
	}
	return fmt.Sprintf("%q", stored)
}
