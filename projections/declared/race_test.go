//go:build race

package declared

const underRace = true
