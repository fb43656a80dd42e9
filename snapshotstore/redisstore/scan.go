package redisstore

import (
	"context"
	"iter"

	"github.com/tailfold/tailfold/snapshotstore"
)

// Scan yields all keys and values, a page of HSCAN at a time. A page is asked for by number of fields; the number
// follows the size of the values, so that a page is some MiB at most unless single values are bigger.
func (s *Store) Scan(ctx context.Context, unit snapshotstore.Unit) iter.Seq2[snapshotstore.Entry, error] {
	type page struct {
		fields []string // field, value, field, value, …
		cursor uint64
	}
	key := s.layout.Unit(unit)
	return func(yield func(snapshotstore.Entry, error) bool) {
		if _, _, err := s.get(ctx, "scan", unit, []string{MarkField}); err != nil { // values without a mark are CORRUPT
			yield(snapshotstore.Entry{}, err)
			return
		}
		var cursor uint64
		for count := int64(64); ; {
			got, err := call(ctx, s, "scan", key, func(ctx context.Context) (page, error) {
				fields, next, err := s.client.HScan(ctx, key, cursor, "", count).Result()
				return page{fields, next}, corruptIfForeign(unit, key, err)
			})
			if err != nil {
				yield(snapshotstore.Entry{}, err)
				return
			}
			size := 0
			for i := 0; i+1 < len(got.fields); i += 2 {
				size += len(got.fields[i]) + len(got.fields[i+1])
				if name, ok := Key(got.fields[i]); ok {
					if !yield(snapshotstore.Entry{Key: name, Data: []byte(got.fields[i+1])}, nil) {
						return
					}
				}
			}
			if cursor = got.cursor; cursor == 0 { // the end; also an empty page may have a cursor to go on from
				return
			}
			count = nextCount(count, size)
		}
	}
}

// nextCount is how many fields to ask for after a page of the given size.
func nextCount(count int64, size int) int64 {
	switch {
	case size > 4<<20:
		return max(1, count/4)
	case size < 512<<10:
		return min(1000, count*2)
	}
	return count
}
