package read

import (
	"context"
	"iter"
	"strings"

	"github.com/tailfold/tailfold/snapshotstore"
)

// All yields the keys that begin with prefix ("" for all), partition by partition, in no order. It reads the whole
// snapshot, in bounded memory. Its results are not of one moment: a value holds at least the events up to its Seq, and
// perhaps later ones; a key may come twice. An error is yielded last.
func (r *Reader) All(ctx context.Context, prefix string) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		marks := make([]snapshotstore.Mark, r.options.Partitions)
		var version int
		err := r.await(ctx, func(v int) (err error) {
			version = v
			for p := range marks {
				unit := snapshotstore.Unit{Projection: r.options.Projection, Version: v, Partition: p}
				if marks[p], err = r.store.Head(ctx, unit); err == nil {
					err = r.enough(unit, marks[p])
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			yield(Result{}, err)
			return
		}
		for p, mark := range marks {
			unit := snapshotstore.Unit{Projection: r.options.Projection, Version: version, Partition: p}
			for entry, err := range r.store.Scan(ctx, unit) {
				if err != nil {
					yield(Result{}, err)
					return
				}
				if strings.HasPrefix(entry.Key, prefix) && !yield(Result{Key: entry.Key, Value: entry.Data, Exists: true,
					Seq: mark.Seq, Partition: p, Version: version, Mark: mark}, nil) {
					return
				}
			}
		}
	}
}
