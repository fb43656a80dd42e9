package logtest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tailfold/tailfold/consumer"
)

// MembersHarness makes the memberships that RunMembers runs on: two ends of one that is empty, as two workers have them.
type MembersHarness struct {
	New func(t T) (a, b consumer.Membership)
	// Patience is how long something may take before it counts as not happening. Default 20 s.
	Patience time.Duration
}

// membersChecks are the promises of a membership.
func membersChecks() []struct {
	name string
	run  func(T, MembersHarness)
} {
	return []struct {
		name string
		run  func(T, MembersHarness)
	}{
		{"WatchTellsWhatIsThereThenAllThenChanges", membersWatch},
		{"ARecordIsTheLastOnePut", membersLast},
		{"RemovingWhatIsNotThereIsFine", membersRemove},
		{"NamesAndRecordsAreAnyBytes", membersNames},
		{"WatchEndsWithItsContext", membersEnd},
	}
}

// RunMembers runs the suite of memberships.
func RunMembers(t *testing.T, h MembersHarness) {
	if h.Patience == 0 {
		h.Patience = 20 * time.Second
	}
	for _, c := range membersChecks() {
		t.Run(c.name, func(t *testing.T) { c.run(t, h) })
	}
}

// heard is what a watch has told.
type heard struct {
	t        T
	patience time.Duration
	mu       sync.Mutex
	changes  []consumer.MemberChange
	more     chan struct{}
}

// listen watches until the check ends.
func listen(t T, m consumer.Membership, patience time.Duration) *heard {
	h := &heard{t: t, patience: patience, more: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- m.Watch(ctx, func(c consumer.MemberChange) {
			h.mu.Lock()
			h.changes = append(h.changes, c)
			h.mu.Unlock()
			select {
			case h.more <- struct{}{}:
			default:
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return h
}

// await waits until what was told is as wanted, and returns it.
func (h *heard) await(what string, wanted func([]consumer.MemberChange) bool) []consumer.MemberChange {
	h.t.Helper()
	timeout := time.After(h.patience)
	for {
		h.mu.Lock()
		changes := append([]consumer.MemberChange{}, h.changes...)
		h.mu.Unlock()
		if wanted(changes) {
			return changes
		}
		select {
		case <-h.more:
		case <-timeout:
			h.t.Fatalf("%s: not within %v; told: %+v", what, h.patience, changes)
		}
	}
}

func put(t T, m consumer.Membership, worker, record string) {
	t.Helper()
	if err := m.Put(t.Context(), worker, []byte(record)); err != nil {
		t.Fatalf("put %q: %v", worker, err)
	}
}

// isTold tells whether a record of a worker was told.
func isTold(worker, record string) func([]consumer.MemberChange) bool {
	return func(cs []consumer.MemberChange) bool {
		return slices.ContainsFunc(cs, func(c consumer.MemberChange) bool {
			return c.Worker == worker && string(c.Record) == record && !c.Removed && !c.All && !c.At.IsZero()
		})
	}
}

func told(cs []consumer.MemberChange) bool {
	return len(cs) > 0 && cs[len(cs)-1].All
}

func membersWatch(t T, h MembersHarness) {
	a, b := h.New(t)
	put(t, a, "first", "1")
	put(t, a, "second", "2")
	watch := listen(t, b, h.Patience)
	there := watch.await("what is there, and that it is all", told)
	got := fmt.Sprint(len(there), there[0].Worker, string(there[0].Record), there[1].Worker, string(there[1].Record))
	if got != "3first1second2" && got != "3second2first1" {
		t.Errorf("a watch begins with %+v, want the two records and All", there)
	}
	put(t, b, "third", "3")
	watch.await("a record that is new", isTold("third", "3"))
	put(t, a, "first", "1+")
	watch.await("a record that has changed", isTold("first", "1+"))
	at := watch.await("…", isTold("first", "1+"))
	put(t, a, "first", "1+") // renewed
	renewed := watch.await("a record that is put again", func(cs []consumer.MemberChange) bool { return len(cs) > len(at) })
	if last := renewed[len(renewed)-1]; !last.At.After(at[len(at)-1].At) {
		t.Errorf("a renewal has the time %v, the one before %v", last.At, at[len(at)-1].At)
	}
	if err := a.Remove(t.Context(), "second"); err != nil {
		t.Fatalf("remove: %v", err)
	}
	watch.await("a record that is removed", func(cs []consumer.MemberChange) bool {
		c := cs[len(cs)-1]
		return c.Worker == "second" && c.Removed
	})
}

func membersLast(t T, h MembersHarness) {
	a, b := h.New(t)
	for i := range 50 {
		put(t, a, "worker", fmt.Sprint(i))
	}
	put(t, a, "gone", "x")
	if err := a.Remove(t.Context(), "gone"); err != nil {
		t.Fatalf("remove: %v", err)
	}
	all := listen(t, b, h.Patience).await("all", told)
	for _, c := range all {
		switch {
		case c.All, c.Removed && c.Worker == "gone":
		case c.Worker != "worker" || string(c.Record) != "49":
			t.Errorf("told %+v; want the record that was put last", c)
		}
	}
}

func membersRemove(t T, h MembersHarness) {
	a, b := h.New(t)
	if err := a.Remove(t.Context(), "nobody"); err != nil {
		t.Errorf("removing a record that is not there: %v", err)
	}
	put(t, a, "somebody", "1")
	if err := b.Remove(t.Context(), "somebody"); err != nil {
		t.Errorf("removing another one's record: %v", err)
	}
}

func membersNames(t T, h MembersHarness) {
	a, b := h.New(t)
	put(t, a, "the first", "")
	watch := listen(t, b, h.Patience)
	names := []string{"plain-1", "with.dots.example", "white space", "*", ">", "=", "ü", "\xff", "a/b", string(bytes.Repeat([]byte("x"), 128))}
	for _, name := range names {
		put(t, a, name, "\x00\xff"+name)
		watch.await(fmt.Sprintf("the record of %q", name), isTold(name, "\x00\xff"+name))
	}
}

func membersEnd(t T, h MembersHarness) {
	a, _ := h.New(t)
	put(t, a, "worker", "1")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- a.Watch(ctx, func(c consumer.MemberChange) {
			if c.All {
				cancel()
			}
		})
	}()
	select {
	case err := <-ended:
		if err == nil {
			t.Errorf("a watch whose context is done returns no error")
		}
	case <-time.After(h.Patience):
		t.Fatalf("a watch does not end with its context")
	}
}
