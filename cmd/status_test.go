package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/storetest"
)

func announce(t *testing.T, store snapshotstore.Store, worker string, units ...consumer.UnitStatus) {
	t.Helper()
	text, err := json.Marshal(consumer.Report{Worker: worker, Units: units})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Announce(t.Context(), worker, text, time.Minute); err != nil {
		t.Fatal(err)
	}
}

func TestThereIsOneRowPerUnitHoweverManyWorkers(t *testing.T) {
	store := storetest.NewMemory()
	live := func(epoch, head uint64, owner string) consumer.UnitStatus {
		return consumer.UnitStatus{Projection: "totals", Version: 1, Stream: "ORDERS", State: consumer.Live,
			Epoch: epoch, Head: head, Owner: owner, CheckpointAgeMS: 5}
	}
	standby := consumer.UnitStatus{Projection: "totals", Version: 1, Stream: "ORDERS", State: consumer.Standby, Head: 30}
	commit(t, store, totalsUnit, 10, nil)
	if err := store.Promote(t.Context(), "totals", 0, 1); err != nil {
		t.Fatal(err)
	}
	units := []unit{{totalsUnit, "ORDERS", nil}, {snapshotstore.Unit{Projection: "idle", Version: 2}, "ORDERS", nil}}
	bounds := func(context.Context, string) (consumer.Bounds, error) { return consumer.Bounds{Last: 40}, nil }
	reader := &statusReader{store: store, units: units, bounds: bounds}
	idle := consumer.UnitStatus{Projection: "idle", Version: 2, Stream: "ORDERS", State: consumer.Unowned, Head: 40,
		Lag: 40, CheckpointAgeMS: -1,
		Standbys: []string{}, Detail: "no worker has this unit: start one (tailfold run)"}
	other := consumer.UnitStatus{Projection: "other", Version: 7, Stream: "X", State: consumer.Halted, Verdict: "GAP",
		Detail: "d", Owner: "w-9", Standbys: []string{}}

	for _, step := range []struct {
		name string
		said func()
		want []consumer.UnitStatus
	}{
		{"nobody", func() {}, []consumer.UnitStatus{idle,
			{Projection: "totals", Version: 1, Stream: "ORDERS", State: consumer.Unowned, Seq: 10, Head: 40, Lag: 30,
				Epoch: 1, Served: true,
				Standbys: []string{}, Detail: "no worker has this unit: start one (tailfold run)"}}},
		{"only standbys", func() { announce(t, store, "w-3", standby) }, []consumer.UnitStatus{idle,
			{Projection: "totals", Version: 1, Stream: "ORDERS", State: consumer.Standby, Seq: 10, Head: 40, Lag: 30,
				Epoch: 1, Served: true,
				Standbys: []string{"w-3"}, Detail: "no worker says that it owns this unit: one of those that stand by takes it over"}}},
		{"an owner, one that has not noticed, a standby, and units of another program", func() {
			announce(t, store, "w-1", live(4, 20, "w-1"))
			announce(t, store, "w-2", live(5, 25, "w-2"))
			announce(t, store, "w-9", consumer.UnitStatus{Projection: "other", Version: 7, Stream: "X",
				State: consumer.Halted, Verdict: "GAP", Detail: "d", Owner: "w-9"})
			if err := store.Announce(t.Context(), "from the future", []byte("not JSON"), time.Minute); err != nil {
				t.Fatal(err)
			}
		}, []consumer.UnitStatus{idle, other,
			{Projection: "totals", Version: 1, Stream: "ORDERS", State: consumer.Live, Seq: 10, Head: 30, Lag: 20,
				Epoch: 5, Served: true, Owner: "w-2", Standbys: []string{"w-1", "w-3"}}}},
		{"damaged", func() {
			store.SetMark(totalsUnit, nil)
			if err := store.Resign(t.Context(), "w-9"); err != nil {
				t.Fatal(err)
			}
		}, []consumer.UnitStatus{idle,
			{Projection: "totals", Version: 1, Stream: "ORDERS", State: consumer.Live, Head: 30, Epoch: 5,
				Served: true, Owner: "w-2", Standbys: []string{"w-1", "w-3"}, Verdict: "CORRUPT",
				Detail: "totals/v1/0: there are values, but no mark: drop it, and it is folded again (tailfold drop totals --version 1)"}}},
	} {
		step.said()
		rows, err := reader.rows(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range rows {
			if rows[i].CheckpointAgeMS > 0 {
				rows[i].CheckpointAgeMS = 0
			}
		}
		ignore := cmpopts.IgnoreFields(consumer.UnitStatus{}, "CheckpointAgeMS")
		if diff := cmp.Diff(step.want, rows, ignore); diff != "" {
			t.Errorf("%s: %s", step.name, diff)
		}
	}
	reader.bounds = func(context.Context, string) (consumer.Bounds, error) {
		return consumer.Bounds{}, errors.New("no route")
	}
	rows, err := reader.rows(t.Context())
	var logAway *logAwayError
	if !errors.As(err, &logAway) || len(rows) != 2 {
		t.Errorf("with the log away there are %d rows and %v", len(rows), err)
	}
}

func TestTheTableFitsAHundredColumns(t *testing.T) {
	var b strings.Builder
	writeTable(&b, []consumer.UnitStatus{
		{Projection: "customer-totals", Version: 1, State: consumer.Live, Seq: 123456789012, Lag: 3,
			CheckpointAgeMS: 240, Owner: "shop-7c9f-q1w2e3r4", Served: true, Replicas: snapshotstore.Replicas{Asked: 1, Have: 1}},
		{Projection: "a-projection-with-a-name-that-is-as-long-as-they-come", Version: 12, Partition: 3,
			State: consumer.Replaying, Seq: 2_500_000, Lag: 7_500_000, CheckpointAgeMS: 900,
			ResumedAt: 0, ReplayTarget: 10_000_000, ReplayRate: 250_000, Owner: "a-worker-with-a-name-that-does-not-fit-here", Standbys: []string{"w-2", "w-3"}},
		{Projection: "orders", Version: 2, State: consumer.Halted, Verdict: "DIVERGED", Seq: 5,
			CheckpointAgeMS: 90_000_000, Proof: "partial", Skipped: 2,
			Detail: "stream ORDERS has another message at seq 5 than the snapshot was folded from. Drop the snapshot to fold the new log: tailfold drop orders --version 2"},
		{Projection: "idle", Version: 1, State: consumer.Unowned, CheckpointAgeMS: -1,
			Detail: "no worker has this unit: start one (tailfold run)"},
		{Projection: "few", Version: 1, State: consumer.Live, Owner: "w-1", Replicas: snapshotstore.Replicas{Asked: 2, Have: 1}},
		{Projection: "unknown", Version: 1, State: consumer.Live, Owner: "w-1", Replicas: snapshotstore.Replicas{Asked: 2, Why: "NOPERM no"}},
	})
	const want = `
UNIT                                  STATE               SEQ      LAG  SAVED  SERVED  OWNER
customer-totals/v1/0                  live       123456789012        3   0.2s  yes     shop-7c9f-q1…
    owner: shop-7c9f-q1w2e3r4
a-projection-with-a-name-that-is-as…  replaying       2500000  7500000   0.9s          a-worker-wit…
    replaying: seq 2,500,000 of 10,000,000 (25 %), 250,000 events/s, 30s left
    standing by: w-2, w-3
    owner: a-worker-with-a-name-that-does-not-fit-here
orders/v2/0                           halted                5        0    25h
    DIVERGED: stream ORDERS has another message at seq 5 than the snapshot was folded from. Drop the
    snapshot to fold the new log: tailfold drop orders --version 2
    the log was recognised by less than its newest witness (proof: partial)
    skipped 2 events that could not be folded
idle/v1/0                             unowned               0        0  never
    no worker has this unit: start one (tailfold run)
few/v1/0                              live                  0        0   0.0s          w-1
    1 of 2 replicas of the store had the last checkpoint in time; without them a fail-over would
    have it folded again
unknown/v1/0                          live                  0        0   0.0s          w-1
    it is not known whether 2 replicas of the store have the last checkpoint: NOPERM no; without
    them a fail-over would have it folded again
`
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split("\n"+b.String(), "\n")); diff != "" {
		t.Error(diff)
	}
	for line := range strings.Lines(b.String()) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 100 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestProgressIsAboutTheUnitThatTakesLongest(t *testing.T) {
	row := func(name string, seq, target uint64, rate float64) consumer.UnitStatus {
		return consumer.UnitStatus{Projection: name, Version: 1, State: consumer.Replaying, Seq: seq,
			ReplayTarget: target, ReplayRate: rate}
	}
	for _, c := range []struct {
		rows []consumer.UnitStatus
		want string
	}{
		{nil, ""},
		{[]consumer.UnitStatus{row("a", 0, 0, 0)}, "a/v1/0 replaying: seq 0 of 0"},
		{[]consumer.UnitStatus{row("a", 50, 100, 10), row("b", 50, 1000, 10)},
			"b/v1/0 replaying: seq 50 of 1,000 (5 %), 10 events/s, 1m35s left (and 1 more)"},
		{[]consumer.UnitStatus{row("a", 200, 100, 10)}, "a/v1/0 replaying: seq 200 of 200 (100 %), 10 events/s"},
	} {
		if got := progressLine(c.rows); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestProgressStaysBelowTheLog(t *testing.T) {
	var w strings.Builder
	s := &screen{terminal: true, w: &w}
	io.WriteString(s, "first\n")
	s.progress("10 %")
	s.progress("10 %")
	io.WriteString(s, "second\n")
	s.progress("")
	want := "first\n" + clearLine + "10 %" + clearLine + "second\n10 %" + clearLine
	if diff := cmp.Diff(want, w.String()); diff != "" {
		t.Error(diff)
	}
}
