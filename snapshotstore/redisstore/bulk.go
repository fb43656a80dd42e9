package redisstore

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tailfold/tailfold/snapshotstore"
)

// bulkFrom is from how many puts on a checkpoint is tried as a bulk. Its two more round trips cost as much as some
// thousand puts gain.
const bulkFrom = 4000

// isBulk tells whether the checkpoint is to be tried as one HSET.
func (s *Store) isBulk(checkpoint snapshotstore.Checkpoint) bool {
	return len(checkpoint.Put) >= s.bulkFrom && len(checkpoint.Delete) == 0 && len(checkpoint.Skipped) == 0
}

// commitBulk makes a checkpoint by a plain HSET of all values and the mark, behind a WATCH of the snapshot: half of what
// the script costs Redis, which hands each text on to Lua and back. It is as safe: the one HSET is applied as a whole or
// not at all, and not where the snapshot was touched after From was seen in it.
//
// It decides nothing. Whatever is not plain success (another mark, no mark, a refusal, something that came between)
// is not done, and the script is to be run, which tells all these apart and says why. Only an error of the connection
// is an error here: the HSET may have been applied or not, as with the script.
func (s *Store) commitBulk(ctx context.Context, key string, checkpoint snapshotstore.Checkpoint) (bulkDone, error) {
	var before, after *redis.TimeCmd
	var p pinned
	err := s.watch(ctx, func(tx *redis.Tx) error {
		var mark *redis.StringCmd
		var fields *redis.IntCmd
		_, err := tx.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			mark, fields = pipe.HGet(ctx, key, MarkField), pipe.HLen(ctx, key)
			return nil
		})
		switch {
		case err != nil && !errors.Is(err, redis.Nil):
			return err
		case mark.Val() == string(checkpoint.To.Raw): // applied before
			return redis.TxFailedErr
		case checkpoint.From.IsZero() && fields.Val() == 0:
		case !checkpoint.From.IsZero() && mark.Val() == string(checkpoint.From.Raw):
		default:
			return redis.TxFailedErr
		}
		_, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			before = pipe.Time(ctx)
			pipe.Do(ctx, bulkArgs(key, checkpoint)...)
			after = pipe.Time(ctx)
			return nil
		})
		if err == nil {
			p = s.awaitReplicas(ctx, tx)
		}
		return err
	}, key)
	if _, answered := errors.AsType[redis.Error](err); answered || errors.Is(err, errMoving) {
		return bulkDone{}, nil
	}
	if err != nil {
		return bulkDone{}, err
	}
	return bulkDone{done: true, held: max(0, after.Val().Sub(before.Val())), pinned: p}, nil // below 0: its clock was set back
}

// errMoving is a snapshot whose slot is on its way between two nodes of a cluster.
var errMoving = errors.New("the cluster moves the snapshot to another node")

// watch runs f on a connection of its own. In a cluster it is that of the first key's node; where none of the nodes that
// send us to each other takes the key, the client gives up without an error, and f has not run.
func (s *Store) watch(ctx context.Context, f func(*redis.Tx) error, keys ...string) error {
	ran := false
	err := s.client.Watch(ctx, func(tx *redis.Tx) error { ran = true; return f(tx) }, keys...)
	if err == nil && !ran {
		return errMoving
	}
	return err
}

// bulkDone is whether a bulk was applied, how long Redis was held by it, and which replicas have it.
type bulkDone struct {
	pinned

	done bool
	held time.Duration
}

// bulkArgs are the words of the HSET. All texts are slices of one, and arguments point to them: a text of its own in
// each argument would be two allocations for each key.
func bulkArgs(key string, checkpoint snapshotstore.Checkpoint) []any {
	size := 0
	for i := range checkpoint.Put {
		size += len(checkpoint.Put[i].Data)
	}
	var data strings.Builder
	data.Grow(size)
	for i := range checkpoint.Put {
		data.Write(checkpoint.Put[i].Data)
	}
	rest := data.String()
	texts := make([]string, 2*len(checkpoint.Put))
	args := make([]any, 0, len(texts)+6)
	args = append(args, "hset", key)
	for i := range checkpoint.Put {
		field, value := &texts[2*i], &texts[2*i+1]
		n := len(checkpoint.Put[i].Data)
		*field, *value, rest = Field(checkpoint.Put[i].Key), rest[:n], rest[n:]
		args = append(args, field, value)
	}
	if checkpoint.Definition != "" {
		args = append(args, DefinitionField, checkpoint.Definition)
	}
	return append(args, MarkField, checkpoint.To.Raw)
}
