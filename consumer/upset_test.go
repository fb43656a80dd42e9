package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/logtest"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

// TestALogThatCanBeAskedButNotReadShowsAndIsTriedSlowly: a server that has reached its limit of consumers, or whose
// permissions lack one subject, answers every question and refuses every reader.
func TestALogThatCanBeAskedButNotReadShowsAndIsTriedSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		h.add(1, "a")
		w := h.start(sums)
		settle(time.Second)
		var opens atomic.Int64
		h.log.Before(func(op string) error {
			if op == "open" {
				opens.Add(1)
				return errors.New("maximum consumers limit reached")
			}
			return nil
		})
		h.log.EndReaders(errors.New("a delivery was missed"))
		lines := h.lines.Len()
		settle(5 * time.Minute)
		if row := w.row(t, "sums"); row.Verdict != string(consumer.LogUnavailable) || w.Ready() == nil {
			t.Errorf("status is %+v, ready: %v", row, w.Ready())
		}
		if n := opens.Load(); n > 200 {
			t.Errorf("the reader was opened %d times in five minutes", n)
		}
		if n := h.lines.Len() - lines; n > 3 {
			t.Errorf("%d log lines about one change", n)
		}
		h.log.Before(nil)
		h.add(1, "a")
		settle(10 * time.Second)
		h.mustEqualReplay(sums, 2, nil)
		if row := w.row(t, "sums"); row.Verdict != "" || row.State != consumer.Live {
			t.Errorf("status is %+v", row)
		}
		w.stop()
	})
}

// TestALogAndAStoreThatAreBothAwayAreSaidOnce: the two are waited for by two goroutines of the unit.
func TestALogAndAStoreThatAreBothAwayAreSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		h.add(1, "a")
		w := h.start(sums)
		settle(time.Second)
		w.store.hooks(func(op string) error {
			return &snapshotstore.Error{Op: op, Err: errors.New("connection refused")}
		}, nil)
		h.add(1, "a")
		settle(time.Second)
		h.log.Disconnect()
		settle(10 * time.Minute)
		if n := h.lines.FilterMessage("waits").Len(); n > 2 {
			t.Errorf("%d log lines about waiting, want one for each of the two", n)
		}
		w.store.hooks(nil, nil)
		settle(10 * time.Second)
		if row := w.row(t, "sums"); row.Verdict != string(consumer.LogUnavailable) {
			t.Errorf("the store is back, status is %+v", row)
		}
		h.log.Reconnect()
		settle(10 * time.Second)
		if row := w.row(t, "sums"); row.Verdict != "" || row.State != consumer.Live {
			t.Errorf("both are back, status is %+v", row)
		}
		h.mustEqualReplay(sums, 2, nil)
		w.stop()
	})
}

// TestTwoWorkersDoNotFightOverAPoisonEvent: each of them would fail at it, and each claim of one is a change of the mark
// that the other sees.
func TestTwoWorkersDoNotFightOverAPoisonEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		h.add(1, "a")
		first, second := h.start(sums), h.start(sums)
		settle(time.Second)
		at := h.publish("deeds.bad", `{"keys":["a"],"do":"fail"}`)
		settle(time.Minute)
		_, before := h.values(sums)
		settle(10 * time.Minute)
		_, after := h.values(sums)
		if after.Epoch != before.Epoch {
			t.Errorf("epoch %d has become %d in ten minutes in which nothing happened", before.Epoch, after.Epoch)
		}
		for _, w := range []*running{first, second} {
			if row := w.row(t, "sums"); row.State != consumer.Halted || row.Verdict != string(consumer.Poison) {
				t.Errorf("%s shows %+v", w.name, row)
			}
		}
		// A third one knows better. The other two let it.
		skips := sums
		skips.OnPoison = projections.Skip
		third := h.start(skips)
		for range 100 {
			h.add(1, "b")
			settle(time.Second)
		}
		h.mustEqualReplay(sums, at+100, map[uint64]bool{at: true})
		if row := third.row(t, "sums"); row.State != consumer.Live {
			t.Errorf("the third worker shows %+v", row)
		}
		for _, w := range []*running{first, second} {
			if row := w.row(t, "sums"); row.State != consumer.Standby || row.Owner != third.name {
				t.Errorf("%s shows %+v", w.name, row)
			}
			w.stop()
		}
		third.stop()
	})
}

// TestAStandbyLeavesAnOwnerAloneThatHasNothingToRead: the log's last seqs are gone, so that no position can reach them.
func TestAStandbyLeavesAnOwnerAloneThatHasNothingToRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		for range 10 {
			h.add(1, "a")
		}
		h.log.Delete(10)
		h.log.Delete(9)
		first := h.start(sums)
		settle(time.Second)
		second := h.start(sums)
		settle(10 * time.Second)
		_, before := h.values(sums)
		settle(10 * time.Minute)
		if _, after := h.values(sums); after.Epoch != before.Epoch {
			t.Errorf("epoch %d has become %d in ten minutes in which nothing happened", before.Epoch, after.Epoch)
		}
		first.stop()
		second.stop()
	})
}

// mistakable is a log that is taken for another one for a while, as when a backup is being restored.
type mistakable struct{ atomic.Pointer[logtest.Memory] }

func (m *mistakable) Bounds(ctx context.Context) (consumer.Bounds, error) {
	return m.Load().Bounds(ctx)
}

func (m *mistakable) Witness(ctx context.Context, seq uint64) (consumer.Witness, error) {
	return m.Load().Witness(ctx, seq)
}

func (m *mistakable) Open(ctx context.Context, after uint64, subjects []string) (consumer.Reader, error) {
	return m.Load().Open(ctx, after, subjects)
}

// TestALogThatIsPutRightIsGoneOnWith: the operator restores the right stream while the worker runs. What can be said of
// it only by its time of creation is not enough, once it was known to be another.
func TestALogThatIsPutRightIsGoneOnWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		log := &mistakable{}
		log.Store(h.log)
		h.tune = func(c *consumer.Config) {
			c.Logs = func(consumer.Stream, int) (consumer.Log, error) { return log, nil }
		}
		sums := sumsByKey(nil)
		for range 10 {
			h.add(1, "a")
		}
		w := h.start(sums)
		settle(time.Second)
		wrong := logtest.NewMemory("DEEDS", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		log.Store(wrong)
		h.log.EndReaders(errors.New("the stream was deleted"))
		settle(10 * time.Second)
		if row := w.row(t, "sums"); row.Verdict != string(consumer.Diverged) {
			t.Fatalf("status is %+v", row)
		}
		for range 20 {
			wrong.Append("deeds.foreign", projections.Header{}, []byte(`{"keys":["foreign"],"n":1}`))
		}
		settle(time.Minute)
		wrong.Purge(15)
		settle(time.Minute)
		if row := w.row(t, "sums"); row.Verdict != string(consumer.Diverged) {
			t.Fatalf("status is %+v", row)
		}
		log.Store(h.log)
		settle(20 * time.Second)
		h.add(1, "b")
		settle(time.Second)
		if row := w.row(t, "sums"); row.State != consumer.Live || row.Verdict != "" || row.Proof != "full" {
			t.Errorf("status is %+v", row)
		}
		h.mustEqualReplay(sums, 11, nil)
		if n := h.lines.FilterMessage("halted").Len(); n != 1 {
			t.Errorf("%d log lines about one verdict", n)
		}
		w.stop()
	})
}

// TestSlowStepsInABigBatchAreNotStuck: the time that a step may take is that of one step.
func TestSlowStepsInABigBatchAreNotStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		slow := slowCount("slow", 20*time.Millisecond)
		for range 4096 {
			h.add(1, "a")
		}
		first := h.start(slow)
		settle(time.Second)
		second := h.start(slow) // takes over; and while it makes progress, the other does not
		settle(2 * time.Minute)
		h.mustEqualReplay(slowCount("slow", 0), 4096, nil)
		if n := h.lines.FilterMessageSnippet("can't be folded").Len(); n > 0 {
			t.Errorf("%d times a step was given up", n)
		}
		if n := h.lines.FilterMessageSnippet("taking over").Len(); n > 0 {
			t.Errorf("%d times the unit was taken from an owner at work", n)
		}
		first.stop()
		second.stop()
	})
}

// TestAStopInABigBatchOfSlowStepsKeepsWhatIsFolded also shows that Run returns soon.
func TestAStopInABigBatchOfSlowStepsKeepsWhatIsFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		slow := slowCount("slow", 20*time.Millisecond)
		for range 4096 {
			h.add(1, "a")
		}
		w := h.start(slow)
		time.Sleep(9 * time.Second)
		began := time.Now()
		w.stop()
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the stop took %v", took)
		}
		_, mark := h.values(slow)
		if mark.Seq < 300 {
			t.Errorf("the mark is at seq %d", mark.Seq)
		}
		h.mustEqualReplay(slowCount("slow", 0), mark.Seq, nil)
	})
}

// TestAStepThatHangsHoldsUpAStopForTheGraceAtTheMost though steps may take longer.
func TestAStepThatHangsHoldsUpAStopForTheGraceAtTheMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.tune = func(c *consumer.Config) { c.StepTimeout, c.Grace = 10*time.Minute, 5*time.Second }
		hang := make(chan struct{})
		sums := sumsByKey(hang)
		h.publish("deeds.bad", `{"keys":["a"],"do":"hang"}`)
		w := h.start(sums)
		settle(time.Second)
		began := time.Now()
		w.stop()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the stop took %v", took)
		}
		close(hang)
		synctest.Wait()
	})
}

// TestAStepThatEndsItsGoroutineIsPoison: runtime.Goexit, as t.FailNow calls it.
func TestAStepThatEndsItsGoroutineIsPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		count := countAll()
		count.Step = func(n int, e projections.Event) (int, error) {
			if e.Seq == 50 {
				runtime.Goexit()
			}
			return n + 1, nil
		}
		for range 100 {
			h.add(1, "a")
		}
		w := h.start(count)
		settle(30 * time.Second)
		if row := w.row(t, "count"); row.State != consumer.Halted || row.Verdict != string(consumer.Poison) {
			t.Errorf("status is %+v", row)
		}
		h.mustEqualReplay(countAll(), 49, nil)
		w.stop()
	})
}

// TestAValueTooLargeIsFoundAlsoWhereEventsAreFarApart: the events of interest are few, the seqs between them many.
func TestAValueTooLargeIsFoundAlsoWhereEventsAreFarApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		var at uint64
		for i := range 20 {
			do := ""
			if i == 10 {
				do = "big"
			}
			seq := h.publish("deeds.add", `{"keys":["a"],"n":1,"do":"%s"}`, do)
			if i == 10 {
				at = seq
			}
			for range 100 {
				h.log.Delete(h.publish("gone", "{}"))
				h.events = h.events[:len(h.events)-1]
			}
		}
		w := h.start(sums)
		defer w.stop()
		settle(time.Minute)
		if row := w.row(t, "sums"); row.State != consumer.Halted || row.Verdict != string(consumer.TooLarge) {
			t.Fatalf("status is %+v", row)
		}
		_, mark := h.values(sums)
		h.mustEqualReplay(sums, mark.Seq, nil)
		if mark.Seq >= at || mark.Seq < at-101 {
			t.Errorf("the mark is at seq %d, the event is %d", mark.Seq, at)
		}
	})
}

// TestAHaltedUnitDoesNotKeepTheCacheOfOthers and its lag grows with the log.
func TestAHaltedUnitShowsHowFarTheLogHasGoneOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		h.add(1, "a")
		h.publish("deeds.bad", `{"keys":["a"],"do":"fail"}`)
		w := h.start(sums)
		settle(10 * time.Second)
		for range 1000 {
			h.add(1, "a")
		}
		settle(10 * time.Second)
		if row := w.row(t, "sums"); row.State != consumer.Halted || row.Head != 1002 || row.Lag != 1001 {
			t.Errorf("status is %+v", row)
		}
		w.stop()
	})
}

// TestAClaimGetsThroughAgainstAnOwnerThatCommitsAllTheTime and does not ask log and store without a pause.
func TestAClaimGetsThroughAgainstAnOwnerThatCommitsAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		h.add(1, "a")
		first := h.start(sums)
		settle(time.Second)
		var asked atomic.Int64
		h.log.Before(func(op string) error {
			if op == "bounds" {
				asked.Add(1)
			}
			time.Sleep(2 * time.Millisecond)
			return nil
		})
		second := h.start(sums)
		for i := range 5000 {
			h.add(i, "a")
			time.Sleep(2 * time.Millisecond)
		}
		settle(2 * time.Second)
		if row := second.row(t, "sums"); row.State != consumer.Live {
			t.Errorf("the second worker shows %+v", row)
		}
		if n := asked.Load(); n > 300 {
			t.Errorf("the log was asked %d times in ten seconds", n)
		}
		h.mustEqualReplay(sums, 5001, nil)
		first.stop()
		second.stop()
	})
}

// TestASkippedEventAmongSuspectsLosesNothing: workers died before anything was committed, so that events are folded in
// parts. In one of them an event that can't be folded stands between two that are recorded as skipped: alone, but not the
// only one that was folded since the last checkpoint.
func TestASkippedEventAmongSuspectsLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		sums.OnPoison = projections.Skip
		h.add(1, "a")
		w := h.start(sums)
		settle(time.Second)
		w.stop()
		skip := map[uint64]bool{}
		var records []snapshotstore.Skipped
		for i := range 60 {
			switch i % 5 {
			case 2, 4:
				seq := h.add(1000, "a")
				skip[seq] = true
				records = append(records, snapshotstore.Skipped{Seq: seq, Cause: "by hand"})
			case 3:
				skip[h.publish("deeds.bad", `{"keys":["a"],"n":7,"do":"panic"}`)] = true
			default:
				h.add(i, "a")
			}
		}
		unit := snapshotstore.Unit{Projection: "sums", Version: 1}
		mark, err := h.store.Head(t.Context(), unit)
		if err != nil {
			t.Fatal(err)
		}
		died := mark
		died.Tries = 5
		if err := h.store.Commit(t.Context(), unit, snapshotstore.Checkpoint{From: mark, To: died.Seal("of a dead worker"), Skipped: records}); err != nil {
			t.Fatal(err)
		}
		w = h.start(sums)
		settle(5 * time.Minute)
		h.mustEqualReplay(sums, uint64(len(h.events)), skip)
		w.stop()
	})
}

func TestWhatAHaltedUnitHeldIsGivenBackToTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.tune = func(c *consumer.Config) { c.Cache = 100_000 }
		sums, count := sumsByKey(nil), countAll()
		for i := range 1000 {
			h.add(1, fmt.Sprint("key", i))
		}
		h.publish("deeds.bad", `{"keys":["a"],"do":"fail"}`)
		w := h.start(sums, count)
		settle(time.Minute)
		if row := w.row(t, "sums"); row.State != consumer.Halted {
			t.Fatalf("status is %+v", row)
		}
		if held := w.Cached(); held > 1000 {
			t.Errorf("the cache counts %d bytes, and one unit is left, with one key", held)
		}
		w.stop()
	})
}

// TestALogThatIsRemadeBeforeItsReaderIsOpenedIsDiverged: it was recognised a moment before, and what is read is another one.
func TestALogThatIsRemadeBeforeItsReaderIsOpenedIsDiverged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		for range 10 {
			h.add(1, "a")
		}
		w := h.start(sums)
		settle(time.Second)
		w.stop()
		remade := false
		h.log.Before(func(op string) error {
			if op == "open" && !remade {
				remade = true
				h.log.Recreate(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC))
				for range 50 {
					h.log.Append("deeds.foreign", projections.Header{}, []byte(`{"keys":["foreign"],"n":1}`))
				}
			}
			return nil
		})
		w = h.start(sums)
		settle(10 * time.Second)
		if row := w.row(t, "sums"); row.Verdict != string(consumer.Diverged) {
			t.Errorf("status is %+v", row)
		}
		h.mustEqualReplay(sums, 10, nil)
	})
}

// TestAStoreThatWentBackIsReplayedFromWhatItHolds: a failover lost checkpoints that were acknowledged. Values that the
// worker holds are ahead of the store's: they must not be mixed with them.
func TestAStoreThatWentBackIsReplayedFromWhatItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		h.add(1, "a", "b")
		w := h.start(sums)
		settle(time.Second)
		unit := snapshotstore.Unit{Projection: "sums", Version: 1}
		then, mark := h.values(sums)
		for range 20 {
			h.add(1, "a", "c")
			settle(300 * time.Millisecond)
		}
		if err := h.store.Drop(t.Context(), unit); err != nil {
			t.Fatal(err)
		}
		back := snapshotstore.Checkpoint{To: mark, Definition: "as it was"}
		for key, data := range then {
			back.Put = append(back.Put, snapshotstore.Entry{Key: key, Data: []byte(data)})
		}
		if err := h.store.Commit(t.Context(), unit, back); err != nil {
			t.Fatal(err)
		}
		h.add(1, "b")
		settle(20 * time.Second)
		h.mustEqualReplay(sums, 22, nil)
		if row := w.row(t, "sums"); row.State != consumer.Live {
			t.Errorf("status is %+v", row)
		}
	})
}

// forgetful is a log whose first reader loses a batch without noticing.
type forgetful struct {
	*logtest.Memory
	lost bool
}

func (f *forgetful) Open(ctx context.Context, after uint64, subjects []string) (consumer.Reader, error) {
	r, err := f.Memory.Open(ctx, after, subjects)
	return &forgetfulReader{Reader: r, log: f}, err
}

type forgetfulReader struct {
	consumer.Reader
	log *forgetful
}

func (r *forgetfulReader) Next(ctx context.Context) (consumer.Batch, error) {
	b, err := r.Reader.Next(ctx)
	if err == nil && b.From >= 20 && !r.log.lost {
		r.log.lost = true
		return r.Reader.Next(ctx)
	}
	return b, err
}

// TestABatchThatDoesNotFollowIsNotFolded: the unit reads alone from where it is, whatever the reader handed out.
func TestABatchThatDoesNotFollowIsNotFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.log.SetMaxBatch(10)
		log := &forgetful{Memory: h.log}
		h.tune = func(c *consumer.Config) {
			c.Logs = func(consumer.Stream, int) (consumer.Log, error) { return log, nil }
		}
		sums := sumsByKey(nil)
		for i := range 100 {
			h.add(i, "a", "b")
		}
		count := countAll()
		h.start(sums, count) // two units on one feed: refusing the batch, they must not join that feed again and again
		settle(10 * time.Second)
		if !log.lost {
			t.Fatal("no batch was lost: the test shows nothing")
		}
		h.mustEqualReplay(sums, 100, nil)
		h.mustEqualReplay(count, 100, nil)
	})
}

// TestALogThatIsRemadeWhileItsReaderIsOpenedIsFoldedFromTheNewOneAlone: what a reader had handed out of the old log, and no
// unit had folded, was folded under the new one's name: there was nothing yet by which to tell the two apart. The model
// of the protocol found it.
func TestALogThatIsRemadeWhileItsReaderIsOpenedIsFoldedFromTheNewOneAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		sums := sumsByKey(nil)
		for range 3 {
			h.add(1, "a")
		}
		asked := 0
		h.log.Before(func(op string) error {
			if op != "bounds" {
				return nil
			}
			if asked++; asked == 2 { // before the first event; by now the reader has handed out all that there is
				synctest.Wait()
				h.log.Recreate(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC))
				for range 5 {
					h.log.Append("deeds.add", projections.Header{}, []byte(`{"keys":["b"],"n":1}`))
				}
			}
			return nil
		})
		w := h.start(sums)
		settle(10 * time.Second)
		if row := w.row(t, "sums"); row.State != consumer.Live || row.Seq != 5 {
			t.Errorf("status is %+v", row)
		}
		values, mark := h.values(sums)
		if len(values) != 1 || values["b"] == "" || !mark.Created.Equal(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("the store has %v at seq %d of the log made at %v", values, mark.Seq, mark.Created)
		}
		w.stop()
	})
}
