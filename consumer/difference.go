package consumer

import (
	"slices"
	"strings"
)

// aroundChanges cuts long lines of two definitions, which differ, to what is different in them.
func aroundChanges(gone, added []string) {
	for _, lines := range [][]string{gone, added} {
		for i := range lines {
			lines[i] = strings.TrimLeft(lines[i], " ")
		}
	}
	for i := range gone {
		j := slices.IndexFunc(added, func(line string) bool { return label(line) == label(gone[i]) })
		if j >= 0 {
			gone[i], added[j] = aroundDifference(gone[i], added[j])
		}
	}
}

// label is what a line of a definition is about.
func label(line string) string {
	name, _, _ := strings.Cut(line, ": ")
	return name
}

// aroundDifference cuts two lines about the same thing, where one is long, to what differs, with some text around it.
func aroundDifference(a, b string) (cutA, cutB string) {
	const around, long = 60, 240 // characters
	if len(a) <= long && len(b) <= long {
		return a, b
	}
	name := label(a) + ": "
	x, y := []rune(strings.TrimPrefix(a, name)), []rune(strings.TrimPrefix(b, name))
	least := min(len(x), len(y))
	same, end := 0, 0
	for same < least && x[same] == y[same] {
		same++
	}
	for end < least-same && x[len(x)-1-end] == y[len(y)-1-end] {
		end++
	}
	cut := func(text []rune) string {
		from := max(0, same-around)
		to := min(len(text)-max(0, end-around), from+2*long)
		shown := string(text[from:to])
		if from > 0 {
			shown = "…" + shown
		}
		if to < len(text) {
			shown += "…"
		}
		return name + shown
	}
	return cut(x), cut(y)
}
