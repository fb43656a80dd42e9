package natslog

import (
	"maps"
	"slices"

	"github.com/nats-io/nats.go"
)

const headerLine = "NATS/1.0\r\n"

// headerSize is the size of a message's header as it came, 0 if it has none. The client keeps the size of the whole,
// but not the header's bytes.
func headerSize(msg *nats.Msg) int {
	return msg.Size() - len(msg.Subject) - len(msg.Reply) - len(msg.Data)
}

// headerBlock makes a header block of what the client made of one. Names are in sorted order, the values of a name in
// stored order. It returns false where the client could not read the header, or may have read into it what is not
// there, so that the block must be asked for: the client puts a status on the first line into the same map as headers
// called Status and Description.
func headerBlock(header nats.Header, size int) ([]byte, bool) {
	if header == nil {
		return nil, size == 0
	}
	length, lines := len(headerLine)+2, 0
	for name, values := range header {
		for _, value := range values {
			length += len(name) + 2 + len(value) + 2
			lines++
		}
	}
	if _, ok := header["Status"]; ok && size != length && size != length-lines { // some clients leave out the space
		return nil, false
	}
	block := append(make([]byte, 0, length), headerLine...)
	for _, name := range slices.Sorted(maps.Keys(header)) {
		for _, value := range header[name] {
			block = append(block, name...)
			block = append(block, ": "...)
			block = append(block, value...)
			block = append(block, "\r\n"...)
		}
	}
	return append(block, "\r\n"...), true
}
