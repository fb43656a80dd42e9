package cmd

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"go.uber.org/zap"

	"github.com/tailfold/tailfold/snapshotstore"
)

func TestMemoryLimitIsReadFromTheContainers(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	none := filepath.Join(dir, "none")
	unlimited, huge, set := file("max", "max\n"), file("huge", "9223372036854771712\n"), file("set", "536870912\n")
	for name, c := range map[string]struct {
		files []string
		want  int64
	}{
		"no file":            {[]string{none}, 0},
		"version 2, no max":  {[]string{unlimited, none}, 0},
		"version 1, no max":  {[]string{none, huge}, 0},
		"version 2":          {[]string{set, huge}, 512 << 20},
		"version 1":          {[]string{none, set}, 512 << 20},
		"nonsense":           {[]string{file("odd", "much\n")}, 0},
		"not more than zero": {[]string{file("zero", "0\n")}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := memoryLimit(c.files); got != c.want {
				t.Errorf("the limit is %d, want %d", got, c.want)
			}
		})
	}
}

func TestTheCollectorIsSetByALimitUnlessTheEnvironmentSetsIt(t *testing.T) {
	was := debug.SetGCPercent(77)
	defer debug.SetGCPercent(was)
	limit := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(limit)
	const own = 200 << 20
	set := filepath.Join(t.TempDir(), "memory.max")
	if err := os.WriteFile(set, []byte("8589934592\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		environ, files []string
		percent        int
		limit          int64
	}{
		{[]string{"HOME=/", "GOGC=100"}, []string{set}, 77, limit},
		{[]string{"GOMEMLIMIT=1GiB"}, []string{set}, 77, limit},
		{nil, nil, gcPercent, own},
		{[]string{"GOGC="}, []string{set}, gcPercent, 8589934592 / 10 * 9},
	} {
		debug.SetMemoryLimit(limit)
		set, isOwn := tuneMemory(c.environ, c.files, own, zap.NewNop())
		if set != (c.percent == gcPercent) || isOwn != (c.limit == own) {
			t.Errorf("%v, %v: set: %v, its own limit: %v", c.environ, c.files, set, isOwn)
		}
		if got := debug.SetGCPercent(77); got != c.percent {
			t.Errorf("%v, %v: the percentage is %d, want %d", c.environ, c.files, got, c.percent)
		}
		if got := debug.SetMemoryLimit(-1); got/10 != c.limit/10 {
			t.Errorf("%v, %v: the memory limit is %d, want %d", c.environ, c.files, got, c.limit)
		}
	}
}

func TestTheWorkersOwnLimitGivesWayToWhatLives(t *testing.T) {
	const own = 800
	for _, c := range []struct{ live, want int64 }{{0, 800}, {530, 800}, {540, 900}, {1000, 1500}, {100_000, 150_000}} {
		if got := limitFor(own, c.live); got != c.want {
			t.Errorf("with %d alive the limit is %d, want %d", c.live, got, c.want)
		}
	}
	if percentFor(1<<20) != idlePercent || percentFor(1<<30) != gcPercent {
		t.Error("an idle worker's heap grows as that of one that folds")
	}
	small := &loaded{Config: &Config{}}
	small.Cache.MaxBytes = 64 << 20
	for range 20 {
		for partition := range 2 {
			small.units = append(small.units, unit{snapshotstore.Unit{Projection: "p", Version: 1, Partition: partition}, "S", nil})
		}
	}
	if got := small.ownMemory(); got != (96+64+64)<<20 {
		t.Errorf("a worker with a cache of 64 MiB and two feeds should need %d bytes", got)
	}
}
