package logtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/consumer"
)

// numbered makes n small entries on the subjects a, b and c in turn.
func numbered(n int) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		entries[i] = Entry{Subject: fmt.Sprintf("%c.%d", "abc"[i%3], i%7), Data: fmt.Appendf(nil, `{"n":%d}`, i+1)}
	}
	return entries
}

func readerChecks() []check {
	return []check{
		{"the first batch is empty and at the position asked for", firstBatch},
		{"every event is handed out once and in order", everyEvent},
		{"a reader begins after the position asked for", anyPosition},
		{"events are handed out as they come", asTheyCome},
		{"many readers read at once", manyReaders},
		{"a context's end loses nothing", contextEnds},
		{"Close ends Next", closeEndsNext},
		{"the last message of a batch is the one at its end", lastMessages},
		{"the head is the log's", head},
	}
}

func firstBatch(t T, h Harness) {
	s := h.New(t)
	read(t, h, s.Log, 0).until(0)
	s.Append(numbered(5)...)
	for after := range uint64(6) {
		read(t, h, s.Log, after).until(after)
	}
}

func everyEvent(t T, h Harness) {
	s := h.New(t)
	entries := numbered(10_000)
	last := s.Append(entries...)
	read(t, h, s.Log, 0).until(last).same(entries, 0)
}

func anyPosition(t T, h Harness) {
	s := h.New(t)
	entries := numbered(300)
	last := s.Append(entries...)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for _, after := range []uint64{0, 1, last - 1, last, random.Uint64N(last), random.Uint64N(last), random.Uint64N(last)} {
		read(t, h, s.Log, after).until(last).same(entries, after)
		read(t, h, s.Log, after, "b.>").until(last).same(entries, after)
	}
}

func asTheyCome(t T, h Harness) {
	s := h.New(t)
	entries := numbered(30)
	r := read(t, h, s.Log, 0).until(0)
	for i := range entries {
		r.until(s.Append(entries[i]))
	}
	r.same(entries, 0)
}

func manyReaders(t T, h Harness) {
	s := h.New(t)
	entries := numbered(2_000)
	half := s.Append(entries[:1000]...)
	readings := make([]*reading, 12)
	var all sync.WaitGroup
	failed := make([]recorder, len(readings))
	for i := range readings {
		after := uint64(i) * half / uint64(len(readings))
		readings[i] = read(t, h, s.Log, after, []string{"a.>", "b.>", "c.>", ">"}[i%4])
		readings[i].t = &failed[i] // a check's Fatalf is for its own goroutine
		failed[i].outer = t
		all.Go(func() {
			failed[i].do(func() { readings[i].until(uint64(len(entries))).same(entries, after) })
		})
	}
	s.Append(entries[1000:]...)
	all.Wait()
	for i := range failed {
		for _, text := range failed[i].failures {
			t.Errorf("reader %d: %s", i, text)
		}
	}
}

func contextEnds(t T, h Harness) {
	s := h.New(t)
	entries := numbered(20)
	r := read(t, h, s.Log, 0).until(0)
	for i := range entries {
		if err := r.next(time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Next on an idle log says %v when its context ends", err)
		}
		r.until(s.Append(entries[i]))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.reader.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Next with a canceled context says %v", err)
	}
	r.same(entries, 0)
}

func closeEndsNext(t T, h Harness) {
	s := h.New(t)
	r := read(t, h, s.Log, 0).until(0)
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), h.Patience)
		defer cancel()
		_, err := r.reader.Next(ctx)
		ended <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), h.Patience)
	defer cancel()
	for range 2 { // a second time is no error
		if err := r.reader.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	err := <-ended
	var logError *consumer.LogError
	if !errors.As(err, &logError) {
		t.Errorf("Next of a closed reader says %v, want a *LogError", err)
	}
	if _, err := r.reader.Next(ctx); err == nil {
		t.Errorf("a closed reader goes on")
	}
}

func lastMessages(t T, h Harness) {
	s := h.New(t)
	var entries []Entry
	for i, e := range numbered(12) {
		if i%2 == 0 {
			e.Header = []string{"Type", "Even", "Id", fmt.Sprint(i)}
		}
		entries = append(entries, e)
	}
	for _, subjects := range [][]string{nil, {"a.>"}, {"a.>", "b.>"}} {
		s := s
		if subjects != nil {
			s = h.New(t)
		}
		r := read(t, h, s.Log, 0, subjects...).until(0)
		for _, e := range entries {
			r.until(s.Append(e))
		}
		for _, b := range r.batches[1:] {
			want := witness(t, h, s.Log, b.To)
			if b.Last.Hash == "" {
				want.Hash = "" // to be asked for
			}
			if diff := cmp.Diff(want, b.Last); diff != "" {
				t.Errorf("the message at %d (-want +got):\n%s", b.To, diff)
			}
		}
		for _, event := range r.events {
			if want := witness(t, h, s.Log, event.Seq); !event.Time.Equal(want.Time) || event.Time.Location() != time.UTC {
				t.Errorf("seq %d has the time %v, the log says %v", event.Seq, event.Time, want.Time)
			}
		}
	}
}

func head(t T, h Harness) {
	s := h.New(t)
	last := s.Append(numbered(50)...)
	r := read(t, h, s.Log, 0).until(last)
	if got := r.batches[len(r.batches)-1].Head; got != last {
		t.Errorf("the last batch says that the head is %d, want %d", got, last)
	}
}
