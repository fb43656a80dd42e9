package natslog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/projections"
)

const (
	// pullMessages are asked for at a time, two such requests being under way: throughput is what is under way per
	// round trip.
	pullMessages = 5000
	pullBytes    = 4 << 20 // of a pull, unless the configuration says otherwise
	// pullExpires is how long the server keeps a pull.
	pullExpires = 30 * time.Second
	// missedBeats end a reader.
	missedBeats = 3
)

// reader reads a stream by one consumer, once and in order. It implements consumer.Reader.
type reader struct {
	log   *Log
	name  string // the consumer's
	next  string // the subject of its pulls
	wants string // the consumer's filter, "" for none
	peer  string // the server that the consumer is on, "" if it does not tell
	in    *inflow

	inbox    string
	sub      *nats.Subscription
	gone     chan struct{} // closed when the client has ended the subscription's goroutine
	lost     chan nats.Status
	maxBatch int // messages of a pull
	maxBytes int // of a pull
	expires  time.Duration
	pulls    uint64

	created   time.Time // of the stream, when the reader was opened
	start     uint64    // nothing after it may go unread
	violation error     // the connection's last error, then

	closing sync.Once
	closed  chan struct{}

	// Of Next alone.
	begun bool
	to    uint64 // of the last batch
	head  uint64 // the stream's last seq as far as known
	held  *chunk // taken, but not handed out, because a context ended
	tried uint64 // seq of the last beat at which no message was found
	quiet uint64 // arrived, when the server was last silent and had made a delivery that has not come
	err   error  // why the reader has ended

	compared bool     // its copy of the stream, with the others
	deleted  []uint64 // seqs that the stream counted as deleted, when it was last asked
}

// Open implements consumer.Log.
func (l *Log) Open(ctx context.Context, after uint64, subjects []string) (consumer.Reader, error) {
	info, err := l.info(ctx, "open")
	if err != nil {
		return nil, err
	}
	r := &reader{
		log:       l,
		name:      consumerName(l.config.Worker),
		to:        after,
		violation: l.config.Conn.LastError(),
		gone:      make(chan struct{}),
		closed:    make(chan struct{}),
	}
	r.next = l.prefix + "CONSUMER.MSG.NEXT." + l.config.Stream + "." + r.name
	if err := r.open(ctx, choose(subjects, info.Config.Subjects)); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.config.Timeout)
		defer cancel()
		_ = r.Close(ctx) // what it can't give back goes away by itself, after InactiveThreshold
		return nil, err
	}
	return r, nil
}

// consumerName is unique and tells an operator whose consumer it is.
func consumerName(worker string) string {
	clean := strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_') {
			return r
		}
		return '_'
	}, worker)
	if clean != "" {
		clean = clean[:min(len(clean), 64)] + "-"
	}
	return "tailfold-" + clean + nuid.Next()
}

// open makes the subscription and the consumer, and looks again at the stream: the consumer begins in what the stream
// holds from now on.
func (r *reader) open(ctx context.Context, selected selection) error {
	l, conn := r.log, r.log.config.Conn
	r.in = &inflow{stream: l.config.Stream, consumer: r.name, drop: selected.drop, signal: make(chan struct{}, 1)}
	r.lost = conn.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	r.inbox = conn.NewInbox()
	if tap := tapOf(conn); tap != nil {
		tap.watch(r.inbox+".*", r.in)
	}
	sub, err := conn.Subscribe(r.inbox+".*", r.in.receive) // what no tap takes out comes here
	if err != nil {
		return l.fail("open", err, "")
	}
	r.sub = sub
	sub.SetClosedHandler(func(string) { close(r.gone) })
	// Never let the client drop what was delivered: credits bound what is under way, and inflow what lies here.
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return l.fail("open", err, "")
	}
	r.wants = selected.filter
	created, err := r.create(ctx, r.name, r.to)
	if hasCode(err, codeFilterNotInStream) { // older servers refuse a filter that no subject of the stream matches
		r.in.drop, r.wants = []string{selected.filter}, ""
		created, err = r.create(ctx, r.name, r.to)
	}
	for try := 0; err == nil && l.shunned.has(created.Cluster.Leader) && try < placements; try++ {
		if err = l.deleteConsumer(ctx, "open", r.name); err == nil {
			created, err = r.create(ctx, r.name, r.to)
		}
	}
	if err != nil {
		return err
	}
	config := created.Config
	r.peer = created.Cluster.Leader
	r.maxBatch = atMost(pullMessages, config.MaxBatch)
	r.maxBytes = atMost(max(l.config.PullBytes, int(conn.MaxPayload())+64<<10), config.MaxBytes)
	r.expires = time.Duration(atMost(int64(pullExpires), config.MaxExpires))

	info, err := l.info(ctx, "open")
	if err != nil {
		return err
	}
	if info.State.LastSeq < r.to {
		return l.fail("open", fmt.Errorf("seq %d %w, %d", r.to, consumer.ErrBeyondLast, info.State.LastSeq),
			"the stream was made again or restored, or the position is of another stream")
	}
	r.created, r.head = info.Created, info.State.LastSeq
	// A reader may be opened below the first seq: its caller judges. From there on nothing may go unread.
	r.start = max(r.to, info.first()-1)
	r.in.mu.Lock()
	r.in.seq = r.start
	r.in.mu.Unlock()
	return nil
}

func atMost[N int | int64](n, limit N) N {
	if limit > 0 {
		return min(n, limit)
	}
	return n
}

// create makes a consumer that begins after a seq.
func (r *reader) create(ctx context.Context, name string, after uint64) (*createAnswer, error) {
	l := r.log
	api := "CONSUMER.CREATE." + l.config.Stream + "." + name
	if r.wants != "" {
		api += "." + r.wants
	}
	metadata := map[string]string{"io.tailfold.worker": l.config.Worker}
	if l.config.Worker == "" {
		metadata = nil
	}
	var created createAnswer
	err := l.request(ctx, "open", api, createRequest{
		Stream: l.config.Stream,
		Action: "create",
		Config: consumerConfig{
			Name:              name,
			Description:       "a reader of Tailfold; it goes away by itself",
			DeliverPolicy:     "by_start_sequence",
			StartSeq:          after + 1,
			AckPolicy:         "none",
			ReplayPolicy:      "instant",
			FilterSubject:     r.wants,
			InactiveThreshold: int64(l.config.InactiveThreshold),
			Replicas:          1,
			Memory:            true,
			Metadata:          metadata,
		},
	}, &created)
	return &created, err
}

// filtered tells whether the server leaves out messages.
func (r *reader) filtered() bool { return r.wants != "" }

// Next implements consumer.Reader.
func (r *reader) Next(ctx context.Context) (consumer.Batch, error) {
	if r.err == nil && !r.begun {
		r.begun = true
		r.pull()
		return consumer.Batch{From: r.to, To: r.to, Head: max(r.head, r.to)}, nil
	}
	for r.err == nil {
		if err := ctx.Err(); err != nil {
			return consumer.Batch{}, err
		}
		batch, err := r.step(ctx)
		if err == nil && batch == nil {
			continue
		}
		if err == nil {
			return *batch, nil
		}
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return consumer.Batch{}, err
		}
		r.err = err
	}
	return consumer.Batch{}, r.err
}

// step hands out a batch if there is one, else waits until something comes.
func (r *reader) step(ctx context.Context) (*consumer.Batch, error) {
	select {
	case <-r.closed:
		return nil, r.ended(errors.New("the reader was closed"))
	default:
	}
	if r.held != nil {
		return r.deliver(ctx)
	}
	t := r.in.take()
	r.pull()
	switch {
	case t.chunk != nil:
		r.held = t.chunk
		return r.deliver(ctx)
	case t.err != nil:
		return nil, r.ended(t.err)
	case r.head > r.to && t.beat.seq >= r.head && (!r.filtered() || t.beat.seq == r.tried):
		r.head = r.to // the consumer has looked that far: what the stream counts beyond r.to was removed
		return &consumer.Batch{From: r.to, To: r.to, Head: r.to}, nil
	case r.filtered() && t.beat.seq > r.to && t.beat.seq != r.tried:
		if batch, err := r.advance(ctx, t.beat.seq); batch != nil || err != nil {
			return batch, err
		}
	}
	return nil, r.wait(ctx, t.arrived)
}

func (r *reader) ended(err error) error {
	if logError := (*consumer.LogError)(nil); errors.As(err, &logError) {
		return err
	}
	return r.log.fail("read", err, "the reader is opened again where it was")
}

// wait returns when something came after arrived was told, and with an error if the server gives no sign of life.
func (r *reader) wait(ctx context.Context, arrived uint64) error {
	silence := missedBeats * r.log.config.Heartbeat
	timer := time.NewTimer(silence)
	defer timer.Stop()
	select {
	case <-r.in.signal:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-r.closed:
		return nil
	case <-r.lost:
		r.in.fail(errors.New("the connection was lost"))
		return nil
	case <-timer.C:
		return r.silent(ctx, arrived, silence)
	}
}

// pull keeps enough requests for messages under way.
func (r *reader) pull() {
	for {
		p, limited, ok := r.in.want(r.pulls+1, r.maxBatch, r.maxBytes)
		if !ok {
			return
		}
		r.pulls++
		request := pullRequest{Batch: p.batch, Expires: int64(r.expires),
			Heartbeat: int64(min(r.log.config.Heartbeat, r.expires/2))}
		if limited {
			request.MaxBytes = r.maxBytes
		}
		payload, err := json.Marshal(request, json.Deterministic(true))
		if err == nil {
			err = r.log.config.Conn.PublishRequest(r.next, r.inbox+"."+strconv.FormatUint(p.id, 10), payload)
		}
		if err != nil {
			r.in.fail(err)
			return
		}
	}
}

// deliver hands out the chunk that is held. If its seqs jump, events could have been removed before the consumer came to
// them: only a stream that now still begins before the jump has lost none.
func (r *reader) deliver(ctx context.Context) (*consumer.Batch, error) {
	c := r.held
	if c.jumped {
		info, err := r.untrimmed(ctx, max(c.jump, r.to))
		if err != nil {
			return nil, err
		}
		if err := r.whole(ctx, c, info); err != nil {
			return nil, err
		}
		c.jumped = false
	}
	for _, i := range c.unread {
		m, err := r.log.message(ctx, "read", messageRequest{Seq: c.events[i].Seq})
		if err != nil {
			return nil, err
		}
		c.events[i].Header = projections.HeaderOf(m.Header)
	}
	if len(c.unread) > 0 {
		if _, err := r.alive(ctx); err != nil {
			return nil, err
		}
	}
	r.held = nil
	projections.Share(c.events)
	batch := &consumer.Batch{From: r.to, To: c.last.seq, Events: c.events, Bytes: c.bytes}
	batch.Last = consumer.Witness{Seq: c.last.seq, Time: c.last.time}
	// The header as it was stored is known to the server only. The same for a subject that JSON can't carry.
	if !c.last.hasHeader && utf8.ValidString(c.last.subject) {
		batch.Last.Hash = consumer.WitnessHash(c.last.subject, nil, c.last.data)
	}
	r.to = c.last.seq
	r.head = max(r.head, r.to)
	switch {
	case r.filtered():
	case c.pending == 0:
		r.head = r.to // what the stream counts beyond it was removed
	default:
		r.head = max(r.head, r.to+c.pending)
	}
	batch.Head = r.head
	return batch, nil
}

// Close implements consumer.Reader. It may be called while Next is under way, and more than once.
func (r *reader) Close(ctx context.Context) error {
	var err error
	r.closing.Do(func() { err = r.close(ctx) })
	return err
}

func (r *reader) close(ctx context.Context) error {
	close(r.closed)
	l := r.log
	if r.lost != nil {
		l.config.Conn.RemoveStatusListener(r.lost)
	}
	if tap := tapOf(l.config.Conn); tap != nil {
		tap.forget(r.inbox + ".*")
	}
	if r.sub != nil {
		_ = r.sub.Unsubscribe() // fails only where the connection is closed, and the subscription with it
		select {
		case <-r.gone:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return l.deleteConsumer(ctx, "close", r.name)
}
