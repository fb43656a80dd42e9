package projections

import (
	"slices"
	"strings"
	"testing"
)

// FuzzSubjects holds matching and intersection to each other, on any text.
func FuzzSubjects(f *testing.F) {
	for _, seed := range [][3]string{{"orders.*.eu", "orders.3.>", "orders.3.eu"}, {">", "*", "a"}, {"a.>", "a", "a"}, {"", ".", "a..b"}, {"*.*", "*.>", "é.\xff"}} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, a, b, subject string) {
		if slices.Contains(strings.Split(subject, "."), "") {
			return // no log takes a subject with an empty token
		}
		for _, filter := range []string{a, b} {
			if got, want := MatchSubject(filter, subject), matchTokens(strings.Split(filter, "."), strings.Split(subject, ".")); got != want && CheckSubject(filter) == nil {
				t.Errorf("MatchSubject(%q, %q) is %v", filter, subject, got)
			}
		}
		if CheckSubject(a) != nil || CheckSubject(b) != nil {
			return
		}
		both, ok := IntersectSubjects(a, b)
		if want := MatchSubject(a, subject) && MatchSubject(b, subject); want != (ok && MatchSubject(both, subject)) {
			t.Errorf("%q and %q intersect in %q (%v), which tells %q otherwise than they do", a, b, both, ok, subject)
		}
		if ok && CheckSubject(both) != nil {
			t.Errorf("%q and %q intersect in %q: %v", a, b, both, CheckSubject(both))
		}
		if narrowed, ok := NarrowSubjects([]string{a, b}, []string{both}); ok && !slices.Contains(narrowed, both) && both != "" {
			t.Errorf("%q or %q narrowed to %q is %q", a, b, both, narrowed)
		}
	})
}

// matchTokens is the plainest matching there is.
func matchTokens(filter, subject []string) bool {
	switch {
	case len(filter) == 0 || len(subject) == 0:
		return len(filter) == 0 && len(subject) == 0
	case filter[0] == ">" && len(filter) == 1:
		return true
	case filter[0] != "*" && filter[0] != subject[0]:
		return false
	}
	return matchTokens(filter[1:], subject[1:])
}
