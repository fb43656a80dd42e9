package projections

import "time"

// Event is one entry of a log. Its Data and Header are immutable and never reused, so that a value may keep slices of
// them.
type Event struct {
	Seq     uint64    // position in the log, from 1; on Kafka offset + 1
	Subject string    // subject or topic
	Time    time.Time // when the log stored it, UTC
	Header  Header    // empty where the event has none
	Data    []byte    // the payload; may be empty

	batch *memo // decodings shared by all projections that read the same batch; nil outside a batch
	index int32 // place in that batch
}

// State is a value together with the position up to which it is folded: the value after every event with a seq of at
// most Seq. Seq 0 is before the first event.
type State[V any] struct {
	Value V
	Seq   uint64
}

// Step folds one event into a value. It is pure: its result follows from its arguments alone, never from a clock,
// randomness, the order of a map or anything outside. An error means that the event can't be folded (POISON).
type Step[V any] func(value V, event Event) (V, error)

// Project folds events from the very beginning: Resume from the state <seed, 0>.
func Project[V any](step Step[V], seed V, events []Event) (State[V], error) {
	return Resume(step, State[V]{Value: seed}, events)
}

// Resume folds those of events that come after state.Seq, in order, and returns the new state. Events at or below
// state.Seq are skipped, so that resuming a snapshot over an overlapping tail is harmless. On an error the state
// before the failing event is returned with it.
//
//	Resume(step, Resume(step, s, a), b) == Resume(step, s, append(a, b...))
func Resume[V any](step Step[V], state State[V], events []Event) (State[V], error) {
	for _, event := range events {
		if event.Seq <= state.Seq {
			continue
		}
		value, err := step(state.Value, event)
		if err != nil {
			return state, &EventError{Seq: event.Seq, Subject: event.Subject, Err: err}
		}
		state = State[V]{Value: value, Seq: event.Seq}
	}
	return state, nil
}
