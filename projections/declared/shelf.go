package declared

import (
	"github.com/tailfold/tailfold/projections"
)

// shelf folds events in memory as a worker does it with a store: what tests are run with.
type shelf struct {
	projection projections.Projection
	memory     projections.Fold
	values     map[string][]byte
}

func newShelf(p projections.Projection) *shelf {
	return &shelf{projection: p, values: map[string][]byte{}}
}

// cool forgets all decoded values: the next fold reads them back from their stored form.
func (s *shelf) cool() { s.memory = nil }

// fold folds a batch. On an error the values are those before the batch.
func (s *shelf) fold(events []projections.Event) error {
	if s.memory == nil {
		s.memory = s.projection.NewFold(projections.FoldOptions{})
	}
	projections.Share(events)
	for _, key := range s.memory.Plan(events) {
		stored, ok := s.values[key]
		if err := s.memory.Load(key, stored, ok); err != nil {
			return err
		}
	}
	if err := s.memory.Step(); err != nil {
		s.cool()
		return err
	}
	changes, err := s.memory.Changes()
	if err != nil {
		s.cool()
		return err
	}
	for _, put := range changes.Put {
		s.values[put.Key] = put.Value
	}
	for _, key := range changes.Delete {
		delete(s.values, key)
	}
	s.memory.Acked()
	return nil
}
