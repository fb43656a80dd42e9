package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/redis/go-redis/v9"

	"github.com/tailfold/tailfold/snapshotstore"
)

// commitScript is a checkpoint. ARGV: from, to, the definition ("": leave it), the skipped events as JSON without the
// brackets ("": none), the number of arguments that put, these (field, value, field, value, … each, packed), those that
// delete (fields, packed).
//
// Each text as an argument of its own would be made three times in Redis, as an argument, as Lua's and as HSET's, and
// would cost this side more than all else that it does for a key: so thousands of them are packed into one.
//
// The #! line without flags makes Redis refuse the script as a whole, before its first line, when it may not write
// (OOM, READONLY, MISCONF, NOREPLICAS): a script has no rollback. For the same reason all that could fail is looked at
// before the first write, and the mark goes last: the HDEL of a field that is never there finds out whether ACL rules
// allow it, while HSET is refused, if so, at the first one. Lua calls with 7,998 values at most. It answers, in
// microseconds by Redis's own clock, how long it took: other clients waited for so long.
var commitScript = redis.NewScript(`#!lua
local key, from, to, definition, skipped, puts = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local began = redis.call('TIME')
local kind = redis.call('TYPE', key).ok
if kind ~= 'hash' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. kind)
end
local held = redis.call('HGET', key, '$mark')
if held == to then
  return {'applied'}
end
if not held and kind == 'hash' then
  return {'unmarked'}
end
if not held and from ~= '' then
  return {'gone'}
end
if held and (held ~= from or held == '') then
  return {'conflict', held}
end
if skipped ~= '' then
  local before = redis.call('HGET', key, '$skipped')
  if not before or before == '[]' then
    skipped = '[' .. skipped .. ']'
  elseif string.sub(before, 1, 1) == '[' and string.sub(before, -1) == ']' then
    skipped = string.sub(before, 1, -2) .. ',' .. skipped .. ']'
  else
    return {'skipped'}
  end
end
redis.call('HDEL', key, '$')
for i = 6, 5 + puts do
  redis.call('HSET', key, cmsgpack.unpack(ARGV[i]))
end
for i = 6 + puts, #ARGV do
  redis.call('HDEL', key, cmsgpack.unpack(ARGV[i]))
end
if skipped ~= '' then
  redis.call('HSET', key, '$skipped', skipped)
end
if definition ~= '' then
  redis.call('HSET', key, '$definition', definition)
end
redis.call('HSET', key, '$mark', to)
local ended = redis.call('TIME')
return {'applied', string.format('%d', (ended[1] - began[1]) * 1000000 + ended[2] - began[2])}
`)

// Commit applies the checkpoint as a whole or not at all, and only where the store holds exactly From. Sent twice it
// is applied once: whoever lost its answer sends it again. After a Commit that its context ended, the checkpoint may
// still be on its way to Redis: its bytes must not be changed.
func (s *Store) Commit(ctx context.Context, unit snapshotstore.Unit, checkpoint snapshotstore.Checkpoint) error {
	_, err := s.CommitWithReceipt(ctx, unit, checkpoint)
	return err
}

// CommitWithReceipt is Commit, and tells how long Redis was held by it, as far as Redis itself tells (0 where it had
// applied the checkpoint before), and how many replicas have it, if Options.Replicas asks.
func (s *Store) CommitWithReceipt(ctx context.Context, unit snapshotstore.Unit, checkpoint snapshotstore.Checkpoint) (snapshotstore.Receipt, error) {
	var none snapshotstore.Receipt
	key := s.layout.Unit(unit)
	if err := sealed(checkpoint); err != nil {
		return none, &snapshotstore.Error{Class: snapshotstore.Stop, Op: "commit", Err: fmt.Errorf("%s: %w", key, err)}
	}
	if s.isBulk(checkpoint) {
		bulk, err := call(ctx, s, "commit", key, func(ctx context.Context) (bulkDone, error) {
			return s.commitBulk(ctx, key, checkpoint)
		})
		if bulk.done || err != nil {
			return bulk.receipt(bulk.held), err
		}
	}
	args, err := commitArgs(checkpoint)
	if err != nil {
		return none, &snapshotstore.Error{Class: snapshotstore.Stop, Op: "commit", Err: fmt.Errorf("%s: %w", key, err)}
	}
	type ran struct {
		answer []string
		pinned
	}
	got, err := call(ctx, s, "commit", key, func(ctx context.Context) (got ran, err error) {
		if s.replicas > 0 {
			got.answer, got.pinned, err = s.runPinned(ctx, commitScript, key, args...)
		} else {
			got.answer, err = s.run(ctx, commitScript, []string{key}, args...).StringSlice()
		}
		return got, corruptIfForeign(unit, key, err)
	})
	if err != nil {
		return none, err
	}
	switch answer := got.answer; answer[0] {
	case "applied":
		if len(answer) < 2 {
			return got.receipt(0), nil
		}
		held, err := strconv.Atoi(answer[1])
		if err != nil || held < 0 { // its clock was set back meanwhile
			return got.receipt(0), nil
		}
		return got.receipt(time.Duration(held) * time.Microsecond), nil
	case "unmarked":
		return none, unmarked(unit, key)
	case "skipped":
		return none, &snapshotstore.CorruptError{Unit: unit, Key: SkippedField, Why: "the record of skipped events is not a JSON array"}
	case "gone":
		return none, &snapshotstore.ConflictError{Unit: unit}
	}
	held, err := snapshotstore.ParseMark([]byte(got.answer[1]))
	if err != nil {
		return none, &snapshotstore.CorruptError{Unit: unit, Key: MarkField, Why: err.Error()}
	}
	return none, &snapshotstore.ConflictError{Unit: unit, Held: held}
}

// sealed tells whether the marks have the bytes that are stored and compared.
func sealed(checkpoint snapshotstore.Checkpoint) error {
	if len(checkpoint.To.Raw) == 0 {
		return errors.New("the mark to commit is not sealed (Mark.Seal)")
	}
	if !checkpoint.From.IsZero() && len(checkpoint.From.Raw) == 0 {
		return errors.New("the mark to commit from is not one that a store returned or Mark.Seal made")
	}
	return nil
}

func commitArgs(checkpoint snapshotstore.Checkpoint) ([]any, error) {
	skipped := make([]string, len(checkpoint.Skipped))
	for i := range checkpoint.Skipped {
		text, err := json.Marshal(checkpoint.Skipped[i], json.Deterministic(true),
			jsontext.AllowInvalidUTF8(true)) // a key is any bytes: what is not UTF-8 is replaced in this record
		if err != nil {
			return nil, fmt.Errorf("the skipped event %d is not JSON: %w", checkpoint.Skipped[i].Seq, err)
		}
		skipped[i] = string(text)
	}
	puts := packPuts(checkpoint.Put)
	args := append(make([]any, 0, 8+len(puts)), checkpoint.From.Raw, checkpoint.To.Raw, checkpoint.Definition,
		strings.Join(skipped, ","), len(puts))
	args = append(args, puts...)
	return append(args, packDeletes(checkpoint.Delete)...), nil
}

// run runs a script by its hash, and by its text where the server does not know it: after a restart, a fail-over or a
// SCRIPT FLUSH. The text goes to the node that has the key, also in a cluster.
func (s *Store) run(ctx context.Context, script *redis.Script, keys []string, args ...any) *redis.Cmd {
	return script.Run(ctx, s.client, keys, args...)
}
