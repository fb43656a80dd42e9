package natslog

import "strings"

// ackPrefix begins the reply subject of each message that a consumer delivers, and of nothing else. That is how data is
// told from control messages: an event may be empty and have a header "Status", as control messages do.
const ackPrefix = "$JS.ACK."

// delivery is what a reply subject tells about its message.
type delivery struct {
	stream, consumer string
	seq              uint64 // in the stream
	place            uint64 // in the consumer's own numbering, from 1, without gaps
	nanos            int64  // when it was stored, Unix time
	pending          uint64 // messages that the consumer still has to deliver
}

// parseDelivery reads a reply subject in either of its forms. It allocates nothing.
//
//	$JS.ACK.<stream>.<consumer>.<tries>.<seq>.<place>.<nanos>.<pending>
//	$JS.ACK.<domain>.<account>.<stream>.<consumer>.<tries>.<seq>.<place>.<nanos>.<pending>[.<anything>]
func parseDelivery(reply string) (delivery, bool) {
	rest, ok := strings.CutPrefix(reply, ackPrefix)
	if !ok {
		return delivery{}, false
	}
	var tokens [9]string
	count := strings.Count(rest, ".") + 1
	switch {
	case count == 7: // without domain and account
		cut(rest, tokens[2:])
	case count >= 9:
		cut(rest, tokens[:])
	default:
		return delivery{}, false
	}
	d := delivery{stream: tokens[2], consumer: tokens[3]}
	tries, ok1 := parseNumber(tokens[4])
	seq, ok2 := parseNumber(tokens[5])
	place, ok3 := parseNumber(tokens[6])
	nanos, ok4 := parseNumber(tokens[7])
	pending, ok5 := parseNumber(tokens[8])
	if !(ok1 && ok2 && ok3 && ok4 && ok5) || tries == 0 || seq == 0 || place == 0 || nanos > 1<<63-1 ||
		d.stream == "" || d.consumer == "" {
		return delivery{}, false
	}
	d.seq, d.place, d.nanos, d.pending = seq, place, int64(nanos), pending
	return d, true
}

// cut fills tokens from the beginning of text.
func cut(text string, tokens []string) {
	for i := range tokens {
		tokens[i], text, _ = strings.Cut(text, ".")
	}
}

// parseNumber reads a decimal number of digits only.
func parseNumber(text string) (uint64, bool) { return parseDecimal(text) }

// parseDigits does the same with bytes.
func parseDigits(text []byte) (uint64, bool) { return parseDecimal(text) }

func parseDecimal[T string | []byte](text T) (uint64, bool) {
	if len(text) == 0 || len(text) > 20 {
		return 0, false
	}
	var n uint64
	for i := range len(text) {
		digit := uint64(text[i] - '0')
		if digit > 9 || n > (1<<64-1-digit)/10 {
			return 0, false
		}
		n = n*10 + digit
	}
	return n, true
}
