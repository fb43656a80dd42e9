package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// probeScript has the first line that all scripts have; Redis before 7.0 can't read it.
var probeScript = redis.NewScript("#!lua flags=no-writes\nreturn 1\n")

// Check looks at each primary for what would hurt later. Warnings say what, where and what to do; what the user may not
// ask (INFO, CONFIG) is not known and no warning. An error is what keeps Tailfold from working at all: a Redis that is out of
// reach, too old, or has no scripting.
func (s *Store) Check(ctx context.Context) (warnings []string, err error) {
	return call(ctx, s, "check", s.layout.Prefix+":*", func(ctx context.Context) ([]string, error) {
		c, isCluster := s.client.(*redis.ClusterClient)
		if !isCluster {
			return s.checkNode(ctx, s.client, s.target.String())
		}
		var mu sync.Mutex
		var all []string
		err := c.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			warnings, err := s.checkNode(ctx, node, node.Options().Addr)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, warnings...)
			return err
		})
		return all, err
	})
}

func (s *Store) checkNode(ctx context.Context, node redis.UniversalClient, name string) ([]string, error) {
	if err := probeScript.Run(ctx, node, nil).Err(); err != nil {
		return nil, err
	}
	text, err := node.Info(ctx).Result()
	if redis.HasErrorPrefix(err, "NOPERM") { // all else works without it
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	save := "?"
	if answer, err := node.ConfigGet(ctx, "save").Result(); err == nil { // denied by many: then it is not known
		save = answer["save"]
	}
	facts := infoFacts(text)
	if version := facts["redis_version"]; tooOld(version) {
		return nil, fmt.Errorf("%s: Redis %s is too old: %w", name, version, errTooOld)
	}
	warnings := judge(facts, save, s.replicas)
	for i := range warnings {
		warnings[i] = name + ": " + warnings[i]
	}
	return warnings, nil
}

// infoFacts takes the answer of INFO apart.
func infoFacts(text string) map[string]string {
	facts := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
			facts[name] = value
		}
	}
	return facts
}

// judge tells what is wrong with a server by its INFO and its setting `save` ("?": not known), where so many replicas are to
// have each checkpoint.
func judge(facts map[string]string, save string, replicas int) []string {
	var warnings []string
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	if facts["role"] == "slave" {
		warn("is a replica and takes no writes: point the URL at its primary (%s:%s), or use redis+sentinel:// or redis+cluster://",
			facts["master_host"], facts["master_port"])
	}
	if policy := facts["maxmemory_policy"]; policy != "noeviction" && !strings.HasPrefix(policy, "volatile-") && policy != "" {
		warn("maxmemory-policy is %s: when memory is short Redis removes snapshots, which are then folded again from the log's "+
			"beginning, if it still has it; set maxmemory-policy noeviction", policy)
	}
	if facts["aof_enabled"] == "0" && save == "" {
		warn("keeps nothing on disk (no AOF, no RDB): after its restart all is folded again from the log's beginning, " +
			"if it still has it; set appendonly yes")
	}
	if facts["rdb_last_bgsave_status"] == "err" {
		warn("its last RDB save failed, soon it may refuse writes (MISCONF): see its log")
	}
	if facts["aof_enabled"] == "1" && facts["aof_last_write_status"] == "err" {
		warn("its last write to the AOF failed and it refuses writes (MISCONF): see its log")
	}
	if connected, err := strconv.Atoi(facts["connected_slaves"]); err == nil && connected < replicas && facts["role"] != "slave" {
		warn("has %d replicas, and checkpoints are to be on %d (store.replicas): bring them up, or ask for fewer", connected, replicas)
	}
	return warnings
}

// errTooOld has Stop as its class, see classify.
var errTooOld = errors.New("Tailfold needs Redis 7.0 or newer, or Valkey")

func tooOld(version string) bool {
	major, _, _ := strings.Cut(version, ".")
	number, err := strconv.Atoi(major)
	return err == nil && number < 7
}
