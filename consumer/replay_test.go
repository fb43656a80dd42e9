package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/logtest"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/projections/projectiontest"
	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/storetest"
)

var made = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// seqsOf keeps for each key the seqs of the events that named it: what is lost, doubled or out of order shows. A word
// "a-" deletes key a, "x" can't be folded, also as the second key of an event.
var seqsOf = projections.Keyed[[]uint64]{
	Name: "seqs", Version: 1, Stream: "S", OnPoison: projections.Skip,
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
	Gone: func(seqs []uint64) bool { return len(seqs) == 0 },
}

// modelOf is a read model on an empty store.
func modelOf(log consumer.Log, p projections.Projection) consumer.ReadModel {
	return consumer.ReadModel{Log: log, Store: storetest.NewMemory(), Projection: p, Writer: "test"}
}

// logOf is a log with an event for each text, from seq 1 on.
func logOf(texts ...string) *logtest.Memory {
	log := logtest.NewMemory("S", made)
	for _, text := range texts {
		log.Append("s", projections.Header{}, []byte(text))
	}
	return log
}

// drawLog draws a log with poison events and holes, in small batches, and what a plain fold makes of each of its
// prefixes.
func drawLog(t *rapid.T) (log *logtest.Memory, length uint64, right []map[string][]byte) {
	words := rapid.SampledFrom([]string{"a", "b", "c", "a-", "b-", "x"})
	texts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
		byKey := func(word string) string { return word[:1] }
		return strings.Join(rapid.SliceOfNDistinct(words, 0, 3, byKey).Draw(t, "words"), " ")
	}), 1, 12).Draw(t, "log")
	log = logOf(texts...)
	log.SetMaxBatch(rapid.IntRange(1, 5).Draw(t, "batch"))
	var events []projections.Event
	skip := map[uint64]bool{}
	right = []map[string][]byte{{}}
	for i, text := range texts {
		event := projections.Event{Seq: uint64(i + 1), Subject: "s", Data: []byte(text)}
		if rapid.IntRange(0, 4).Draw(t, "delete") == 0 && i > 0 {
			log.Delete(event.Seq)
		} else {
			events = append(events, event)
			skip[event.Seq] = strings.Contains(text, "x")
		}
		values, err := projectiontest.Replay(seqsOf, events, skip)
		if err != nil {
			t.Fatal(err)
		}
		right = append(right, values)
	}
	return log, uint64(len(texts)), right
}

func TestReplayEqualsFullReplayFromASnapshotAtEverySplitPoint(t *testing.T) {
	ctx := t.Context()
	rapid.Check(t, func(t *rapid.T) {
		log, length, right := drawLog(t)
		for split := range length + 1 {
			model := modelOf(log, seqsOf)
			if _, err := model.Checkpoint(ctx, split); err != nil {
				t.Fatal(err)
			}
			for upTo := split; upTo <= length; upTo++ {
				replayed, err := model.Replay(ctx, upTo)
				if err != nil {
					t.Fatal(err)
				}
				full, err := model.FullReplay(ctx, upTo)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(text(right[upTo]), text(replayed.Values)); diff != "" {
					t.Fatalf("snapshot at %d + tail to %d (-want +got): %s", split, upTo, diff)
				}
				if diff := cmp.Diff(text(right[upTo]), text(full.Values)); diff != "" {
					t.Fatalf("full replay to %d (-want +got): %s", upTo, diff)
				}
				if replayed.Mark.Seq != full.Mark.Seq {
					t.Fatalf("snapshot at %d + tail ends at seq %d, the full replay at %d", split, replayed.Mark.Seq, full.Mark.Seq)
				}
			}
		}
	})
}

// The other way round: what a full replay gives is what the store holds, however many checkpoints led there.
func TestSnapshotEqualsFullReplayAfterEveryCheckpoint(t *testing.T) {
	ctx := t.Context()
	rapid.Check(t, func(t *rapid.T) {
		log, length, right := drawLog(t)
		model := modelOf(log, seqsOf)
		for upTo := uint64(0); upTo <= length; upTo += rapid.Uint64Range(1, 4).Draw(t, "more") {
			if _, err := model.Checkpoint(ctx, upTo); err != nil {
				t.Fatal(err)
			}
			held, err := model.Load(ctx)
			if err != nil {
				t.Fatal(err)
			}
			full, err := model.FullReplay(ctx, held.Mark.Seq)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(text(full.Values), text(held.Values)); diff != "" {
				t.Fatalf("the snapshot at %d (-full replay +snapshot): %s", upTo, diff)
			}
			if diff := cmp.Diff(text(right[upTo]), text(held.Values)); diff != "" {
				t.Fatalf("the snapshot at %d (-want +got): %s", upTo, diff)
			}
		}
	})
}

// tailOnly is a log whose head must not be read: events up to after are not for anyone.
type tailOnly struct {
	consumer.Log
	after uint64
}

func (l tailOnly) Open(ctx context.Context, after uint64, subjects []string) (consumer.Reader, error) {
	if after < l.after {
		return nil, fmt.Errorf("opened after seq %d, though the snapshot is at %d", after, l.after)
	}
	return l.Log.Open(ctx, after, subjects)
}

func TestReplayDependsOnNothingButSnapshotAndTail(t *testing.T) {
	ctx := t.Context()
	rapid.Check(t, func(t *rapid.T) {
		log, length, right := drawLog(t)
		model := modelOf(log, seqsOf)
		split := rapid.Uint64Range(1, length).Draw(t, "split")
		saved, err := model.Checkpoint(ctx, split)
		if err != nil {
			t.Fatal(err)
		}
		at := saved.Mark.Seq
		model.Log = tailOnly{log, at}
		replayed, err := model.Replay(ctx, consumer.ToHead)
		if err != nil {
			t.Fatal(err)
		}
		log.Purge(at) // the head is gone, with the message that proved the snapshot
		bounds, err := log.Bounds(ctx)
		if err != nil {
			t.Fatal(err)
		}
		again, err := model.Replay(ctx, consumer.ToHead)
		if bounds.First > at+1 { // the next was a hole: nobody can tell it from an event that is lost
			if reasonOf(err) != consumer.Gap {
				t.Fatalf("a log that begins at %d gives %v, want GAP", bounds.First, err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range []*consumer.Snapshot{replayed, again} {
			if diff := cmp.Diff(text(right[length]), text(got.Values)); diff != "" {
				t.Fatalf("snapshot at %d + tail (-want +got): %s", at, diff)
			}
		}
		if _, err := model.Checkpoint(ctx, consumer.ToHead); err != nil {
			t.Fatal(err)
		}
		model.Log = log
		if _, err := model.FullReplay(ctx, consumer.ToHead); reasonOf(err) != consumer.Gap {
			t.Fatalf("a full replay of half a log gives %v, want GAP", err)
		}
	})
}

func TestLoadOfNoSnapshotIsTheSeedAtZero(t *testing.T) {
	model := modelOf(logOf("a"), seqsOf)
	exists, err := model.Exists(t.Context())
	if exists || err != nil {
		t.Errorf("a snapshot exists: %v, %v", exists, err)
	}
	s, err := model.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Mark.Seq != 0 || !s.Mark.IsZero() || len(s.Values) != 0 {
		t.Errorf("it is %+v", s)
	}
}

func TestCheckpointSavesWhatLoadFinds(t *testing.T) {
	model := modelOf(logOf("a", "a b", "x a", "b-"), seqsOf)
	saved, err := model.Checkpoint(t.Context(), consumer.ToHead)
	if err != nil {
		t.Fatal(err)
	}
	if exists, err := model.Exists(t.Context()); !exists || err != nil {
		t.Errorf("a snapshot exists: %v, %v", exists, err)
	}
	held, err := model.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a": "[1,2]"}, text(held.Values)); diff != "" {
		t.Error(diff)
	}
	mark := held.Mark
	if mark.Seq != 4 || mark.Since != 1 || mark.Epoch != 1 || mark.Writer != "test" || mark.Stream != "S" || !mark.Created.Equal(made) {
		t.Errorf("the mark is %+v", mark)
	}
	if want := consumer.WitnessHash("s", nil, []byte("b-")); len(mark.Witnesses) != 1 || mark.Witnesses[0].Hash != want || mark.Witnesses[0].Seq != 4 {
		t.Errorf("the witnesses are %+v", mark.Witnesses)
	}
	if len(held.Skipped) != 1 || held.Skipped[0].Seq != 3 || held.Skipped[0].Key != "x" || held.Skipped[0].Cause != "not this key" {
		t.Errorf("the record of skipped events is %+v", held.Skipped)
	}
	if diff := cmp.Diff(string(saved.Mark.Raw), string(mark.Raw)); diff != "" {
		t.Errorf("the mark that was saved is not the one that is held: %s", diff)
	}
}

func TestSaveIsRefusedWhereTheStoreHoldsSomethingElse(t *testing.T) {
	ctx := t.Context()
	log := logOf("a", "a", "a")
	model := modelOf(log, seqsOf)
	slow, err := model.Replay(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	fast, err := model.Checkpoint(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	full, err := model.FullReplay(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*consumer.Snapshot{slow, full} {
		conflict, ok := errors.AsType[*snapshotstore.ConflictError](model.Save(ctx, s))
		if !ok || conflict.Held.Seq != 3 {
			t.Errorf("error is %v, want a conflict with seq 3", conflict)
		}
	}
	if held, err := model.Load(ctx); err != nil || held.Mark.ID != fast.Mark.ID {
		t.Errorf("the store holds %+v, %v", held, err)
	}
	log.Append("s", projections.Header{}, []byte("a"))
	if s, err := model.Checkpoint(ctx, consumer.ToHead); err != nil || s.Mark.Epoch != 2 || string(s.Values["a"]) != "[1,2,3,4]" {
		t.Errorf("the next checkpoint is %+v, %v", s, err)
	}
}

func TestReplayDoesNotGoBack(t *testing.T) {
	model := modelOf(logOf("a", "a", "a"), seqsOf)
	if _, err := model.Checkpoint(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	_, err := model.Replay(t.Context(), 2)
	want := "replay seqs/v1/0 to seq 2: the snapshot is at seq 3 already, and a fold does not go back: replay from the beginning (FullReplay)"
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Error(diff)
	}
}

func TestReplayRefusesAnotherDefinitionAndAnotherLog(t *testing.T) {
	ctx := t.Context()
	log := logOf("a", "a", "a")
	model := modelOf(log, seqsOf)
	if _, err := model.Checkpoint(ctx, 3); err != nil {
		t.Fatal(err)
	}
	changed := seqsOf
	changed.Subjects = []string{"s"}
	other := model
	other.Projection = changed
	if _, err := other.Replay(ctx, consumer.ToHead); reasonOf(err) != consumer.Changed {
		t.Errorf("another definition gives %v, want CHANGED", err)
	}
	log.RestoreTo(2)
	if _, err := model.Replay(ctx, consumer.ToHead); reasonOf(err) != consumer.Diverged {
		t.Errorf("a log that ends before the snapshot gives %v, want DIVERGED", err)
	}
	log.Append("s", projections.Header{}, []byte("b"))
	log.Append("s", projections.Header{}, []byte("b"))
	if _, err := model.Replay(ctx, consumer.ToHead); reasonOf(err) != consumer.Diverged {
		t.Errorf("a log with another third event gives %v, want DIVERGED", err)
	}
}

func TestReplayRefusesALogThatLosesEventsFromItsMiddle(t *testing.T) {
	log := logOf("a")
	log.SetUnsuitable("", "max 1 message per subject")
	model := modelOf(log, seqsOf)
	if _, err := model.Replay(t.Context(), consumer.ToHead); reasonOf(err) != consumer.Unsuitable {
		t.Errorf("error is %v, want UNSUITABLE", err)
	}
	model.Stream.AcceptHoles = true
	if _, err := model.Replay(t.Context(), consumer.ToHead); err != nil {
		t.Error(err)
	}
}

// early is a log whose readers begin before the position that they are asked for.
type early struct{ consumer.Log }

func (l early) Open(ctx context.Context, after uint64, subjects []string) (consumer.Reader, error) {
	return l.Log.Open(ctx, after-min(after, 2), subjects)
}

func TestReplayPassesOverEventsThatTheSnapshotHas(t *testing.T) {
	model := modelOf(early{logOf("a", "a", "a", "a")}, seqsOf)
	for upTo := range uint64(4) {
		if _, err := model.Checkpoint(t.Context(), upTo+1); err != nil {
			t.Fatal(err)
		}
	}
	s, err := model.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a": "[1,2,3,4]"}, text(s.Values)); diff != "" {
		t.Error(diff)
	}
}

// busy is a store that a worker writes to while it is being read.
type busy struct {
	snapshotstore.Store
	write func()
}

func (b *busy) Scan(ctx context.Context, unit snapshotstore.Unit) iter.Seq2[snapshotstore.Entry, error] {
	return func(yield func(snapshotstore.Entry, error) bool) {
		for entry, err := range b.Store.Scan(ctx, unit) {
			if !yield(entry, err) {
				return
			}
			b.write()
		}
	}
}

func TestLoadReturnsValuesAndMarkOfOneMoment(t *testing.T) {
	model := modelOf(logOf("a b", "a b", "a b", "c"), seqsOf)
	if _, err := model.Checkpoint(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	reader, seq := model, uint64(1)
	reader.Store = &busy{model.Store, func() {
		if seq++; seq < 4 {
			if _, err := model.Checkpoint(t.Context(), seq); err != nil {
				t.Fatal(err)
			}
		}
	}}
	s, err := reader.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a": "[1,2,3]", "b": "[1,2,3]"}, text(s.Values)); diff != "" || s.Mark.Seq != 3 {
		t.Errorf("at seq %d: %s", s.Mark.Seq, diff)
	}
}

func TestReplayHaltsBeforeAnEventThatCannotBeFolded(t *testing.T) {
	halting := seqsOf
	halting.OnPoison = projections.Halt
	model := modelOf(logOf("a", "b", "a x", "c"), halting)
	s, err := model.Replay(t.Context(), consumer.ToHead)
	if diff := cmp.Diff(`replay seqs/v1/0: event 3 (s), key "x": not this key`, fmt.Sprint(err)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"a": "[1]", "b": "[2]"}, text(s.Values)); diff != "" || s.Mark.Seq != 2 {
		t.Errorf("at seq %d: %s", s.Mark.Seq, diff)
	}
}

// What was skipped stays skipped, also when code could fold it by now: the record decides, or a replay would come to
// other values than the snapshot.
func TestFullReplayLeavesOutWhatTheRecordSays(t *testing.T) {
	ctx := t.Context()
	model := modelOf(logOf("a", "a x", "a"), seqsOf)
	if _, err := model.Checkpoint(ctx, consumer.ToHead); err != nil {
		t.Fatal(err)
	}
	mended := seqsOf
	mended.Step = func(_ string, seqs []uint64, event projections.Event) ([]uint64, error) {
		return append(seqs, event.Seq), nil
	}
	model.Projection = mended
	s, err := model.FullReplay(ctx, consumer.ToHead)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a": "[1,3]"}, text(s.Values)); diff != "" {
		t.Error(diff)
	}
}

func TestReadModelFoldsItsPartitionOnly(t *testing.T) {
	log := logtest.NewMemory("S", made)
	for i, subject := range []string{"s.0.a", "s.1.a", "s.0.b", "s.1.b"} {
		log.Append(subject, projections.Header{}, fmt.Append(nil, string(rune('a'+i))))
	}
	model := modelOf(log, seqsOf)
	model.Stream = consumer.Stream{Partitions: 2, PartitionSubjects: []string{"s.{partition}.>"}}
	model.Partition = 1
	s, err := model.Checkpoint(t.Context(), consumer.ToHead)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"b": "[2]", "d": "[4]"}, text(s.Values)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(snapshotstore.Unit{Projection: "seqs", Version: 1, Partition: 1}, model.Unit()); diff != "" {
		t.Error(diff)
	}
}

// text makes values readable.
func text(values map[string][]byte) map[string]string {
	readable := map[string]string{}
	for key, value := range values {
		readable[key] = string(value)
	}
	return readable
}

func reasonOf(err error) consumer.Reason {
	if v, ok := errors.AsType[*consumer.Verdict](err); ok {
		return v.Reason
	}
	return ""
}
