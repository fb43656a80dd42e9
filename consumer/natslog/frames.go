package natslog

import (
	"bytes"
	"errors"
	"fmt"
)

// frame is a message as it stands in the server's stream. Its bytes are lent for as long as the call lasts to which it is
// given, unless it owns them.
type frame struct {
	subject, reply, header, data []byte
	owned                        bool // nobody else will change the bytes: they may be kept
}

// receiver takes the messages of those subscriptions that it wants.
type receiver interface {
	wants(sid uint64) bool
	// receive takes a message of the subscription that was wanted last.
	receive(f *frame)
}

const (
	// frameBuffer is the size of the buffer that holds what was read and is not yet sorted.
	frameBuffer = 64 << 10
	// firstPiece is reserved for a long message before more of it has come than its announced size.
	firstPiece = 1 << 20
)

var errNoEnd = errors.New("the server's stream can't be read: a message does not end where its size says")

// frames sorts the server's stream, from its beginning, into messages that a receiver wants and everything else.
type frames struct {
	bound  int    // bytes that its caller can hold: longer messages are gathered
	others int    // bytes of a message for others that are still to come
	line   bool   // in the middle of a line for others
	long   []byte // a wanted message larger than the buffer, as far as it has come
	whole  int    // its size with line and end, 0 if there is none
	given  frame  // the last one; here, so that it is not allocated for each message
}

// sort gives wanted messages to the receiver and appends everything else to out. What it returns as rest is too short to
// be told: it is to be given again, with what comes after it; it is shorter than bound.
func (s *frames) sort(in, out []byte, to receiver) (rest, passed []byte, err error) {
	for len(in) > 0 {
		switch {
		case s.whole > 0:
			in, err = s.gather(in, to)
			if err != nil {
				return nil, out, err
			}
		case s.others > 0:
			n := min(s.others, len(in))
			out, in, s.others = append(out, in[:n]...), in[n:], s.others-n
		case s.line:
			n := bytes.IndexByte(in, '\n') + 1
			if s.line = n == 0; s.line {
				n = len(in)
			}
			out, in = append(out, in[:n]...), in[n:]
		case !beginsMessage(in[0]):
			s.line = true
		default:
			n := bytes.IndexByte(in, '\n') + 1
			if n == 0 {
				if len(in) >= s.bound {
					return nil, out, fmt.Errorf("the server's stream can't be read: a line is longer than %d bytes", s.bound)
				}
				return in, out, nil
			}
			h, ok := parseHead(in[:n])
			whole := n + h.size + 2
			switch {
			case !ok: // the client will say so
				s.line = true
			case !to.wants(h.sid):
				out, in, s.others = append(out, in[:n]...), in[n:], h.size+2
			case whole <= len(in):
				if !s.give(&h, in[n:whole], false, to) {
					return nil, out, errNoEnd
				}
				in = in[whole:]
			case whole > s.bound:
				s.long, s.whole = make([]byte, 0, min(whole, firstPiece)), whole
			default:
				return in, out, nil
			}
		}
	}
	return nil, out, nil
}

// gather adds to a long message, and hands it over when it is whole.
func (s *frames) gather(in []byte, to receiver) ([]byte, error) {
	n := min(s.whole-len(s.long), len(in))
	s.long = append(s.long, in[:n]...)
	if len(s.long) < s.whole {
		return in[n:], nil
	}
	long := s.long
	s.long, s.whole = nil, 0
	body := bytes.IndexByte(long, '\n') + 1
	h, ok := parseHead(long[:body])
	if !ok || !to.wants(h.sid) {
		return in[n:], nil // the subscription has ended meanwhile: nobody waits for it
	}
	if !s.give(&h, long[body:], true, to) {
		return nil, errNoEnd
	}
	return in[n:], nil
}

func beginsMessage(c byte) bool { return c == 'M' || c == 'm' || c == 'H' || c == 'h' }

// head is the line before a message.
type head struct {
	subject, reply []byte
	sid            uint64
	header, size   int // bytes; size is with the header
}

// give hands over the message with a head. It returns false if the message does not end as it should.
func (s *frames) give(h *head, body []byte, owned bool, to receiver) bool {
	if body[h.size] != '\r' || body[h.size+1] != '\n' {
		return false
	}
	s.given = frame{subject: h.subject, reply: h.reply, header: body[:h.header:h.header],
		data: body[h.header:h.size:h.size], owned: owned}
	to.receive(&s.given)
	return true
}

// parseHead reads one of
//
//	MSG <subject> <sid> [reply] <size>
//	HMSG <subject> <sid> [reply] <header size> <size>
func parseHead(line []byte) (h head, ok bool) {
	var words [6][]byte
	n := split(line, words[:])
	var sized int // place of the first size
	switch {
	case n >= 4 && bytes.EqualFold(words[0], []byte("MSG")):
		sized = n - 1
	case n >= 5 && bytes.EqualFold(words[0], []byte("HMSG")):
		sized = n - 2
	default:
		return head{}, false
	}
	if sized != 3 && sized != 4 {
		return head{}, false
	}
	if sized == 4 {
		h.reply = words[3]
	}
	sid, ok1 := parseDigits(words[2])
	first, ok2 := parseDigits(words[sized])
	last, ok3 := parseDigits(words[n-1])
	if !ok1 || !ok2 || !ok3 || last > 1<<31-1 || first > last {
		return head{}, false
	}
	h.subject, h.sid, h.size = words[1], sid, int(last)
	if sized == n-2 {
		h.header = int(first)
	}
	return h, true
}

// split finds the words of a line and returns how many there are; one more than fit where there are more.
func split(line []byte, words [][]byte) int {
	n, start := 0, -1
	for i, c := range line {
		if c > ' ' || c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			if start < 0 {
				start = i
			}
			continue
		}
		if start >= 0 {
			if n == len(words) {
				return n + 1
			}
			words[n], start = line[start:i], -1
			n++
		}
	}
	if start >= 0 {
		if n == len(words) {
			return n + 1
		}
		words[n] = line[start:]
		n++
	}
	return n
}
