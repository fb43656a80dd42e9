package projectiontest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/tailfold/tailfold/projections"
)

// record is what one event does to the stored values, when it is folded alone.
type record struct {
	Seq     uint64
	Subject string
	Err     string // it can't be folded
	Put     map[string][]byte
	Delete  []string
}

func (r record) String() string { return fmt.Sprintf("event %d (%s)", r.Seq, r.Subject) }

// recordsOf folds as Replay does, past events that can't be folded.
func recordsOf(p projections.Projection, events []projections.Event) []record {
	values := map[string][]byte{}
	records := make([]record, len(events))
	for i := range events {
		r := record{Seq: events[i].Seq, Subject: events[i].Subject, Put: map[string][]byte{}}
		changes, err := foldOne(p.NewFold(projections.FoldOptions{}), events[i:i+1], values)
		if err != nil {
			r.Err = projections.Quoted(err)
		}
		for _, entry := range changes.Put {
			r.Put[entry.Key] = entry.Value
		}
		r.Delete = changes.Delete
		commit(values, changes)
		records[i] = r
	}
	return records
}

// compare tells the first difference between two foldings of the same events.
func compare(first, then []record) string {
	if len(first) != len(then) {
		return fmt.Sprintf("%d events, then %d", len(first), len(then))
	}
	for i, a := range first {
		b := then[i]
		switch {
		case a.Err == "" && b.Err != "":
			return fmt.Sprintf("%s was folded first, then it could not be: %s", a, b.Err)
		case a.Err != "" && b.Err == "":
			return fmt.Sprintf("%s could not be folded first (%s), then it was", a, a.Err)
		}
		for _, key := range keysOf(a, b) {
			x, inA := a.outcome(key)
			y, inB := b.outcome(key)
			if inA != inB || x != y {
				return fmt.Sprintf("%s, key %q: first %s, then %s", a, key, x, y)
			}
		}
	}
	return ""
}

// outcome is what the event makes of a key, in words.
func (r record) outcome(key string) (text string, touched bool) {
	if value, ok := r.Put[key]; ok {
		return show(value), true
	}
	if slices.Contains(r.Delete, key) {
		return "deleted", true
	}
	return "not touched", false
}

func keysOf(records ...record) []string {
	keys := map[string]bool{}
	for _, r := range records {
		for key := range r.Put {
			keys[key] = true
		}
		for _, key := range r.Delete {
			keys[key] = true
		}
	}
	return slices.Sorted(maps.Keys(keys))
}

// schedule says how a worker comes through the log.
type schedule struct {
	name   string
	batch  func(left int) int    // events of the next batch, at most left
	keep   int                   // bytes that the cache keeps behind each batch
	commit func(folded int) bool // whether a checkpoint follows, folded being the events so far
	crash  func(folded int) bool // whether the worker dies then, checkpoint or not
}

// follow folds by a schedule, and compares what each checkpoint stores with the records.
func (c *checker) follow(s schedule) (difference string) {
	store, want := map[string][]byte{}, map[string][]byte{}
	fold := c.projection.NewFold(projections.FoldOptions{})
	marked, folded := 0, 0
	for marked < len(c.events) {
		next := folded + s.batch(len(c.events)-folded)
		batch := slices.Clone(c.events[folded:next])
		batch = slices.DeleteFunc(batch, func(event projections.Event) bool { return c.skipped(event.Seq) })
		if err := loadAndStep(fold, batch, store); err != nil {
			return fmt.Sprintf("%v, though it was folded when it was alone", err)
		}
		folded = next
		if folded == len(c.events) || s.commit(folded) {
			changes, err := fold.Changes()
			if err != nil {
				return fmt.Sprintf("%s: %v, though it was encoded when folded alone", c.span(marked, folded), err)
			}
			fold.Acked()
			commit(store, changes)
			touched := append(keysOf(c.records[marked:folded]...), changes.Delete...)
			for _, r := range c.records[marked:folded] {
				commit(want, r.changes())
			}
			for _, entry := range changes.Put {
				touched = append(touched, entry.Key)
			}
			for _, key := range touched {
				is, has := store[key]
				should, shall := want[key]
				if has != shall || !bytes.Equal(is, should) {
					return fmt.Sprintf("%s, key %q: %s, but %s when each event is folded alone",
						c.span(marked, folded), key, kept(is, has), kept(should, shall))
				}
			}
			marked = folded
		}
		fold.Evict(s.keep)
		if s.crash(folded) {
			fold, folded = c.projection.NewFold(projections.FoldOptions{}), marked
		}
	}
	return ""
}

func (r record) changes() projections.Changes {
	changes := projections.Changes{Delete: r.Delete}
	for key, value := range r.Put {
		changes.Put = append(changes.Put, projections.Entry{Key: key, Value: value})
	}
	return changes
}

// skipped tells an event that can't be folded.
func (c *checker) skipped(seq uint64) bool {
	i, ok := slices.BinarySearchFunc(c.records, seq, func(r record, seq uint64) int { return int(int64(r.Seq) - int64(seq)) })
	return ok && c.records[i].Err != ""
}

// span names the events of a checkpoint.
func (c *checker) span(marked, folded int) string {
	if folded == marked+1 {
		return c.records[marked].String()
	}
	return fmt.Sprintf("events %d to %d", c.records[marked].Seq, c.records[folded-1].Seq)
}

func kept(value []byte, exists bool) string {
	if !exists {
		return "no value"
	}
	return show(value)
}
