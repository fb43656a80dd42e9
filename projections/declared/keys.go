package declared

import "slices"

// Keys are the keys that a declared projection, its rules under on, its tests, their events and their poison may have,
// by the name of the part: what Parse and ParseTests take, and nothing else.
func Keys() map[string][]string {
	return map[string][]string{
		"projection": slices.Clone(entryKeys), "on": slices.Clone(ruleKeys), "test": slices.Clone(testKeys),
		"given": slices.Clone(givenKeys), "poison": slices.Clone(poisonKeys),
	}
}
