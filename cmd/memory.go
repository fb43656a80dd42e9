package cmd

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// A worker allocates a little for each event and keeps a heap of decoded values: with the usual setting the collector
// runs all the time. It may wait until the heap has grown to gcPercent more, unless that comes near the memory that the
// process may have: then it runs as often as it must.
const (
	gcPercent   = 400
	memoryShare = 0.9 // of a container's limit

	// Where nothing limits the process, it limits itself: by its cache (what was in it takes half as much again, until it
	// is collected), by what its feeds read ahead, and by the rest.
	cacheFactor = 1.5
	feedMemory  = 32 << 20
	restMemory  = 64 << 20

	memoryWatch    = time.Second
	idleAllocation = 16 << 20 // within that time: then the heap may only double
	idlePercent    = 100
)

// memoryFiles are where Linux tells how much memory a container may have, in bytes.
func memoryFiles() []string {
	return []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}
}

// ownMemory is how much memory a worker of this configuration should need, in bytes.
func (l *loaded) ownMemory() int64 {
	return int64(cacheFactor*float64(l.Cache.MaxBytes)) + int64(min(l.feeds(), 8))*feedMemory + restMemory
}

// tuneMemory sets the garbage collector by the memory that the process may have, or else by what it should need: own,
// in bytes. Who has set GOGC or GOMEMLIMIT has decided: both are then left alone. It tells whether they were set, and
// whether the limit is the worker's own: then watchMemory adapts them.
func tuneMemory(environ, files []string, own int64, log *zap.Logger) (set, isOwn bool) {
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if (name == "GOGC" || name == "GOMEMLIMIT") && value != "" {
			log.Debug("the garbage collector is as the environment says", zap.String("variable", name))
			return false, false
		}
	}
	limit := memoryLimit(files)
	budget := int64(memoryShare * float64(limit))
	if limit == 0 {
		budget = own
	}
	debug.SetMemoryLimit(budget)
	debug.SetGCPercent(gcPercent)
	log.Debug("garbage collector: set by the memory limit", zap.Int64("limit_bytes", limit), zap.Int64("memory_limit", budget), zap.Int("gc_percent", gcPercent))
	return true, limit == 0
}

// watchMemory adapts the collector to what the process does, until ctx is done. Where the limit is the worker's own, it is
// raised while what lives comes near it: a fold may keep more than is counted, and a collector that must keep under too low a
// limit takes the time that folding needs. And while little is allocated, the heap is not left to grow to five times what
// lives: an idle worker's collections cost nothing.
func watchMemory(ctx context.Context, own int64, isOwn bool) {
	tick := time.NewTicker(memoryWatch)
	defer tick.Stop()
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	set, percent, allocated := own, gcPercent, sample[1].Value.Uint64()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(sample)
		if limit := limitFor(own, int64(sample[0].Value.Uint64())); isOwn && limit != set {
			debug.SetMemoryLimit(limit)
			set = limit
		}
		now := sample[1].Value.Uint64()
		if want := percentFor(now - allocated); want != percent {
			debug.SetGCPercent(want)
			percent = want
		}
		allocated = now
	}
}

// percentFor is how much the heap may grow between two collections, by the bytes that were allocated within memoryWatch.
func percentFor(allocated uint64) int {
	if allocated < idleAllocation {
		return idlePercent
	}
	return gcPercent
}

// limitFor is the limit for a heap of which so much lives: the worker's own, or one and a half times what lives, in
// steps of an eighth of its own.
func limitFor(own, live int64) int64 {
	step := max(own/8, 1)
	return max(own, (live+live/2+step-1)/step*step)
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
