package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tailfold/tailfold/snapshotstore"
	"golang.org/x/sync/errgroup"
)

func telling() []check {
	return []check{
		{"PromoteComparesAndSets", promoteCompares},
		{"OfManyPromotesOneWins", onePromoteWins},
		{"WorkersAreToldAsTheyLastSpoke", workersAreTold},
		{"AWorkerThatFallsSilentIsForgotten", silentWorkerIsForgotten},
		{"ValuesWithoutAMarkAreCorrupt", valuesWithoutMark},
		{"AMarkThatCanNotBeReadIsCorrupt", unreadableMark},
		{"ACallWhoseContextHasEndedDoesNothing", endedContext},
	}
}

func promoteCompares(t testing.TB, h Harness) {
	served := func(projection string, want int) {
		t.Helper()
		if version, err := h.Another(t).Served(t.Context(), projection); version != want || err != nil {
			t.Fatalf("Served of %q: %d, %v; want %d", projection, version, err, want)
		}
	}
	for _, step := range []struct{ from, to, holds int }{
		{1, 2, 0}, {0, 1, 0}, {0, 2, 1}, {2, 3, 1}, {1, 2, 1}, {1, 3, 2}, {2, 2, 2}, {2, 1, 2}, {1, 1_000_000, 1},
	} {
		err := h.Store.Promote(t.Context(), "totals", step.from, step.to)
		if step.from != step.holds {
			refused, ok := errors.AsType[*snapshotstore.ServedError](err)
			if !ok {
				t.Fatalf("Promote from %d to %d, where %d is served: %v; want a *ServedError", step.from, step.to, step.holds, err)
			}
			same(t, "the refusal", &snapshotstore.ServedError{Projection: "totals", Served: step.holds}, refused)
			served("totals", step.holds)
			continue
		}
		if err != nil {
			t.Fatalf("Promote from %d to %d: %v", step.from, step.to, err)
		}
		served("totals", step.to)
	}
	served("total", 0)
	served("totals-2", 0)
}

func onePromoteWins(t testing.TB, h Harness) {
	for round := range 10 {
		projection := fmt.Sprintf("p%d", round)
		var winner atomic.Int64
		var group errgroup.Group
		for to := 1; to <= 4; to++ {
			store := h.Another(t)
			group.Go(func() error {
				err := store.Promote(t.Context(), projection, 0, to)
				if _, refused := errors.AsType[*snapshotstore.ServedError](err); refused {
					return nil
				}
				if err == nil && !winner.CompareAndSwap(0, int64(to)) {
					return fmt.Errorf("versions %d and %d were both promoted from none", winner.Load(), to)
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		if version, err := h.Store.Served(t.Context(), projection); int64(version) != winner.Load() || err != nil {
			t.Fatalf("version %d was promoted, %d is served, %v", winner.Load(), version, err)
		}
	}
}

// said is what workers say, without the age, which must be plausible.
func said(t testing.TB, store snapshotstore.Store) map[string]string {
	t.Helper()
	workers, err := store.Workers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	reports := map[string]string{}
	last := ""
	for i, worker := range workers {
		if i > 0 && worker.Worker <= last {
			t.Fatalf("workers are told in the order %q, %q; want them by name", last, worker.Worker)
		}
		last = worker.Worker
		if worker.Age < 0 || worker.Age > time.Minute {
			t.Fatalf("%q spoke %v ago; it was just now", worker.Worker, worker.Age)
		}
		reports[worker.Worker] = string(worker.Report)
	}
	return reports
}

func workersAreTold(t testing.TB, h Harness) {
	other := h.Another(t)
	want := map[string]string{}
	for _, step := range [][2]string{
		{"worker-2", `{"units":[]}`}, {"worker-1", "\x00\xff any bytes \r\n"}, {"host é {a} $mark", "{}"}, {"worker-2", "again"},
		{"worker-1", ""},
	} {
		if err := h.Store.Announce(t.Context(), step[0], []byte(step[1]), time.Hour); err != nil {
			t.Fatal(err)
		}
		want[step[0]] = step[1]
		same(t, "what workers said", want, said(t, other))
	}
	for _, gone := range []string{"worker-2", "nobody", "worker-2"} {
		if err := other.Resign(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		delete(want, gone)
		same(t, "what workers said", want, said(t, h.Store))
	}
}

func silentWorkerIsForgotten(t testing.TB, h Harness) {
	const renew = 50 * time.Millisecond
	began := time.Now()
	for worker, every := range map[string]time.Duration{"silent": renew, "renewing": renew, "patient": time.Hour} {
		if err := h.Store.Announce(t.Context(), worker, []byte(worker), every); err != nil {
			t.Fatal(err)
		}
	}
	for {
		before := time.Now() // at the latest, the store's clock showed this when it read the announcements
		if err := h.Store.Announce(t.Context(), "renewing", []byte("renewing"), renew); err != nil {
			t.Fatal(err)
		}
		reports := said(t, h.Another(t))
		if time.Since(before) < renew { // else we were held up so long that it may be gone
			if _, told := reports["renewing"]; !told {
				t.Fatal("a worker that had just renewed its announcement was forgotten")
			}
		}
		if _, told := reports["patient"]; !told {
			t.Fatal("a worker was forgotten before its time")
		}
		if _, told := reports["silent"]; !told {
			break
		}
		if since := before.Sub(began); since > 20*renew {
			t.Fatalf("a worker that renews every %v has said nothing for %v and is still told", renew, since)
		}
	}
	if since := time.Since(began); since < 3*renew-5*time.Millisecond { // clocks of servers are read in milliseconds
		t.Fatalf("a worker that renews every %v was forgotten after %v", renew, since)
	}
	if err := h.Store.Announce(t.Context(), "silent", []byte("is back"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if report := said(t, h.Another(t))["silent"]; report != "is back" {
		t.Fatalf("a worker that came back is told with %q", report)
	}
}

func valuesWithoutMark(t testing.TB, h Harness) { corruptMark(t, h, nil) }

func unreadableMark(t testing.TB, h Harness) {
	future := append([]byte(`{"format":2,`), markAt(1).Raw[1:]...)
	for _, raw := range []string{"", "not JSON", `{"format":1,"seq":-1}`, `{"format":1,"seq":"1"}`, "{}", string(future)} {
		corruptMark(t, h, []byte(raw))
	}
}

// corruptMark damages a unit's mark: whoever reads it is told, nobody writes over it, others are not touched, and Drop is
// the way out.
func corruptMark(t testing.TB, h Harness, raw []byte) {
	t.Helper()
	well := snapshotstore.Unit{Projection: "well", Version: 1}
	wellHas := start(t, h.Store, well, "a", "1")
	c := start(t, h.Store, totals, "a", "1", "b", "2")
	h.SetMark(t, totals, raw)

	_, err := h.Store.Head(t.Context(), totals)
	wantCorrupt(t, "Head", err, totals)
	_, _, err = h.Store.Get(t.Context(), totals, []string{"a"})
	wantCorrupt(t, "Get", err, totals)
	_, _, err = h.Store.Get(t.Context(), totals, nil)
	wantCorrupt(t, "Get without keys", err, totals)
	_, _, err = h.Store.Skipped(t.Context(), totals)
	wantCorrupt(t, "Skipped", err, totals)
	for _, from := range []snapshotstore.Mark{{}, c.Mark} {
		err := h.Store.Commit(t.Context(), totals, snapshotstore.Checkpoint{From: from, To: markAt(2), Put: entries("a", "3")})
		wantCorrupt(t, "Commit", err, totals)
	}
	wantContents(t, h.Store, well, wellHas)

	h.SetMark(t, totals, c.Mark.Raw) // none of that changed anything
	wantContents(t, h.Store, totals, c)
	h.SetMark(t, totals, raw)
	for _, unit := range []snapshotstore.Unit{totals, well} {
		if err := h.Store.Drop(t.Context(), unit); err != nil {
			t.Fatalf("Drop: %v", err)
		}
		wantContents(t, h.Store, unit, contents{})
	}
}

func endedContext(t testing.TB, h Harness) {
	c := start(t, h.Store, totals, "a", "1", "b", "1")
	if err := h.Store.Announce(t.Context(), "worker-1", []byte("{}"), time.Hour); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for _, ctx := range []context.Context{cancelled, expired} {
		for _, call := range calls(c.Mark, markAt(2)) {
			if err := call.do(ctx, h.Store); !errors.Is(err, ctx.Err()) || !isOfStore(err) {
				t.Fatalf("%s in a context that has ended returned %v; want an *Error that is %v", call.name, err, ctx.Err())
			}
		}
	}
	wantContents(t, h.Store, totals, c)
	if version, err := h.Store.Served(t.Context(), "totals"); version != 0 || err != nil {
		t.Fatalf("Served: %d, %v; want 0", version, err)
	}
	same(t, "what workers said", map[string]string{"worker-1": "{}"}, said(t, h.Store))
}
