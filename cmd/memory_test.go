package cmd

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"go.uber.org/zap"
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
		{nil, nil, 77, limit},
		{[]string{"GOGC="}, []string{set}, gcPercent, 8589934592 / 10 * 9},
	} {
		tuneMemory(c.environ, c.files, zap.NewNop())
		if got := debug.SetGCPercent(77); got != c.percent {
			t.Errorf("%v, %v: the percentage is %d, want %d", c.environ, c.files, got, c.percent)
		}
		if got := debug.SetMemoryLimit(-1); got/10 != c.limit/10 {
			t.Errorf("%v, %v: the memory limit is %d, want %d", c.environ, c.files, got, c.limit)
		}
	}
}
