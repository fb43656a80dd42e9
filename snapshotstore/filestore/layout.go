package filestore

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/tailfold/tailfold/snapshotstore"
	"go.etcd.io/bbolt"
)

// Names in the file, see the package comment.
var (
	headBucket      = []byte("tailfold")
	unitsBucket     = []byte("units")
	snapshotsBucket = []byte("snapshots")
	droppedBucket   = []byte("dropped")
	servedBucket    = []byte("served")

	valuesBucket  = []byte("values")
	skippedBucket = []byte("skipped")

	formatField     = []byte("format")
	markField       = []byte("mark")
	definitionField = []byte("definition")
)

const format = "1"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame is what is stored of a key and its value.
func frame(key string, data []byte) []byte {
	b := make([]byte, 4, 4+binary.MaxVarintLen64+len(key)+len(data))
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = append(b, key...)
	b = append(b, data...)
	binary.BigEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return b
}

var errFrame = errors.New("what is stored does not match its checksum: the disk or another program changed it")

// unframe takes a frame apart, into slices of it.
func unframe(b []byte) (key, data []byte, err error) {
	if len(b) < 5 || crc32.Checksum(b[4:], castagnoli) != binary.BigEndian.Uint32(b) {
		return nil, nil, errFrame
	}
	n, width := binary.Uvarint(b[4:])
	rest := b[4:]
	if width <= 0 || n > uint64(len(rest)-width) {
		return nil, nil, errFrame
	}
	rest = rest[width:]
	return rest[:n], rest[n:], nil
}

// place is where a key's frame is in the values of a snapshot.
func place(key string) [sha256.Size]byte { return sha256.Sum256([]byte(key)) }

// snapshot is a unit's part of the file in one transaction; the zero snapshot is a unit that has none.
type snapshot struct {
	unit   snapshotstore.Unit
	bucket *bbolt.Bucket
}

// find is the snapshot of a unit.
func find(tx *bbolt.Tx, unit snapshotstore.Unit) (snapshot, error) {
	id := tx.Bucket(unitsBucket).Get([]byte(unit.String()))
	if id == nil {
		return snapshot{unit: unit}, nil
	}
	bucket := tx.Bucket(snapshotsBucket).Bucket(id)
	if bucket == nil || bucket.Bucket(valuesBucket) == nil || bucket.Bucket(skippedBucket) == nil {
		return snapshot{}, &snapshotstore.CorruptError{Unit: unit, Why: "a part of its snapshot is missing in the file"}
	}
	return snapshot{unit, bucket}, nil
}

// create makes an empty snapshot for a unit that has none.
func create(tx *bbolt.Tx, unit snapshotstore.Unit) (snapshot, error) {
	all := tx.Bucket(snapshotsBucket)
	n, err := all.NextSequence()
	if err != nil {
		return snapshot{}, err
	}
	id := binary.BigEndian.AppendUint64(nil, n)
	bucket, err := all.CreateBucket(id)
	if err != nil {
		return snapshot{}, err
	}
	for _, name := range [][]byte{valuesBucket, skippedBucket} {
		if _, err := bucket.CreateBucket(name); err != nil {
			return snapshot{}, err
		}
	}
	return snapshot{unit, bucket}, tx.Bucket(unitsBucket).Put([]byte(unit.String()), id)
}

func (s snapshot) exists() bool { return s.bucket != nil }

// mark reads the mark; the zero Mark where there is no snapshot.
func (s snapshot) mark() (snapshotstore.Mark, error) {
	if !s.exists() {
		return snapshotstore.Mark{}, nil
	}
	framed := s.bucket.Get(markField)
	if framed == nil {
		return snapshotstore.Mark{}, &snapshotstore.CorruptError{Unit: s.unit, Why: "there are values, but no mark"}
	}
	_, raw, err := unframe(framed)
	if err != nil {
		return snapshotstore.Mark{}, &snapshotstore.CorruptError{Unit: s.unit, Key: "$mark", Why: err.Error()}
	}
	mark, err := snapshotstore.ParseMark(append([]byte{}, raw...)) // the file's memory is not ours beyond the transaction
	if err != nil {
		return snapshotstore.Mark{}, &snapshotstore.CorruptError{Unit: s.unit, Key: "$mark", Why: err.Error()}
	}
	return mark, nil
}

// value reads one key.
func (s snapshot) value(key string) (snapshotstore.Value, error) {
	at := place(key)
	framed := s.bucket.Bucket(valuesBucket).Get(at[:])
	if framed == nil {
		return snapshotstore.Value{}, nil
	}
	found, data, err := unframe(framed)
	if err == nil && string(found) != key {
		err = errFrame
	}
	if err != nil {
		return snapshotstore.Value{}, &snapshotstore.CorruptError{Unit: s.unit, Key: key, Why: err.Error()}
	}
	return snapshotstore.Value{Data: append([]byte{}, data...), Exists: true}, nil
}
