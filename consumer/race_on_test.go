//go:build race

package consumer_test

// underRace is whether the race detector is built in: it allocates itself, and slows all down by ten.
const underRace = true
