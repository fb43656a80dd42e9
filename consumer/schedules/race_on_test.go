//go:build race

package schedules

// underRace is whether the race detector is built in: it allocates itself, and slows all down by ten.
const underRace = true
