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

func TestTheCollectorIsLeftAloneWhereTheEnvironmentSetsIt(t *testing.T) {
	was := debug.SetGCPercent(77)
	defer debug.SetGCPercent(was)
	limit := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(limit)
	for _, variable := range []string{"GOGC=100", "GOMEMLIMIT=1GiB"} {
		tuneMemory([]string{"HOME=/", variable}, zap.NewNop())
		if got := debug.SetGCPercent(77); got != 77 {
			t.Errorf("with %s it was set to %d", variable, got)
		}
	}
	tuneMemory([]string{"GOGC="}, zap.NewNop())
	if got := debug.SetGCPercent(77); got == 77 {
		t.Error("without a variable it was not set")
	}
}
