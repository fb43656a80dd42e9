package filestore

import (
	"context"
	"testing"

	"github.com/tailfold/tailfold/snapshotstore"
	"go.etcd.io/bbolt"
)

// SetMark damages a unit's snapshot: raw stands where its mark was, or, where raw is nil, nothing.
func (s *Store) SetMark(t testing.TB, unit snapshotstore.Unit, raw []byte) {
	t.Helper()
	s.Damage(t, unit, func(snap *bbolt.Bucket) error {
		if raw == nil {
			return snap.Delete(markField)
		}
		return snap.Put(markField, frame("$mark", raw))
	})
}

// Damage does to a unit's part of the file what it likes.
func (s *Store) Damage(t testing.TB, unit snapshotstore.Unit, how func(snap *bbolt.Bucket) error) {
	t.Helper()
	err := s.update(t.Context(), "damage", 0, func(tx *bbolt.Tx) error {
		snap, err := find(tx, unit)
		if err != nil {
			return err
		}
		return how(snap.bucket)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// LimitTo bounds the size of the file, as a full disk does.
func LimitTo(bytes int, options Options) Options {
	options.maxSize = bytes
	return options
}

// Transactions is how many have been written in the file's life.
func (s *Store) Transactions(t testing.TB) int {
	t.Helper()
	var id int
	if err := s.db.View(func(tx *bbolt.Tx) error { id = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	return id
}

// Busy has the writer wait until release is called, in a transaction of its own.
func (s *Store) Busy(t testing.TB) (release func()) {
	t.Helper()
	in, out, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		done <- s.update(context.Background(), "wait", 0, func(*bbolt.Tx) error {
			close(in)
			<-out
			return nil
		})
	}()
	<-in
	return func() {
		close(out)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Dropped tells whether something is still to be given back.
func (s *Store) Dropped(t testing.TB) (left bool) {
	t.Helper()
	err := s.db.View(func(tx *bbolt.Tx) error {
		first, _ := tx.Bucket(droppedBucket).Cursor().First()
		left = first != nil
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// ValuesOf is where the values of a snapshot are, for tests that damage them.
func ValuesOf(snap *bbolt.Bucket) *bbolt.Bucket { return snap.Bucket(valuesBucket) }

// PlaceOf is where a key's value is among them.
func PlaceOf(key string) []byte {
	at := place(key)
	return at[:]
}
