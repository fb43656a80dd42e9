package logtest

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/projections"
)

// Fault is a way in which a log can be wrong. Each was seen in real readers of logs, or is what one slip of the hand
// makes of a right one.
type Fault struct {
	Name string
	// Break makes a right log wrong.
	Break func(consumer.Log) consumer.Log
	// Caught names a check of the suite that finds it.
	Caught string
}

// Faults are the faults that the suite finds.
func Faults() []Fault {
	const (
		all   = "every event is handed out once and in order"
		first = "the first batch is empty and at the position asked for"
	)
	return []Fault{
		{"drops one event", batches(func(b *consumer.Batch) {
			b.Events = slices.DeleteFunc(b.Events, func(e projections.Event) bool { return e.Seq == 5 })
		}), all},
		{"hands out one event twice", batches(func(b *consumer.Batch) {
			if i := slices.IndexFunc(b.Events, func(e projections.Event) bool { return e.Seq == 5 }); i >= 0 {
				b.Events = slices.Insert(b.Events, i, b.Events[i])
			}
		}), all},
		{"hands out two events in the wrong order", batches(func(b *consumer.Batch) {
			if len(b.Events) > 1 {
				b.Events[0], b.Events[1] = b.Events[1], b.Events[0]
			}
		}), all},
		{"shifts all by one", batches(func(b *consumer.Batch) {
			for i := range b.Events {
				b.Events[i].Seq++
			}
			b.To++
			b.Head++
		}), first},
		{"begins at the position asked for, not after it", func(log consumer.Log) consumer.Log {
			return &broken{Log: log, after: func(after uint64) uint64 { return max(after, 1) - 1 }}
		}, first},
		{"begins one after the position asked for", func(log consumer.Log) consumer.Log {
			return &broken{Log: log, after: func(after uint64) uint64 { return after + 1 }}
		}, "a reader begins after the position asked for"},
		{"ends early, and says that all was read", batches(func(b *consumer.Batch) {
			if b.To > 100 {
				b.Events = slices.DeleteFunc(b.Events, func(e projections.Event) bool { return e.Seq > 100 })
			}
		}), all},
		{"stops without a word", func(log consumer.Log) consumer.Log {
			return &broken{Log: log, reader: func(r consumer.Reader) consumer.Reader { return &stopping{Reader: r} }}
		}, "events are handed out as they come"},
		{"says that it is further than it has read", func(log consumer.Log) consumer.Log {
			return &broken{Log: log, batch: func(b *consumer.Batch) {
				if bounds, err := log.Bounds(context.Background()); err == nil && b.To > b.From {
					b.To, b.Head = bounds.Last, bounds.Last
				}
			}}
		}, "an idle reader stays at messages that are there"},
		{"says that it is further than the log", batches(func(b *consumer.Batch) {
			if b.To > b.From {
				b.To++
				b.Head++
			}
		}), "events are handed out as they come"},
		{"does not follow the log over foreign events", func(log consumer.Log) consumer.Log {
			return &broken{Log: log, reader: func(r consumer.Reader) consumer.Reader { return &standing{Reader: r} }}
		}, "an idle reader follows the log over events of other subjects"},
		{"hands out events of other subjects", func(log consumer.Log) consumer.Log {
			return &broken{Log: log, subjects: func([]string) []string { return nil }}
		}, "events of other subjects are left out"},
		{"knows one subject only", func(log consumer.Log) consumer.Log {
			return &broken{Log: log, subjects: func(s []string) []string { return s[:min(len(s), 1)] }}
		}, "events of other subjects are left out"},
		{"takes an empty event with a Status for a control message", batches(func(b *consumer.Batch) {
			b.Events = slices.DeleteFunc(b.Events, func(e projections.Event) bool {
				_, status := e.Header.Get("Status")
				return status && len(e.Data) == 0
			})
		}), "headers and data come as they were stored"},
		{"keeps one value of a header", batches(func(b *consumer.Batch) {
			for i, e := range b.Events {
				if v, ok := e.Header.Get("Twice"); ok {
					b.Events[i].Header = projections.NewHeader("Twice", v)
				}
			}
		}), "headers and data come as they were stored"},
		{"tells the message before the last one as the last", func(log consumer.Log) consumer.Log {
			return &broken{Log: log, batch: func(b *consumer.Batch) {
				if w, err := log.Witness(context.Background(), b.To-1); err == nil && b.To > b.From {
					b.Last.Hash, b.Last.Time = w.Hash, w.Time
				}
			}}
		}, "the last message of a batch is the one at its end"},
		{"waits for a position that the log has not reached", func(log consumer.Log) consumer.Log {
			return &broken{Log: log, reopen: func(ctx context.Context, after uint64, err error) (consumer.Reader, error) {
				if !errors.Is(err, consumer.ErrBeyondLast) {
					return nil, err
				}
				bounds, _ := log.Bounds(ctx)
				return log.Open(ctx, bounds.Last, nil)
			}}
		}, "a position beyond the log is refused"},
		{"goes on in a log that was made again", func(log consumer.Log) consumer.Log {
			return &broken{Log: log, reader: func(r consumer.Reader) consumer.Reader {
				return &undying{Reader: r, log: log}
			}}
		}, "a log that is deleted and made again ends the reader"},
		{"goes on behind what was purged unread", func(log consumer.Log) consumer.Log {
			return &broken{Log: log, reader: func(r consumer.Reader) consumer.Reader {
				return &undying{Reader: r, log: log}
			}}
		}, "a purge of what was not read ends the reader"},
		{"takes a context's end for its own", func(log consumer.Log) consumer.Log {
			return &broken{Log: log, reader: func(r consumer.Reader) consumer.Reader { return &mortal{Reader: r} }}
		}, "a context's end loses nothing"},
		{"tells an empty log for one that does not exist", func(log consumer.Log) consumer.Log {
			return &forgiving{log}
		}, "a log that does not exist is told apart"},
		{"tells the last message that is there for the last seq", func(log consumer.Log) consumer.Log {
			return &lastThere{log}
		}, "the bounds tell what the log holds"},
	}
}

// broken is a log with one part replaced.
type broken struct {
	consumer.Log
	after    func(uint64) uint64
	subjects func([]string) []string
	batch    func(*consumer.Batch)
	reader   func(consumer.Reader) consumer.Reader
	reopen   func(ctx context.Context, after uint64, err error) (consumer.Reader, error)
}

// batches breaks what is handed out.
func batches(change func(*consumer.Batch)) func(consumer.Log) consumer.Log {
	return func(log consumer.Log) consumer.Log { return &broken{Log: log, batch: change} }
}

func (l *broken) Open(ctx context.Context, after uint64, subjects []string) (consumer.Reader, error) {
	if l.after != nil {
		after = l.after(after)
	}
	if l.subjects != nil {
		subjects = l.subjects(subjects)
	}
	r, err := l.Log.Open(ctx, after, subjects)
	if err != nil && l.reopen != nil {
		return l.reopen(ctx, after, err)
	}
	if err != nil {
		return nil, err
	}
	if l.reader != nil {
		return l.reader(r), nil
	}
	return &changing{r, l.batch}, nil
}

// changing changes each batch.
type changing struct {
	consumer.Reader
	change func(*consumer.Batch)
}

func (r *changing) Next(ctx context.Context) (consumer.Batch, error) {
	b, err := r.Reader.Next(ctx)
	if err == nil && r.change != nil {
		b.Events = slices.Clone(b.Events) // the log's own are not to be changed
		r.change(&b)
	}
	return b, err
}

// stopping hands out nothing more after ten batches.
type stopping struct {
	consumer.Reader
	batches int
}

func (r *stopping) Next(ctx context.Context) (consumer.Batch, error) {
	if r.batches++; r.batches > 10 {
		<-ctx.Done()
		return consumer.Batch{}, ctx.Err()
	}
	return r.Reader.Next(ctx)
}

// standing hands out batches with events only.
type standing struct {
	consumer.Reader
	begun bool
	from  uint64
}

func (r *standing) Next(ctx context.Context) (consumer.Batch, error) {
	for {
		b, err := r.Reader.Next(ctx)
		if err != nil || len(b.Events) > 0 || !r.begun {
			if r.begun {
				b.From = r.from
			}
			r.begun, r.from = true, b.To
			return b, err
		}
	}
}

// undying opens another reader where one ended.
type undying struct {
	consumer.Reader
	log    consumer.Log
	to     uint64
	closed atomic.Bool
}

func (r *undying) Next(ctx context.Context) (consumer.Batch, error) {
	for {
		b, err := r.Reader.Next(ctx)
		if err == nil {
			r.to = b.To
			return b, nil
		}
		if ctx.Err() != nil || r.closed.Load() {
			return b, err
		}
		_ = r.Reader.Close(ctx)
		bounds, err := r.log.Bounds(ctx)
		if err != nil {
			return b, err
		}
		if r.Reader, err = r.log.Open(ctx, min(r.to, bounds.Last), nil); err != nil {
			return b, err
		}
		if _, err = r.Reader.Next(ctx); err != nil { // the empty batch
			return b, err
		}
		if r.to < bounds.First-1 || r.to > bounds.Last {
			r.to = min(bounds.First-1, bounds.Last)
		}
	}
}

func (r *undying) Close(ctx context.Context) error {
	r.closed.Store(true)
	return r.Reader.Close(ctx)
}

// mortal ends when a context does.
type mortal struct {
	consumer.Reader
	err error
}

func (r *mortal) Next(ctx context.Context) (consumer.Batch, error) {
	if r.err != nil {
		return consumer.Batch{}, r.err
	}
	b, err := r.Reader.Next(ctx)
	r.err = err
	return b, err
}

// forgiving has an empty log where there is none.
type forgiving struct{ consumer.Log }

func (l *forgiving) Bounds(ctx context.Context) (consumer.Bounds, error) {
	b, err := l.Log.Bounds(ctx)
	if errors.Is(err, consumer.ErrNoLog) {
		return consumer.Bounds{Stream: "?", Created: time.Unix(0, 0), First: 1}, nil
	}
	return b, err
}

// lastThere takes the seq of the last message for the last seq that was given out.
type lastThere struct{ consumer.Log }

func (l *lastThere) Bounds(ctx context.Context) (consumer.Bounds, error) {
	b, err := l.Log.Bounds(ctx)
	for err == nil && b.Last >= b.First && b.Last > 0 {
		if _, err := l.Log.Witness(ctx, b.Last); !errors.Is(err, consumer.ErrNoMessage) {
			break
		}
		b.Last--
	}
	return b, err
}
