package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tailfold/tailfold/snapshotstore"
)

func committing() []check {
	return []check{
		{"ACheckpointPutsAndDeletesAtOnce", putsAndDeletes},
		{"ACommitFromAnotherMarkIsRefused", otherMarkIsRefused},
		{"ANewEpochFencesTheOldOwner", newEpochFences},
		{"TheSameCheckpointTwiceIsAppliedOnce", appliedOnce},
		{"ACheckpointSentAgainAfterTheNextOneIsRefused", lateCheckpointIsRefused},
		{"ALostReplyIsSettledBySendingAgain", lostReply},
		{"AnUnknownOutcomeIsSettledBySendingAgain", unknownOutcome},
		{"ABigCheckpointIsOneStep", bigCheckpoint},
		{"BigValuesFit", bigValues},
		{"SkippedEventsAddUpInTheOrderOfTheirSeqs", skippedAddUp},
		{"ADefinitionStaysUntilTheNext", definitionStays},
		{"DropLeavesNothing", dropLeavesNothing},
		{"ALateCommitFromBeforeADropIsRefused", lateCommitAfterDrop},
	}
}

func putsAndDeletes(t testing.TB, h Harness) {
	c := start(t, h.Store, totals, "a", "1", "b", "1", "c", "1")
	for i, checkpoint := range []snapshotstore.Checkpoint{
		{Put: entries("a", "2", "d", "2"), Delete: []string{"b", "was never there"}},
		{Delete: []string{"a", "c", "d"}},
		{Delete: []string{"a"}},
		{Put: entries("a", "3", "b", "3")},
		{},
	} {
		checkpoint.From, checkpoint.To = c.Mark, markAt(uint64(i+2))
		commit(t, h.Store, totals, checkpoint)
		c = c.after(checkpoint)
		wantContents(t, h.Another(t), totals, c)
	}
}

func otherMarkIsRefused(t testing.TB, h Harness) {
	refuse := func(why string, from snapshotstore.Mark, c contents) {
		t.Helper()
		err := h.Store.Commit(t.Context(), totals, snapshotstore.Checkpoint{
			From: from, To: markAt(9), Put: entries("a", why, "new", why), Delete: []string{"b"},
			Definition: why, Skipped: []snapshotstore.Skipped{{Seq: 9}},
		})
		if err == nil {
			t.Fatalf("a commit from %s was applied", why)
		}
		wantConflict(t, err, totals, c.Mark)
		wantContents(t, h.Store, totals, c)
	}
	refuse("a mark where there is no snapshot", markAt(1), contents{})

	c := start(t, h.Store, totals, "a", "1", "b", "1")
	first := c.Mark
	refuse("no snapshot where there is one", snapshotstore.Mark{}, c)

	checkpoint := snapshotstore.Checkpoint{From: first, To: markAt(5), Put: entries("a", "2")}
	commit(t, h.Store, totals, checkpoint)
	c = c.after(checkpoint)
	refuse("the mark before", first, c)
	refuse("a later seq", markAt(6), c)
	refuse("the same seq under another id", markAt(5), c)

	same := c.Mark
	same.Raw = bytes.Replace(same.Raw, []byte(`:`), []byte(`: `), 1)
	refuse("a mark that differs in a space", same, c)
	same.Raw = append(bytes.Clone(c.Mark.Raw), '\n')
	refuse("a mark that goes on", same, c)
	same.Raw = c.Mark.Raw[:len(c.Mark.Raw)-1]
	refuse("a mark that is cut short", same, c)
}

func newEpochFences(t testing.TB, h Harness) {
	old := start(t, h.Store, totals, "a", "1")
	next := h.Another(t)
	claimed := old.Mark
	claimed.Epoch, claimed.Writer = 2, "worker-2"
	claim := snapshotstore.Checkpoint{From: old.Mark, To: claimed.Seal("claimed")}
	commit(t, next, totals, claim)
	c := old.after(claim)
	late := snapshotstore.Checkpoint{From: old.Mark, To: markAt(2), Put: entries("a", "of the old owner")}
	wantConflict(t, h.Store.Commit(t.Context(), totals, late), totals, c.Mark)
	wantContents(t, next, totals, c)
}

func appliedOnce(t testing.TB, h Harness) {
	c := start(t, h.Store, totals, "a", "1", "b", "1")
	checkpoint := snapshotstore.Checkpoint{
		From: c.Mark, To: markAt(2), Put: entries("a", "2"), Delete: []string{"b"},
		Skipped: []snapshotstore.Skipped{{Seq: 2, Subject: "orders.eu"}}, Definition: "another",
	}
	commit(t, h.Store, totals, checkpoint)
	c = c.after(checkpoint)
	for range 3 {
		commit(t, h.Store, totals, checkpoint)
		commit(t, h.Another(t), totals, checkpoint)
	}
	wantContents(t, h.Store, totals, c)

	first := snapshotstore.Checkpoint{To: markAt(1), Put: entries("a", "1")}
	other := snapshotstore.Unit{Projection: "first", Version: 1}
	commit(t, h.Store, other, first)
	commit(t, h.Store, other, first)
	wantContents(t, h.Store, other, contents{}.after(first))
}

func lateCheckpointIsRefused(t testing.TB, h Harness) {
	c := start(t, h.Store, totals, "a", "1")
	late := snapshotstore.Checkpoint{From: c.Mark, To: markAt(2), Put: entries("a", "2"), Delete: []string{"b"}}
	commit(t, h.Store, totals, late)
	c = c.after(late)
	over := snapshotstore.Checkpoint{From: c.Mark, To: markAt(3), Put: entries("a", "3", "b", "3")}
	commit(t, h.Another(t), totals, over)
	c = c.after(over)
	wantConflict(t, h.Store.Commit(t.Context(), totals, late), totals, c.Mark)
	wantContents(t, h.Store, totals, c)
}

func lostReply(t testing.TB, h Harness) {
	if h.LoseReply == nil {
		return // AnUnknownOutcomeIsSettledBySendingAgain loses replies by its contexts
	}
	c := start(t, h.Store, totals, "a", "1")
	for seq := range uint64(5) {
		checkpoint := snapshotstore.Checkpoint{
			From: c.Mark, To: markAt(seq + 2), Put: entries("a", fmt.Sprint(seq)),
			Skipped: []snapshotstore.Skipped{{Seq: seq + 2}},
		}
		h.LoseReply(t)
		err := h.Store.Commit(t.Context(), totals, checkpoint)
		if err == nil {
			t.Fatal("the harness lost no reply")
		}
		if _, conflict := errors.AsType[*snapshotstore.ConflictError](err); conflict || !isOfStore(err) {
			t.Fatalf("a commit whose reply was lost returned %v; want an *Error", err)
		}
		wantContents(t, h.Another(t), totals, c.after(checkpoint))
		commit(t, h.Store, totals, checkpoint)
		c = c.after(checkpoint)
		wantContents(t, h.Store, totals, c)
	}
}

// Contexts end at any moment of a commit, and replies come that nobody hears: whichever it was, sending the same
// checkpoint again is right.
func unknownOutcome(t testing.TB, h Harness) {
	c := start(t, h.Store, totals, "a", "1")
	took := time.Millisecond // by a commit that was left alone
	for i := range 100 {
		seq := uint64(i + 2)
		checkpoint := snapshotstore.Checkpoint{
			From: c.Mark, To: markAt(seq), Put: append(numbered(50, fmt.Sprint(seq)), entries("a", fmt.Sprint(seq))...),
			Skipped: []snapshotstore.Skipped{{Seq: seq}},
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		began := time.Now()
		go func() { done <- h.Store.Commit(ctx, totals, checkpoint) }()
		var err error
		if i%3 == 0 {
			err = <-done
			took = time.Since(began)
		} else {
			spin(rand.N(took + took/4 + 1))
			cancel()
			err = <-done
		}
		cancel()
		if err != nil && (!errors.Is(err, context.Canceled) || !isOfStore(err)) {
			t.Fatalf("a commit whose context ended returned %v; want an *Error that is context.Canceled", err)
		}
		commit(t, h.Store, totals, checkpoint)
		c = c.after(checkpoint)
		if i%10 == 0 {
			wantContents(t, h.Store, totals, c)
		}
	}
	wantContents(t, h.Store, totals, c)
}

// spin passes a time too short to be slept, to come to another moment of what goes on meanwhile. Nothing depends on it.
func spin(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
		runtime.Gosched()
	}
}

func bigCheckpoint(t testing.TB, h Harness) {
	first := snapshotstore.Checkpoint{To: markAt(1), Put: numbered(20_000, "a value of some forty bytes, as is usual")}
	commit(t, h.Store, totals, first)
	c := contents{}.after(first)
	wantContents(t, h.Another(t), totals, c)
	second := snapshotstore.Checkpoint{From: c.Mark, To: markAt(2), Put: numbered(12_000, "another value")}
	second.Delete = keysOf(first.Put[12_000:])
	commit(t, h.Store, totals, second)
	c = c.after(second)
	wantContents(t, h.Another(t), totals, c)

	third := snapshotstore.Checkpoint{From: first.To, To: markAt(3), Put: numbered(20_000, "refused")}
	wantConflict(t, h.Store.Commit(t.Context(), totals, third), totals, c.Mark)
	wantContents(t, h.Another(t), totals, c)
}

func bigValues(t testing.TB, h Harness) {
	checkpoint := snapshotstore.Checkpoint{To: markAt(1), Definition: strings.Repeat("definition ", 10_000)}
	for i := range 8 {
		big := bytes.Repeat([]byte{byte(i), 0xff}, 1<<19)
		checkpoint.Put = append(checkpoint.Put, snapshotstore.Entry{Key: fmt.Sprint(i), Data: big})
	}
	commit(t, h.Store, totals, checkpoint)
	c := contents{}.after(checkpoint)
	wantContents(t, h.Another(t), totals, c)
	checkpoint = snapshotstore.Checkpoint{From: c.Mark, To: markAt(2), Put: entries("1", "small"), Delete: []string{"2"}}
	commit(t, h.Store, totals, checkpoint)
	wantContents(t, h.Another(t), totals, c.after(checkpoint))
}

func skippedAddUp(t testing.TB, h Harness) {
	c := start(t, h.Store, totals)
	for i, seqs := range [][]uint64{{5}, {}, {9, 7}, {10, 100, 1 << 63}, {6}, {1_000}} {
		checkpoint := snapshotstore.Checkpoint{From: c.Mark, To: markAt(uint64(i + 2))}
		for _, seq := range seqs {
			checkpoint.Skipped = append(checkpoint.Skipped, snapshotstore.Skipped{
				Seq: seq, Subject: "orders.eu.\"new\"", Key: "c-77 é", Cause: "line one\nline two \x00", At: checkpoint.To.At,
			})
		}
		commit(t, h.Store, totals, checkpoint)
		c = c.after(checkpoint)
		wantContents(t, h.Another(t), totals, c)
	}

	// The key of a poison event may be no UTF-8, as the event itself. Its record is for people: it must be kept, though a
	// byte of it may be replaced.
	checkpoint := snapshotstore.Checkpoint{From: c.Mark, To: markAt(9), Skipped: []snapshotstore.Skipped{
		{Seq: 5_000, Subject: "orders", Key: "c-\xff", Cause: "bad byte \xfe"},
	}}
	commit(t, h.Store, totals, checkpoint)
	_, skipped, err := h.Store.Skipped(t.Context(), totals)
	if err != nil || len(skipped) != len(c.Skipped)+1 {
		t.Fatalf("%d events are told skipped, %v; want %d", len(skipped), err, len(c.Skipped)+1)
	}
	i := slices.IndexFunc(skipped, func(s snapshotstore.Skipped) bool { return s.Seq == 5_000 })
	if i < 0 || !strings.HasPrefix(skipped[i].Key, "c-") || !strings.HasPrefix(skipped[i].Cause, "bad byte ") {
		t.Fatalf("of an event whose key is not UTF-8 this is told: %+v", skipped)
	}
}

func definitionStays(t testing.TB, h Harness) {
	c := start(t, h.Store, totals, "definition", "a key of the user's")
	for i, text := range []string{"", "two\n{\"a\":\"é\"}\n", "", "three"} {
		checkpoint := snapshotstore.Checkpoint{From: c.Mark, To: markAt(uint64(i + 2)), Definition: text}
		commit(t, h.Store, totals, checkpoint)
		c = c.after(checkpoint)
		wantContents(t, h.Another(t), totals, c)
	}
}

func dropLeavesNothing(t testing.TB, h Harness) {
	for _, n := range []int{1, 600, 5_000} {
		checkpoint := snapshotstore.Checkpoint{
			To: markAt(1), Put: numbered(n, "value"), Definition: "text", Skipped: []snapshotstore.Skipped{{Seq: 1}},
		}
		commit(t, h.Store, totals, checkpoint)
		if err := h.Another(t).Drop(t.Context(), totals); err != nil {
			t.Fatal(err)
		}
		wantContents(t, h.Store, totals, contents{})
		again := start(t, h.Store, totals, "only", "this")
		wantContents(t, h.Store, totals, again)
		if err := h.Store.Drop(t.Context(), totals); err != nil {
			t.Fatal(err)
		}
		wantContents(t, h.Another(t), totals, contents{})
	}
}

func lateCommitAfterDrop(t testing.TB, h Harness) {
	c := start(t, h.Store, totals, "a", "1")
	late := snapshotstore.Checkpoint{From: c.Mark, To: markAt(2), Put: entries("a", "2")}
	if err := h.Another(t).Drop(t.Context(), totals); err != nil {
		t.Fatal(err)
	}
	wantConflict(t, h.Store.Commit(t.Context(), totals, late), totals, snapshotstore.Mark{})
	wantContents(t, h.Store, totals, contents{})
	again := start(t, h.Another(t), totals, "a", "anew")
	wantConflict(t, h.Store.Commit(t.Context(), totals, late), totals, again.Mark)
	wantContents(t, h.Store, totals, again)
}
