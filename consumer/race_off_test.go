//go:build !race

package consumer

// UnderRace is whether the race detector is built in: it allocates itself, and slows all down by ten.
const UnderRace = false
