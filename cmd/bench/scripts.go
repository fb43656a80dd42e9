package bench

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// scriptCommands are those that run scripts and transactions, by which Tailfold writes.
var scriptCommands = []string{"evalsha", "eval", "fcall", "exec"}

// slowCommands are how these stand in the slow log, where a transaction is not, but its commands are.
var slowCommands = append(slices.Clone(scriptCommands), "hset")

// slowFrom is from when on Redis notes a script in its slow log, where it is ours.
const slowFrom = 200 * time.Microsecond

// scripts is what scripts have cost a Redis so far: while one runs, nobody else is served.
type scripts struct {
	took  time.Duration // all of them, by Redis's own clock
	calls int
}

func (s *servers) scripts(ctx context.Context) (x scripts) {
	info, err := s.client.InfoMap(ctx, "commandstats").Result()
	if err != nil {
		return scripts{}
	}
	for _, name := range scriptCommands {
		for part := range strings.SplitSeq(info["Commandstats"]["cmdstat_"+name], ",") {
			key, value, _ := strings.Cut(part, "=")
			n, err := strconv.Atoi(value)
			switch {
			case err != nil:
			case key == "calls":
				x.calls += n
			case key == "usec":
				x.took += time.Duration(n) * time.Microsecond
			}
		}
	}
	return x
}

// forgetSlow empties the slow log of a Redis of our own. That of the user's is not ours to empty.
func (s *servers) forgetSlow(ctx context.Context) {
	if s.redisPID > 0 {
		_ = s.client.Do(ctx, "SLOWLOG", "RESET").Err()
	}
}

// longest is the longest script since forgetSlow; negative where it is not known.
func (s *servers) longest(ctx context.Context) time.Duration {
	if s.redisPID == 0 {
		return -1
	}
	logs, err := s.client.SlowLogGet(ctx, -1).Result()
	if err != nil {
		return -1
	}
	return longestScript(logs)
}

func longestScript(logs []redis.SlowLog) (longest time.Duration) {
	for _, entry := range logs {
		for _, name := range slowCommands {
			if len(entry.Args) > 0 && strings.EqualFold(entry.Args[0], name) {
				longest = max(longest, entry.Duration)
			}
		}
	}
	return longest
}
