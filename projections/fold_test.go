package projections_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/projections"
)

// rig is a fold with the store that it is loaded from: what a worker is to a unit, at its plainest.
type rig struct {
	fold  projections.Fold
	store map[string]string
}

func newRig(p projections.Projection, options projections.FoldOptions) *rig {
	return &rig{fold: p.NewFold(options), store: map[string]string{}}
}

// foldAll plans, loads and folds events.
func (r *rig) foldAll(events ...projections.Event) error {
	for _, key := range r.fold.Plan(events) {
		stored, exists := r.store[key]
		if err := r.fold.Load(key, []byte(stored), exists); err != nil {
			return err
		}
	}
	return r.fold.Step()
}

// apply puts changes into the store.
func (r *rig) apply(changes projections.Changes) {
	for _, entry := range changes.Put {
		r.store[entry.Key] = string(entry.Value)
	}
	for _, key := range changes.Delete {
		delete(r.store, key)
	}
}

// commit writes all changes.
func (r *rig) commit() error {
	changes, err := r.fold.Changes()
	if err != nil {
		return err
	}
	r.apply(changes)
	r.fold.Acked()
	return nil
}

func (r *rig) want(t *testing.T, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, r.store); diff != "" {
		t.Errorf("the store differs (-want +got): %s", diff)
	}
}

// words counts, for each word of an event's data, how often it was seen. A word with "-" before it deletes its key;
// "error" and "panic" do what they say, "huge" makes a value of a kilobyte, "nan" one that can't be encoded.
type wordCount struct {
	Count float64 `json:"count"`
	Pad   string  `json:"pad,omitempty"`
}

var words = projections.Keyed[*wordCount]{
	Name: "words", Version: 1, Stream: "TEXT",
	Keys: func(event projections.Event) ([]string, error) {
		switch string(event.Data) {
		case "keys error":
			return nil, errors.New("these keys can't be told")
		case "keys panic":
			panic("no keys")
		}
		var keys []string
		for word := range strings.SplitSeq(string(event.Data), " ") {
			if word != "." {
				keys = append(keys, strings.TrimPrefix(word, "-"))
			}
		}
		return keys, nil
	},
	Seed: func() *wordCount { return &wordCount{} },
	Step: func(key string, value *wordCount, event projections.Event) (*wordCount, error) {
		value.Count++ // the value itself is changed, also where an error follows
		switch key {
		case "error":
			return value, errors.New("not this word")
		case "panic":
			panic("this word")
		case "huge":
			value.Pad = strings.Repeat("x", 1024)
		case "nan":
			value.Count -= value.Count
			value.Count /= value.Count
		}
		if strings.Contains(" "+string(event.Data)+" ", " -"+key+" ") {
			value.Count = 0
		}
		return value, nil
	},
	Gone: func(value *wordCount) bool { return value.Count == 0 },
}

func text(seq uint64, data string) projections.Event {
	return projections.Event{Seq: seq, Subject: "text.en", Data: []byte(data)}
}

func TestFoldKeepsOneValuePerKeyAndDeletesTheGone(t *testing.T) {
	r := newRig(words, projections.FoldOptions{})
	if err := r.foldAll(text(1, "a b"), text(2, "."), text(3, "b c -a")); err != nil {
		t.Fatal(err)
	}
	if err := r.commit(); err != nil {
		t.Fatal(err)
	}
	r.want(t, map[string]string{"b": `{"count":2}`, "c": `{"count":1}`})
	if err := r.foldAll(text(4, "-b -c"), text(5, "a b")); err != nil { // b is deleted and made anew
		t.Fatal(err)
	}
	if err := r.commit(); err != nil {
		t.Fatal(err)
	}
	r.want(t, map[string]string{"a": `{"count":1}`, "b": `{"count":1}`})
}

func TestFoldOfASingleHasTheOneEmptyKey(t *testing.T) {
	r := newRig(projections.Single[int]{
		Seed: func() int { return 100 },
		Step: func(sum int, event projections.Event) (int, error) { return sum + len(event.Data), nil },
	}, projections.FoldOptions{})
	if err := r.foldAll(text(1, "a"), text(2, "bc")); err != nil {
		t.Fatal(err)
	}
	if err := r.commit(); err != nil {
		t.Fatal(err)
	}
	r.want(t, map[string]string{"": "103"})
}

func TestPlanLeavesOutEventsOfOtherSubjects(t *testing.T) {
	p := words
	p.Subjects = []string{"text.>", "notes.*"}
	r := newRig(p, projections.FoldOptions{Subjects: []string{"*.de", "*.de.>"}})
	var events []projections.Event
	for i, subject := range []string{"text.de", "text.en", "text.de.at", "notes.de", "notes.de.at", "other.de"} {
		events = append(events, projections.Event{Seq: uint64(i + 1), Subject: subject, Data: []byte(subject)})
	}
	if diff := cmp.Diff([]string{"text.de", "text.de.at", "notes.de"}, r.fold.Plan(events)); diff != "" {
		t.Error(diff)
	}
	nowhere := newRig(p, projections.FoldOptions{Subjects: []string{"other.>"}})
	if err := nowhere.foldAll(events...); err != nil {
		t.Fatal(err)
	}
	if keys, _ := nowhere.fold.Dirty(); keys != 0 {
		t.Errorf("%d keys changed in a partition that has no subject in common with the projection", keys)
	}
}

func TestPlanAsksForEachMissingKeyOnce(t *testing.T) {
	r := newRig(words, projections.FoldOptions{})
	if err := r.foldAll(text(1, "a")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b", "c"}, r.fold.Plan([]projections.Event{text(2, "a b"), text(3, "b c a")})); diff != "" {
		t.Error(diff)
	}
}

func TestPlanThatIsNotFoldedLeavesNothingBehind(t *testing.T) {
	r := newRig(words, projections.FoldOptions{})
	r.store["a"] = `{"count":5}`
	events := []projections.Event{text(1, "a b")}
	r.fold.Plan(events)
	if err := r.fold.Load("a", []byte(r.store["a"]), true); err != nil { // and then the store went away
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b"}, r.fold.Plan(events)); diff != "" {
		t.Errorf("what is missing now (-want +got): %s", diff)
	}
	if missing := r.fold.Plan(nil); missing != nil && len(missing) > 0 {
		t.Errorf("%q are missing for no event", missing)
	}
	if r.fold.Evict(0); r.fold.Bytes() != 0 {
		t.Errorf("%d bytes are left", r.fold.Bytes())
	}
	if err := r.foldAll(events...); err != nil {
		t.Fatal(err)
	}
	if err := r.commit(); err != nil {
		t.Fatal(err)
	}
	r.want(t, map[string]string{"a": `{"count":6}`, "b": `{"count":1}`})
}

func TestEvictKeepsWhatIsPlanned(t *testing.T) {
	r := newRig(words, projections.FoldOptions{})
	for _, key := range r.fold.Plan([]projections.Event{text(1, "a b")}) {
		if err := r.fold.Load(key, nil, false); err != nil {
			t.Fatal(err)
		}
	}
	r.fold.Evict(0)
	if err := r.fold.Step(); err != nil {
		t.Fatal(err)
	}
	if err := r.foldAll(text(2, "a")); err != nil {
		t.Fatal(err)
	}
	if err := r.commit(); err != nil {
		t.Fatal(err)
	}
	r.want(t, map[string]string{"a": `{"count":2}`, "b": `{"count":1}`})
}

func TestEvictNeverForgetsWhatTheStoreDoesNotHave(t *testing.T) {
	r := newRig(words, projections.FoldOptions{})
	r.store["a"] = `{"count":1}`
	if err := r.foldAll(text(1, "-a")); err != nil {
		t.Fatal(err)
	}
	r.fold.Evict(0) // dirty
	changes, err := r.fold.Changes()
	if err != nil {
		t.Fatal(err)
	}
	r.fold.Evict(0) // in flight: the store still shows the old value
	if missing := r.fold.Plan([]projections.Event{text(2, "a")}); len(missing) != 0 {
		t.Fatalf("%q is asked of the store before it has acknowledged the deletion", missing)
	}
	if err := r.fold.Step(); err != nil {
		t.Fatal(err)
	}
	r.apply(changes)
	r.fold.Acked()
	r.fold.Evict(0) // acknowledged, but changed again meanwhile
	if err := r.commit(); err != nil {
		t.Fatal(err)
	}
	r.want(t, map[string]string{"a": `{"count":1}`})
	if r.fold.Evict(0); r.fold.Bytes() != 0 {
		t.Errorf("%d bytes are left of nothing", r.fold.Bytes())
	}
}

func TestEvictGivesRecentlyUsedValuesASecondChance(t *testing.T) {
	r := newRig(words, projections.FoldOptions{})
	if err := r.foldAll(text(1, "a b c d")); err != nil {
		t.Fatal(err)
	}
	if err := r.commit(); err != nil {
		t.Fatal(err)
	}
	r.fold.Evict(r.fold.Bytes() - 1) // sweeps all, forgets one
	if err := r.foldAll(text(2, "d")); err != nil {
		t.Fatal(err)
	}
	if err := r.commit(); err != nil {
		t.Fatal(err)
	}
	r.fold.Evict(r.fold.Bytes() / 3)
	if missing := r.fold.Plan([]projections.Event{text(3, "a b c d")}); len(missing) != 3 || strings.Contains(strings.Join(missing, ""), "d") {
		t.Errorf("%q were forgotten, want all but d, which was used last", missing)
	}
}

func TestBytesFollowTheSizeOfTheValues(t *testing.T) {
	r := newRig(words, projections.FoldOptions{})
	sizes := map[string]int{}
	for seq, data := range []string{"a", "a huge", "a -huge"} {
		if err := r.foldAll(text(uint64(seq+1), data)); err != nil {
			t.Fatal(err)
		}
		if err := r.commit(); err != nil {
			t.Fatal(err)
		}
		sizes[data] = r.fold.Bytes()
	}
	if grown := sizes["a huge"] - sizes["a"]; grown < 1024 {
		t.Errorf("a value of a kilobyte counts as %d bytes", grown)
	}
	if left := sizes["a -huge"] - sizes["a"]; left > 512 {
		t.Errorf("%d bytes are counted for a value that is gone", left)
	}
}

func TestEventThatCannotBeFoldedIsNamed(t *testing.T) {
	for name, c := range map[string]struct{ data, want string }{
		"an error":               {"error", `event 7 (text.en), key "error": not this word`},
		"at the second key":      {"a error b", `event 7 (text.en), key "error": not this word`},
		"a panic":                {"a panic", `event 7 (text.en), key "panic": panic with a value of type string`},
		"keys that fail":         {"keys error", `event 7 (text.en): these keys can't be told`},
		"keys that panic":        {"keys panic", `event 7 (text.en): panic with a value of type string`},
		"the same key twice":     {"a b a", `event 7 (text.en), key "a": Keys names this key twice`},
		"an empty key":           {"a  b", `event 7 (text.en): the key is empty`},
		"a key beyond its bound": {strings.Repeat("k", 101), `event 7 (text.en), key "` + strings.Repeat("k", 64) + `": key of 101 bytes is over the limit of 100 (key "` + strings.Repeat("k", 64) + `")`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(words, projections.FoldOptions{MaxKey: 100})
			err := r.foldAll(text(5, "a"), text(7, c.data), text(9, "z"))
			if diff := cmp.Diff(c.want, fmt.Sprint(err)); diff != "" {
				t.Error(diff)
			}
			var poison *projections.EventError
			if !errors.As(err, &poison) || poison.Seq != 7 {
				t.Errorf("%#v does not name event 7", err)
			}
			var panicked *projections.PanicError
			if errors.As(err, &panicked) && !strings.Contains(string(panicked.Stack), "fold_test.go") {
				t.Errorf("the stack does not lead to the code that panicked:\n%s", panicked.Stack)
			}
		})
	}
}

// The same key twice and a key that fails late must also be told where the value is in the cache already.
func TestPoisonIsTheSameWithAWarmCache(t *testing.T) {
	for _, data := range []string{"a b a", "a error", "keys error", "a  b"} {
		cold, warm := newRig(words, projections.FoldOptions{}), newRig(words, projections.FoldOptions{})
		if err := warm.foldAll(text(1, "a b")); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fmt.Sprint(cold.foldAll(text(7, data))), fmt.Sprint(warm.foldAll(text(7, data)))); diff != "" {
			t.Errorf("%q: %s", data, diff)
		}
	}
}

// What an event has changed before it failed must not reach the store: the fold is dropped, and made anew from what
// the store holds, it comes to the same values as if the event had never been.
func TestEventIsAllOrNothing(t *testing.T) {
	for _, data := range []string{"a b error", "a b panic", "a huge", "b nan", "a a", "keys panic"} {
		t.Run(data, func(t *testing.T) {
			r := newRig(words, projections.FoldOptions{MaxValue: 512})
			if err := r.foldAll(text(1, "a"), text(2, "a b")); err != nil {
				t.Fatal(err)
			}
			if err := r.commit(); err != nil {
				t.Fatal(err)
			}
			err := r.foldAll(text(3, data))
			if err == nil {
				err = r.commit()
			}
			if err == nil {
				t.Fatal("the event was folded")
			}
			r.want(t, map[string]string{"a": `{"count":2}`, "b": `{"count":1}`})
			r.fold = words.NewFold(projections.FoldOptions{})
			if err := r.foldAll(text(4, "a b")); err != nil {
				t.Fatal(err)
			}
			if err := r.commit(); err != nil {
				t.Fatal(err)
			}
			r.want(t, map[string]string{"a": `{"count":3}`, "b": `{"count":2}`})
		})
	}
}

func TestFoldOfValuesThatAreNotChangedInPlaceSurvivesAPoisonEvent(t *testing.T) {
	p := projections.Keyed[int]{
		Keys: words.Keys,
		Step: func(key string, n int, _ projections.Event) (int, error) {
			if key == "error" {
				return -1, errors.New("not this word")
			}
			if key == "panic" {
				panic("this word")
			}
			return n + 1, nil
		},
	}
	for _, data := range []string{"a b error", "a b panic", "a b a", "a b  c", "keys error"} {
		r := newRig(p, projections.FoldOptions{})
		err := r.foldAll(text(1, "a"), text(2, "a b"), text(3, data), text(4, "never"))
		poison, ok := errors.AsType[*projections.EventError](err)
		if !ok || poison.Seq != 3 || !poison.Intact {
			t.Fatalf("%q: error is %#v, want one of event 3 that left the fold intact", data, err)
		}
		if err := r.foldAll(text(4, "b c")); err != nil {
			t.Fatal(err)
		}
		if err := r.commit(); err != nil {
			t.Fatal(err)
		}
		r.want(t, map[string]string{"a": "2", "b": "2", "c": "1"})
		if r.fold.Evict(0); r.fold.Bytes() != 0 {
			t.Errorf("%q: %d bytes are left of nothing", data, r.fold.Bytes())
		}
	}
}

func TestFoldOfValuesThatMayBeChangedInPlaceIsNotIntactAfterAPoisonEvent(t *testing.T) {
	type nested struct{ Inner [2]struct{ Names []string } }
	key := func(projections.Event) (string, error) { return "k", nil }
	for name, p := range map[string]projections.Projection{
		"pointer":      words,
		"map":          projections.Single[map[string]int]{Step: failing[map[string]int]},
		"nested slice": projections.Keyed[nested]{Key: key, Step: failingKeyed[nested]},
		"interface":    projections.Keyed[any]{Key: key, Step: failingKeyed[any]},
	} {
		err := newRig(p, projections.FoldOptions{}).foldAll(text(1, "error"))
		if poison, ok := errors.AsType[*projections.EventError](err); !ok || poison.Intact {
			t.Errorf("%s: error is %#v, want one that says the fold is not intact", name, err)
		}
	}
}

func failing[V any](V, projections.Event) (v V, err error) { return v, errors.New("fails") }

func failingKeyed[V any](string, V, projections.Event) (v V, err error) {
	return v, errors.New("fails")
}

func TestPlanAsksNothingForAnEventThatEndsIt(t *testing.T) {
	r := newRig(words, projections.FoldOptions{})
	if diff := cmp.Diff([]string{"a"}, r.fold.Plan([]projections.Event{text(1, "a"), text(2, "b c b"), text(3, "d")})); diff != "" {
		t.Error(diff)
	}
}

func TestChangesNamesTheValueThatCannotBeStored(t *testing.T) {
	r := newRig(words, projections.FoldOptions{MaxValue: 512})
	if err := r.foldAll(text(1, "a huge")); err != nil {
		t.Fatal(err)
	}
	_, err := r.fold.Changes()
	if diff := cmp.Diff(&projections.TooLargeError{What: "value", Key: "huge", Size: 1044, Limit: 512}, err); diff != "" {
		t.Error(diff)
	}
	r = newRig(words, projections.FoldOptions{})
	if err := r.foldAll(text(1, "a nan")); err != nil {
		t.Fatal(err)
	}
	_, err = r.fold.Changes()
	var value *projections.ValueError
	if !errors.As(err, &value) || value.Key != "nan" {
		t.Errorf("error is %v, want one of key nan", err)
	}
}

func TestLoadRefusesWhatCannotBeDecodedAndWhatWasNotAskedFor(t *testing.T) {
	r := newRig(words, projections.FoldOptions{})
	r.fold.Plan([]projections.Event{text(1, "a")})
	var value *projections.ValueError
	if err := r.fold.Load("a", []byte("{"), true); !errors.As(err, &value) || value.Key != "a" {
		t.Errorf("error is %v, want one of key a", err)
	}
	if err := r.fold.Load("b", nil, false); err == nil {
		t.Error("b was not asked for, and was taken")
	}
	if err := r.fold.Step(); err == nil || !strings.Contains(err.Error(), `"a" was not loaded`) {
		t.Errorf("error is %v, want that a was not loaded", err)
	}
}

func TestChangesMustBeAcknowledgedBeforeTheNext(t *testing.T) {
	r := newRig(words, projections.FoldOptions{})
	if err := r.foldAll(text(1, "a")); err != nil {
		t.Fatal(err)
	}
	if keys, bytes := r.fold.Dirty(); keys != 1 || bytes == 0 {
		t.Errorf("%d keys of %d bytes have changed, want one", keys, bytes)
	}
	if _, err := r.fold.Changes(); err != nil {
		t.Fatal(err)
	}
	if keys, bytes := r.fold.Dirty(); keys != 0 || bytes != 0 {
		t.Errorf("%d keys of %d bytes have changed since, want none", keys, bytes)
	}
	if _, err := r.fold.Changes(); err == nil {
		t.Error("a second checkpoint began while the first was in flight")
	}
}

// panicky is a codec whose code fails the hard way.
type panicky struct{ projections.JSONCodec[int] }

func (panicky) Encode(int) ([]byte, error) { panic("encode") }
func (panicky) Decode([]byte) (int, error) { panic("decode") }

func TestPanicOfACodecIsAnErrorOfTheValue(t *testing.T) {
	r := newRig(projections.Single[int]{Codec: panicky{}, Step: func(v int, _ projections.Event) (int, error) { return v, nil }}, projections.FoldOptions{})
	if err := r.foldAll(text(1, "")); err != nil {
		t.Fatal(err)
	}
	_, err := r.fold.Changes()
	if diff := cmp.Diff(`value of key "": panic: encode`, projections.Quoted(err)); diff != "" {
		t.Error(diff)
	}
	r.fold = projections.Single[int]{Codec: panicky{}}.NewFold(projections.FoldOptions{})
	r.fold.Plan([]projections.Event{text(1, "")})
	if diff := cmp.Diff(`value of key "": panic: decode`, projections.Quoted(r.fold.Load("", []byte("1"), true))); diff != "" {
		t.Error(diff)
	}
}

func TestPanicOfSeedOrGoneIsAnErrorOfTheEvent(t *testing.T) {
	step := func(_ string, v int, _ projections.Event) (int, error) { return v, nil }
	key := func(projections.Event) (string, error) { return "k", nil }
	for name, p := range map[string]projections.Keyed[int]{
		"seed": {Key: key, Step: step, Seed: func() int { panic("seed") }},
		"gone": {Key: key, Step: step, Gone: func(int) bool { panic("gone") }},
	} {
		r := newRig(p, projections.FoldOptions{})
		want := fmt.Sprintf(`event 3 (text.en), key "k": panic: %s`, name)
		if diff := cmp.Diff(want, projections.Quoted(r.foldAll(text(3, "")))); diff != "" {
			t.Error(diff)
		}
	}
}

type placed struct {
	Customer string `json:"customer"`
	Amount   int    `json:"amount"`
}

type total struct {
	Orders int `json:"orders"`
	Total  int `json:"total"`
}

// totals is the usual projection: typed events, a struct as value.
var totals = projections.Keyed[total]{
	Name: "customer-totals", Version: 1, Stream: "ORDERS",
	Key: func(event projections.Event) (string, error) {
		order, err := projections.JSON[placed](event)
		return order.Customer, err
	},
	Step: func(_ string, value total, event projections.Event) (total, error) {
		order, err := projections.JSON[placed](event)
		if err != nil {
			return value, err
		}
		return total{Orders: value.Orders + 1, Total: value.Total + order.Amount}, nil
	},
}

func orders(n, customers int) []projections.Event {
	events := make([]projections.Event, n)
	for i := range events {
		events[i] = projections.Event{Seq: uint64(i + 1), Subject: "orders.placed",
			Data: fmt.Appendf(nil, `{"customer":"c-%d","amount":%d}`, i%customers, i)}
	}
	return events
}

func TestFoldAllocatesNothingPerEventBeyondDecoding(t *testing.T) {
	const n = 1000
	r := newRig(totals, projections.FoldOptions{})
	events := orders(n, 10)
	projections.Share(events)
	decode := testing.AllocsPerRun(5, func() {
		for i := range events {
			alone := events[i].Data
			if _, err := projections.JSON[placed](projections.Event{Data: alone}); err != nil {
				t.Fatal(err)
			}
		}
	})
	all := testing.AllocsPerRun(5, func() {
		projections.Share(events) // a new batch: everything is decoded anew
		if err := r.foldAll(events...); err != nil {
			t.Fatal(err)
		}
	})
	folding := testing.AllocsPerRun(5, func() {
		if err := r.foldAll(events...); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("allocations per event: decoding alone %.3f, decoding and folding a batch %.3f, folding a decoded batch %.3f", decode/n, all/n, folding/n)
	if folding > 10 {
		t.Errorf("folding %d decoded events allocates %v times", n, folding)
	}
	if all > decode+20 {
		t.Errorf("a batch of %d allocates %v times, decoding its events one by one %v", n, all, decode)
	}
}

func BenchmarkFoldDecodedEvents(b *testing.B) {
	p := totals
	p.Subjects = []string{"orders.*.eu.>", "orders.placed"}
	r := newRig(p, projections.FoldOptions{})
	events := orders(1000, 100)
	projections.Share(events)
	b.ReportAllocs()
	for b.Loop() {
		if err := r.foldAll(events...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/event")
}

// BenchmarkEncode makes what a checkpoint writes of 1,000 changed values.
func BenchmarkEncode(b *testing.B) {
	const n = 1000
	f := totals.NewFold(projections.FoldOptions{})
	events := orders(n, n)
	projections.Share(events)
	for _, key := range f.Plan(events) {
		if err := f.Load(key, nil, false); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Step(); err != nil {
			b.Fatal(err)
		}
		changes, err := f.Changes()
		if err != nil || len(changes.Put) != n {
			b.Fatal(len(changes.Put), err)
		}
		f.Acked()
		b.StopTimer()
		f.Plan(events)
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/value")
}
