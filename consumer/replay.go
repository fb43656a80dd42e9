package consumer

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

// ReadModel is one unit at its plainest: a projection, the log that it folds, and the store that keeps its snapshot.
// Its methods are the whole of what Tailfold does, as one would say it:
//
//	Exists      is there a snapshot?
//	Load        the snapshot, or a fresh <seed, 0>
//	Replay      snapshot + tail
//	FullReplay  <seed, 0> + everything
//	Save        keep a state as the snapshot
//	Checkpoint  replay, and save
//
// and what holds between them is the promise: Replay and FullReplay to the same seq give the same values.
//
// A Worker does the same in a pipeline, with a cache, and again and again. A ReadModel holds all values in memory, folds
// one event at a time and keeps nothing between two calls: take it to look at a read model, to prove one, or in tests.
type ReadModel struct {
	Log        Log
	Store      snapshotstore.Store
	Projection projections.Projection
	Stream     Stream // settings of the projection's stream; only those of partitions and holes matter
	Partition  int
	Writer     string // named in the marks that Save makes
}

// ToHead stands for the log's last event, as the seq up to which to replay.
const ToHead uint64 = math.MaxUint64

// Snapshot is a state in memory: the values after every event up to and including Mark.Seq.
type Snapshot struct {
	Mark    snapshotstore.Mark // Mark.Raw is empty where the state is not what the store holds
	Values  map[string][]byte  // every key with its encoded value
	Skipped []snapshotstore.Skipped

	from    snapshotstore.Mark // what the store held when it was loaded
	changed map[string]bool    // keys whose values are not those that the store held then
	added   []snapshotstore.Skipped
}

// Unit names what the model keeps.
func (m ReadModel) Unit() snapshotstore.Unit {
	d := m.Projection.Definition()
	return snapshotstore.Unit{Projection: d.Name, Version: d.Version, Partition: m.Partition}
}

// Exists tells whether the store holds a snapshot.
func (m ReadModel) Exists(ctx context.Context) (bool, error) {
	mark, err := m.Store.Head(ctx, m.Unit())
	return !mark.IsZero(), err
}

// Load returns the snapshot as the store held it at one moment, or a fresh <seed, 0> if there is none. A snapshot that
// was folded by another definition is refused with a *Verdict, CHANGED.
func (m ReadModel) Load(ctx context.Context) (*Snapshot, error) {
	unit := m.Unit()
	for {
		before, err := m.Store.Head(ctx, unit)
		if err != nil {
			return nil, fmt.Errorf("load %s: %w", unit, err)
		}
		if before.IsZero() {
			return fresh(), nil
		}
		if before.Fingerprint != projections.Fingerprint(m.definition()) {
			return nil, &Verdict{Reason: Changed,
				Evidence: fmt.Sprintf("the snapshot of %s at seq %d was folded by another definition", unit, before.Seq),
				WayOut:   "Give the changed definition a version of its own, or undo the change"}
		}
		values := map[string][]byte{}
		for entry, err := range m.Store.Scan(ctx, unit) {
			if err != nil {
				return nil, fmt.Errorf("load %s: %w", unit, err)
			}
			values[entry.Key] = entry.Data
		}
		after, skipped, err := m.Store.Skipped(ctx, unit)
		if err != nil {
			return nil, fmt.Errorf("load %s: %w", unit, err)
		}
		if bytes.Equal(before.Raw, after.Raw) { // else it was written meanwhile: look again
			return &Snapshot{Mark: after, Values: values, Skipped: skipped, from: after, changed: map[string]bool{}}, nil
		}
	}
}

// fresh is <seed, 0>: no key has a value yet. A step makes a key's first one from the projection's Seed.
func fresh() *Snapshot { return &Snapshot{Values: map[string][]byte{}, changed: map[string]bool{}} }

// Save keeps a state as the snapshot, in one atomic step, if the store still holds what the state was loaded from; else
// it is a *snapshotstore.ConflictError, and nothing is changed. A state of FullReplay is saved only where there is no
// snapshot. The one who saves is the unit's new owner: a Worker that has it stands by from then on.
func (m ReadModel) Save(ctx context.Context, s *Snapshot) error {
	to := s.Mark
	to.Epoch, to.Tries, to.Attempt = s.from.Epoch+1, 0, 0
	to.Fingerprint, to.Writer, to.At = projections.Fingerprint(m.definition()), m.Writer, time.Now().UTC()
	checkpoint := snapshotstore.Checkpoint{From: s.from, To: to.Seal(rand.Text()),
		Definition: m.definition(), Skipped: s.added}
	for _, key := range slices.Sorted(maps.Keys(s.changed)) {
		if value, exists := s.Values[key]; exists {
			checkpoint.Put = append(checkpoint.Put, snapshotstore.Entry{Key: key, Data: value})
		} else {
			checkpoint.Delete = append(checkpoint.Delete, key)
		}
	}
	if err := m.Store.Commit(ctx, m.Unit(), checkpoint); err != nil {
		return fmt.Errorf("save %s at seq %d: %w", m.Unit(), to.Seq, err)
	}
	s.Mark, s.from = checkpoint.To, checkpoint.To
	s.changed, s.added = map[string]bool{}, nil
	return nil
}

// Replay is snapshot + tail: it loads the snapshot, or a fresh <seed, 0>, and folds what came after it, up to and
// including a seq. Nothing before the snapshot is read but the messages that its mark names as witnesses.
func (m ReadModel) Replay(ctx context.Context, upTo uint64) (*Snapshot, error) {
	s, err := m.Load(ctx)
	if err != nil {
		return nil, err
	}
	return s, m.fold(ctx, s, upTo)
}

// FullReplay folds everything up to and including a seq, from <seed, 0>. Of the snapshot it takes nothing but the record
// of skipped events, which decides what the values are.
func (m ReadModel) FullReplay(ctx context.Context, upTo uint64) (*Snapshot, error) {
	s := fresh()
	_, skipped, err := m.Store.Skipped(ctx, m.Unit())
	if err != nil {
		return nil, fmt.Errorf("replay %s: %w", m.Unit(), err)
	}
	s.Skipped = skipped
	return s, m.fold(ctx, s, upTo)
}

// Checkpoint is replay and save.
func (m ReadModel) Checkpoint(ctx context.Context, upTo uint64) (*Snapshot, error) {
	s, err := m.Replay(ctx, upTo)
	if err != nil {
		return s, err
	}
	return s, m.Save(ctx, s)
}

// fold folds the tail: the events of the log after the state's seq, up to upTo. On an error the state is that of the
// event before the one that failed.
//
// The reader is opened first and the log judged then, so that what is judged is what is read.
func (m ReadModel) fold(ctx context.Context, s *Snapshot, upTo uint64) error {
	reader, openErr := m.Log.Open(ctx, s.Mark.Seq, nil)
	if openErr == nil {
		defer func() { _ = reader.Close(context.WithoutCancel(ctx)) }() // it has given all that was wanted of it
	}
	bounds, err := m.judge(ctx, s)
	if err = cmp.Or(err, openErr); err != nil { // a verdict says more than a reader that could not be opened
		return err
	}
	last, err := m.lastMessage(ctx, bounds, s.Mark.Seq, upTo)
	if err != nil || last.Seq == 0 {
		return err
	}
	skip := map[uint64]bool{}
	for _, skipped := range s.Skipped {
		skip[skipped.Seq] = true
	}
	for s.Mark.Seq < last.Seq {
		batch, err := reader.Next(ctx)
		if err != nil {
			return fmt.Errorf("replay %s after seq %d: %w", m.Unit(), s.Mark.Seq, err)
		}
		for i := range batch.Events {
			if seq := batch.Events[i].Seq; seq <= s.Mark.Seq || seq > last.Seq || skip[seq] {
				continue
			}
			if err := m.foldEvent(s, batch.Events[i:i+1]); err != nil {
				return err
			}
			s.moveTo(Witness{Seq: batch.Events[i].Seq})
		}
		if to := min(batch.To, last.Seq); to > s.Mark.Seq {
			s.moveTo(Witness{Seq: to})
		}
	}
	s.moveTo(last)
	return nil
}

// moveTo moves the state on. Only a witness whose hash is known is kept.
func (s *Snapshot) moveTo(w Witness) {
	s.Mark.Seq, s.Mark.Raw = w.Seq, nil
	if w.Hash != "" {
		s.Mark.Witnesses = witnessesWith(s.Mark.Witnesses, w)
	}
}

// judge tells whether the log is the one that the state was folded from, and notes in the mark what it is.
func (m ReadModel) judge(ctx context.Context, s *Snapshot) (Bounds, error) {
	bounds, err := m.Log.Bounds(ctx)
	if err != nil {
		return bounds, fmt.Errorf("replay %s: %w", m.Unit(), err)
	}
	if v := fit(bounds, m.Stream.AcceptHoles); v != nil {
		return bounds, v
	}
	var heard []testimony
	for _, w := range s.Mark.Witnesses {
		if w.Hash == "" {
			continue
		}
		found, err := m.Log.Witness(ctx, w.Seq)
		if err != nil && !errors.Is(err, ErrNoMessage) {
			return bounds, fmt.Errorf("replay %s: %w", m.Unit(), err)
		}
		heard = append(heard, testimony{witness: w, found: found, readable: err == nil})
	}
	if _, v := whose(positionOf(s.Mark), m.Projection.Definition().Start, bounds, heard); v != nil {
		return bounds, v
	}
	s.Mark.Stream, s.Mark.Created = bounds.Stream, bounds.Created
	if s.Mark.Seq == 0 {
		s.Mark.Since = max(1, bounds.First)
	}
	return bounds, nil
}

// lastMessage finds the last message of the log in (after, upTo], the zero Witness if there is none. A state moves to
// positions only whose message was read.
func (m ReadModel) lastMessage(ctx context.Context, bounds Bounds, after, upTo uint64) (Witness, error) {
	if after > upTo {
		return Witness{}, fmt.Errorf("replay %s to seq %d: the snapshot is at seq %d already, and a fold does not go back: "+
			"replay from the beginning (FullReplay)", m.Unit(), upTo, after)
	}
	for seq := min(upTo, bounds.Last); seq > after && seq >= bounds.First; seq-- {
		w, err := m.Log.Witness(ctx, seq)
		if err == nil {
			return w, nil
		}
		if !errors.Is(err, ErrNoMessage) {
			return Witness{}, fmt.Errorf("replay %s: %w", m.Unit(), err)
		}
	}
	return Witness{}, nil
}

// foldEvent folds one event, all or nothing. Where it can't be folded, the projection's policy decides.
func (m ReadModel) foldEvent(s *Snapshot, event []projections.Event) error {
	changes, err := foldAlone(m.Projection.NewFold(projections.FoldOptions{Subjects: m.Stream.Subjects(m.Partition)}), s.Values, event)
	if err != nil {
		return m.poisoned(s, event[0], err)
	}
	for _, entry := range changes.Put {
		s.Values[entry.Key], s.changed[entry.Key] = entry.Value, true
	}
	for _, key := range changes.Delete {
		delete(s.Values, key)
		s.changed[key] = true
	}
	return nil
}

// foldAlone folds an event over the values that there are, and returns what it changes.
func foldAlone(fold projections.Fold, values map[string][]byte, event []projections.Event) (projections.Changes, error) {
	for _, key := range fold.Plan(event) {
		value, exists := values[key]
		if err := fold.Load(key, value, exists); err != nil {
			return projections.Changes{}, &snapshotstore.CorruptError{Key: key, Why: err.Error()}
		}
	}
	if err := fold.Step(); err != nil {
		return projections.Changes{}, err
	}
	return fold.Changes()
}

func (m ReadModel) poisoned(s *Snapshot, event projections.Event, err error) error {
	if corrupt, ok := errors.AsType[*snapshotstore.CorruptError](err); ok {
		corrupt.Unit = m.Unit()
		return corrupt
	}
	failed, ok := errors.AsType[*projections.EventError](err)
	if !ok { // the values could not be encoded
		failed = &projections.EventError{Seq: event.Seq, Subject: event.Subject, Err: err}
		if value, ok := errors.AsType[*projections.ValueError](err); ok {
			failed.Key = value.Key
		}
	}
	if m.Projection.Definition().OnPoison != projections.Skip {
		return fmt.Errorf("replay %s: %w", m.Unit(), failed)
	}
	skipped := snapshotstore.Skipped{Seq: failed.Seq, Subject: failed.Subject, Key: failed.Key,
		Cause: failed.Err.Error(), At: time.Now().UTC()}
	s.Skipped, s.added = append(s.Skipped, skipped), append(s.added, skipped)
	return nil
}

func (m ReadModel) definition() string {
	return m.Stream.definition(m.Projection.Definition(), m.Partition)
}
