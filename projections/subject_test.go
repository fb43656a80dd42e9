package projections_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tailfold/tailfold/projections"
)

// sequences returns all dot-joined sequences of one to longest of the tokens.
func sequences(tokens []string, longest int) []string {
	all := []string{}
	last := []string{""}
	for range longest {
		var next []string
		for _, head := range last {
			for _, token := range tokens {
				next = append(next, strings.TrimPrefix(head+"."+token, "."))
			}
		}
		all, last = append(all, next...), next
	}
	return all
}

// allSubjects and allFilters are every subject of up to four tokens a, b, and every legal filter of up to three tokens.
func allSubjects() []string { return sequences([]string{"a", "b"}, 4) }

func allFilters() []string {
	return slices.DeleteFunc(sequences([]string{"a", "b", "*", ">"}, 3), func(filter string) bool {
		return projections.CheckSubject(filter) != nil
	})
}

// matchesPlainly is the definition of a match, token by token.
func matchesPlainly(filter, subject []string) bool {
	switch {
	case len(filter) == 1 && filter[0] == ">":
		return len(subject) > 0
	case len(filter) == 0 || len(subject) == 0:
		return len(filter) == len(subject)
	case filter[0] != "*" && filter[0] != subject[0]:
		return false
	}
	return matchesPlainly(filter[1:], subject[1:])
}

func TestMatchSubjectAgreesWithItsDefinitionOnEverySmallCase(t *testing.T) {
	for _, filter := range allFilters() {
		for _, subject := range allSubjects() {
			want := matchesPlainly(strings.Split(filter, "."), strings.Split(subject, "."))
			if got := projections.MatchSubject(filter, subject); got != want {
				t.Errorf("MatchSubject(%q, %q) = %v, want %v", filter, subject, got, want)
			}
		}
	}
	if projections.MatchSubject(">", "") || projections.MatchSubject("*", "") {
		t.Error("an empty subject matched a wildcard")
	}
}

func TestIntersectSubjectsMatchesWhatBothMatch(t *testing.T) {
	subjects, filters := allSubjects(), allFilters()
	for _, a := range filters {
		for _, b := range filters {
			both, ok := projections.IntersectSubjects(a, b)
			if ok && projections.CheckSubject(both) != nil {
				t.Fatalf("IntersectSubjects(%q, %q) = %q: %v", a, b, both, projections.CheckSubject(both))
			}
			for _, subject := range subjects {
				want := projections.MatchSubject(a, subject) && projections.MatchSubject(b, subject)
				if got := ok && projections.MatchSubject(both, subject); got != want {
					t.Fatalf("IntersectSubjects(%q, %q) = %q, %v: matching %q is %v, want %v", a, b, both, ok, subject, got, want)
				}
			}
		}
	}
}

func TestNarrowSubjectsMatchesWhatBothListsMatch(t *testing.T) {
	subjects, filters := allSubjects(), allFilters()
	matchesAny := func(list []string, subject string) bool {
		return len(list) == 0 || slices.ContainsFunc(list, func(f string) bool { return projections.MatchSubject(f, subject) })
	}
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SliceOfN(rapid.SampledFrom(filters), 0, 4).Draw(t, "a")
		b := rapid.SliceOfN(rapid.SampledFrom(filters), 0, 4).Draw(t, "b")
		both, ok := projections.NarrowSubjects(a, b)
		for _, subject := range subjects {
			want := matchesAny(a, subject) && matchesAny(b, subject)
			if got := ok && matchesAny(both, subject); got != want {
				t.Fatalf("NarrowSubjects(%q, %q) = %q, %v: matching %q is %v, want %v", a, b, both, ok, subject, got, want)
			}
		}
	})
}

func TestNarrowSubjectsSaysWhenNothingIsLeft(t *testing.T) {
	if both, ok := projections.NarrowSubjects([]string{"orders.1.>"}, []string{"orders.2.>", "orders.1"}); ok || both != nil {
		t.Errorf("got %q, %v, want nothing", both, ok)
	}
	if both, ok := projections.NarrowSubjects(nil, nil); !ok || len(both) != 0 {
		t.Errorf("got %q, %v, want every subject", both, ok)
	}
}

func TestCheckSubjectNamesWhatIsWrong(t *testing.T) {
	for filter, want := range map[string]string{
		"orders":         "",
		"orders.*.eu":    "",
		">":              "",
		"orders.*.>":     "",
		"orders.x>y.a*b": "",
		"":               "subject is empty",
		".orders":        `subject ".orders" has an empty token`,
		"orders.":        `subject "orders." has an empty token`,
		"orders..eu":     `subject "orders..eu" has an empty token`,
		"orders.my eu":   `subject "orders.my eu" has white space in it`,
		"orders\n":       `subject "orders\n" has white space in it`,
		"orders.>.eu":    `subject "orders.>.eu" has ">" before its end`,
	} {
		got := ""
		if err := projections.CheckSubject(filter); err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", filter, diff)
		}
	}
}
