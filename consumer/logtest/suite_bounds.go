package logtest

import (
	"context"
	"errors"

	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/consumer"
)

func boundsChecks() []check {
	return []check{
		{"the bounds tell what the log holds", boundsFollow},
		{"a witness is told by seq, time and hash", witnesses},
		{"a log that does not exist is told apart", noLog},
		{"a position beyond the log is refused", beyondLast},
		{"a reader begins below the first event that is left", belowFirst},
	}
}

// span is the first and last seq of a log.
type span struct{ First, Last uint64 }

func boundsFollow(t T, h Harness) {
	s := h.New(t)
	created := bounds(t, h, s.Log).Created
	is := func(what string, want span) {
		t.Helper()
		b := bounds(t, h, s.Log)
		if diff := cmp.Diff(want, span{b.First, b.Last}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
		if !b.Created.Equal(created) || b.Stream == "" || b.Unsuitable != "" || b.Holes != "" {
			t.Errorf("%s: bounds are %+v, created was %v", what, b, created)
		}
	}
	is("empty", span{1, 0})
	s.Append(numbered(10)...)
	is("ten events", span{1, 10})
	s.Delete(5)
	is("one deleted in the middle", span{1, 10})
	s.Delete(10)
	is("the last deleted", span{1, 10})
	s.Purge(3)
	is("purged up to 3", span{4, 10})
	s.Append(numbered(1)...)
	is("one more", span{4, 11})
	s.Purge(11)
	is("purged up to the last", span{12, 11})
	s.Append(numbered(1)...)
	is("one after that", span{12, 12})
}

func witnesses(t T, h Harness) {
	s := h.New(t)
	entries := numbered(6)
	s.Append(entries...)
	for i, entry := range entries {
		seq := uint64(i) + 1
		got := witness(t, h, s.Log, seq)
		want := consumer.Witness{Seq: seq, Time: got.Time, Hash: consumer.WitnessHash(entry.Subject, nil, entry.Data)}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("witness (-want +got):\n%s", diff)
		}
		if got.Time.IsZero() {
			t.Errorf("seq %d has no time", seq)
		}
	}
	s.Delete(4)
	s.Purge(1)
	for _, seq := range []uint64{0, 1, 4, 7, 1 << 40} {
		if _, err := s.Log.Witness(t.Context(), seq); !errors.Is(err, consumer.ErrNoMessage) {
			t.Errorf("the witness of seq %d, which is not there: error %v, want ErrNoMessage", seq, err)
		}
	}
}

func noLog(t T, h Harness) {
	s := h.New(t)
	s.Append(numbered(3)...)
	s.Drop()
	ask := map[string]func(context.Context) error{
		"bounds":  func(ctx context.Context) error { _, err := s.Log.Bounds(ctx); return err },
		"witness": func(ctx context.Context) error { _, err := s.Log.Witness(ctx, 1); return err },
		"open":    func(ctx context.Context) error { _, err := s.Log.Open(ctx, 0, nil); return err },
	}
	for op, f := range ask {
		err := f(t.Context())
		var logError *consumer.LogError
		if !errors.Is(err, consumer.ErrNoLog) || !errors.As(err, &logError) {
			t.Errorf("%s of a log that was deleted: error %v, want a *LogError of ErrNoLog", op, err)
		}
	}
	s.Create()
	for op, f := range ask {
		if err := f(t.Context()); err != nil && !(op == "witness" && errors.Is(err, consumer.ErrNoMessage)) {
			t.Errorf("%s after it was made again: %v", op, err)
		}
	}
}

func beyondLast(t T, h Harness) {
	s := h.New(t)
	refused := func(after uint64) {
		t.Helper()
		for _, subjects := range [][]string{nil, {"a.>"}, {"a.>", "b.>"}} {
			reader, err := s.Log.Open(t.Context(), after, subjects)
			var logError *consumer.LogError
			if !errors.Is(err, consumer.ErrBeyondLast) || !errors.As(err, &logError) {
				t.Errorf("open after %d: error %v, want a *LogError of ErrBeyondLast", after, err)
			}
			if err == nil {
				_ = reader.Close(t.Context()) // it should not be there
			}
		}
	}
	refused(1)
	s.Append(numbered(5)...)
	refused(6)
	refused(1 << 40)
	s.Delete(5)
	read(t, h, s.Log, 5).until(5) // given out once is enough
	s.Purge(5)
	read(t, h, s.Log, 5).until(5)
}

func belowFirst(t T, h Harness) {
	s := h.New(t)
	entries := numbered(20)
	s.Append(entries[:10]...)
	s.Purge(6)
	for _, after := range []uint64{0, 3, 5, 6} { // the caller judges whether that is a gap
		r := read(t, h, s.Log, after).until(10)
		if diff := cmp.Diff(want(entries[:10], 6), r.got(entries)); diff != "" {
			t.Errorf("opened after %d (-want +got):\n%s", after, diff)
		}
	}
}
