package filestore

import (
	"bytes"

	"github.com/tailfold/tailfold/snapshotstore"
	"go.etcd.io/bbolt"
)

// A step of giving back is bounded, so that the commits beside it do not wait for it.
const (
	sweepKeys  = 1000
	sweepBytes = 4 << 20
)

// drop takes a unit's snapshot out of the file's order, however big it is. Its pages are given back by sweep.
func drop(tx *bbolt.Tx, unit snapshotstore.Unit) error {
	units := tx.Bucket(unitsBucket)
	name := []byte(unit.String())
	id := bytes.Clone(units.Get(name))
	if id == nil {
		return nil
	}
	if err := units.Delete(name); err != nil {
		return err
	}
	return tx.Bucket(droppedBucket).Put(id, nil)
}

// sweep gives back a part of what was dropped. It tells whether it changed anything, and whether there is more to do.
func sweep(tx *bbolt.Tx) (swept, more bool, err error) {
	dropped, all := tx.Bucket(droppedBucket), tx.Bucket(snapshotsBucket)
	first, _ := dropped.Cursor().First()
	if first == nil {
		return false, false, nil
	}
	id := bytes.Clone(first)
	if bucket := all.Bucket(id); bucket != nil {
		if values := bucket.Bucket(valuesBucket); values != nil {
			if more, err := sweepValues(values); more || err != nil {
				return true, more, err
			}
		}
		if err := all.DeleteBucket(id); err != nil {
			return true, false, err
		}
	}
	return true, true, dropped.Delete(id)
}

func sweepValues(values *bbolt.Bucket) (more bool, err error) {
	var keys [][]byte
	size := 0
	cursor := values.Cursor()
	key, value := cursor.First()
	for ; key != nil && len(keys) < sweepKeys && size < sweepBytes; key, value = cursor.Next() {
		keys = append(keys, bytes.Clone(key))
		size += len(value)
	}
	for _, k := range keys {
		if err := values.Delete(k); err != nil {
			return true, err
		}
	}
	return key != nil, nil
}
