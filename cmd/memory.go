package cmd

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"go.uber.org/zap"
)

// A worker allocates a little for each event and keeps a heap of decoded values: with the usual setting the collector
// runs all the time. It may wait until the heap has grown to gcPercent more, unless that comes near the memory that the
// process may have: then it runs as often as it must. Without a limit nothing tells how much is too much.
const (
	gcPercent   = 400
	memoryShare = 0.9 // of the limit
)

// memoryFiles are where Linux tells how much memory a container may have, in bytes.
func memoryFiles() []string {
	return []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}
}

// tuneMemory sets the garbage collector by the memory that the process may have. Who has set GOGC or GOMEMLIMIT has
// decided: both are then left alone.
func tuneMemory(environ, files []string, log *zap.Logger) {
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if (name == "GOGC" || name == "GOMEMLIMIT") && value != "" {
			log.Debug("the garbage collector is as the environment says", zap.String("variable", name))
			return
		}
	}
	limit := memoryLimit(files)
	if limit == 0 {
		log.Debug("the garbage collector is left as it is: no memory limit is known")
		return
	}
	budget := int64(memoryShare * float64(limit))
	debug.SetMemoryLimit(budget)
	debug.SetGCPercent(gcPercent)
	log.Debug("garbage collector: set by the memory limit", zap.Int64("limit_bytes", limit), zap.Int64("memory_limit", budget), zap.Int("gc_percent", gcPercent))
}

// memoryLimit is the first limit that one of the files names; 0: none.
func memoryLimit(files []string) int64 {
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err == nil && limit > 0 && limit < math.MaxInt64/2 { // "max", and version 1's huge number: none
			return limit
		}
	}
	return 0
}
