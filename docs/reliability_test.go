package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A page that names a test that is not there shows nothing.
func TestTheTestsThatPagesNameAreThere(t *testing.T) {
	there := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() && (entry.Name() == ".git" || entry.Name() == ".tools") {
			return errorOrSkip(err)
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, found := range declared.FindAllSubmatch(text, -1) {
			there[string(found[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named, missing := 0, 0
	for _, page := range pages(t) {
		if page.name == "CHANGELOG.md" {
			continue
		}
		for _, name := range regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w+)`").FindAllStringSubmatch(page.text, -1) {
			if named++; !there[name[1]] {
				missing++
				t.Errorf("%s names %s, which is no test of this repository", page.name, name[1])
			}
		}
	}
	if named < 60 {
		t.Errorf("only %d tests are named: the pattern has lost its pages", named)
	}
	t.Logf("%d names of tests in pages, %d of them missing", named, missing)
}

func errorOrSkip(err error) error {
	if err != nil {
		return err
	}
	return fs.SkipDir
}

// Each row of the faults has a test, or says why not.
func TestEachFaultHasATestOrAReason(t *testing.T) {
	rows := 0
	for _, line := range strings.Split(named(t, "docs/reliability.md").text, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !regexp.MustCompile(`^ [WLRX]\d`).MatchString(cells[1]) {
			continue
		}
		rows++
		shown := strings.TrimSpace(cells[3])
		if !strings.Contains(shown, "`Test") && !regexp.MustCompile(`not tested|not applicable|not in this version|^as |nothing that decides|see below`).MatchString(shown) {
			t.Errorf("%s: %q shows nothing", strings.TrimSpace(cells[1]), shown)
		}
	}
	if rows < 45 {
		t.Errorf("%d rows", rows)
	}
}
