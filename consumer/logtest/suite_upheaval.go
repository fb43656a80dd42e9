package logtest

import (
	"errors"

	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/consumer"
)

// upheavalChecks change the log under an open reader: it may end, but it must not hand out what is not so.
func upheavalChecks() []check {
	return []check{
		{"a deleted event is a hole, and nothing else is", deleted},
		{"a purge of what was read is no matter", purgedBehind},
		{"a purge of what was not read ends the reader", purgedAhead},
		{"a purge of what a filtered reader has not read ends it", purgedAheadFiltered},
		{"a log that is deleted and made again ends the reader", recreated},
		{"a reader is tied to the log that was there when it was opened", tied},
		{"a log that is made again is another one", recreatedIsAnother},
	}
}

func deleted(t T, h Harness) {
	s := h.New(t)
	entries := numbered(30)
	r := read(t, h, s.Log, 0).until(0)
	r.until(s.Append(entries[:10]...))
	last := s.Append(entries[10:20]...)
	for _, seq := range []uint64{3, 12, 13, 18} {
		s.Delete(seq)
	}
	r.until(last)
	r.until(s.Append(entries[20:]...))

	// It may have been handed out before it was deleted, or not. All else must be there.
	gone := map[uint64]bool{12: true, 13: true, 18: true}
	filter := func(events []plain) (kept []plain) {
		for _, event := range events {
			if !gone[event.Seq] {
				kept = append(kept, event)
			}
		}
		return kept
	}
	if diff := cmp.Diff(filter(want(entries, 0)), filter(r.got(entries))); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	gone[3] = true // read again
	again := read(t, h, s.Log, 0).until(30)
	if diff := cmp.Diff(filter(want(entries, 0)), again.got(entries)); diff != "" {
		t.Errorf("events read again (-want +got):\n%s", diff)
	}
}

func purgedBehind(t T, h Harness) {
	for _, subjects := range [][]string{nil, {"a.>"}, {"a.>", "b.>"}} {
		s := h.New(t)
		entries := numbered(30)
		r := read(t, h, s.Log, 0, subjects...).until(0)
		r.until(s.Append(entries[:15]...))
		s.Purge(8)
		r.until(s.Append(entries[15:20]...))
		s.Purge(20)
		r.until(s.Append(entries[20:]...)).same(entries, 0)
	}
}

func purgedAhead(t T, h Harness) {
	for _, subjects := range [][]string{nil, {"a.>", "b.>"}} {
		notSilent(t, h, subjects)
	}
}

func purgedAheadFiltered(t T, h Harness) { notSilent(t, h, []string{"a.>"}) }

// notSilent purges what a reader may not have read. It must have handed out all, or say that it has not.
func notSilent(t T, h Harness, subjects []string) {
	t.Helper()
	s := h.New(t)
	entries := numbered(5_000)
	s.Append(entries[:4000]...)
	// Opened, but not asked for anything, it has read nothing.
	r := read(t, h, s.Log, 0, subjects...)
	s.Purge(3000)
	last := s.Append(entries[4000:]...)
	for r.to < last {
		if err := r.next(h.Patience); err != nil {
			var logError *consumer.LogError
			if !errors.As(err, &logError) {
				t.Errorf("the reader says %v, want a *LogError", err)
			}
			if len(r.events) > 0 && r.events[len(r.events)-1].Seq > 3000 {
				t.Errorf("seqs up to 3000 are gone unread, and the reader hands out %d before it says so", r.to)
			}
			return
		}
	}
	r.same(entries, 0)
}

func recreated(t T, h Harness) {
	for _, subjects := range [][]string{nil, {"a.>"}, {"a.>", "b.>"}} {
		s := h.New(t)
		entries := numbered(10)
		r := read(t, h, s.Log, 0, subjects...).until(s.Append(entries...))
		s.Drop()
		s.Create()
		s.Append(numbered(20)...)
		err := r.ends()
		var logError *consumer.LogError
		if !errors.As(err, &logError) {
			t.Errorf("the reader of a log that was made again says %v, want a *LogError", err)
		}
		r.same(entries, 0)
	}
}

// tied makes the log again between Open and the first Next: that is when a caller judges the log.
func tied(t T, h Harness) {
	for _, subjects := range [][]string{nil, {"a.>"}, {"a.>", "b.>"}} {
		s := h.New(t)
		s.Append(numbered(10)...)
		r := read(t, h, s.Log, 4, subjects...)
		s.Drop()
		s.Create()
		s.Append(numbered(20)...)
		_ = r.ends() // why does not matter here
		if r.to != 4 || len(r.events) > 0 {
			t.Errorf("%d events up to %d of a log that was made after the reader was opened are handed out", len(r.events), r.to)
		}
	}
}

func recreatedIsAnother(t T, h Harness) {
	s := h.New(t)
	s.Append(numbered(10)...)
	before, third := bounds(t, h, s.Log), witness(t, h, s.Log, 3)
	s.Drop()
	s.Create()
	after := bounds(t, h, s.Log)
	if !after.Created.After(before.Created) {
		t.Errorf("the log was made at %v, and the one before it at %v", after.Created, before.Created)
	}
	if diff := cmp.Diff(span{1, 0}, span{after.First, after.Last}); diff != "" {
		t.Errorf("the new log's bounds (-want +got):\n%s", diff)
	}
	s.Append(Entry{Subject: "a.1"}, Entry{Subject: "a.2"}, Entry{Subject: "a.3", Data: []byte("other")})
	if again := witness(t, h, s.Log, 3); again.Hash == third.Hash || again.Time.Equal(third.Time) {
		t.Errorf("seq 3 of the new log can't be told from that of the old: %+v and %+v", again, third)
	}
}
