package natslog

import "bytes"

// longestSpoken bounds what is kept of a line that is not yet whole.
const longestSpoken = 64 << 10

// spoken follows what a client says to its server, whatever the pieces in which it is written. The zero value stands at
// the beginning.
type spoken struct {
	line    []byte // the beginning of a line that is not yet whole
	payload int    // bytes of a published message that are still to come
	lost    bool   // it was not understood: nothing more is heard
}

// hear tells the subscriptions that are made and ended in p. What is said of the end of one after a number of messages is
// not told.
func (s *spoken) hear(p []byte, subscribed func(subject []byte, sid uint64), unsubscribed func(sid uint64)) {
	for len(p) > 0 && !s.lost {
		if s.payload > 0 {
			n := min(s.payload, len(p))
			s.payload, p = s.payload-n, p[n:]
			continue
		}
		n := bytes.IndexByte(p, '\n') + 1
		if n == 0 {
			s.line = append(s.line, p...)
			s.lost = len(s.line) > longestSpoken
			return
		}
		line := p[:n]
		if len(s.line) > 0 {
			s.line = append(s.line, line...)
			line = s.line
		}
		s.hearLine(line, subscribed, unsubscribed)
		s.line, p = s.line[:0], p[n:]
	}
}

func (s *spoken) hearLine(line []byte, subscribed func(subject []byte, sid uint64), unsubscribed func(sid uint64)) {
	op, _, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(" "))
	var words [5][]byte
	n := split(line, words[:])
	switch string(bytes.ToUpper(op)) {
	case "PUB", "HPUB":
		size, ok := uint64(0), false
		if n >= 3 && n <= len(words) {
			size, ok = parseDigits(words[n-1])
		}
		if !ok || size > 1<<31-1 {
			s.lost = true
			return
		}
		s.payload = int(size) + 2
	case "SUB": // with a queue between subject and number, or not
		if n != 3 && n != 4 {
			return
		}
		if sid, ok := parseDigits(words[n-1]); ok {
			subscribed(words[1], sid)
		}
	case "UNSUB":
		if n != 2 {
			return
		}
		if sid, ok := parseDigits(words[1]); ok {
			unsubscribed(sid)
		}
	}
}
