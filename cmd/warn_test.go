package cmd

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// TestAWorkerWarnsOnceOfARedisThatMayLoseSnapshots starts workers on Redis servers of several settings and permissions.
func TestAWorkerWarnsOnceOfARedisThatMayLoseSnapshots(t *testing.T) {
	const about = "the settings of Redis may cost a replay"
	log := natstest.Start(t)
	orders(t, log.Connect(), 10)
	file := filepath.Join(writeFiles(t, map[string]string{"tailfold.yaml": totals}), "tailfold.yaml")
	for name, c := range map[string]struct {
		settings []string
		refused  string // a command that the worker's user may not run
		want     []string
	}{
		"evicts, and keeps nothing": {settings: []string{"--maxmemory-policy", "allkeys-lru"},
			want: []string{"set maxmemory-policy noeviction", "set appendonly yes"}},
		"evicts, and CONFIG is refused": {settings: []string{"--maxmemory-policy", "allkeys-lru"}, refused: "-config",
			want: []string{"set maxmemory-policy noeviction"}},
		"INFO is refused":  {settings: []string{"--maxmemory-policy", "allkeys-lru"}, refused: "-info"},
		"nothing is wrong": {settings: []string{"--appendonly", "yes"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t, c.settings...)
			refused := c.refused
			if refused == "" {
				refused = "+@all"
			}
			server.Do("ACL", "SETUSER", "bob", "reset", "on", ">pw", "~*", "+@all", refused)
			worker := start(t, nil, "-c", file, "--nats", log.URL(), "--store", "redis://bob:pw@"+server.Addr())
			worker.ready()
			await(t, "the worker to look at Redis, and to warn", func() bool {
				stats, _ := server.Do("INFO", "commandstats").(string)
				asked := strings.Contains(stats, "cmdstat_config|get") || strings.Contains(stats, "rejected_calls=1")
				return asked && strings.Count(worker.program.stderr.String(), about) >= len(c.want)
			})
			if code := worker.stopped(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			said := worker.program.stderr.String()
			if n := strings.Count(said, about); n != len(c.want) {
				t.Errorf("it warned %d times, want %d", n, len(c.want))
			}
			for _, text := range c.want {
				if strings.Count(said, text) != 1 {
					t.Errorf("it does not say once %q", text)
				}
			}
		})
	}
}

// TestAWorkerWarnsOfARedisThatWasAwayAtItsStart stops Redis before the worker starts, which is not held up by that.
func TestAWorkerWarnsOfARedisThatWasAwayAtItsStart(t *testing.T) {
	log, server := natstest.Start(t), redistest.Start(t)
	orders(t, log.Connect(), 10)
	file := filepath.Join(writeFiles(t, map[string]string{"tailfold.yaml": totals}), "tailfold.yaml")
	server.Pause()
	worker := start(t, nil, "-c", file, "--nats", log.URL(), "--store", server.URL())
	await(t, "the unit to wait for Redis", func() bool {
		return strings.Contains(worker.program.stderr.String(), "STORE_UNAVAILABLE")
	})
	server.Continue()
	worker.ready()
	await(t, "the warning", func() bool {
		return strings.Count(worker.program.stderr.String(), "set appendonly yes") == 1
	})
}
