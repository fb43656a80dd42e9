package consumer_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/snapshotstore"
)

// replicated is a store that asks for one replica, which has what it is given or does not answer for a while.
type replicated struct {
	snapshotstore.Store
	away    atomic.Bool
	commits atomic.Int64
}

func (r *replicated) CommitWithReceipt(ctx context.Context, unit snapshotstore.Unit, c snapshotstore.Checkpoint) (receipt snapshotstore.Receipt, err error) {
	if err := r.Commit(ctx, unit, c); err != nil {
		return receipt, err
	}
	r.commits.Add(1)
	receipt.Replicas = snapshotstore.Replicas{Asked: 1, Have: 1}
	if r.away.Load() {
		began := time.Now()
		time.Sleep(100 * time.Millisecond) // of the bubble's time
		receipt.Waited, receipt.Replicas.Have = time.Since(began), 0
	}
	return receipt, nil
}

func TestCheckpointsThatReplicasLackAreToldAndNothingStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		store := &replicated{}
		metrics := prometheus.NewRegistry()
		h.tune = func(c *consumer.Config) {
			store.Store, c.Store = c.Store, store
			c.Metrics = metrics
		}
		p := countAll()
		w := h.start(p)
		defer w.stop()
		fewer := func() int { return h.lines.FilterMessageSnippet("fewer replicas of the store").Len() }
		missing := func() float64 {
			families, err := metrics.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				if f.GetName() == "tailfold_checkpoint_replicas_missing" {
					return f.GetMetric()[0].GetGauge().GetValue()
				}
			}
			return -1
		}
		want := func(have, lines int) {
			t.Helper()
			row := w.row(t, p.Definition().Name)
			if row.Replicas != (snapshotstore.Replicas{Asked: 1, Have: have}) || row.State != consumer.Live || row.Verdict != "" {
				t.Errorf("the unit is %s (%s) with %+v, want it live with %d of 1 replicas", row.State, row.Verdict, row.Replicas, have)
			}
			if fewer() != lines || missing() != float64(1-have) {
				t.Errorf("%d lines tell of too few replicas, and the metric %v; want %d and %d", fewer(), missing(), lines, 1-have)
			}
		}
		var last uint64
		add := func(n int) {
			for range n {
				last = h.add(1, "a")
				settle(time.Second)
			}
		}
		add(3)
		want(1, 0)
		made := store.commits.Load()
		settle(time.Hour)
		if n := store.commits.Load() - made; n != 0 {
			t.Errorf("an idle unit made %d checkpoints in an hour", n)
		}
		store.away.Store(true)
		add(5)
		want(0, 1)
		h.mustEqualReplay(p, last, nil)
		made = store.commits.Load()
		settle(time.Minute)
		if n := store.commits.Load() - made; n < 4 || n > 7 {
			t.Errorf("an idle unit asked %d times in a minute, want about 6", n)
		}
		want(0, 1)
		epoch := w.row(t, p.Definition().Name).Epoch
		store.away.Store(false)
		settle(11 * time.Second)
		want(1, 1)
		if n := h.lines.FilterMessageSnippet("as many replicas of the store").FilterField(zap.Int("have", 1)).Len(); n != 1 {
			t.Errorf("%d lines tell that it is over, want 1", n)
		}
		if now := w.row(t, p.Definition().Name).Epoch; now != epoch {
			t.Errorf("asking again moved the epoch from %d to %d", epoch, now)
		}
		h.mustEqualReplay(p, last, nil)
		store.away.Store(true)
		add(1)
		want(0, 2)

		// Of a unit that another worker has, it knows nothing.
		unit := snapshotstore.Unit{Projection: p.Definition().Name, Version: 1}
		mark, err := h.store.Head(t.Context(), unit)
		if err != nil {
			t.Fatal(err)
		}
		theirs := mark
		theirs.Epoch, theirs.Writer = mark.Epoch+1, "rival"
		if err := h.store.Commit(t.Context(), unit, snapshotstore.Checkpoint{From: mark, To: theirs.Seal("rival's")}); err != nil {
			t.Fatal(err)
		}
		h.add(1, "a")
		settle(time.Second)
		row := w.row(t, p.Definition().Name)
		if row.State != consumer.Standby || row.Replicas != (snapshotstore.Replicas{}) || missing() != 0 {
			t.Errorf("the unit is %s with %+v, and %v replicas are missing; want it standing by with nothing of replicas", row.State, row.Replicas, missing())
		}
	})
}
