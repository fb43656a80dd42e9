package redisstore_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// Keys and values of every length at which their packing changes, more of them than fit into one argument, with all bytes.
func TestTextsOfEveryLengthArriveAsTheyAre(t *testing.T) {
	store := open(t, redistest.Start(t).URL())
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	var put []snapshotstore.Entry
	for _, n := range []int{0, 1, 31, 32, 255, 256, 65535, 65536, 1 << 20} {
		text := bytes.Repeat(every, n/256+1)[:n]
		put = append(put, snapshotstore.Entry{Key: fmt.Sprintf("value of %d", n), Data: text})
		if n > 0 && n <= 65536 {
			put = append(put, snapshotstore.Entry{Key: string(text), Data: []byte("key")}, snapshotstore.Entry{Key: "$" + string(text[1:]), Data: []byte("escaped")})
		}
	}
	for i := range 7100 {
		put = append(put, snapshotstore.Entry{Key: fmt.Sprint("k", i), Data: []byte(strings.Repeat("v", i%40))})
	}
	first := mark(1)
	if err := store.Commit(t.Context(), unit, snapshotstore.Checkpoint{To: first, Put: put}); err != nil {
		t.Fatal(err)
	}
	keys := make([]string, len(put))
	for i := range put {
		keys[i] = put[i].Key
	}
	_, values, err := store.Get(t.Context(), unit, keys)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range values {
		if !v.Exists || !bytes.Equal(v.Data, put[i].Data) {
			t.Errorf("the value of %.40q has %d bytes, want %d", keys[i], len(v.Data), len(put[i].Data))
		}
	}
	if err := store.Commit(t.Context(), unit, snapshotstore.Checkpoint{From: first, To: mark(2), Delete: keys}); err != nil {
		t.Fatal(err)
	}
	_, values, err = store.Get(t.Context(), unit, keys)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range values {
		if v.Exists {
			t.Errorf("%.40q is still there", keys[i])
		}
	}
}
