package natslog

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unsafe"

	"github.com/nats-io/nats.go"
)

const (
	// slabSize is how much memory events share: little enough that a value which keeps a slice of one event does not
	// keep much else.
	slabSize = 16 << 10
	// slabShare is the largest piece for which a new slab is begun. A larger one has memory of its own.
	slabShare = slabSize / 4
)

// slab gives out memory for what is kept of events. What it has given out is never used again.
type slab struct{ free []byte }

// keep copies bytes.
func (s *slab) keep(b []byte) []byte {
	n := len(b)
	switch {
	case n == 0:
		return nil
	case n <= len(s.free):
	case n > slabShare:
		return bytes.Clone(b)
	default:
		s.free = make([]byte, slabSize)
	}
	kept := s.free[:n:n]
	s.free = s.free[n:]
	copy(kept, b)
	return kept
}

// asString is b as a string, for as long as b does not change.
func asString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// begin is called before frames are taken in, settle after. Between them nothing can be taken out.
func (in *inflow) begin() { in.mu.Lock() }

// settle keeps what was only lent.
func (in *inflow) settle() {
	in.keepLast()
	in.wake()
	in.mu.Unlock()
}

// keepLast copies the last message if it is kept by its chunk alone, not by an event.
func (in *inflow) keepLast() {
	if !in.lent {
		return
	}
	in.lent = false
	last := &in.chunks[len(in.chunks)-1].last
	last.subject, last.data = strings.Clone(last.subject), bytes.Clone(last.data)
}

// frame takes in one message of the consumer's, or about it, as it stands in the server's stream.
func (in *inflow) frame(f *frame) {
	d, ok := in.deliveryOf(f.reply)
	switch {
	case ok:
	case bytes.HasPrefix(f.reply, []byte(ackPrefix)):
		in.stop(foreign(string(f.reply)))
		return
	default:
		in.control(f.message())
		return
	}
	if n := len(in.chunks); n > 0 && in.chunks[n-1].full() {
		in.keepLast()
	}
	c := in.next(d)
	if c == nil {
		return
	}
	wanted := len(in.drop) == 0 || matches(in.drop, asString(f.subject))
	last := lastMessage{d.seq, time.Unix(0, d.nanos).UTC(), asString(f.subject), f.data, len(f.header) > 0}
	if in.lent = !wanted; in.lent {
		c.last = last
		return
	}
	if string(f.subject) != in.subject {
		in.subject = asString(in.slab.keep(f.subject))
	}
	last.subject = in.subject
	var header []byte
	if header = f.header; !f.owned {
		header, last.data = in.slab.keep(f.header), in.slab.keep(f.data)
	}
	if len(header) == 0 {
		header = nil
	}
	c.last = last
	in.add(c, header)
}

// message is a control message as the client would hand it over.
func (f *frame) message() *nats.Msg {
	header, _ := nats.DecodeHeadersMsg(f.header) // one that can't be read has no status
	return &nats.Msg{Subject: string(f.subject), Reply: string(f.reply), Header: header}
}

func foreign(reply string) error {
	return fmt.Errorf("a message came with the reply subject %q, which is not of this reader's consumer", reply)
}

// deliveryOf reads the reply subject of a message of this consumer's. All have the same beginning, and after it four
// numbers: so it is read once, then compared.
func (in *inflow) deliveryOf(reply []byte) (delivery, bool) {
	if len(in.replies) > 0 && bytes.HasPrefix(reply, in.replies) {
		if d, ok := parseNumbers(reply[len(in.replies):]); ok {
			d.stream, d.consumer = in.stream, in.consumer
			return d, true
		}
	}
	d, ok := parseDelivery(string(reply))
	if !ok || d.stream != in.stream || d.consumer != in.consumer {
		return d, false
	}
	begin := len(reply)
	for range 4 {
		begin = bytes.LastIndexByte(reply[:begin], '.')
	}
	again, ok := parseNumbers(reply[begin+1:])
	again.stream, again.consumer = d.stream, d.consumer
	if ok && again == d { // not where something follows the numbers
		in.replies = bytes.Clone(reply[:begin+1])
	}
	return d, true
}

// parseNumbers reads <seq>.<place>.<nanos>.<pending>.
func parseNumbers(text []byte) (delivery, bool) {
	var numbers [4]uint64
	for i := range numbers {
		end := bytes.IndexByte(text, '.')
		if i == len(numbers)-1 {
			if end >= 0 {
				return delivery{}, false
			}
			end = len(text)
		}
		if end < 0 {
			return delivery{}, false
		}
		n, ok := parseDigits(text[:end])
		if !ok {
			return delivery{}, false
		}
		numbers[i], text = n, text[min(end+1, len(text)):]
	}
	d := delivery{seq: numbers[0], place: numbers[1], nanos: int64(numbers[2]), pending: numbers[3]}
	return d, d.seq > 0 && d.place > 0 && d.nanos >= 0
}
