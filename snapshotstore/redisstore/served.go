package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/tailfold/tailfold/snapshotstore"
)

// promoteScript sets the version if it is what ARGV[1] says ("0": none), and answers with the one it was.
var promoteScript = redis.NewScript(`#!lua
local held = redis.call('GET', KEYS[1]) or '0'
if held == ARGV[1] then
  if ARGV[2] == '0' then
    redis.call('DEL', KEYS[1])
  else
    redis.call('SET', KEYS[1], ARGV[2])
  end
end
return held
`)

// Served is the version of a projection that readers should use, 0 if none was set.
func (s *Store) Served(ctx context.Context, projection string) (int, error) {
	key := s.layout.Served(projection)
	return call(ctx, s, "served", key, func(ctx context.Context) (int, error) {
		text, err := s.client.Get(ctx, key).Result()
		if errors.Is(err, redis.Nil) {
			return 0, nil
		}
		return servedVersion(projection, key, text, err)
	})
}

// Promote makes readers use version to (0: none), if they use version from now (0: none).
func (s *Store) Promote(ctx context.Context, projection string, from, to int) error {
	key := s.layout.Served(projection)
	held, err := call(ctx, s, "promote", key, func(ctx context.Context) (int, error) {
		text, err := s.run(ctx, promoteScript, []string{key}, from, to).Text()
		return servedVersion(projection, key, text, err)
	})
	if err != nil {
		return err
	}
	if held != from {
		return &snapshotstore.ServedError{Projection: projection, Served: held}
	}
	return nil
}

func servedVersion(projection, key, text string, err error) (int, error) {
	unit := snapshotstore.Unit{Projection: projection}
	if err != nil {
		if redis.HasErrorPrefix(err, "WRONGTYPE") {
			err = &snapshotstore.CorruptError{Unit: unit, Why: key + " is not a string: something else writes there"}
		}
		return 0, err
	}
	version, err := strconv.Atoi(text)
	if err != nil || version < 0 {
		return 0, &snapshotstore.CorruptError{Unit: unit, Why: fmt.Sprintf("%s holds %.40q where a version should be", key, text)}
	}
	return version, nil
}
