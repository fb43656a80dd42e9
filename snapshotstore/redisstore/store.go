// Package redisstore keeps snapshots in Redis 7.0 or newer (or Valkey): a single server, one watched by Sentinel, or
// a cluster. Layout says where things are, so that any client can read them:
//
//	HMGET tailfold:{customer-totals/v1/0} $mark c-77
//
// A commit is one Lua script or, of many keys, one HSET behind a WATCH, so that mark and values change in one atomic
// step. Everything else waits meanwhile, about 1 ms per 700 fields in a large snapshot: it is the caller who keeps a
// checkpoint small.
package redisstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/redis/go-redis/v9"

	"github.com/tailfold/tailfold/snapshotstore"
)

// Store is a snapshotstore.Store on Redis.
type Store struct {
	client redis.UniversalClient
	target target
	layout Layout

	bulkFrom int // see isBulk

	replicas        int // see Options
	replicasTimeout time.Duration

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
}

var _ snapshotstore.Store = (*Store)(nil)

// String names the store, without its password.
func (s *Store) String() string { return s.target.String() }

// GoString is String: printing a store with %#v does not show its password either.
func (s *Store) GoString() string { return "redisstore(" + s.String() + ")" }

// Layout tells where in Redis the store keeps things.
func (s *Store) Layout() Layout { return s.layout }

// Close gives back the connections. Calls under way end with an error.
func (s *Store) Close() error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	if was {
		return nil
	}
	err := s.client.Close()
	s.calls.Wait()
	if err != nil {
		return &snapshotstore.Error{Class: snapshotstore.Again, Op: "close", Err: err}
	}
	return nil
}

// call runs f, and returns when it has or when the context ends, whichever is first: go-redis heeds a context's
// deadline, but not its cancelling, while it waits for an answer. What is left behind ends with its answer, at the
// latest after the client's read timeout or when the store is closed, which waits for it.
func call[T any](ctx context.Context, s *Store, op, key string, f func(context.Context) (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, s.fail(op, key, err)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return none, s.fail(op, key, redis.ErrClosed)
	}
	done := make(chan outcome, 1)
	s.calls.Go(func() {
		value, err := f(ctx)
		done <- outcome{value, err}
	})
	s.mu.Unlock()
	select {
	case <-ctx.Done():
		return none, s.fail(op, key, ctx.Err())
	case got := <-done:
		if got.err == nil {
			return got.value, nil
		}
		// The connection has the context's deadline too, and may notice it first.
		if deadline, ok := ctx.Deadline(); ok && errors.Is(got.err, os.ErrDeadlineExceeded) && !time.Now().Before(deadline) {
			got.err = fmt.Errorf("%w: %w", context.DeadlineExceeded, got.err)
		}
		return none, s.fail(op, key, got.err)
	}
}

// fail makes an error of what Redis or the way there answered. Typed errors of ours pass through.
func (s *Store) fail(op, key string, err error) error {
	if corrupt, ok := errors.AsType[*snapshotstore.CorruptError](err); ok {
		return corrupt
	}
	class, fix := classify(err, s.target, s.layout.Prefix)
	return &snapshotstore.Error{Class: class, Op: op, Fix: fix, Err: fmt.Errorf("%s: %s: %w", s.target, key, err)}
}

// Head returns the mark; the zero Mark where there is no snapshot.
func (s *Store) Head(ctx context.Context, unit snapshotstore.Unit) (snapshotstore.Mark, error) {
	mark, _, err := s.get(ctx, "head", unit, []string{MarkField})
	return mark, err
}

// Get returns the mark and the values of keys, by one HMGET. It is one step of Redis however many keys there are:
// 100,000 of them hold up other clients for some 50 ms.
func (s *Store) Get(ctx context.Context, unit snapshotstore.Unit, keys []string) (snapshotstore.Mark, []snapshotstore.Value, error) {
	fields := make([]string, 1, len(keys)+1)
	fields[0] = MarkField
	for _, key := range keys {
		fields = append(fields, Field(key))
	}
	mark, got, err := s.get(ctx, "get", unit, fields)
	if err != nil {
		return snapshotstore.Mark{}, nil, err
	}
	values := make([]snapshotstore.Value, len(keys))
	for i := range values {
		if data, ok := got[i+1].(string); ok {
			values[i] = snapshotstore.Value{Data: []byte(data), Exists: true}
		}
	}
	return mark, values, nil
}

// Skipped returns the record of skipped events, by seq, and the mark, of one moment.
func (s *Store) Skipped(ctx context.Context, unit snapshotstore.Unit) (snapshotstore.Mark, []snapshotstore.Skipped, error) {
	mark, got, err := s.get(ctx, "skipped", unit, []string{MarkField, SkippedField})
	if err != nil {
		return snapshotstore.Mark{}, nil, err
	}
	text, ok := got[1].(string)
	if !ok {
		return mark, nil, nil
	}
	var skipped []snapshotstore.Skipped
	if err := json.Unmarshal([]byte(text), &skipped); err != nil {
		return snapshotstore.Mark{}, nil, &snapshotstore.CorruptError{Unit: unit, Key: SkippedField,
			Why: "the record of skipped events can't be read: " + err.Error()}
	}
	slices.SortStableFunc(skipped, func(a, b snapshotstore.Skipped) int {
		switch {
		case a.Seq < b.Seq:
			return -1
		case a.Seq > b.Seq:
			return 1
		}
		return 0
	})
	return mark, skipped, nil
}

// Definition returns the canonical text that a checkpoint left; "" if none.
func (s *Store) Definition(ctx context.Context, unit snapshotstore.Unit) (string, error) {
	key := s.layout.Unit(unit)
	return call(ctx, s, "definition", key, func(ctx context.Context) (string, error) {
		text, err := s.client.HGet(ctx, key, DefinitionField).Result()
		if errors.Is(err, redis.Nil) {
			return "", nil
		}
		return text, corruptIfForeign(unit, key, err)
	})
}

// Drop removes all of a unit's snapshot; Redis frees the memory in its background (UNLINK).
func (s *Store) Drop(ctx context.Context, unit snapshotstore.Unit) error {
	key := s.layout.Unit(unit)
	_, err := call(ctx, s, "drop", key, func(ctx context.Context) (int64, error) {
		return s.client.Unlink(ctx, key).Result()
	})
	return err
}

// get reads fields of a unit's hash, the mark first, all of one moment.
func (s *Store) get(ctx context.Context, op string, unit snapshotstore.Unit, fields []string) (snapshotstore.Mark, []any, error) {
	key := s.layout.Unit(unit)
	got, err := call(ctx, s, op, key, func(ctx context.Context) ([]any, error) {
		got, err := s.client.HMGet(ctx, key, fields...).Result()
		if err == nil && got[0] == nil {
			return s.getUnmarked(ctx, unit, key, fields)
		}
		return got, corruptIfForeign(unit, key, err)
	})
	if err != nil {
		return snapshotstore.Mark{}, nil, err
	}
	raw, ok := got[0].(string)
	if !ok {
		return snapshotstore.Mark{}, got, nil
	}
	mark, err := snapshotstore.ParseMark([]byte(raw))
	if err != nil {
		return snapshotstore.Mark{}, nil, &snapshotstore.CorruptError{Unit: unit, Key: MarkField, Why: err.Error()}
	}
	return mark, got, nil
}

// getUnmarked reads again what had no mark, together with how many fields there are: none is a unit without a
// snapshot, any is a hash that something else made or took the mark from. A first commit may have come between.
func (s *Store) getUnmarked(ctx context.Context, unit snapshotstore.Unit, key string, fields []string) ([]any, error) {
	var values *redis.SliceCmd
	var size *redis.IntCmd
	_, err := s.client.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		values, size = tx.HMGet(ctx, key, fields...), tx.HLen(ctx, key)
		return nil
	})
	if redis.HasErrorPrefix(err, "EXECABORT") { // does not say what was refused, but the command alone does
		if alone := s.client.HLen(ctx, key).Err(); alone != nil {
			err = alone
		}
	}
	if err != nil {
		return nil, corruptIfForeign(unit, key, err)
	}
	got := values.Val()
	if got[0] == nil && size.Val() > 0 {
		return nil, unmarked(unit, key)
	}
	return got, nil
}

func unmarked(unit snapshotstore.Unit, key string) error {
	return &snapshotstore.CorruptError{Unit: unit, Why: fmt.Sprintf("%s has values but no %s: the mark was removed, or "+
		"something else writes there; drop the snapshot to have it folded again", key, MarkField)}
}

// corruptIfForeign makes Redis's WRONGTYPE what it means here.
func corruptIfForeign(unit snapshotstore.Unit, key string, err error) error {
	if redis.HasErrorPrefix(err, "WRONGTYPE") {
		return &snapshotstore.CorruptError{Unit: unit, Why: fmt.Sprintf("%s is not a hash: something else writes there; "+
			"give Tailfold a prefix of its own, or remove that key", key)}
	}
	return err
}
