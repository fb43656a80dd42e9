package projections_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tailfold/tailfold/projections"
)

// ledger keeps for each key the seqs of its events, in order, so that a lost, doubled or misplaced event shows. An
// event's data is a list of words: "a+" adds to key a, "a-" deletes it, "x!" can't be folded.
var ledger = projections.Keyed[[]uint64]{
	Name: "ledger", Version: 1, Stream: "S",
	Keys: func(event projections.Event) ([]string, error) {
		var keys []string
		for _, word := range strings.Fields(string(event.Data)) {
			keys = append(keys, word[:1])
		}
		return keys, nil
	},
	Step: func(key string, seqs []uint64, event projections.Event) ([]uint64, error) {
		if key == "x" {
			return nil, errors.New("not this key")
		}
		if strings.Contains(string(event.Data), key+"-") {
			return nil, nil
		}
		return append(seqs, event.Seq), nil
	},
	Gone:      func(seqs []uint64) bool { return len(seqs) == 0 },
	Immutable: true, // append leaves the old value as it is
}

// foldModel drives a fold as a worker would, with a store that acknowledges late, and knows by a plain map what the
// values must be at every seq.
type foldModel struct {
	ledger  projections.Projection
	fold    projections.Fold
	cache   int // what Evict keeps after every batch
	log     []projections.Event
	folded  int                 // events that the fold has
	history []map[string]string // the right values after that many events

	store     map[string]string
	marked    int // events that the store has
	acked     int // events that the fold knows the store to have
	flight    *projections.Changes
	flightTo  int
	applied   bool            // the store has the changes in flight, the fold does not know it yet
	unsettled map[string]bool // keys whose change the store has not acknowledged
	suspect   map[string]bool // keys of poison events: they may be written, unchanged
	skip      map[uint64]bool // poison events that were met
}

func (m *foldModel) init() {
	m.history, m.store, m.skip = []map[string]string{{}}, map[string]string{}, map[uint64]bool{}
	m.Crash(nil)
}

// Append stores events in the log.
func (m *foldModel) Append(t *rapid.T) {
	for range rapid.IntRange(1, 4).Draw(t, "events") {
		words := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 0, 3, rapid.ID).Draw(t, "keys")
		before := m.history[len(m.history)-1]
		after := maps.Clone(before)
		seq := uint64(len(m.log) + 1)
		for i, key := range words {
			if rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
				words[i] += "-"
				delete(after, key)
				continue
			}
			words[i] += "+"
			after[key] = "[" + strings.TrimPrefix(strings.Trim(after[key], "[]")+","+strconv.Itoa(int(seq)), ",") + "]"
		}
		if rapid.IntRange(0, 9).Draw(t, "poison") == 0 {
			words, after = append(words, "x!"), before
		}
		m.log = append(m.log, projections.Event{Seq: seq, Data: []byte(strings.Join(words, " "))})
		m.history = append(m.history, after)
	}
}

// Fold folds what comes next, sometimes after a plan that came to nothing.
func (m *foldModel) Fold(t *rapid.T) {
	batch := m.log[m.folded:]
	batch = batch[:rapid.IntRange(0, min(5, len(batch))).Draw(t, "batch")]
	if rapid.IntRange(0, 4).Draw(t, "abandon") == 0 {
		missing := m.fold.Plan(m.left(batch))
		m.load(t, missing[:len(missing)/2])
	}
	m.load(t, m.fold.Plan(m.left(batch)))
	if rapid.Bool().Draw(t, "evict between Plan and Step") {
		m.fold.Evict(0)
	}
	to := m.folded + len(batch)
	if err := m.fold.Step(); err != nil {
		poison, ok := errors.AsType[*projections.EventError](err)
		if !ok || m.skip[poison.Seq] || poison.Key != "x" || !poisonous(m.log[poison.Seq-1]) {
			t.Fatal(err)
		}
		m.skip[poison.Seq] = true
		if !poison.Intact {
			m.Crash(t)
			return
		}
		to = int(poison.Seq)
	}
	m.folded = to
	m.note()
	m.fold.Evict(m.cache)
}

// note finds out which keys the store does not have yet as they are.
func (m *foldModel) note() {
	m.unsettled, m.suspect = map[string]bool{}, map[string]bool{}
	for _, event := range m.log[m.acked:m.folded] {
		for _, word := range strings.Fields(string(event.Data)) {
			if poisonous(event) {
				m.suspect[word[:1]] = true
			} else {
				m.unsettled[word[:1]] = true
			}
		}
	}
}

func poisonous(event projections.Event) bool { return strings.Contains(string(event.Data), "!") }

// left is what is to be folded of a run of events: those that are not skipped.
func (m *foldModel) left(events []projections.Event) []projections.Event {
	return slices.DeleteFunc(slices.Clone(events), func(event projections.Event) bool { return m.skip[event.Seq] })
}

func (m *foldModel) load(t *rapid.T, missing []string) {
	for i, key := range missing {
		if slices.Contains(missing[:i], key) {
			t.Fatalf("key %s is asked for twice: %q", key, missing)
		}
		if m.unsettled[key] {
			t.Fatalf("key %s is asked of the store, which has not acknowledged its last change", key)
		}
		stored, exists := m.store[key]
		if err := m.fold.Load(key, []byte(stored), exists); err != nil {
			t.Fatal(err)
		}
	}
}

// Send begins a checkpoint.
func (m *foldModel) Send(t *rapid.T) {
	if m.flight != nil {
		t.Skip("one is in flight")
	}
	changes, err := m.fold.Changes()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, key := range append(slices.Clone(changes.Delete), keysOf(changes.Put)...) {
		if seen[key] {
			t.Fatalf("key %s is twice in one checkpoint", key)
		}
		seen[key] = true
	}
	for key := range m.suspect {
		delete(seen, key)
		delete(m.unsettled, key)
	}
	if diff := cmp.Diff(m.unsettled, seen); diff != "" {
		t.Fatalf("keys that changed (-want +got): %s", diff)
	}
	m.flight, m.flightTo, m.applied = &changes, m.folded, false
	m.note()
}

// Apply lets the store apply the checkpoint in flight, without a word.
func (m *foldModel) Apply(t *rapid.T) {
	if m.flight == nil || m.applied {
		t.Skip("nothing to apply")
	}
	for _, entry := range m.flight.Put {
		m.store[entry.Key] = string(entry.Value)
	}
	for _, key := range m.flight.Delete {
		delete(m.store, key)
	}
	m.marked, m.applied = m.flightTo, true
	if diff := cmp.Diff(m.history[m.marked], m.store); diff != "" {
		t.Fatalf("the store at seq %d (-want +got): %s", m.marked, diff)
	}
}

// Ack lets the acknowledgement arrive.
func (m *foldModel) Ack(t *rapid.T) {
	if m.flight == nil || !m.applied {
		t.Skip("nothing to acknowledge")
	}
	m.fold.Acked()
	m.flight, m.acked = nil, m.marked
	m.note()
}

// Evict forgets some of the values.
func (m *foldModel) Evict(t *rapid.T) {
	before, whole := m.fold.Bytes(), m.fold.Whole()
	m.fold.Evict(rapid.IntRange(0, 1000).Draw(t, "keep"))
	if want := whole && m.fold.Bytes() == before; m.fold.Whole() != want {
		t.Fatalf("of %d bytes %d are left, and it says of itself that it is whole: %v", before, m.fold.Bytes(), !want)
	}
}

// Crash loses the fold. Whether the checkpoint in flight was applied stays as it is.
func (m *foldModel) Crash(*rapid.T) {
	m.fold = m.ledger.NewFold(projections.FoldOptions{})
	m.flight, m.folded, m.acked = nil, m.marked, m.marked
	m.note()
}

func (m *foldModel) Check(t *rapid.T) {
	if keys, bytes := m.fold.Dirty(); keys < 0 || (keys == 0) != (bytes == 0) {
		t.Fatalf("%d keys of %d bytes are dirty", keys, bytes)
	}
	if m.fold.Bytes() < 0 {
		t.Fatalf("the values take %d bytes", m.fold.Bytes())
	}
}

func keysOf(entries []projections.Entry) []string {
	var keys []string
	for _, entry := range entries {
		keys = append(keys, entry.Key)
	}
	return keys
}

func TestFoldAgreesWithAPlainMapUnderEveryInterleaving(t *testing.T) {
	mutable := ledger
	mutable.Immutable = false
	for name, m := range map[string]foldModel{
		"no cache":  {ledger: ledger, cache: 0},
		"one key":   {ledger: ledger, cache: 200},
		"unlimited": {ledger: ledger, cache: math.MaxInt},
		"mutable":   {ledger: mutable, cache: 200},
	} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m := m
				m.init()
				t.Repeat(rapid.StateMachineActions(&m))

				// Whatever has happened: when everything is written, the store is right and nothing is left over.
				for m.folded < len(m.log) {
					m.Fold(t)
				}
				for range 2 {
					if m.flight == nil {
						m.Send(t)
					}
					if !m.applied {
						m.Apply(t)
					}
					m.Ack(t)
				}
				if diff := cmp.Diff(m.history[len(m.log)], m.store); diff != "" {
					t.Fatalf("the store at the end (-want +got): %s", diff)
				}
				if m.fold.Evict(0); m.fold.Bytes() != 0 {
					t.Fatalf("%d bytes are left of nothing", m.fold.Bytes())
				}
			})
		})
	}
}

// A fold that grows and forgets for long must count its bytes right, or a worker's budget drifts.
func TestFoldCountsItsBytesToZeroAfterManyRounds(t *testing.T) {
	r := newRig(ledger, projections.FoldOptions{})
	for round := range 500 {
		event := projections.Event{Seq: uint64(round + 1), Data: fmt.Appendf(nil, "%c+ %c- z+", 'a'+round%7, 'i'+round%5)}
		if err := r.foldAll(event); err != nil {
			t.Fatal(err)
		}
		if round%3 == 0 {
			if err := r.commit(); err != nil {
				t.Fatal(err)
			}
			r.fold.Evict(300)
		}
	}
	if err := r.commit(); err != nil {
		t.Fatal(err)
	}
	if r.fold.Evict(0); r.fold.Bytes() != 0 {
		t.Errorf("%d bytes are left of nothing", r.fold.Bytes())
	}
}
