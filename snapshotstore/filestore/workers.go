package filestore

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tailfold/tailfold/snapshotstore"
)

// board keeps what workers say of themselves. One process holds the file, so its memory is where all of them are.
type board struct {
	mu   sync.Mutex
	said map[string]announcement
}

type announcement struct {
	report []byte
	at     time.Time
	until  time.Time
}

// Announce implements snapshotstore.Store. The clock is the process's monotonic one.
func (s *Store) Announce(ctx context.Context, worker string, report []byte, renew time.Duration) error {
	if err := s.usable(ctx, "announce"); err != nil {
		return err
	}
	now := s.now()
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	s.board.said[worker] = announcement{report: bytes.Clone(report), at: now, until: now.Add(3 * renew)}
	return nil
}

// Resign implements snapshotstore.Store.
func (s *Store) Resign(ctx context.Context, worker string) error {
	if err := s.usable(ctx, "resign"); err != nil {
		return err
	}
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	delete(s.board.said, worker)
	return nil
}

// Workers implements snapshotstore.Store.
func (s *Store) Workers(ctx context.Context) ([]snapshotstore.Announcement, error) {
	if err := s.usable(ctx, "workers"); err != nil {
		return nil, err
	}
	now := s.now()
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	maps.DeleteFunc(s.board.said, func(_ string, a announcement) bool { return !now.Before(a.until) })
	var all []snapshotstore.Announcement
	for _, worker := range slices.Sorted(maps.Keys(s.board.said)) {
		a := s.board.said[worker]
		all = append(all, snapshotstore.Announcement{Worker: worker, Report: bytes.Clone(a.report), Age: now.Sub(a.at)})
	}
	return all, nil
}

// usable is for calls that do not touch the file.
func (s *Store) usable(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return s.explain(op, err)
	}
	select {
	case <-s.stop:
		return s.explain(op, errClosed)
	default:
		return nil
	}
}
