package redisstore

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/redis/go-redis/v9"

	"github.com/tailfold/tailfold/snapshotstore"
)

// announcement is what the hash of workers holds of one: {"at_ms":1790000000000,"renew_ms":2000,"report":{…}}.
type announcement struct {
	AtMS    int64          `json:"at_ms"`    // when it was said, by Redis's clock, milliseconds since 1970
	RenewMS int64          `json:"renew_ms"` // said anew at least this often; three times that without counts as gone
	Report  jsontext.Value `json:"report,omitzero"`
	Bytes   []byte         `json:"bytes,omitzero"` // in place of report: one that is not JSON, as base64
}

// announceScript stamps a worker's announcement with Redis's clock, which all workers have in common.
var announceScript = redis.NewScript(`#!lua
local now = redis.call('TIME')
local ms = string.format('%.0f', tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000))
redis.call('HSET', KEYS[1], ARGV[1], '{"at_ms":' .. ms .. ARGV[2])
return 1
`)

// workersScript reads the clock and all announcements in one moment.
var workersScript = redis.NewScript(`#!lua flags=no-writes
return {redis.call('TIME'), redis.call('HGETALL', KEYS[1])}
`)

// forgetScript removes announcements that are still as they were read: ARGV is name, text, name, text, …
var forgetScript = redis.NewScript(`#!lua
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return 1
`)

// Announce keeps what a worker says of itself until three times renew have passed without another Announce of it.
func (s *Store) Announce(ctx context.Context, worker string, report []byte, renew time.Duration) error {
	name := "report"
	if !jsontext.Value(report).IsValid() {
		name, report = "bytes", []byte(strconv.Quote(base64.StdEncoding.EncodeToString(report)))
	}
	ms := max(1, (renew + time.Millisecond - 1).Milliseconds())
	rest := fmt.Sprintf(`,"renew_ms":%d,"%s":%s}`, ms, name, report) // put together by hand to keep the report's bytes
	key := s.layout.Workers()
	_, err := call(ctx, s, "announce", key, func(ctx context.Context) (any, error) {
		return s.run(ctx, announceScript, []string{key}, worker, rest).Result()
	})
	return err
}

// Resign removes a worker's announcement.
func (s *Store) Resign(ctx context.Context, worker string) error {
	key := s.layout.Workers()
	_, err := call(ctx, s, "resign", key, func(ctx context.Context) (int64, error) {
		return s.client.HDel(ctx, key, worker).Result()
	})
	return err
}

// Workers returns what each worker last announced, by name, and removes the announcements that have run out, each only
// if it was not renewed since it was read. One that can't be read (of another Tailfold?) is left alone and left out.
func (s *Store) Workers(ctx context.Context) ([]snapshotstore.Announcement, error) {
	key := s.layout.Workers()
	return call(ctx, s, "workers", key, func(ctx context.Context) ([]snapshotstore.Announcement, error) {
		answer, err := s.run(ctx, workersScript, []string{key}).Slice()
		if err != nil {
			return nil, err
		}
		now, texts, err := readWorkers(answer)
		if err != nil {
			return nil, err
		}
		alive, gone := sortWorkers(now, texts)
		if len(gone) > 0 {
			err = s.run(ctx, forgetScript, []string{key}, gone...).Err()
		}
		return alive, err
	})
}

// readWorkers takes the answer of workersScript apart: the time, and names and texts in turn.
func readWorkers(answer []any) (now time.Time, texts []string, err error) {
	if len(answer) == 2 {
		clock, _ := answer[0].([]any)
		fields, _ := answer[1].([]any)
		if len(clock) == 2 {
			seconds, err1 := strconv.ParseInt(fmt.Sprint(clock[0]), 10, 64)
			micros, err2 := strconv.ParseInt(fmt.Sprint(clock[1]), 10, 64)
			for _, field := range fields {
				texts = append(texts, fmt.Sprint(field))
			}
			return time.Unix(seconds, micros*1000), texts, errors.Join(err1, err2)
		}
	}
	return time.Time{}, nil, fmt.Errorf("the script that reads the workers answered %.100q", fmt.Sprint(answer...))
}

// sortWorkers tells the announcements that hold from those that have run out (name, text, name, text, …).
func sortWorkers(now time.Time, texts []string) (alive []snapshotstore.Announcement, gone []any) {
	for i := 0; i+1 < len(texts); i += 2 {
		var said announcement
		if err := json.Unmarshal([]byte(texts[i+1]), &said); err != nil || said.AtMS == 0 || said.RenewMS <= 0 {
			continue
		}
		age := max(0, now.Sub(time.UnixMilli(said.AtMS)))
		if age >= 3*time.Duration(said.RenewMS)*time.Millisecond {
			gone = append(gone, texts[i], texts[i+1])
			continue
		}
		report := []byte(said.Report)
		if report == nil {
			report = said.Bytes
		}
		alive = append(alive, snapshotstore.Announcement{Worker: texts[i], Report: report, Age: age})
	}
	slices.SortFunc(alive, func(a, b snapshotstore.Announcement) int { return strings.Compare(a.Worker, b.Worker) })
	return alive, gone
}
