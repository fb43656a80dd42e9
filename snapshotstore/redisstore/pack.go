package redisstore

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/tailfold/tailfold/snapshotstore"
)

// packChunk is how many texts one argument of the commit script has at the most: Lua can't hand on many more at once.
const packChunk = 7000

// packPuts packs fields and values in turn, packChunk of them into each argument.
func packPuts(entries []snapshotstore.Entry) []any {
	var args []any
	for part := range slices.Chunk(entries, packChunk/2) {
		size := 0
		for i := range part {
			size += len(part[i].Key) + len(part[i].Data) + 1 + 2*packHead
		}
		packed := make([]byte, 0, size)
		for i := range part {
			packed = packField(packed, part[i].Key)
			packed = append(appendHead(packed, len(part[i].Data)), part[i].Data...)
		}
		args = append(args, packed)
	}
	return args
}

// packDeletes packs the fields of keys, packChunk of them into each argument.
func packDeletes(keys []string) []any {
	var args []any
	for part := range slices.Chunk(keys, packChunk) {
		var packed []byte
		for _, key := range part {
			packed = packField(packed, key)
		}
		args = append(args, packed)
	}
	return args
}

// packField appends what Field makes of a key, without making it.
func packField(to []byte, key string) []byte {
	if strings.HasPrefix(key, "$") {
		return append(append(appendHead(to, len(key)+1), '$'), key...)
	}
	return append(appendHead(to, len(key)), key...)
}

// packHead is the longest that appendHead appends.
const packHead = 5

// appendHead begins a text of n bytes in MessagePack, which Redis's Lua unpacks.
func appendHead(to []byte, n int) []byte {
	switch {
	case n < 32:
		return append(to, 0xa0|byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(to, 0xda), uint16(n))
	default:
		return binary.BigEndian.AppendUint32(append(to, 0xdb), uint32(n))
	}
}
