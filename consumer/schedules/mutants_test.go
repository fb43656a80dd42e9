package schedules

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	mutants = flag.String("mutants", "some", "which wrong engines are tried: some, all, or a part of their names")
	find    = flag.Int("find", 0, "try so many seeds of each of these mutants, from 1 on, and print the first that catches it, instead of the recorded one")
)

// mutant is an engine made wrong on purpose: edits of its source, which exist in this table only, and the seed of the
// schedule that finds it out.
type mutant struct {
	name  string
	seed  uint64
	edits []edit
}

// edit replaces a text, which the file has exactly once.
type edit struct{ file, old, new string }

// some are tried in each run of the package's tests.
var some = []string{"epoch not raised", "witnesses not checked", "resumed one event too late"}

// TestMutantsAreCaught builds each wrong engine and runs the schedule of its seed, which an oracle must fail; the right
// engine passes them all. An edit whose text is no longer found fails the test: the table has to follow the engine.
func TestMutantsAreCaught(t *testing.T) {
	alone(t)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	caught := 0
	for _, m := range wrongEngines {
		t.Run(m.name, func(t *testing.T) {
			overlay := m.overlay(t, root) // also of those that are not chosen: their texts must be there
			if !m.chosen() {
				return
			}
			if *find == 0 {
				if trace, fault := play(t, m.seed); fault != "" {
					t.Fatalf("the right engine fails the schedule of seed %d: %s\n%s", m.seed, fault, strings.Join(trace, "\n"))
				}
			}
			m.mustFail(t, overlay)
			caught++
		})
	}
	t.Logf("%d of %d wrong engines tried and caught", caught, len(wrongEngines))
}

func (m mutant) chosen() bool {
	switch *mutants {
	case "all":
		return true
	case "some":
		for _, name := range some {
			if m.name == name {
				return !underRace
			}
		}
		return false
	}
	return strings.Contains(m.name, *mutants)
}

// overlay writes the edited files and the list that tells the compiler of them.
func (m mutant) overlay(t *testing.T, root string) string {
	dir := t.TempDir()
	texts := map[string]string{}
	for _, e := range m.edits {
		text, ok := texts[e.file]
		if !ok {
			read, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				t.Fatalf("mutant %q: %v", m.name, err)
			}
			text = string(read)
		}
		if n := strings.Count(text, e.old); n != 1 {
			t.Fatalf("mutant %q: %s has this text %d times, not once:\n%s", m.name, e.file, n, e.old)
		}
		texts[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	replace := map[string]string{}
	for file, text := range texts {
		name := filepath.Join(dir, strings.ReplaceAll(file, "/", "+"))
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, file)] = name
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(name, list, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// verdictOfAnOracle is how a schedule that was failed by an oracle, and not by a panic or a timeout, says so.
var verdictOfAnOracle = regexp.MustCompile(`seed (\d+): (O\d|fence)[^\n]*`)

func (m mutant) mustFail(t *testing.T, overlay string) {
	binary := filepath.Join(filepath.Dir(overlay), "wrong.test")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-overlay", overlay, "-c", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("mutant %q does not compile: %v\n%s", m.name, err, out)
	}
	args := []string{"-test.run", "^TestSchedules$", "-test.timeout", "120s"}
	if *find > 0 {
		args = append(args, "-first", "1", "-seeds", fmt.Sprint(*find))
	} else {
		args = append(args, "-seed", fmt.Sprint(m.seed))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, args...).CombinedOutput()
	said := verdictOfAnOracle.FindStringSubmatch(string(out))
	if err == nil || said == nil {
		t.Fatalf("mutant %q is not caught by an oracle (%v):\n%.3000s", m.name, err, out)
	}
	t.Logf("%.160s", said[0])
}
