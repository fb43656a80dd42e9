package cmd

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ConfigError is one thing that is wrong with a configuration.
type ConfigError struct {
	Where   string // "tailfold.yaml:3:7", "TAILFOLD_NATS_URL", "--nats"; "" where no single place is to blame
	Path    string // "checkpoint.every"; "" where it is not about a key
	Problem string // what is wrong, and what to write instead
}

func (e *ConfigError) Error() string {
	text := e.Problem
	if e.Path != "" {
		text = e.Path + ": " + text
	}
	if e.Where != "" {
		text = e.Where + ": " + text
	}
	return text
}

// problems gathers all that is wrong, so that one run tells all of it.
type problems struct{ list []error }

func (p *problems) add(where, path, format string, args ...any) {
	p.list = append(p.list, &ConfigError{Where: where, Path: path, Problem: fmt.Sprintf(format, args...)})
}

func (p *problems) err() error { return errors.Join(p.list...) }

// at writes a place.
func (p place) String() string { return fmt.Sprintf("%s:%d:%d", p.file, p.line, p.column) }

// nearest is the candidate that word was probably meant to be; "" if none is near.
func nearest(word string, candidates []string) string {
	best, least := "", len(word)/3+2
	for _, c := range slices.SortedFunc(slices.Values(candidates), cmp.Compare) {
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is the number of edits (insert, delete, replace, swap of neighbours) between two words.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > 64 || len(y) > 64 { // nobody mistypes that much, and the table would be large
		return 64
	}
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			change := last[j-1]
			if x[i-1] != y[j-1] {
				change++
			}
			row[j] = min(last[j]+1, row[j-1]+1, change)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(y)]
}

// didYouMean ends a message about an unknown word.
func didYouMean(word string, candidates []string) string {
	if near := nearest(word, candidates); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "known here: " + strings.Join(slices.Sorted(slices.Values(candidates)), ", ")
}
