package redisstore

import "encoding/binary"

// packed is a list of strings as MessagePack arrays of up to packItems strings each, one argument of a script for each
// array. Redis reads an argument of megabytes in one piece, where it makes an object of each of a hundred thousand small
// ones, twice; its own cmsgpack makes Lua strings of the array at once. It takes half of Redis's time for a checkpoint off,
// and most of the client's.
type packed struct {
	arrays [][]byte
	open   []byte // the array that is being filled, its header left out
	items  int    // in it
}

// packItems are in one array: Lua's unpack takes 7,998 values at most.
const packItems = 7000

// newPacked has room for items strings of so many bytes together.
func newPacked(items, bytes int) *packed {
	return &packed{open: make([]byte, headerBytes, min(items, packItems)*lengthBytes+min(bytes, bytes/max(1, items)*packItems+packItems)+headerBytes)}
}

const (
	headerBytes = 3 // of an array
	lengthBytes = 5 // of a string, at most
)

func (p *packed) add(prefix, text string, data []byte) {
	if p.items == packItems {
		p.close()
	}
	switch n := len(prefix) + len(text) + len(data); {
	case n < 32:
		p.open = append(p.open, 0xa0|byte(n))
	case n < 1<<16:
		p.open = binary.BigEndian.AppendUint16(append(p.open, 0xda), uint16(n))
	default:
		p.open = binary.BigEndian.AppendUint32(append(p.open, 0xdb), uint32(n))
	}
	p.open = append(append(append(p.open, prefix...), text...), data...)
	p.items++
}

// addField adds the field of a key.
func (p *packed) addField(key string) {
	if len(key) > 0 && key[0] == '$' {
		p.add("$", key, nil)
		return
	}
	p.add("", key, nil)
}

func (p *packed) close() {
	if p.items == 0 {
		return
	}
	p.open[0] = 0xdc
	binary.BigEndian.PutUint16(p.open[1:], uint16(p.items))
	p.arrays = append(p.arrays, p.open)
	p.open, p.items = make([]byte, headerBytes, len(p.open)+len(p.open)/8), 0
}

// all are the arrays.
func (p *packed) all() [][]byte {
	p.close()
	return p.arrays
}
