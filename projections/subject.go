package projections

import (
	"fmt"
	"strings"
)

// CheckSubject tells what is wrong with a subject filter: tokens between dots, none empty, "*" for any one token,
// ">" at the end for one or more.
func CheckSubject(filter string) error {
	if filter == "" {
		return fmt.Errorf("subject is empty")
	}
	tokens := strings.Split(filter, ".")
	for i, token := range tokens {
		switch {
		case token == "":
			return fmt.Errorf("subject %q has an empty token", filter)
		case strings.ContainsAny(token, " \t\r\n\f\x00"):
			return fmt.Errorf("subject %q has white space in it", filter)
		case token == ">" && i != len(tokens)-1:
			return fmt.Errorf("subject %q has %q before its end", filter, ">")
		}
	}
	return nil
}

// MatchSubject tells whether a literal subject matches a filter.
func MatchSubject(filter, subject string) bool {
	for {
		if filter == ">" {
			return subject != ""
		}
		f, filterRest, filterMore := strings.Cut(filter, ".")
		s, subjectRest, subjectMore := strings.Cut(subject, ".")
		if f != "*" && f != s || s == "" {
			return false
		}
		if !filterMore || !subjectMore {
			return filterMore == subjectMore
		}
		filter, subject = filterRest, subjectRest
	}
}

// IntersectSubjects returns the filter that matches exactly what both match, and false if nothing does:
// orders.*.eu with orders.3.> is orders.3.eu.
func IntersectSubjects(a, b string) (string, bool) {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	both := make([]string, 0, max(len(as), len(bs)))
	for i := 0; ; i++ {
		switch {
		case i == len(as) && i == len(bs):
			return strings.Join(both, "."), true
		case i == len(as) || i == len(bs):
			return "", false
		case as[i] == ">":
			return strings.Join(append(both, bs[i:]...), "."), true
		case bs[i] == ">":
			return strings.Join(append(both, as[i:]...), "."), true
		case as[i] == bs[i] || bs[i] == "*":
			both = append(both, as[i])
		case as[i] == "*":
			both = append(both, bs[i])
		default:
			return "", false
		}
	}
}

// NarrowSubjects intersects two lists of filters, each meaning the union of its members; an empty list means every
// subject. It returns nil and false where nothing is left.
func NarrowSubjects(a, b []string) ([]string, bool) {
	if len(a) == 0 {
		return b, true
	}
	if len(b) == 0 {
		return a, true
	}
	var both []string
	for _, x := range a {
		for _, y := range b {
			if s, ok := IntersectSubjects(x, y); ok && !covered(both, s) {
				both = append(both, s)
			}
		}
	}
	return both, len(both) > 0
}

func covered(filters []string, filter string) bool {
	for _, f := range filters {
		if s, ok := IntersectSubjects(f, filter); ok && s == filter {
			return true
		}
	}
	return false
}

// subjectFilter is a list of filters made ready for matching; an empty one matches all.
type subjectFilter []string

func (f subjectFilter) match(subject string) bool {
	if len(f) == 0 {
		return true
	}
	for _, filter := range f {
		if MatchSubject(filter, subject) {
			return true
		}
	}
	return false
}
