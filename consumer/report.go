package consumer

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

// row is what status shows of the unit.
func (u *unit) row(now time.Time) UnitStatus {
	u.mu.Lock()
	defer u.mu.Unlock()
	row := u.status
	row.Head = max(row.Head, row.Seq)
	row.Lag = row.Head - row.Seq
	if !u.committed.IsZero() {
		row.CheckpointAgeMS = now.Sub(u.committed).Milliseconds()
	}
	if row.State == Replaying {
		if s := now.Sub(u.startedAt).Seconds(); s > 0 {
			row.ReplayRate = float64(row.Seq-min(row.ResumedAt, row.Seq)) / s
		}
	}
	return row
}

// takenOn notes that the worker begins to run the unit.
func (u *unit) takenOn(now time.Time) {
	u.mu.Lock()
	u.meters.begin()
	u.startedAt, u.committed, u.verdict, u.behind = now, time.Time{}, nil, false
	u.status = UnitStatus{Projection: u.id.Projection, Version: u.id.Version, Partition: u.id.Partition, Stream: u.stream.Name,
		State: Starting, CheckpointAgeMS: -1, Owner: u.worker.config.Name, Standbys: []string{},
		Folded: u.status.Folded, Skipped: u.status.Skipped, StartedUnixMS: now.UnixMilli()}
	u.countNear()
	u.mu.Unlock()
	u.meters.state(Starting, nil)
	token(u.worker.changed)
}

// stays leaves what the unit was last doing to be looked at: the worker that nobody assigns anything has stopped with it.
func (u *unit) stays() {}

// givenUp notes that the worker does not run the unit any more.
func (u *unit) givenUp() {
	u.mu.Lock()
	u.status.State, u.verdict = Unowned, nil
	u.status.Verdict, u.status.Detail = "", ""
	u.countNear()
	u.meters.end()
	u.mu.Unlock()
	token(u.worker.changed)
}

// started notes where the unit goes on.
func (u *unit) started(r *runner) {
	u.mu.Lock()
	u.status.ResumedAt, u.status.ReplayTarget, u.status.ReplayMS = r.held.Seq, r.target, 0
	u.status.Epoch, u.status.Owner, u.status.Seq = r.held.Epoch, u.worker.config.Name, r.held.Seq
	u.status.Standbys = []string{}
	u.startedAt = r.began
	u.mu.Unlock()
	u.set(Replaying, nil)
}

// becameLive notes that the unit has caught up.
func (u *unit) becameLive(r *runner) {
	took := time.Since(r.began)
	u.mu.Lock()
	u.status.ReplayMS = max(1, took.Milliseconds())
	u.status.Replayed = max(r.target, u.status.ResumedAt) - u.status.ResumedAt
	resumed, replayed := u.status.ResumedAt, u.status.Replayed
	u.mu.Unlock()
	u.set(Live, nil)
	u.log.Info(fmt.Sprintf("resumed at seq %d, replayed %d events in %d ms", resumed, replayed, took.Milliseconds()),
		zap.Uint64("resumed_at", resumed), zap.Uint64("replayed", replayed), zap.Int64("duration_ms", took.Milliseconds()))
}

// recognised notes how the log was recognised.
func (u *unit) recognised(proof Proof, log Bounds) {
	u.mu.Lock()
	u.status.Proof, u.status.Head = string(proof), log.Last
	u.mu.Unlock()
	u.meters.first.Set(float64(log.First))
}

// sawMark notes what the store holds.
func (u *unit) sawMark(mark snapshotstore.Mark) {
	u.mu.Lock()
	u.status.Seq, u.status.Epoch = mark.Seq, mark.Epoch
	u.mu.Unlock()
	u.meters.seq.Set(float64(mark.Seq))
}

func (u *unit) sawHead(head uint64) {
	u.mu.Lock()
	u.status.Head = max(head, u.status.Seq)
	u.mu.Unlock()
	u.meters.head.Set(float64(head))
}

// sawFirst notes the first seq that the log still has. Others than the unit's own goroutine may do so.
func (u *unit) sawFirst(first uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.status.State != Unowned { // else its series are gone
		u.meters.first.Set(float64(first))
	}
}

func (u *unit) folded(events int) {
	u.mu.Lock()
	u.status.Folded += uint64(events)
	u.mu.Unlock()
	u.meters.folded.Add(float64(events))
}

func (u *unit) skippedOne() {
	u.mu.Lock()
	u.status.Skipped++
	u.mu.Unlock()
	u.meters.skipped.Inc()
}

// settled notes a checkpoint that the store holds.
func (u *unit) settled(held snapshotstore.Mark, f *flight, now time.Time) {
	u.mu.Lock()
	u.committed = now
	u.status.Seq, u.status.Epoch = held.Seq, held.Epoch
	u.status.Head = max(u.status.Head, held.Seq)
	before := u.status.Replicas
	u.status.Replicas = f.replicas
	u.mu.Unlock()
	u.saidOfReplicas(before, f.replicas)
	u.meters.checkpoints.Inc()
	u.meters.storeHeld.Add(f.held.Seconds())
	u.meters.checkpointSeconds.Observe(now.Sub(f.began).Seconds())
	u.meters.checkpointKeys.Add(float64(f.keys))
	u.meters.seq.Set(float64(held.Seq))
	u.meters.committedAt.Set(float64(now.UnixMilli()) / 1000)
}

// saidOfReplicas tells when checkpoints begin to reach fewer replicas of the store than were asked for, and when that is over.
func (u *unit) saidOfReplicas(before, now snapshotstore.Replicas) {
	u.meters.missing.Set(float64(max(0, now.Asked-now.Have)))
	if now.Short() == before.Short() {
		return
	}
	token(u.worker.changed)
	if !now.Short() {
		u.log.Info("as many replicas of the store have the checkpoint as are asked for", zap.Int("asked", now.Asked), zap.Int("have", now.Have))
		return
	}
	u.log.Warn("fewer replicas of the store have the checkpoint than are asked for", zap.Int("asked", now.Asked), zap.Int("have", now.Have),
		zap.String("why", now.Why), zap.String("way_out", replicasWayOut))
}

// replicasWayOut is for checkpoints that replicas do not have.
const replicasWayOut = "folding goes on; if a replica takes the store's place before it has them, they are folded again from the log. " +
	"Bring the replicas back (INFO replication), or lower store.replicas"

// checkSubjects warns where the log can have no event that the projection wants.
func (u *unit) checkSubjects(log Bounds) {
	wanted, ok := projections.NarrowSubjects(u.definition.Subjects, u.subjects)
	if ok {
		_, ok = projections.NarrowSubjects(wanted, log.Subjects)
	}
	if !ok {
		u.log.Warn("no subject of the stream matches the projection's: it will not see an event until one of them is corrected",
			zap.Strings("subjects", u.definition.Subjects), zap.Strings("stream_subjects", log.Subjects))
	}
}
