package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/zap"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

// question is what the query of a request asks for besides the key.
type question struct {
	version int
	minSeq  uint64
	timeout time.Duration
	prefix  string
}

func questionOf(r *http.Request, allowed ...string) (question, error) {
	q := question{timeout: defaultTimeout}
	query := r.URL.Query()
	var errs []error
	for _, name := range sortedKeys(query) {
		text := query.Get(name)
		var err error
		known := false
		for _, a := range allowed {
			known = known || a == name
		}
		if !known {
			errs = append(errs, fmt.Errorf("there is no parameter %q: %s", name, didYouMean(name, allowed)))
			continue
		}
		switch name {
		case "version":
			if q.version, err = strconv.Atoi(text); err != nil || q.version < 1 {
				errs = append(errs, fmt.Errorf("version is %q: write a number from 1", text))
			}
		case "min_seq":
			if q.minSeq, err = strconv.ParseUint(text, 10, 64); err != nil {
				errs = append(errs, fmt.Errorf("min_seq is %q: write a seq, a number", text))
			}
		case "timeout":
			if q.timeout, err = parseDuration(text); err != nil || q.timeout > maxTimeout {
				errs = append(errs, fmt.Errorf("timeout is %q: write a time up to %v, such as 2s", text, maxTimeout))
			}
		case "prefix":
			q.prefix = text
		}
	}
	return q, errors.Join(errs...)
}

// value answers what the snapshots have of a key, once they have reached min_seq.
func (a *api) value(w http.ResponseWriter, r *http.Request, projection, key string) {
	q, err := questionOf(r, "key", "version", "min_seq", "timeout")
	if err != nil {
		a.fail(w, http.StatusBadRequest, err, nil)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), q.timeout+storeTimeout)
	defer cancel()
	version, err := a.values.version(ctx, projection, q.version)
	if err != nil {
		a.storeFailed(w, err)
		return
	}
	if q.minSeq > 0 {
		if !enter(a.gate.waiting) {
			a.tooMany(w, "requests that wait for min_seq")
			return
		}
		reached := a.reached(ctx, w, projection, version, q)
		leave(a.gate.waiting)
		if !reached {
			return
		}
	}
	answers, err := a.values.of(ctx, projection, version, key)
	if err != nil {
		a.storeFailed(w, err)
		return
	}
	a.addVerdicts(ctx, answers)
	a.answerKey(w, answers)
}

// answerKey answers one, several, or not found.
func (a *api) answerKey(w http.ResponseWriter, answers []valueAnswer) {
	found := answers[:0:0]
	for _, answer := range answers {
		if answer.Exists {
			found = append(found, answer)
		}
	}
	switch {
	case len(found) == 1:
		a.answer(w, http.StatusOK, found[0])
	case len(found) > 1:
		a.answer(w, http.StatusOK, severalAnswers{found[0].Projection, found[0].Version, found[0].Key, found})
	case len(answers) == 1:
		a.answer(w, http.StatusNotFound, answers[0])
	default:
		a.answer(w, http.StatusNotFound, severalAnswers{answers[0].Projection, answers[0].Version, answers[0].Key,
			answers})
	}
}

// reached waits for min_seq, and answers the request where it does not come to pass.
func (a *api) reached(ctx context.Context, w http.ResponseWriter, projection string, version int, q question) bool {
	head, known := a.head(ctx, projection, version, q.minSeq)
	if known && q.minSeq > head {
		a.fail(w, http.StatusBadRequest, fmt.Errorf("min_seq %d is beyond the log's head, %d: use the seq that "+
			"the publisher got in its acknowledgement",
			q.minSeq, head), map[string]any{"head": head})
		return false
	}
	units := unitsOf(a.values.units, projection, version)
	if p, ok := a.partitionOf(ctx, projection, version, q.minSeq); ok && len(units) > 1 {
		units = []snapshotstore.Unit{{Projection: projection, Version: version, Partition: p}}
	}
	err := a.values.await(ctx, units, q.minSeq, q.timeout)
	var early *tooEarlyError
	switch {
	case err == nil:
		return true
	case errors.As(err, &early):
		facts := map[string]any{"projection": projection, "version": version, "partition": early.unit.Partition,
			"seq": early.reached}
		if row, ok := a.rows(ctx, projection, version)[early.unit.Partition]; ok && row.Verdict != "" {
			facts["verdict"], facts["detail"] = row.Verdict, a.redact(row.Detail)
		}
		a.fail(w, http.StatusGatewayTimeout, err, facts)
	default:
		a.storeFailed(w, err)
	}
	return false
}

// head is the log's last seq: as the worker knows it, or, where that is below what is asked for, as the log says.
func (a *api) head(ctx context.Context, projection string, version int, want uint64) (head uint64, known bool) {
	for _, row := range a.rows(ctx, projection, version) {
		head, known = max(head, row.Head), true
	}
	if known && head >= want {
		return head, true
	}
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	for _, u := range a.values.units {
		if u.Projection != projection || u.Version != version || a.status.bounds == nil {
			continue
		}
		bounds, err := a.status.bounds(ctx, u.stream)
		if err != nil && !errors.Is(err, consumer.ErrNoLog) {
			return 0, false // it may be there: the wait will tell
		}
		return max(head, bounds.Last), true
	}
	return 0, false
}

// partitionOf is the partition of the event at a seq: where one's own write is waited for, the others need not have come so
// far. It can't be told where the log is away or the event is gone: then all are waited for.
func (a *api) partitionOf(ctx context.Context, projection string, version int, seq uint64) (int, bool) {
	if a.subject == nil {
		return 0, false
	}
	for _, u := range a.values.units {
		if u.Projection != projection || u.Version != version || len(u.subjects) == 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
		defer cancel()
		subject, err := a.subject(ctx, u.stream, seq)
		if err != nil {
			return 0, false
		}
		for _, u := range a.values.units {
			if u.Projection == projection && u.Version == version && slices.ContainsFunc(u.subjects, func(filter string) bool {
				return projections.MatchSubject(filter, subject)
			}) {
				return u.Partition, true
			}
		}
		return 0, false
	}
	return 0, false
}

// rows are what the owners of a version's units say of them, by partition: this worker itself, or else what the others
// last announced.
func (a *api) rows(ctx context.Context, projection string, version int) map[int]consumer.UnitStatus {
	rows := map[int]consumer.UnitStatus{}
	for _, row := range a.worker.Status() {
		if row.Projection == projection && row.Version == version {
			rows[row.Partition] = row
		}
	}
	units := unitsOf(a.values.units, projection, version)
	if !slices.ContainsFunc(units, func(u snapshotstore.Unit) bool {
		row, ok := rows[u.Partition]
		return !ok || row.State == consumer.Standby
	}) {
		return rows
	}
	said := a.announced.get(func() (map[snapshotstore.Unit][]consumer.UnitStatus, error) {
		said, _, err := a.status.said(ctx)
		return said, err
	})
	for _, u := range units {
		if len(said[u]) > 0 {
			rows[u.Partition] = oneRow(unit{Unit: u}, said[u])
		}
	}
	return rows
}

// announced keeps what the workers said for a moment, so that many requests ask the store for it once.
type announced struct {
	mu   sync.Mutex
	said map[snapshotstore.Unit][]consumer.UnitStatus
	at   time.Time
}

const announcedFor = 500 * time.Millisecond

// get asks anew when what is there is old; what can't be had is taken for nothing said.
func (a *announced) get(ask func() (map[snapshotstore.Unit][]consumer.UnitStatus, error)) map[snapshotstore.Unit][]consumer.UnitStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.at) < announcedFor {
		return a.said
	}
	if said, err := ask(); err == nil {
		a.said, a.at = said, time.Now()
	}
	return a.said
}

// addVerdicts tells which answers are stale.
func (a *api) addVerdicts(ctx context.Context, answers []valueAnswer) {
	rows := a.rows(ctx, answers[0].Projection, answers[0].Version)
	for i := range answers {
		answer := &answers[i]
		if row, ok := rows[answer.Partition]; ok && row.Verdict != "" {
			answer.Verdict, answer.Detail = row.Verdict, a.redact(row.Detail)
		}
	}
}

// keyLine is one line of the answer to …/keys; the last one says that it is complete, or what went wrong.
type keyLine struct {
	Partition *int   `json:"partition,omitempty"`
	Key       string `json:"key,omitzero"`
	KeyBase64 []byte `json:"key_base64,omitempty"`
	Done      bool   `json:"done,omitzero"`
	Version   int    `json:"version,omitzero"`
	Keys      int    `json:"keys,omitzero"`
	Error     string `json:"error,omitzero"`
}

// keys streams all keys with a prefix, a line of JSON each, in no order.
func (a *api) keys(w http.ResponseWriter, r *http.Request, projection string) {
	q, err := questionOf(r, "version", "prefix")
	if err != nil {
		a.fail(w, http.StatusBadRequest, err, nil)
		return
	}
	ctx := r.Context()
	version, err := a.values.version(ctx, projection, q.version)
	if err != nil {
		a.storeFailed(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	control := http.NewResponseController(w)
	write := func(line keyLine) error {
		text, err := json.Marshal(line, json.Deterministic(true))
		if err != nil {
			return err
		}
		_, err = w.Write(append(text, '\n'))
		return err
	}
	last := keyLine{Done: true, Version: version}
	err = a.values.keys(ctx, projection, version, q.prefix, func(partition int, key string) error {
		if last.Keys%1024 == 0 { // a long answer goes on as long as somebody reads it
			control.SetWriteDeadline(time.Now().Add(a.gate.stall))
		}
		last.Keys++
		line := keyLine{Partition: &partition, Key: key}
		if text := toUTF8(key); text != key {
			line.Key, line.KeyBase64 = text, []byte(key)
		}
		return write(line)
	})
	if err != nil {
		last = keyLine{Error: a.redact(err.Error())}
	}
	_ = write(last) // a client that has gone is told nothing
}

// snapshotsAnswer is what there is, or was, of a version.
type snapshotsAnswer struct {
	Snapshots []snapshotFound `json:"snapshots"`
}

func (a *api) snapshots(w http.ResponseWriter, r *http.Request, projection string) {
	q, err := questionOf(r, "version")
	if err == nil && q.version == 0 {
		err = errors.New("version is missing: write ?version=N")
	}
	if err != nil {
		a.fail(w, http.StatusBadRequest, err, nil)
		return
	}
	found, err := a.values.snapshots(r.Context(), projection, q.version)
	if err != nil {
		a.storeFailed(w, err)
		return
	}
	a.answer(w, http.StatusOK, snapshotsAnswer{found})
}

// drop removes the snapshots of a version. It is for the command line on this machine, where the store is a file that
// this process holds: not for other machines, and not for a page in somebody's browser.
func (a *api) drop(w http.ResponseWriter, r *http.Request, projection string) {
	if !a.mayDrop || !fromThisMachine(r) {
		a.fail(w, http.StatusForbidden, errors.New("dropping is allowed from this machine only, and only where "+
			"the store is a file: "+
			"run tailfold drop with the worker's configuration"), nil)
		return
	}
	q, err := questionOf(r, "version")
	if err == nil && q.version == 0 {
		err = errors.New("version is missing: write ?version=N")
	}
	if err != nil {
		a.fail(w, http.StatusBadRequest, err, nil)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	dropped, err := a.values.drop(ctx, projection, q.version)
	if err != nil {
		a.storeFailed(w, err)
		return
	}
	for _, d := range dropped {
		a.log.Warn("dropped a snapshot, as an operator asked", zap.String("unit", d.Unit.String()), zap.Uint64("seq",
			d.Seq))
	}
	a.answer(w, http.StatusOK, snapshotsAnswer{dropped})
}

// fromThisMachine tells a request over loopback that names a loopback host: a name of another host that resolves to
// loopback is a page's attempt to get at us.
func fromThisMachine(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return false
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && addr.IsLoopback()
}
