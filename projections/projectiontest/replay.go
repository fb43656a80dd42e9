package projectiontest

import (
	"fmt"

	"github.com/tailfold/tailfold/projections"
)

// Replay folds events from the very beginning in the plainest way there is: one event at a time, each by a fold of its
// own that knows nothing but what the events before it have committed. It returns every key with its encoded value.
// Events whose seq is in skip are left out, as those in a snapshot's record of skipped events are.
//
// On an error the values are those after the event before the one that failed.
func Replay(p projections.Projection, events []projections.Event, skip map[uint64]bool) (map[string][]byte, error) {
	values := map[string][]byte{}
	for i := range events {
		if skip[events[i].Seq] {
			continue
		}
		changes, err := foldOne(p.NewFold(projections.FoldOptions{}), events[i:i+1], values)
		if err != nil {
			return values, err
		}
		commit(values, changes)
	}
	return values, nil
}

// foldOne folds one event, or several as one batch, over the values that are committed, and returns what that changes.
func foldOne(fold projections.Fold, events []projections.Event, committed map[string][]byte) (projections.Changes, error) {
	if err := loadAndStep(fold, events, committed); err != nil {
		return projections.Changes{}, err
	}
	changes, err := fold.Changes()
	if err != nil {
		return projections.Changes{}, fmt.Errorf("after event %d: %w", events[len(events)-1].Seq, err)
	}
	return changes, nil
}

func loadAndStep(fold projections.Fold, events []projections.Event, committed map[string][]byte) error {
	for _, key := range fold.Plan(events) {
		stored, exists := committed[key]
		if err := fold.Load(key, stored, exists); err != nil {
			return fmt.Errorf("load before event %d: %w", events[0].Seq, err)
		}
	}
	return fold.Step()
}

// commit applies changes to the committed values, as a store does.
func commit(values map[string][]byte, changes projections.Changes) {
	for _, entry := range changes.Put {
		values[entry.Key] = entry.Value
	}
	for _, key := range changes.Delete {
		delete(values, key)
	}
}
