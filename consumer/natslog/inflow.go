package natslog

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tailfold/tailfold/projections"
)

// Bounds of a batch: it is closed when it has reached one of them.
const (
	maxBatchEvents = 4096
	maxBatchBytes  = 1 << 20
	maxBatchRead   = 16384 // messages, with those that were dropped
)

// eventOverhead is what an event takes besides its bytes, about.
const eventOverhead = 128

// inflow is what the consumer has delivered and nobody has taken yet. The client calls receive from one goroutine, or a
// tap begin, frame and settle; the reader everything else from another.
type inflow struct {
	stream, consumer string
	drop             []string // hands out only what matches one of them; nil for all

	mu      sync.Mutex
	chunks  []*chunk // not empty ones; the last may still grow
	read    int      // messages in chunks
	bytes   int      // of the messages in chunks
	usual   int      // events of the last chunks that were taken, forgetting the bigger ones slowly: what the next one may have
	seq     uint64   // of the last message that was received, or where the reader began
	place   uint64   // in the consumer's numbering of the last message that was received
	pulls   []pull   // not yet answered in full, in the order in which the server serves them
	alone   bool     // a message was too large for a pull: the next pull is for it alone, without a limit
	beat    beat     // the last one
	arrived uint64   // counts all that came
	err     error    // why nothing more will come
	waiting bool     // the reader wants a signal
	signal  chan struct{}

	// Of frames alone, under mu.
	slab    slab
	subject string // of the last event
	replies []byte // what the reply subjects of all deliveries begin with; nil until it is known
	lent    bool   // the last message of the last chunk is not yet copied
}

// chunk is a batch in the making.
type chunk struct {
	events  []projections.Event
	unread  []int // places in events of those whose header the client could not read
	read    int   // messages, with those that were dropped
	bytes   int
	jumped  bool   // its seqs have a gap in them, or before them
	jump    uint64 // the seq before the first gap
	last    lastMessage
	pending uint64
}

// lastMessage is the message at the end of a chunk, whether it is handed out or was dropped.
type lastMessage struct {
	seq       uint64
	time      time.Time
	subject   string
	data      []byte
	hasHeader bool
}

func (c *chunk) full() bool {
	return len(c.events) >= maxBatchEvents || c.bytes >= maxBatchBytes || c.read >= maxBatchRead
}

// pull is a request for messages that the server has not yet answered in full.
type pull struct {
	id    uint64
	batch int // messages asked for
	left  int // of these, not yet received
}

// beat is an idle heartbeat: the consumer has looked at the stream up to seq, and place was its last delivery.
type beat struct{ place, seq uint64 }

// receive takes in one message of the consumer's, or about it.
func (in *inflow) receive(msg *nats.Msg) {
	if strings.HasPrefix(msg.Reply, ackPrefix) {
		in.data(msg)
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.control(msg)
	in.wake()
}

// data takes in an event.
func (in *inflow) data(msg *nats.Msg) {
	d, ok := parseDelivery(msg.Reply)
	size := headerSize(msg)
	var header []byte
	readable := true
	wanted := len(in.drop) == 0 || matches(in.drop, msg.Subject)
	if size > 0 && wanted {
		header, readable = headerBlock(msg.Header, size)
	}

	in.mu.Lock()
	defer in.mu.Unlock()
	defer in.wake()
	if !ok || d.stream != in.stream || d.consumer != in.consumer {
		in.stop(foreign(msg.Reply))
		return
	}
	c := in.next(d)
	if c == nil {
		return
	}
	c.last = lastMessage{d.seq, time.Unix(0, d.nanos).UTC(), msg.Subject, msg.Data, size > 0}
	if !wanted {
		return
	}
	if !readable {
		c.unread = append(c.unread, len(c.events))
	}
	in.add(c, header)
}

// next counts a delivery and returns the chunk that it goes to, nil if it must not be handed out.
func (in *inflow) next(d delivery) *chunk {
	if in.err != nil {
		return nil
	}
	if d.place != in.place+1 || d.seq <= in.seq {
		in.err = fmt.Errorf("delivery %d (seq %d) came after delivery %d (seq %d): messages were lost on the way",
			d.place, d.seq, in.place, in.seq)
		return nil
	}
	in.served()
	c := in.open()
	if d.seq != in.seq+1 && !c.jumped {
		c.jumped, c.jump = true, in.seq
	}
	in.seq, in.place = d.seq, d.place
	c.pending = d.pending
	c.read++
	in.read++
	return c
}

// add makes an event of the last message of a chunk, with a header.
func (in *inflow) add(c *chunk, header []byte) {
	c.events = append(c.events, projections.Event{Seq: c.last.seq, Subject: c.last.subject, Time: c.last.time,
		Header: projections.HeaderOf(header), Data: c.last.data})
	bytes := len(c.last.subject) + len(header) + len(c.last.data) + eventOverhead
	c.bytes += bytes
	in.bytes += bytes
}

// stop says why nothing more will come, if nothing else has said so.
func (in *inflow) stop(err error) {
	if in.err == nil {
		in.err = err
	}
}

func matches(subjects []string, subject string) bool {
	for _, filter := range subjects {
		if projections.MatchSubject(filter, subject) {
			return true
		}
	}
	return false
}

// open returns the chunk that the next message goes to.
func (in *inflow) open() *chunk {
	if n := len(in.chunks); n > 0 && !in.chunks[n-1].full() {
		return in.chunks[n-1]
	}
	c := &chunk{}
	if in.usual > 0 {
		c.events = make([]projections.Event, 0, min(in.usual+in.usual/4, maxBatchEvents))
	}
	in.chunks = append(in.chunks, c)
	return c
}

// served counts a message to the pull that it answers: the server serves them in order.
func (in *inflow) served() {
	if len(in.pulls) == 0 {
		return
	}
	if in.pulls[0].left--; in.pulls[0].left <= 0 {
		in.pulls = in.pulls[1:]
	}
}

// control takes in what the server says about the consumer or about one of its pulls.
func (in *inflow) control(msg *nats.Msg) {
	if in.err != nil {
		return
	}
	status, description := msg.Header.Get("Status"), msg.Header.Get("Description")
	switch {
	case status == "100":
		place, ok1 := parseNumber(msg.Header.Get("Nats-Last-Consumer"))
		seq, ok2 := parseNumber(msg.Header.Get("Nats-Last-Stream"))
		if !ok1 || !ok2 {
			return
		}
		if in.beat = (beat{place, seq}); place > in.place {
			in.err = fmt.Errorf("the server has made %d deliveries, %d of them have come: messages were lost on the way",
				place, in.place)
		}
	case status == "408", status == "404": // it has waited long enough
		in.ended(msg.Subject)
	case status == "409" && strings.HasPrefix(description, "Batch Completed"):
		in.ended(msg.Subject)
	case status == "409" && strings.HasPrefix(description, "Message Size Exceeds MaxBytes"):
		if p := in.ended(msg.Subject); p.left > 0 && p.left == p.batch {
			in.alone = true
		}
	case status == "503":
		in.err = errors.New("the consumer is gone")
	case status != "":
		in.err = fmt.Errorf("the server ended the pull: %s %s", status, description)
	}
}

// ended takes a pull off the list. It returns the zero pull if it is not on it.
func (in *inflow) ended(reply string) pull {
	id, err := strconv.ParseUint(reply[strings.LastIndexByte(reply, '.')+1:], 10, 64)
	if err != nil {
		return pull{}
	}
	for i, p := range in.pulls {
		if p.id == id {
			in.pulls = append(in.pulls[:i:i], in.pulls[i+1:]...)
			return p
		}
	}
	return pull{}
}

// wake signals that something came.
func (in *inflow) wake() {
	in.arrived++
	if in.waiting {
		in.waiting = false
		select {
		case in.signal <- struct{}{}:
		default:
		}
	}
}

// fail says why nothing more will come. What has come already is still handed out.
func (in *inflow) fail(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.stop(err)
	in.wake()
}

// taken is what the reader finds in an inflow.
type taken struct {
	chunk   *chunk // nil if nothing has come
	err     error  // why nothing more will come; after the last chunk
	beat    beat   // the last one, if it proves that there was nothing to deliver up to its seq; else zero
	arrived uint64
}

// take hands over the oldest chunk. If there is nothing, the next thing to come gives a signal.
func (in *inflow) take() taken {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.chunks) > 0 {
		c := in.chunks[0]
		in.chunks[0] = nil
		in.chunks = in.chunks[1:]
		in.usual = max(len(c.events), in.usual*3/4)
		in.read -= c.read
		in.bytes -= c.bytes
		return taken{chunk: c, arrived: in.arrived}
	}
	t := taken{err: in.err, arrived: in.arrived}
	if in.beat.place == in.place && in.beat.seq > in.seq {
		t.beat = in.beat
	}
	in.waiting = true
	return t
}

// count returns how much has come.
func (in *inflow) count() uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.arrived
}

// last returns the place of the last message that was received.
func (in *inflow) last() uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.place
}

// passed says that everything up to seq was read or proven to be of other subjects.
func (in *inflow) passed(seq uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.chunks) == 0 && in.seq < seq {
		in.seq = seq
	}
}

// want returns a pull that should be made now, and false if there is enough under way. Memory is bounded by it: what is
// under way and what lies here is at most three pulls.
func (in *inflow) want(id uint64, batch, maxBytes int) (p pull, limited, ok bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err != nil || in.read >= batch || in.bytes >= maxBytes || len(in.pulls) >= 2 {
		return pull{}, false, false
	}
	p, limited = pull{id: id, batch: batch, left: batch}, true
	if in.alone {
		if len(in.pulls) > 0 {
			return pull{}, false, false
		}
		in.alone = false
		p.batch, p.left, limited = 1, 1, false
	}
	in.pulls = append(in.pulls, p)
	return p, limited, true
}
