package logtest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/logtest"
	"github.com/tailfold/tailfold/projections"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemoryRunsOnTheClockOfSynctest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.NewMemory("ORDERS", time.Now())
		reader, err := log.Open(t.Context(), 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := reader.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		var stored time.Time
		go func() {
			time.Sleep(time.Hour)
			stored = time.Now().UTC().Round(0)
			log.Append("orders.1", projections.Header{}, []byte("x"))
		}()
		batch, err := reader.Next(t.Context()) // waits an hour of the bubble's clock
		if err != nil {
			t.Fatal(err)
		}
		want := consumer.Witness{Seq: 1, Time: stored, Hash: consumer.WitnessHash("orders.1", nil, []byte("x"))}
		if diff := cmp.Diff(want, batch.Last); diff != "" {
			t.Errorf("the last message (-want +got):\n%s", diff)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := reader.Next(ctx); err != context.DeadlineExceeded {
			t.Errorf("an idle reader whose context ends says %v", err)
		}
		if got := log.OpenReaders(); got != 1 {
			t.Errorf("%d open readers, want 1", got)
		}
		if err := reader.Close(t.Context()); err != nil || log.OpenReaders() != 0 {
			t.Errorf("after Close: error %v, %d open readers", err, log.OpenReaders())
		}
	})
}
