package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/snapshotstore"
)

// statusAnswer is what status --json prints, and what /api/v1/status answers.
type statusAnswer struct {
	Units    []consumer.UnitStatus `json:"units"`
	Workers  []workerRow           `json:"workers"`
	Crossing []crossing            `json:"crossing,omitempty"`
	Store    string                `json:"store"` // its name, without secrets
}

// workerRow is what a worker last said of itself.
type workerRow struct {
	Worker  string   `json:"worker"`
	Version string   `json:"version"`
	AgeMS   int64    `json:"age_ms"`         // since it said so, by the store's clock
	Units   int      `json:"units"`          // that it runs or stands by for
	Runs    []string `json:"runs"`           // projection versions of these units
	Lease   string   `json:"lease,omitzero"` // why it has none, and so runs nothing
}

func workerRowOf(report consumer.Report, age time.Duration) workerRow {
	runs := map[string]bool{}
	for _, row := range report.Units {
		runs[fmt.Sprintf("%s/v%d", row.Projection, row.Version)] = true
	}
	return workerRow{Worker: report.Worker, Version: report.Version, AgeMS: age.Milliseconds(), Units: len(report.Units),
		Runs: append([]string{}, sortedKeys(runs)...), Lease: report.Lease}
}

// statusReader joins what workers last said, the marks in the store, and the configuration.
type statusReader struct {
	store snapshotstore.Store
	units []unit
	// bounds asks the log of a stream where no worker tells of it.
	bounds func(ctx context.Context, stream string) (consumer.Bounds, error)
	// own is what the worker of this process says, fresher than its announcement; nil where there is none.
	own func() consumer.Report
}

// rows has one row per unit, however many workers there are. A *logAwayError comes with all rows, less what the log
// would have told.
func (r *statusReader) rows(ctx context.Context) ([]consumer.UnitStatus, error) {
	answer, err := r.read(ctx)
	return answer.Units, err
}

// all has the rows, the workers, and the keys that cross partitions.
func (r *statusReader) all(ctx context.Context) (statusAnswer, error) {
	answer, err := r.read(ctx)
	var logAway *logAwayError
	if err != nil && !errors.As(err, &logAway) {
		return answer, err
	}
	var failed error
	if answer.Crossing, failed = r.crossing(ctx, answer.Units); failed != nil {
		return answer, failed
	}
	return answer, err
}

func (r *statusReader) read(ctx context.Context) (answer statusAnswer, err error) {
	said, workers, err := r.said(ctx)
	if err != nil {
		return answer, err
	}
	answer.Workers = workers
	units := slices.Clone(r.units)
	for u, rows := range said { // also those of other programs on this store
		if !slices.ContainsFunc(units, func(known unit) bool { return known.Unit == u }) {
			units = append(units, unit{Unit: u, stream: rows[0].Stream})
		}
	}
	slices.SortFunc(units, func(a, b unit) int {
		return cmp.Or(cmp.Compare(a.Projection, b.Projection), cmp.Compare(a.Version, b.Version),
			cmp.Compare(a.Partition, b.Partition))
	})
	served := map[string]int{}
	rows := make([]consumer.UnitStatus, 0, len(units))
	for _, u := range units {
		if _, ok := served[u.Projection]; !ok {
			if served[u.Projection], err = r.store.Served(ctx, u.Projection); err != nil {
				return answer, err
			}
		}
		row := oneRow(u, said[u.Unit])
		if row.State == consumer.Unowned {
			row.Detail = whyUnowned(workers)
		}
		if err := r.addMark(ctx, u.Unit, &row); err != nil {
			return answer, err
		}
		row.Served = served[u.Projection] == u.Version
		rows = append(rows, row)
	}
	answer.Units = rows
	return answer, r.addHeads(ctx, rows)
}

// whyUnowned tells of workers that could have a unit, but for their lease.
func whyUnowned(workers []workerRow) string {
	for _, w := range workers {
		if w.Lease != "" {
			return fmt.Sprintf("no worker has this unit: worker %s has no lease: %s", w.Worker, w.Lease)
		}
	}
	return ""
}

// said has what the workers last said of each unit, and of themselves.
func (r *statusReader) said(ctx context.Context) (map[snapshotstore.Unit][]consumer.UnitStatus, []workerRow, error) {
	workers, err := r.store.Workers(ctx)
	if err != nil {
		return nil, nil, err
	}
	rows := []workerRow{}
	said := map[snapshotstore.Unit][]consumer.UnitStatus{}
	add := func(report consumer.Report, age time.Duration) {
		rows = append(rows, workerRowOf(report, age))
		for _, row := range report.Units {
			if row.CheckpointAgeMS >= 0 {
				row.CheckpointAgeMS += age.Milliseconds()
			}
			if row.Owner == "" && row.State != consumer.Unowned {
				row.Owner = report.Worker
			}
			if row.State == consumer.Standby {
				row.Standbys = []string{report.Worker}
			}
			u := snapshotstore.Unit{Projection: row.Projection, Version: row.Version, Partition: row.Partition}
			said[u] = append(said[u], row)
		}
	}
	own := consumer.Report{}
	if r.own != nil {
		own = r.own()
		add(own, 0)
	}
	for _, w := range workers {
		var report consumer.Report
		if w.Worker == own.Worker && own.Worker != "" {
			continue
		}
		if err := json.Unmarshal(w.Report, &report); err != nil {
			continue // of a worker of another version, which will be shown by its marks
		}
		report.Worker = cmp.Or(report.Worker, w.Worker)
		add(report, w.Age)
	}
	slices.SortFunc(rows, func(a, b workerRow) int { return cmp.Compare(a.Worker, b.Worker) })
	return said, rows, nil
}

// oneRow chooses the owner's row: the one with the highest epoch of those that do not stand by.
func oneRow(u unit, said []consumer.UnitStatus) consumer.UnitStatus {
	row := consumer.UnitStatus{Projection: u.Projection, Version: u.Version, Partition: u.Partition, Stream: u.stream,
		State: consumer.Unowned, CheckpointAgeMS: -1}
	var standbys []string
	var head uint64
	for _, s := range said {
		head = max(head, s.Head)
		switch {
		case s.State == consumer.Standby:
			standbys = append(standbys, s.Standbys...)
		case s.State == consumer.Unowned:
		case row.State == consumer.Unowned || s.Epoch > row.Epoch:
			if row.State != consumer.Unowned && row.Owner != s.Owner {
				standbys = append(standbys, row.Owner) // it has not noticed yet
			}
			row = s
		case s.Owner != row.Owner:
			standbys = append(standbys, s.Owner)
		}
	}
	if row.State == consumer.Unowned && len(standbys) > 0 {
		row.State = consumer.Standby
		row.Detail = "no worker says that it owns this unit: one of those that stand by takes it over"
	}
	slices.Sort(standbys)
	row.Standbys = append([]string{}, slices.Compact(standbys)...)
	row.Head = max(head, row.Head)
	return row
}

// addMark completes a row by what the store holds: that is what readers see.
func (r *statusReader) addMark(ctx context.Context, u snapshotstore.Unit, row *consumer.UnitStatus) error {
	mark, err := r.store.Head(ctx, u)
	var corrupt *snapshotstore.CorruptError
	if errors.As(err, &corrupt) {
		if row.Verdict == "" {
			row.Verdict, row.Detail = string(consumer.Corrupt), fmt.Sprintf("%v: drop it, and it is folded again "+
				"(tailfold drop %s --version %d)",
				corrupt, u.Projection, u.Version)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if !mark.IsZero() {
		row.Seq, row.Epoch = mark.Seq, max(row.Epoch, mark.Epoch)
		if row.CheckpointAgeMS < 0 || row.State == consumer.Unowned {
			row.CheckpointAgeMS = max(0, time.Since(mark.At).Milliseconds())
		}
	}
	if row.State == consumer.Unowned && row.Detail == "" {
		row.Detail = "no worker has this unit: start one (tailfold run)"
	}
	row.Head = max(row.Head, row.Seq)
	row.Lag = row.Head - row.Seq
	return nil
}

// logAwayError is a log that could not be asked for its head.
type logAwayError struct{ err error }

func (e *logAwayError) Error() string { return e.err.Error() }
func (e *logAwayError) Unwrap() error { return e.err }

// addHeads asks the logs of units that nobody has.
func (r *statusReader) addHeads(ctx context.Context, rows []consumer.UnitStatus) error {
	if r.bounds == nil {
		return nil
	}
	heads, failed := map[string]uint64{}, map[string]error{}
	for i := range rows {
		row := &rows[i]
		if row.State != consumer.Unowned && row.State != consumer.Standby {
			continue
		}
		if _, asked := heads[row.Stream]; !asked {
			bounds, err := r.bounds(ctx, row.Stream)
			if errors.Is(err, consumer.ErrNoLog) {
				row.Detail += "; " + err.Error()
				err = nil
			}
			heads[row.Stream], failed[row.Stream] = bounds.Last, err
		}
		row.Head = max(row.Head, heads[row.Stream])
		row.Lag = row.Head - row.Seq
	}
	for _, stream := range sortedKeys(failed) {
		if err := failed[stream]; err != nil {
			return &logAwayError{err}
		}
	}
	return nil
}
