// Package docs_test holds the pages against the program: their links, snippets and examples.
package docs_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = ".."

// page is a text of ours.
type page struct {
	name string // from the repository's root
	text string
}

func pages(t *testing.T) []page {
	t.Helper()
	var all []page
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*.md", "examples/*/*.md"} {
		names, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			name, _ = filepath.Rel(root, name)
			all = append(all, page{filepath.ToSlash(name), string(text)})
		}
	}
	if len(all) < 8 {
		t.Fatalf("only %d pages were found", len(all))
	}
	return all
}

func named(t *testing.T, name string) page {
	t.Helper()
	for _, p := range pages(t) {
		if p.name == name {
			return p
		}
	}
	t.Fatalf("there is no page %s", name)
	return page{}
}

var fence = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

// snippets are the fenced blocks of a language.
func (p page) snippets(language string) []string {
	var all []string
	for _, block := range fence.FindAllStringSubmatch(p.text, -1) {
		if block[1] == language {
			all = append(all, block[2])
		}
	}
	return all
}

func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, p := range pages(t) {
		for _, match := range link.FindAllStringSubmatch(fence.ReplaceAllString(p.text, ""), -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := filepath.Join(root, filepath.Dir(p.name), target)
			if target == "" {
				file = filepath.Join(root, p.name)
			}
			text, err := os.ReadFile(file)
			if _, missing := os.Stat(file); missing != nil {
				t.Errorf("%s links to %s, which is not there", p.name, match[1])
			} else if anchor != "" && (err != nil || !hasAnchor(string(text), anchor)) {
				t.Errorf("%s links to %s, which has no such heading", p.name, match[1])
			}
		}
	}
}

func hasAnchor(text, anchor string) bool {
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	drop := regexp.MustCompile(`[^a-z0-9 _-]`)
	for _, match := range heading.FindAllStringSubmatch(text, -1) {
		slug := strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(match[1]), ""), " ", "-")
		if slug == anchor {
			return true
		}
	}
	return false
}

// What a page shows as a configuration is one.
func TestConfigurationsInPagesAreValid(t *testing.T) {
	found := 0
	for _, p := range pages(t) {
		for _, snippet := range p.snippets("yaml") {
			if !regexp.MustCompile(`(?m)^projections:`).MatchString(snippet) {
				continue
			}
			found++
			file := filepath.Join(t.TempDir(), "tailfold.yaml")
			write(t, file, snippet)
			if out, err := tailfold(t, "check", file).CombinedOutput(); err != nil {
				t.Errorf("%s shows what is no configuration: %v\n%s\n%s", p.name, err, out, snippet)
			}
			if regexp.MustCompile(`(?m)^tests:`).MatchString(snippet) {
				if out, err := tailfold(t, "test", file).CombinedOutput(); err != nil {
					t.Errorf("%s shows tests that fail: %v\n%s\n%s", p.name, err, out, snippet)
				}
			}
		}
	}
	if found < 3 {
		t.Errorf("only %d configurations were found in the pages", found)
	}
}

// Go code in a page is code that is compiled and tested: the same lines stand in an example or a test.
func TestGoCodeInPagesIsTestedCode(t *testing.T) {
	var code []string
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		inExample := strings.Contains(filepath.ToSlash(name), "/examples/")
		if err == nil && !entry.IsDir() && (strings.HasSuffix(name, "_test.go") || inExample && strings.HasSuffix(name, ".go")) {
			var text []byte
			text, err = os.ReadFile(name)
			code = append(code, unindented(string(text)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, p := range pages(t) {
		for _, snippet := range p.snippets("go") {
			found++
			want, known := strings.TrimSpace(unindented(snippet)), false
			for _, text := range code {
				known = known || strings.Contains(text, want)
			}
			if !known {
				t.Errorf("%s shows Go code that stands in no example and no test:\n%s", p.name, snippet)
			}
		}
	}
	if found < 3 {
		t.Errorf("only %d pieces of Go code were found in the pages", found)
	}
}

func unindented(text string) string {
	return regexp.MustCompile(`(?m)^\s+`).ReplaceAllString(text, "")
}

// The commands that pages show are the program's.
func TestCommandsInPagesExist(t *testing.T) {
	command := regexp.MustCompile("(?m)(?:^\\$ |`)(?:go run \\./cmd/)?tailfold ([a-z]+)")
	known := map[string]bool{}
	for _, p := range pages(t) {
		for _, match := range command.FindAllStringSubmatch(p.text, -1) {
			name := match[1]
			if _, asked := known[name]; !asked {
				known[name] = tailfold(t, name, "--help").Run() == nil
			}
			if !known[name] {
				t.Errorf("%s shows `tailfold %s`, which is no command", p.name, name)
			}
		}
	}
	target := regexp.MustCompile("(?m)(?:^\\$ |`)make ([a-z-]+)")
	for _, p := range pages(t) {
		for _, match := range target.FindAllStringSubmatch(p.text, -1) {
			dry := exec.Command("make", "-n", match[1])
			dry.Dir = root
			if out, err := dry.CombinedOutput(); err != nil {
				t.Errorf("%s shows `make %s`: %v\n%s", p.name, match[1], err, out)
			}
		}
	}
}
