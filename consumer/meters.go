package consumer

import (
	"errors"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// meterVecs are the metrics of a worker. Their labels are the unit's names, all from the configuration.
type meterVecs struct {
	counters   map[string]*prometheus.CounterVec
	gauges     map[string]*prometheus.GaugeVec
	checkpoint *prometheus.HistogramVec
	states     *prometheus.GaugeVec
	verdicts   *prometheus.GaugeVec
	workers    prometheus.Gauge
}

// meters are those of one unit.
type meters struct {
	folded, skipped, resets, reloads, conflicts, fenced, abandoned, checkpoints, checkpointKeys, storeHeld prometheus.Counter
	seq, head, first, committedAt, missing                                                                 prometheus.Gauge
	checkpointSeconds                                                                                      prometheus.Observer
	states, verdicts                                                                                       *prometheus.GaugeVec
	gauges                                                                                                 map[string]*prometheus.GaugeVec
	unit                                                                                                   prometheus.Labels // of all these metrics
}

var unitLabels = []string{"projection", "version", "partition"} // read only

func newMeters(to prometheus.Registerer) (*meterVecs, error) {
	m := &meterVecs{counters: map[string]*prometheus.CounterVec{}, gauges: map[string]*prometheus.GaugeVec{}}
	var errs []error
	register := func(c prometheus.Collector) { errs = append(errs, to.Register(c)) }
	for name, help := range map[string]string{
		"events_folded_total":        "Events of the log that were folded, or found to be of no interest.",
		"events_skipped_total":       "Events left out because they could not be folded (on_poison: skip).",
		"reader_resets_total":        "Readers of the log that ended and were begun anew.",
		"reloads_total":              "Times that the unit began again from what the store holds.",
		"checkpoint_conflicts_total": "Checkpoints refused because the store held another mark.",
		"fenced_total":               "Times that another worker turned out to own the unit.",
		"steps_abandoned_total":      "Goroutines given up because a step did not return.",
		"checkpoints_total":          "Checkpoints that the store holds.",
		"checkpoint_keys_total":      "Keys written or deleted by checkpoints.",
		"store_held_seconds_total":   "Time for which checkpoints kept the store from all others.",
	} {
		m.counters[name] = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "tailfold", Name: name, Help: help}, unitLabels)
		register(m.counters[name])
	}
	m.workers = prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "tailfold", Name: "workers_live",
		Help: "Workers that this one knows to be there, itself included; 0: it has no lease. Always 0 where units are not assigned by leases."})
	register(m.workers)
	for name, help := range map[string]string{
		"unit_configured":              "1 for each unit that the worker's configuration has, whoever runs it.",
		"log_first_seq":                "The first seq that the log still has, as last known.",
		"snapshot_seq":                 "Seq of the last committed mark.",
		"log_head_seq":                 "The log's last seq, as last known.",
		"checkpoint_timestamp_seconds": "When the last checkpoint was committed, Unix time.",
		"checkpoint_replicas_missing":  "How many of the store's replicas that were asked for (store.replicas) did not have the last checkpoint in time.",
	} {
		m.gauges[name] = prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "tailfold", Name: name, Help: help}, unitLabels)
		register(m.gauges[name])
	}
	m.checkpoint = prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "tailfold", Name: "checkpoint_duration_seconds",
		Help: "From sending a checkpoint to its acknowledgement.", Buckets: prometheus.ExponentialBuckets(0.00025, 2, 16)}, unitLabels)
	m.states = prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "tailfold", Name: "unit_state", Help: "1 for the state that the unit is in."}, append(unitLabels, "state"))
	m.verdicts = prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "tailfold", Name: "unit_verdict", Help: "1 for the verdict that the unit has; none while it runs."}, append(unitLabels, "verdict"))
	register(m.checkpoint)
	register(m.states)
	register(m.verdicts)
	return m, errors.Join(errs...)
}

func (m *meterVecs) of(projection string, version, partition int) meters {
	labels := prometheus.Labels{"projection": projection, "version": strconv.Itoa(version), "partition": strconv.Itoa(partition)}
	counter := func(name string) prometheus.Counter { return m.counters[name].With(labels) }
	m.gauges["unit_configured"].With(labels).Set(1)
	return meters{
		folded: counter("events_folded_total"), skipped: counter("events_skipped_total"), resets: counter("reader_resets_total"),
		reloads: counter("reloads_total"), conflicts: counter("checkpoint_conflicts_total"), fenced: counter("fenced_total"),
		abandoned: counter("steps_abandoned_total"), checkpoints: counter("checkpoints_total"), checkpointKeys: counter("checkpoint_keys_total"),
		storeHeld: counter("store_held_seconds_total"), checkpointSeconds: m.checkpoint.With(labels),
		states: m.states, verdicts: m.verdicts, gauges: m.gauges, unit: labels,
	}
}

// begin makes the series that only the worker has that runs the unit: what another has would be old.
func (m *meters) begin() {
	gauge := func(name string) prometheus.Gauge { return m.gauges[name].With(m.unit) }
	m.seq, m.head, m.first, m.committedAt = gauge("snapshot_seq"), gauge("log_head_seq"), gauge("log_first_seq"), gauge("checkpoint_timestamp_seconds")
	m.missing = gauge("checkpoint_replicas_missing")
}

// end removes them.
func (m *meters) end() {
	for _, name := range []string{"snapshot_seq", "log_head_seq", "log_first_seq", "checkpoint_timestamp_seconds", "checkpoint_replicas_missing"} {
		m.gauges[name].Delete(m.unit)
	}
	m.states.DeletePartialMatch(m.unit)
	m.verdicts.DeletePartialMatch(m.unit)
}

// workersLive shows how many workers there are, as this one knows.
func (m *meterVecs) workersLive(others *roll) {
	if others == nil {
		m.workers.Set(0)
		return
	}
	m.workers.Set(float64(1 + len(others.live)))
}

// state shows the state and the verdict that a unit has now.
func (m *meters) state(state UnitState, v *Verdict) {
	m.states.DeletePartialMatch(m.unit) // not by currying: that would match the series of all units
	m.verdicts.DeletePartialMatch(m.unit)
	m.states.MustCurryWith(m.unit).WithLabelValues(string(state)).Set(1)
	if v != nil {
		m.verdicts.MustCurryWith(m.unit).WithLabelValues(string(v.Reason)).Set(1)
	}
}
