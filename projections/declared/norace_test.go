//go:build !race

package declared

const underRace = false
