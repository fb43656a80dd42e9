// Package consumer is the engine: it folds logs into projections and keeps their snapshots. It knows interfaces only,
// no NATS, no Redis, no Kafka; the drivers under it and under snapshotstore do.
//
// A Worker runs units: one version of a projection on one partition of a stream each. A unit
//
//   - asks the store for its mark, and the log for the messages that the mark names as witnesses: the log must be the one
//     that the snapshot was folded from (whose, in judge.go, is the table of the outcomes);
//   - claims itself: the same mark under a higher epoch, by compare-and-set, so that whoever had it is refused from now on;
//   - takes batches from a feed, the one reader of that partition, which it shares with other units; folds them over the
//     values that it holds or fetches, and commits what has changed together with the position, one checkpoint in flight;
//   - at an event that can't be folded, gives up what is not committed, goes on from the store up to the event before,
//     commits that, and halts with a verdict, or leaves the event out, as the projection says.
//
// Whatever happens in between, a crash included, costs a longer replay and nothing else.
//
// ReadModel has the same in the plainest words, without pipeline and goroutines: load, replay, checkpoint.
//
//	worker, err := consumer.New(consumer.Config{Name: "orders-1", Registry: registry, Store: store, Logs: logs})
//	…
//	err = worker.Run(ctx) // until ctx is done
package consumer
