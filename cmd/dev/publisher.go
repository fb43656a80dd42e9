package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// publisher publishes a source's lines into a stream, at a rate, and goes on where the last run stopped: the stream
// itself tells by the ids of its messages.
type publisher struct {
	js     jetstream.JetStream
	stream string
	source *source
	rate   int  // events per second; 0: as fast as it goes
	loop   bool // begins again at the end of the source
	tell   func(format string, args ...any)

	mu       sync.Mutex
	progress progress
}

// progress is how far publishing is.
type progress struct {
	lines   int    // published of the source in this round, also before this start
	round   int    // how often the source was published before this round
	events  int    // published since this start
	bad     int    // lines that could not be published since this start
	done    bool   // all is out
	trouble string // why nothing is published now; "" if all is well
}

func (p *publisher) now() progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.progress
}

func (p *publisher) update(change func(*progress)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.progress)
}

// run publishes until all is out, or ctx is done. What it has published is acknowledged when it returns.
func (p *publisher) run(ctx context.Context) error {
	from, err := p.last(ctx)
	if err != nil {
		return orDone(ctx, fmt.Errorf("finding the last event of %s in stream %s: %w", p.source.name, p.stream, err))
	}
	for pace := newPace(p.rate); ; {
		lines, err := p.source.lines(from.round)
		if err != nil {
			return err
		}
		err = p.round(ctx, lines, from, pace)
		lines.close()
		if err != nil {
			return orDone(ctx, err)
		}
		if !p.loop || p.now().lines == 0 {
			p.update(func(now *progress) { now.done = true })
			return nil
		}
		from = place{round: from.round + 1}
	}
}

func orDone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// last is the last line that the stream has of this source. Events that others published lie above it at the most.
func (p *publisher) last(ctx context.Context) (place, error) {
	if !p.source.repeats {
		return place{}, nil
	}
	stream, err := p.js.Stream(ctx, p.stream)
	if err != nil {
		return place{}, err
	}
	state := stream.CachedInfo().State
	for seq := state.LastSeq; seq >= max(1, state.FirstSeq); seq-- {
		message, err := stream.GetMsg(ctx, seq)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			continue
		case err != nil:
			return place{}, err
		}
		if at, ok := placeOf(message.Header.Get(jetstream.MsgIDHeader), p.source.ids); ok {
			return at, nil
		}
	}
	return place{}, nil
}

// round publishes a source once, from the line after from.
func (p *publisher) round(ctx context.Context, lines *lines, from place, pace *pace) error {
	if err := lines.skip(from); err != nil {
		return err
	}
	p.update(func(now *progress) { now.lines, now.round = from.number, from.round })
	for {
		n, err := pace.wait(ctx)
		if err != nil {
			return err
		}
		batch, err := p.take(lines, n)
		if len(batch) > 0 {
			if err := p.publish(ctx, batch); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading %s: %w", p.source.name, err)
		}
	}
}

// take reads n lines at the most; bad ones are told of and left out.
func (p *publisher) take(lines *lines, n int) ([]line, error) {
	var batch []line
	for len(batch) < n {
		l, err := lines.next()
		var bad *lineError
		switch {
		case errors.As(err, &bad):
			p.update(func(now *progress) { now.bad++ })
			p.tell("%v: left out, going on with the next line", bad)
		case err != nil:
			return batch, err
		default:
			batch = append(batch, l)
		}
		if !p.source.repeats && len(batch) > 0 && lines.reader.Buffered() == 0 {
			return batch, nil // typed, or piped: what is there goes out at once
		}
	}
	return batch, nil
}

// publish returns when the stream has acknowledged the whole batch. What it refuses is tried again: the ids keep out
// what it has already.
func (p *publisher) publish(ctx context.Context, batch []line) error {
	for len(batch) > 0 {
		acked, err := p.try(batch)
		batch = batch[acked:]
		trouble := ""
		if err != nil {
			trouble = err.Error()
		}
		if trouble != "" && trouble != p.now().trouble {
			p.tell("publishing waits: %v", trouble)
		}
		p.update(func(now *progress) { now.events, now.trouble = now.events+acked, trouble })
		if err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
	return nil
}

// try publishes a batch and tells how many of its lines, from the first, are in the stream.
func (p *publisher) try(batch []line) (acked int, err error) {
	futures := make([]jetstream.PubAckFuture, 0, len(batch))
	for _, l := range batch {
		message := &nats.Msg{Subject: l.subject, Data: l.data, Header: nats.Header{jetstream.MsgIDHeader: {l.id(p.source.ids)}}}
		future, failed := p.js.PublishMsgAsync(message, jetstream.WithExpectStream(p.stream))
		if failed != nil {
			err = failed
			break
		}
		futures = append(futures, future)
	}
	for i, future := range futures {
		select {
		case <-future.Ok():
		case failed := <-future.Err():
			return i, fmt.Errorf("line %d of %s is not in stream %s: %w; it is tried again (where the log is full, --fresh begins anew)",
				batch[i].number, p.source.name, p.stream, failed)
		}
		p.update(func(now *progress) { now.lines = batch[i].number })
	}
	return len(futures), err
}

// pace says how many events may go out.
type pace struct {
	rate    int
	last    time.Time
	owed    float64
	ticking time.Duration
}

// most is how many events go out at once.
const most = 512

func newPace(rate int) *pace {
	return &pace{rate: rate, last: time.Now(), ticking: 20 * time.Millisecond}
}

// wait returns when at least one event may go out.
func (p *pace) wait(ctx context.Context) (int, error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if p.rate == 0 {
			return most, nil
		}
		now := time.Now()
		p.owed = min(p.owed+now.Sub(p.last).Seconds()*float64(p.rate), max(1, float64(p.rate)/4))
		p.last = now
		if n := min(int(p.owed), most); n > 0 {
			p.owed -= float64(n)
			return n, nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(max(p.ticking, time.Duration(float64(time.Second)*(1-p.owed)/float64(p.rate)))):
		}
	}
}
