package filestore

import (
	"bytes"
	"context"
	"iter"

	"github.com/tailfold/tailfold/snapshotstore"
	"go.etcd.io/bbolt"
)

// A scan reads the file in steps of its own transactions: one that stays open keeps the writer from growing the file,
// and what is done with an entry may take long, or commit.
const (
	scanKeys  = 512
	scanBytes = 1 << 20
)

// Scan implements snapshotstore.Store. It holds one step in memory, about 1 MiB, and yields each key once, in the order
// of the keys' hashes.
func (s *Store) Scan(ctx context.Context, unit snapshotstore.Unit) iter.Seq2[snapshotstore.Entry, error] {
	return func(yield func(snapshotstore.Entry, error) bool) {
		var last []byte
		for {
			entries, next, err := s.scanStep(ctx, unit, last)
			for _, entry := range entries {
				if err := ctx.Err(); err != nil {
					yield(snapshotstore.Entry{}, s.explain("scan", err))
					return
				}
				if !yield(entry, nil) {
					return
				}
			}
			if err != nil {
				yield(snapshotstore.Entry{}, err)
				return
			}
			if next == nil {
				return
			}
			last = next
		}
	}
}

// scanStep reads what follows the place last, nil for the beginning, and returns the place to go on from, nil at the end.
func (s *Store) scanStep(ctx context.Context, unit snapshotstore.Unit, last []byte) (
	entries []snapshotstore.Entry, next []byte, err error,
) {
	err = s.view(ctx, "scan", func(tx *bbolt.Tx) error {
		snap, err := find(tx, unit)
		if err != nil {
			return err
		}
		if _, err := snap.mark(); err != nil || !snap.exists() {
			return err
		}
		cursor := snap.bucket.Bucket(valuesBucket).Cursor()
		at, framed := cursor.Seek(last)
		if last != nil && bytes.Equal(at, last) {
			at, framed = cursor.Next()
		}
		size := 0
		for ; at != nil; at, framed = cursor.Next() {
			key, data, err := unframe(framed)
			if err != nil {
				return &snapshotstore.CorruptError{Unit: unit, Why: "a value: " + err.Error()}
			}
			entries = append(entries, snapshotstore.Entry{Key: string(key), Data: append([]byte{}, data...)})
			if size += len(framed); len(entries) >= scanKeys || size >= scanBytes {
				next = bytes.Clone(at)
				return nil
			}
		}
		return nil
	})
	return entries, next, err
}
