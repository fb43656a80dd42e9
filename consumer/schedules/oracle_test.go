package schedules

import (
	"bytes"
	"context"
	"fmt"
	"maps"

	"github.com/tailfold/tailfold/snapshotstore"
)

// shadow is what the oracle knows of a unit's snapshot, by what it let through to the store.
type shadow struct {
	mark   snapshotstore.Mark
	values map[string]string
	state  uint64 // hash over the values
	damage uint64 // what a damaged value makes of that hash
	key    string // of the damaged value
}

func (s shadow) clone() shadow {
	s.values = maps.Clone(s.values)
	return s
}

// fail notes the first violation of a schedule. It may be called from any goroutine.
func (w *world) fail(format string, args ...any) {
	w.faultMu.Lock()
	defer w.faultMu.Unlock()
	if w.fault == "" {
		w.fault = fmt.Sprintf(format, args...)
		w.note("oracle", "", w.fault)
	}
}

func (w *world) failed() bool {
	w.faultMu.Lock()
	defer w.faultMu.Unlock()
	return w.fault != ""
}

// apply hands a checkpoint to the store and judges it, if it was taken: its from is what the store held (O7), a new
// writer has raised the epoch, seqs do not go back (O3), and what the store holds now is the state of some prefix of some
// life of the log, told apart by its witness (O1, O2, O4, O5).
func (w *world) apply(unit snapshotstore.Unit, c snapshotstore.Checkpoint) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.store.Commit(context.Background(), unit, c)
	if err != nil {
		return err
	}
	s := w.shadows[unit]
	if bytes.Equal(s.mark.Raw, c.To.Raw) {
		return nil // sent twice
	}
	switch held := s.mark; {
	case !bytes.Equal(held.Raw, c.From.Raw):
		w.fail("O7: %s: a checkpoint from seq %d epoch %d of %s was applied to seq %d epoch %d of %s", unit, c.From.Seq, c.From.Epoch, c.From.Writer, held.Seq, held.Epoch, held.Writer)
	case held.Writer != c.To.Writer && c.To.Epoch <= held.Epoch:
		w.fail("fence: %s: %s took over from %s and left the epoch at %d", unit, c.To.Writer, held.Writer, held.Epoch)
	case c.To.Seq < held.Seq:
		w.fail("O3: %s: seq %d after seq %d", unit, c.To.Seq, held.Seq)
	}
	s.mark = c.To
	for _, e := range c.Put {
		s.set(e.Key, string(e.Data), true)
	}
	for _, key := range c.Delete {
		s.set(key, "", false)
	}
	w.shadows[unit] = s
	for _, h := range w.lives {
		if h.fits(unit, s.mark, s.state^s.damage) {
			return nil
		}
	}
	w.fail("O1/O5: %s: what the store holds at seq %d is the state of no prefix of the log: %v; at its end that is %v", unit, s.mark.Seq, s.values, w.plainly(unit))
	return nil
}

func (s *shadow) set(key, value string, there bool) {
	if s.values == nil {
		s.values = map[string]string{}
	}
	if was, ok := s.values[key]; ok {
		s.state ^= entryHash(key, was)
		delete(s.values, key)
	}
	if key == s.key {
		s.damage = 0
	}
	if there {
		s.values[key] = value
		s.state ^= entryHash(key, value)
	}
}

// verdict of a row is one that ends the unit's folding.
type outcome struct {
	live    bool
	verdict string
	seq     uint64
	detail  string
}

// judge decides at the end, when all has healed and time has passed, about each unit (O1, O2, O8, O9).
func (w *world) judge() {
	bounds, err := w.log.Bounds(context.Background())
	if err != nil {
		w.fail("the log does not answer: %v", err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	life := w.lives[len(w.lives)-1]
	for _, unit := range units(w.partitions) {
		s := w.shadows[unit]
		rows := w.rows(unit)
		is := func(verdict string) bool {
			for _, r := range rows {
				if r.verdict == verdict {
					return true
				}
			}
			return false
		}
		readable := w.lastReadable(bounds.First)
		reached := s.mark.Seq >= readable && life.fits(unit, s.mark, s.state^s.damage) && s.state^s.damage == life.states[unit][life.last()]
		live := false
		for _, r := range rows {
			live = live || r.live
		}
		bad := life.first[unit]
		switch belongs := life.fits(unit, s.mark, s.state^s.damage); {
		case s.mark.Seq == 0 && bounds.First > 1, belongs && bounds.First > s.mark.Seq+1:
			if !is("GAP") {
				w.fail("O8: %s at seq %d of a log that begins at %d is no GAP: %+v", unit, s.mark.Seq, bounds.First, rows)
			}
		case !belongs && s.mark.Seq > 0:
			if !is("DIVERGED") {
				w.fail("O8: %s at seq %d is not of this log, and that is no DIVERGED: %+v", unit, s.mark.Seq, rows)
			}
		case bad > 0:
			want := map[bool]string{true: "TOO_LARGE", false: "POISON"}[life.deeds[bad-1].do == "big"]
			if !is(want) && !(w.damaged[unit] && is("CORRUPT")) {
				w.fail("O9: %s at seq %d can't fold event %d, and that is no %s: %+v", unit, s.mark.Seq, bad, want, rows)
			} else if is(want) && s.state^s.damage != life.states[unit][bad-1] {
				w.fail("O1: %s: the state at seq %d is not that of the event before %d", unit, s.mark.Seq, bad)
			}
		case w.damaged[unit] && is("CORRUPT"):
		case !reached || !live:
			w.fail("O9: %s is at seq %d, live %v, and the log's last readable seq is %d of %d, first %d: %+v", unit, s.mark.Seq, live, readable, life.last(), bounds.First, rows)
		}
	}
}

func (w *world) lastReadable(first uint64) uint64 {
	life := w.lives[len(w.lives)-1]
	for seq := life.last(); seq >= first && seq > 0; seq-- {
		if !w.deleted[seq] {
			return seq
		}
	}
	return 0
}

func (w *world) rows(unit snapshotstore.Unit) (rows []outcome) {
	for _, x := range w.workers {
		for _, r := range x.Status() {
			if r.Projection == unit.Projection && r.Partition == unit.Partition {
				rows = append(rows, outcome{r.State == "live" && r.Verdict == "", r.Verdict, r.Seq, r.Detail})
			}
		}
	}
	return rows
}

// plainly is what a unit's values are at the end of the log.
func (w *world) plainly(unit snapshotstore.Unit) map[string]string {
	life := w.lives[len(w.lives)-1]
	if unit.Projection == "count" {
		return map[string]string{"": fmt.Sprint(life.counts[unit.Partition])}
	}
	values := map[string]string{}
	for key, value := range life.totals[unit.Partition] {
		values[key] = value.text()
	}
	return values
}
