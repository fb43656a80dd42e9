package storetest

import (
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/tailfold/tailfold/snapshotstore"
	"pgregory.net/rapid"
)

// randomCallsMatchTheModel makes random calls on two handles and compares all that they say with a map.
func randomCallsMatchTheModel(t testing.TB, h Harness) {
	var projections atomic.Int64
	stores := []snapshotstore.Store{h.Store, h.Another(t)}
	crashed := false
	rapid.Check(t, func(rt *rapid.T) {
		if crashed { // at most one crash for each run of calls: a crash may be slow
			stores[0] = h.Crash(t)
			stores[1], crashed = h.Another(t), false
		}
		unit := snapshotstore.Unit{Projection: "random-" + strconv.FormatInt(projections.Add(1), 10), Version: 1}
		m := &model{unit: unit}
		store := func() snapshotstore.Store { return rapid.SampledFrom(stores).Draw(rt, "handle") }
		rt.Repeat(map[string]func(*rapid.T){
			"commit": func(rt *rapid.T) { m.commit(rt, store()) },
			"again":  func(rt *rapid.T) { m.again(rt, store()) },
			"late":   func(rt *rapid.T) { m.late(rt, store()) },
			"get":    func(rt *rapid.T) { m.get(rt, store()) },
			"drop": func(rt *rapid.T) {
				if rapid.IntRange(0, 4).Draw(rt, "or not") > 0 {
					return
				}
				if err := store().Drop(rt.Context(), unit); err != nil {
					rt.Fatal(err)
				}
				m.now, m.last = contents{}, nil
			},
			"promote": func(rt *rapid.T) { m.promote(rt, store()) },
			"look":    func(rt *rapid.T) { wantContents(rt, store(), unit, m.now) },
		})
		wantContents(rt, store(), unit, m.now)
		crashed = rapid.IntRange(0, 9).Draw(rt, "crash") == 0
	})
}

// model is what a unit must have.
type model struct {
	unit    snapshotstore.Unit
	now     contents
	last    *snapshotstore.Checkpoint // that was applied, while nothing went over it
	applied []snapshotstore.Checkpoint
	served  int
}

var someKeys = rapid.OneOf(
	rapid.SampledFrom([]string{"", "a", "b", "c", "$", "$mark", "$$mark", "$definition", "$skipped", "a\x00", "\xff", "é"}),
	rapid.StringN(0, 4, 8),
	rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 4), func(b []byte) string { return string(b) }),
)

func (m *model) checkpoint(rt *rapid.T) snapshotstore.Checkpoint {
	puts := rapid.MapOfN(someKeys, rapid.SliceOfN(rapid.Byte(), 0, 20), 0, 12).Draw(rt, "put")
	checkpoint := snapshotstore.Checkpoint{From: m.now.Mark, To: markAt(m.now.Mark.Seq + rapid.Uint64Range(0, 3).Draw(rt, "on"))}
	for _, key := range slices.Sorted(maps.Keys(puts)) {
		checkpoint.Put = append(checkpoint.Put, snapshotstore.Entry{Key: key, Data: puts[key]})
	}
	for _, key := range rapid.SliceOfNDistinct(someKeys, 0, 6, rapid.ID[string]).Draw(rt, "delete") {
		if _, put := puts[key]; !put {
			checkpoint.Delete = append(checkpoint.Delete, key)
		}
	}
	if rapid.Bool().Draw(rt, "define") {
		checkpoint.Definition = rapid.StringN(0, 10, 20).Draw(rt, "definition")
	}
	for _, seq := range rapid.SliceOfN(rapid.Uint64Range(0, 20), 0, 2).Draw(rt, "skipped") {
		checkpoint.Skipped = append(checkpoint.Skipped, snapshotstore.Skipped{Seq: seq, Cause: "poison"})
	}
	return checkpoint
}

func (m *model) commit(rt *rapid.T, store snapshotstore.Store) {
	checkpoint := m.checkpoint(rt)
	if err := store.Commit(rt.Context(), m.unit, checkpoint); err != nil {
		rt.Fatalf("Commit: %v", err)
	}
	m.now, m.last = m.now.after(checkpoint), &checkpoint
	m.applied = append(m.applied, checkpoint)
}

// again sends the last checkpoint once more.
func (m *model) again(rt *rapid.T, store snapshotstore.Store) {
	if m.last == nil {
		return
	}
	if err := store.Commit(rt.Context(), m.unit, *m.last); err != nil {
		rt.Fatalf("Commit of the same checkpoint: %v", err)
	}
}

// late sends a checkpoint that others went over, or that starts from a mark that is not held.
func (m *model) late(rt *rapid.T, store snapshotstore.Store) {
	checkpoint := m.checkpoint(rt)
	if rapid.Bool().Draw(rt, "old one") && len(m.applied) > 0 {
		checkpoint = rapid.SampledFrom(m.applied).Draw(rt, "which")
		if slices.Equal(checkpoint.To.Raw, m.now.Mark.Raw) || slices.Equal(checkpoint.From.Raw, m.now.Mark.Raw) {
			return
		}
	} else {
		checkpoint.From = markAt(m.now.Mark.Seq)
	}
	err := store.Commit(rt.Context(), m.unit, checkpoint)
	if err == nil {
		rt.Fatalf("a commit from seq %d, a mark that is not held, was applied", checkpoint.From.Seq)
	}
	wantConflict(rt, err, m.unit, m.now.Mark)
}

func (m *model) get(rt *rapid.T, store snapshotstore.Store) {
	keys := rapid.SliceOfN(someKeys, 0, 10).Draw(rt, "keys")
	mark, values, err := store.Get(rt.Context(), m.unit, keys)
	if err != nil {
		rt.Fatalf("Get: %v", err)
	}
	var want []snapshotstore.Value
	for _, key := range keys {
		data, exists := m.now.Values[key]
		want = append(want, snapshotstore.Value{Data: []byte(data), Exists: exists})
	}
	same(rt, "the mark of Get", m.now.Mark, mark)
	same(rt, "the values of Get", want, values)
}

func (m *model) promote(rt *rapid.T, store snapshotstore.Store) {
	from, to := rapid.IntRange(0, 3).Draw(rt, "from"), rapid.IntRange(1, 3).Draw(rt, "to")
	err := store.Promote(rt.Context(), m.unit.Projection, from, to)
	if (err == nil) != (from == m.served) {
		rt.Fatalf("Promote from %d to %d where %d is served: %v", from, to, m.served, err)
	}
	if err == nil {
		m.served = to
	}
	if version, err := store.Served(rt.Context(), m.unit.Projection); version != m.served || err != nil {
		rt.Fatalf("Served: %d, %v; want %d", version, err, m.served)
	}
}
