package declared

import (
	"maps"
	"slices"
	"strings"
)

// nearest is the name that was probably meant: at most two changes of a letter away, or one for short names.
func nearest(name string, names []string) string {
	best, least := "", 3
	if len(name) <= 4 {
		least = 2
	}
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	for _, other := range sorted {
		d := distance(strings.ToLower(name), strings.ToLower(other))
		if d < least && other != name && d < len(name) {
			best, least = other, d
		}
	}
	return best
}

// distance counts the letters to change, leave out, put in or swap with their neighbour.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var before, previous, current [65]int
	for j := range len(b) + 1 {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
		before, previous = previous, current
	}
	return previous[len(b)]
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
