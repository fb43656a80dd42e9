package logtest

import (
	"context"
	"errors"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/projections"
)

// reading follows a reader and checks what is true of each batch.
type reading struct {
	t        T
	h        Harness
	log      consumer.Log
	reader   consumer.Reader
	subjects []string
	begun    bool
	to       uint64
	events   []projections.Event
	batches  []consumer.Batch
}

// read opens a reader that is closed when the check ends.
func read(t T, h Harness, log consumer.Log, after uint64, subjects ...string) *reading {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), h.Patience)
	defer cancel()
	reader, err := log.Open(ctx, after, subjects)
	if err != nil {
		t.Fatalf("open after %d: %v", after, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), h.Patience)
		defer cancel()
		_ = reader.Close(ctx) // the check itself says whether it had to work
	})
	return &reading{t: t, h: h, log: log, reader: reader, subjects: subjects, to: after}
}

// next takes one batch and checks it. It returns the reader's error, and context.DeadlineExceeded if nothing comes.
func (r *reading) next(patience time.Duration) error {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	b, err := r.reader.Next(ctx)
	if err != nil {
		return err
	}
	r.examine(b)
	return nil
}

func (r *reading) examine(b consumer.Batch) {
	r.t.Helper()
	if b.From != r.to {
		r.t.Errorf("a batch begins at %d, the one before it ended at %d", b.From, r.to)
	}
	if !r.begun {
		r.begun = true
		if b.To != b.From || len(b.Events) > 0 || b.Last != (consumer.Witness{}) {
			r.t.Errorf("the first batch is not empty: (%d, %d] with %d events, last message %+v", b.From, b.To,
				len(b.Events), b.Last)
		}
	} else if b.To <= b.From {
		r.t.Errorf("a batch covers nothing: (%d, %d]", b.From, b.To)
	}
	if b.To > b.From && b.Last.Seq != b.To {
		r.t.Errorf("the batch (%d, %d] has seq %d as its last message", b.From, b.To, b.Last.Seq)
	}
	if b.Head < b.To {
		r.t.Errorf("the batch (%d, %d] says that the log's head is %d", b.From, b.To, b.Head)
	}
	seq, bytes := b.From, 0
	for _, event := range b.Events {
		if event.Seq <= seq || event.Seq > b.To {
			r.t.Errorf("seq %d comes after seq %d in the batch (%d, %d]", event.Seq, seq, b.From, b.To)
		}
		seq = event.Seq
		if !matches(r.subjects, event.Subject) {
			r.t.Errorf("seq %d has the subject %q, which is none of %q", event.Seq, event.Subject, r.subjects)
		}
		bytes += len(event.Data)
	}
	if b.Bytes < bytes {
		r.t.Errorf("the batch (%d, %d] says %d bytes, its events have %d bytes of data alone", b.From, b.To, b.Bytes, bytes)
	}
	r.to = b.To
	r.events = append(r.events, b.Events...)
	r.batches = append(r.batches, b)
}

// until reads until the position is seq.
func (r *reading) until(seq uint64) *reading {
	r.t.Helper()
	deadline := time.Now().Add(r.h.Patience)
	for !r.begun || r.to < seq {
		err := r.next(time.Until(deadline))
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			r.t.Fatalf("the reader stays at %d, the log is at %d", r.to, seq)
		case err != nil:
			r.t.Fatalf("next after %d: %v", r.to, err)
		}
	}
	if r.to != seq {
		r.t.Fatalf("the reader is at %d, the log is at %d", r.to, seq)
	}
	return r
}

// ends reads until the reader ends, which it must, and returns its error.
func (r *reading) ends() error {
	r.t.Helper()
	deadline := time.Now().Add(r.h.Patience)
	for {
		err := r.next(time.Until(deadline))
		if errors.Is(err, context.DeadlineExceeded) {
			r.t.Fatalf("the reader stays at %d and does not end", r.to)
		}
		if err != nil {
			if again := r.next(r.h.Patience); again == nil {
				r.t.Errorf("the reader has ended (%v) and goes on", err)
			}
			return err
		}
	}
}

// plain is an event without what differs from log to log.
type plain struct {
	Seq     uint64
	Subject string
	Header  map[string][]string
	Data    string
}

// got is what was handed out so far, with those names of headers that the entries have.
func (r *reading) got(entries []Entry) []plain {
	got := []plain{}
	for _, event := range r.events {
		p := plain{event.Seq, event.Subject, map[string][]string{}, string(event.Data)}
		if event.Seq <= uint64(len(entries)) {
			for name := range names(entries[event.Seq-1]) {
				p.Header[name] = event.Header.Values(name)
			}
		}
		got = append(got, p)
	}
	return got
}

// want is what is to be handed out of entries, which are stored from seq 1 on, after a position.
func want(entries []Entry, after uint64, subjects ...string) []plain {
	want := []plain{}
	for i, entry := range entries {
		seq := uint64(i) + 1
		if seq > after && matches(subjects, entry.Subject) {
			want = append(want, plain{seq, entry.Subject, names(entry), string(entry.Data)})
		}
	}
	return want
}

func names(entry Entry) map[string][]string {
	values := map[string][]string{}
	for i := 0; i+1 < len(entry.Header); i += 2 {
		values[entry.Header[i]] = append(values[entry.Header[i]], entry.Header[i+1])
	}
	return values
}

// same checks that exactly the events of entries after a position were handed out.
func (r *reading) same(entries []Entry, after uint64) {
	r.t.Helper()
	got, want := r.got(entries), want(entries, after, r.subjects...)
	if len(got) == len(want) && len(want) > 100 { // the difference of long lists takes long to make
		for i := range want {
			if !cmp.Equal(want[i], got[i]) {
				got, want = got[i:i+1], want[i:i+1]
				break
			}
		}
	}
	if len(got) != len(want) {
		r.t.Errorf("%d events were handed out, want %d", len(got), len(want))
		got, want = got[:min(len(got), 10)], want[:min(len(want), 10)]
	}
	if len(want) > 100 {
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("events (-want +got):\n%s", clip(diff))
	}
}

func clip(text string) string {
	if len(text) > 4000 {
		return text[:4000] + " …"
	}
	return text
}

// witness reads a message, which must be there.
func witness(t T, h Harness, log consumer.Log, seq uint64) consumer.Witness {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), h.Patience)
	defer cancel()
	w, err := log.Witness(ctx, seq)
	if err != nil {
		t.Fatalf("witness %d: %v", seq, err)
	}
	return w
}

func bounds(t T, h Harness, log consumer.Log) consumer.Bounds {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), h.Patience)
	defer cancel()
	b, err := log.Bounds(ctx)
	if err != nil {
		t.Fatalf("bounds: %v", err)
	}
	return b
}
