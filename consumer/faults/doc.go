// Package faults holds the tests that kill real processes: workers, nats-server and redis-server, at random moments
// and at failpoints, while events are published and a reader looks on. An oracle decides every one of them: the models
// at the end, byte for byte those of an independent full replay, and no state seen on the way that is not some prefix's.
//
//	go test ./consumer/faults                                    all of them, in a few minutes
//	go test ./consumer/faults -kills 200 -away 2m -stopped 20s -timeout 90m
//	                                                             many rounds, long outages: about an hour
//	go test ./consumer/faults -kills 4 -away 3s -stopped 2s -keys 100000 -run 'Killed|Cut|Failover|PutBack|EndsTheProcess|Flushed|MemoryLimit|Admin|ForAWhile|FirstMoments|LoadTheKeys'
//	                                                             one of each kind: about a minute
//	go test ./consumer/faults -run Worker -seed 7                the kills of that seed again
//
// What they have found stands in docs/faults-found.md.
package faults
