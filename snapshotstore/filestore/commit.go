package filestore

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tailfold/tailfold/snapshotstore"
	"go.etcd.io/bbolt"
)

// changes are a checkpoint in the form in which it goes into the file, made before the writer is asked, in the order in
// which the pages lie.
type changes struct {
	from, to   []byte
	values     []change
	definition []byte // framed; nil to leave it
	skipped    []skip
	size       int
}

type change struct {
	at    [sha256.Size]byte
	frame []byte // nil to delete
}

type skip struct {
	seq   uint64
	frame []byte
}

func newChanges(checkpoint snapshotstore.Checkpoint) (*changes, error) {
	c := &changes{from: checkpoint.From.Raw, to: checkpoint.To.Raw}
	if len(c.to) == 0 || (!checkpoint.From.IsZero() && len(c.from) == 0) {
		return nil, errors.New("a checkpoint needs sealed marks (Mark.Seal)")
	}
	c.values = make([]change, 0, len(checkpoint.Put)+len(checkpoint.Delete))
	for _, entry := range checkpoint.Put {
		framed := frame(entry.Key, entry.Data)
		c.size += len(framed)
		c.values = append(c.values, change{place(entry.Key), framed})
	}
	for _, key := range checkpoint.Delete {
		c.values = append(c.values, change{place(key), nil})
	}
	c.size += sha256.Size * len(c.values)
	slices.SortStableFunc(c.values, func(a, b change) int { return bytes.Compare(a.at[:], b.at[:]) })
	if checkpoint.Definition != "" {
		c.definition = frame("$definition", []byte(checkpoint.Definition))
	}
	for _, skipped := range checkpoint.Skipped {
		record, err := json.Marshal(skipped, json.Deterministic(true), jsontext.AllowInvalidUTF8(true)) // a key is any bytes
		if err != nil {
			return nil, err
		}
		c.skipped = append(c.skipped, skip{skipped.Seq, frame("$skipped", record)})
	}
	return c, nil
}

// Commit implements snapshotstore.Store. It returns once the checkpoint is on the disk, see the package comment. Where
// ctx ends first, the checkpoint may still be applied; its entries must not be changed then.
func (s *Store) Commit(ctx context.Context, unit snapshotstore.Unit, checkpoint snapshotstore.Checkpoint) error {
	c, err := newChanges(checkpoint)
	if err != nil {
		return &snapshotstore.Error{Class: snapshotstore.Stop, Op: "commit", Err: err}
	}
	return s.update(ctx, "commit", c.size, func(tx *bbolt.Tx) error { return c.apply(tx, unit) })
}

// apply compares and sets. Answers of the contract come before the first change.
func (c *changes) apply(tx *bbolt.Tx, unit snapshotstore.Unit) error {
	snap, err := find(tx, unit)
	if err != nil {
		return err
	}
	held, err := snap.mark()
	if err != nil {
		return err
	}
	switch snapshotstore.Fence(held.Raw, c.from, c.to) {
	case snapshotstore.Applied:
		return nil
	case snapshotstore.Refused:
		return &snapshotstore.ConflictError{Unit: unit, Held: held}
	}
	if !snap.exists() {
		if snap, err = create(tx, unit); err != nil {
			return err
		}
	}
	return c.write(snap.bucket)
}

func (c *changes) write(snap *bbolt.Bucket) error {
	values := snap.Bucket(valuesBucket)
	for _, v := range c.values {
		var err error
		if v.frame == nil {
			err = values.Delete(v.at[:])
		} else {
			err = values.Put(v.at[:], v.frame)
		}
		if err != nil {
			return err
		}
	}
	skipped := snap.Bucket(skippedBucket)
	for _, s := range c.skipped {
		n, err := skipped.NextSequence()
		if err != nil {
			return err
		}
		at := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, s.seq), n)
		if err := skipped.Put(at, s.frame); err != nil {
			return err
		}
	}
	if c.definition != nil {
		if err := snap.Put(definitionField, c.definition); err != nil {
			return err
		}
	}
	return snap.Put(markField, frame("$mark", c.to))
}

// Skipped implements snapshotstore.Store.
func (s *Store) Skipped(ctx context.Context, unit snapshotstore.Unit) (
	mark snapshotstore.Mark, all []snapshotstore.Skipped, err error,
) {
	err = s.view(ctx, "skipped", func(tx *bbolt.Tx) error {
		snap, err := find(tx, unit)
		if err != nil || !snap.exists() {
			return err
		}
		if mark, err = snap.mark(); err != nil {
			return err
		}
		return snap.bucket.Bucket(skippedBucket).ForEach(func(_, framed []byte) error {
			_, record, err := unframe(framed)
			if err == nil {
				var one snapshotstore.Skipped
				err = json.Unmarshal(record, &one)
				all = append(all, one)
			}
			return cmp.Or(ctx.Err(), corrupt(unit, "$skipped", err))
		})
	})
	if err != nil {
		return snapshotstore.Mark{}, nil, err
	}
	return mark, all, nil
}

func corrupt(unit snapshotstore.Unit, key string, err error) error {
	if err == nil {
		return nil
	}
	return &snapshotstore.CorruptError{Unit: unit, Key: key, Why: err.Error()}
}
