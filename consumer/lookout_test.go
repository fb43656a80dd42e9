package consumer_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tailfold/tailfold/consumer"
)

func TestAnUpdateOfTheStreamIsNoticedWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		metrics := prometheus.NewRegistry()
		h.tune = func(c *consumer.Config) { c.Metrics = metrics }
		for range 20 {
			h.add(1, "k")
		}
		sums := sumsByKey(nil)
		w := h.start(sums)
		settle(12 * time.Second)
		warnings := func() (texts []string) {
			for _, line := range h.lines.All() {
				if strings.HasPrefix(line.Message, "the stream was changed") {
					texts = append(texts, line.Message)
				}
			}
			return texts
		}
		if texts := warnings(); len(texts) > 0 {
			t.Errorf("nothing was changed, and it says %q", texts)
		}
		h.log.SetUnsuitable("", "max_msgs_per_subject is 1")
		settle(12 * time.Second)
		h.log.SetUnsuitable("stream DEEDS has workqueue retention", "max_msgs_per_subject is 1")
		settle(12 * time.Second)
		if texts := warnings(); len(texts) != 2 || !strings.Contains(texts[0], "holes: accept") || !strings.Contains(texts[1], "nothing can be folded") {
			t.Errorf("it says %q", texts)
		}
		if row := w.row(t, "sums"); row.State != consumer.Live {
			t.Errorf("a running unit is %s", row.State)
		}
		// How near retention has come is known, though nobody reads.
		h.log.Purge(15)
		settle(6 * time.Second)
		want := "# HELP tailfold_log_first_seq The first seq that the log still has, as last known.\n# TYPE tailfold_log_first_seq gauge\n" +
			"tailfold_log_first_seq{partition=\"0\",projection=\"sums\",version=\"1\"} 16\n"
		if err := testutil.GatherAndCompare(metrics, strings.NewReader(want), "tailfold_log_first_seq"); err != nil {
			t.Error(err)
		}
	})
}

// A server that is cut off from the others goes on to tell its readers that there is nothing new.
func TestALogThatDoesNotAnswerIsToldThoughItsReaderLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.add(1, "k")
		w := h.start(sumsByKey(nil))
		settle(12 * time.Second)
		var silent atomic.Bool
		h.log.Before(func(op string) error {
			if silent.Load() && op == "bounds" {
				return errors.New("no leader")
			}
			return nil
		})
		said := func(text string) (n int) {
			for _, line := range h.lines.All() {
				if line.Message == text {
					n++
				}
			}
			return n
		}
		silent.Store(true)
		settle(6 * time.Second)
		if row := w.row(t, "sums"); row.Verdict != "" {
			t.Errorf("one look at the log has failed, and the unit says %s: %s", row.Verdict, row.Detail)
		}
		settle(30 * time.Second)
		row := w.row(t, "sums")
		if row.State != consumer.Live || row.Verdict != string(consumer.LogUnavailable) || !strings.Contains(row.Detail, "may be old") {
			t.Errorf("nobody answers for the log, and the unit is %s: %s: %s", row.State, row.Verdict, row.Detail)
		}
		if n := said("waits"); n != 1 {
			t.Errorf("it says %d times that it waits", n)
		}
		silent.Store(false)
		settle(6 * time.Second)
		if row := w.row(t, "sums"); row.State != consumer.Live || row.Verdict != "" {
			t.Errorf("the log answers again, and the unit is %s: %s: %s", row.State, row.Verdict, row.Detail)
		}
		h.add(2, "k")
		settle(time.Second)
		if row := w.row(t, "sums"); row.Seq != 2 {
			t.Errorf("the unit is at seq %d, want 2", row.Seq)
		}
	})
}
