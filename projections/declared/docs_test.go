package declared

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const tutorial = "../../docs/expressions.md"

// fenced is a block of code in the documentation.
type fenced struct {
	line     int // of its first line
	language string
	text     string
}

func fencedIn(t *testing.T, file string) []fenced {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []fenced
	var open *fenced
	for i, line := range strings.Split(string(text), "\n") {
		language, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open == nil:
			open = &fenced{line: i + 2, language: language}
		case fence:
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	return blocks
}

// Every snippet of the documentation is run: YAML with its tests, expressions with their results.
func TestTheDocumentationIsTrue(t *testing.T) {
	event, value := "", ""
	ran := map[string]int{}
	for _, b := range fencedIn(t, tutorial) {
		ran[b.language]++
		switch b.language {
		case "json event":
			event = b.text
		case "json value":
			value = strings.TrimSpace(b.text)
		case "yaml":
			t.Run(fmt.Sprintf("line %d", b.line), func(t *testing.T) { runTests(t, tutorial, []byte(strings.Repeat("\n", b.line-1)+b.text)) })
		case "expr":
			for i, line := range strings.Split(strings.TrimRight(b.text, "\n"), "\n") {
				expression, want, ok := strings.Cut(line, " → ")
				if !ok {
					t.Errorf("%s:%d: %q has no result", tutorial, b.line+i, line)
					continue
				}
				got, err := evaluated(expression, event, value)
				checkSide(t, fmt.Sprintf("%s:%d: %s", tutorial, b.line+i, expression), "here", want, got, err)
			}
		case "json":
		default:
			t.Errorf("%s:%d: nothing runs a block of %q", tutorial, b.line, b.language)
		}
	}
	if ran["yaml"] < 8 || ran["expr"] < 12 {
		t.Errorf("only %v were found", ran)
	}
}

func TestEveryFunctionAndOperatorIsDocumented(t *testing.T) {
	var all strings.Builder
	for _, b := range fencedIn(t, tutorial) {
		if b.language == "expr" {
			all.WriteString(b.text)
		}
	}
	var names []string
	for name := range functions {
		names = append(names, name)
	}
	for name := range predicates {
		names = append(names, name)
	}
	for _, name := range names {
		if !regexp.MustCompile(`(?m)^(.*[^A-Za-z_])?` + name + `\(.* → [^!]`).MatchString(all.String()) {
			t.Errorf("%s has no example for the function %s", tutorial, name)
		}
	}
	for _, operator := range []string{"+", "-", "*", "/", "%", "**", "^", "==", "!=", "<", "<=", ">", ">=", "and", "&&", "or", "||", "not", "??", "in", "not in",
		"contains", "startsWith", "endsWith", "matches", "..", "? ", "if ", "let ", "|", "#index", "#acc", "?."} {
		if !strings.Contains(all.String(), operator) {
			t.Errorf("%s has no example for the operator %s", tutorial, operator)
		}
	}
}

// The table of differences is the one that the oracle is held against.
func TestTheDocumentedDifferencesAreAll(t *testing.T) {
	text, err := os.ReadFile(tutorial)
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "<!-- differences -->")
	table, _, _ = strings.Cut(table, "<!-- end of differences -->")
	var got [][3]string
	for _, row := range regexp.MustCompile("(?m)^\\| `(.*?)` \\| `(.*?)` \\| `(.*?)` \\| (.+) \\|$").FindAllStringSubmatch(table, -1) {
		got = append(got, [3]string{row[1], row[2], row[3]})
	}
	var want [][3]string
	for _, d := range differences {
		want = append(want, [3]string{d.expression, d.ours, d.theirs})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheDocumentedLimitsAreThose(t *testing.T) {
	text, err := os.ReadFile(tutorial)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		limit int
		words string
	}{{maxExpression, "16,384 bytes"}, {maxNodes, "1,000 nodes"}, {maxLocals, "16 names"}, {maxScopes, "8 predicates"},
		{maxSteps, "100,000 steps"}, {maxText, "1,048,576 bytes"}, {maxItems, "100,000 items"}, {maxDepth, "nest at most 100"}} {
		number := regexp.MustCompile(`[\d,]+`).FindString(c.words)
		if strings.ReplaceAll(number, ",", "") != fmt.Sprint(c.limit) || !strings.Contains(string(text), c.words) {
			t.Errorf("%s does not say %q of the limit %d", tutorial, c.words, c.limit)
		}
	}
}
