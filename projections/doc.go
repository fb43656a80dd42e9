// Package projections is the algebra of Tailfold: pure folds over the events of one log. It does no I/O, reads no
// clock, starts no goroutine and writes no log.
//
// The whole of it in two lines:
//
//	Project(step, seed, events) = Resume(step, State{seed, 0}, events)
//	Resume(step, Resume(step, s, head), tail) = Resume(step, s, head + tail)
//
// The second line is why a snapshot can stand for the events before it: snapshot + tail == full replay.
//
// A Single folds a log into one value, a Keyed into one value per key. Both are registered in a Registry, which a
// consumer.Worker runs. A Fold is what the worker keeps in memory of one of them.
package projections
