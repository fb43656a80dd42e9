// Package schedules holds the tests that run the whole engine on the log and the store in memory, in virtual time, under
// seeded schedules of crashes, delays, duplicates, reorderings, lost replies, lost membership, clock jumps, and of logs and
// stores that are trimmed, made again, put back or damaged. Every checkpoint that reaches the store is compared with a
// plain fold of its own; a seed repeats exactly.
//
//	go test ./consumer/schedules                       some hundred schedules
//	go test ./consumer/schedules -run Schedules -seed 7     the one of that seed, with its trace
//	go test ./consumer/schedules -run Schedules -seeds 20000 -first 1
//	make mutants                                       engines that were made wrong on purpose, and the seed that catches each
//
// What they have found stands in docs/faults-found.md.
package schedules
