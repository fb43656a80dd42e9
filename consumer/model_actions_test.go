package consumer

import (
	"fmt"
	"time"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

// modelAction is something that happens: to the log, to a worker, or to a unit of a worker.
type modelAction struct {
	what         string
	worker, unit int8
	arg          int8
	fault        bool // does not happen in a run without faults, changes of the log, and owners that are slow without cause
	claimed      bool // the store took a claim
	beyondLimit  bool // the log was rewritten, nothing that could prove it is left: the documented limit. It is not followed
}

func (a modelAction) String() string {
	text := a.what
	if a.unit >= 0 {
		text = fmt.Sprintf("unit %d: %s", a.unit, text)
	}
	if a.worker >= 0 {
		text = fmt.Sprintf("worker %s: %s", modelNames[a.worker], text)
	}
	return text
}

// model is one exploration's bounds, and what it needs on the way.
type model struct {
	steps                       modelSteps
	units, events, upsets, drop int
	faults                      int // -1: any number, and they are not counted
	emit                        func(a modelAction, s *modelState, wrong string)
	memo                        map[modelRuling]modelJudgement
}

// modelRuling is all that a judgement depends on.
type modelRuling struct {
	seq, created            uint8
	proofs                  [4]uint8
	logCreated, first, last uint8
	events                  [modelEvents]uint8
}

type modelJudgement struct {
	proof  Proof
	reason uint8
}

// next emits all that can happen in s.
func (m *model) next(s *modelState) {
	m.nextOfLog(s)
	for w := range modelWorkers {
		m.nextOfWorker(s, w)
		for u := range m.units {
			m.nextOfRun(s, w, u)
		}
	}
	for u := range m.units {
		for i := range s.units[u].late {
			if c := s.units[u].late[i]; c.to.id == 0 || c.from != s.units[u].mark.id && !m.steps.unfenced && !m.steps.again {
				continue
			}
			t := *s
			a := modelAction{what: "a checkpoint of a sender that is gone reaches the store", worker: -1, unit: int8(u), arg: int8(i), fault: true}
			_, wrong := m.deliver(&t, u, t.units[u].late[i], &a)
			t.units[u].late[i] = modelCheckpoint{} // it can be of no further effect: from is gone
			m.emit(a, &t, wrong)
		}
	}
}

func (m *model) nextOfLog(s *modelState) {
	log := func(arg int, what string, change func(l *modelLog)) {
		t := *s
		change(&t.log)
		m.emit(modelAction{what: what, worker: -1, unit: -1, arg: int8(arg), fault: true}, &t, "")
	}
	if int(s.log.used) < m.events && int(s.log.n) < modelEvents {
		log(0, "an event is appended to the log", func(l *modelLog) {
			l.used++
			e := l.used
			if l.n > 0 {
				l.before[e] = l.events[l.n-1]
			}
			l.events[l.n] = e
			l.n++
			l.seqOf[e], l.madeIn[e] = l.n, l.created
		})
	}
	if int(s.log.drops) < m.drop {
		for u := range m.units {
			if s.units[u].mark.id == 0 {
				continue
			}
			t := *s
			t.log.drops++
			t.units[u].mark, t.units[u].held = modelMark{}, modelValue{}
			m.emit(modelAction{what: "the snapshot is dropped", worker: -1, unit: int8(u), fault: true}, &t, "")
		}
	}
	if int(s.log.upsets) >= m.upsets || s.log.used == 0 {
		return
	}
	rewrite := func(arg int, what string, change func(l *modelLog)) {
		t := *s
		t.log.upsets++
		t.endReaders(m.units, func(*modelRun) bool { return true })
		change(&t.log)
		m.emit(modelAction{what: what, worker: -1, unit: -1, arg: int8(arg), fault: true}, &t, "")
	}
	rewrite(0, "the log is deleted and made again", func(l *modelLog) {
		l.created++
		l.n, l.first, l.events = 0, 1, [modelEvents]uint8{}
	})
	for k := range int(s.log.n) {
		rewrite(k, fmt.Sprintf("the log is restored to an earlier point, seq %d", k), func(l *modelLog) {
			for i := k; i < int(l.n); i++ {
				l.events[i] = 0
			}
			l.n, l.first = uint8(k), min(l.first, uint8(k)+1)
		})
	}
	for k := int(s.log.first); k <= int(s.log.n); k++ {
		t := *s
		t.log.upsets++
		t.endReaders(m.units, func(r *modelRun) bool { return int(r.seq) < k })
		t.log.first = uint8(k) + 1
		m.emit(modelAction{what: fmt.Sprintf("the log is trimmed up to seq %d", k), worker: -1, unit: -1, arg: int8(k), fault: true}, &t, "")
	}
}

// endReaders ends readers, as the log does that they are tied to. What they have read is still in the worker.
func (s *modelState) endReaders(units int, which func(*modelRun) bool) {
	for u := range units {
		for w := range modelWorkers {
			r := &s.units[u].runs[w]
			if (r.reader == modelOpened || r.reader == modelJudged) && which(r) {
				if r.reader == modelOpened {
					r.reader = modelOpenedEnded
				} else {
					r.reader = modelJudgedEnded
				}
				r.read = 0
				if n := s.log.n; n > 0 {
					r.read = s.log.events[n-1]
				}
			}
		}
	}
}

func (m *model) nextOfWorker(s *modelState, w int) {
	up := false
	for u := range m.units {
		up = up || s.units[u].runs[w] != modelRun{}
	}
	if !up {
		return
	}
	a := modelAction{what: "is killed", worker: int8(w), unit: -1, fault: true}
	m.gone(s, w, 0, a, true)
}

// gone ends a worker's runs from unit u on, and leaves its checkpoints under way to the network: all of them, or, where
// that can carry no more, each choice of them.
func (m *model) gone(s *modelState, w, u int, a modelAction, forget bool) {
	if u == m.units {
		m.emit(a, s, "")
		return
	}
	for i := range m.endRun(s, w, u) {
		t := i
		if forget {
			t.units[u].runs[w] = modelRun{}
		}
		m.gone(&t, w, u+1, a, forget)
	}
}

// endRun yields the states after a run has ended, of which there are several where its checkpoint is one too many.
func (m *model) endRun(s *modelState, w, u int) func(yield func(modelState) bool) {
	return func(yield func(modelState) bool) {
		t := *s
		unit := &t.units[u]
		r := &unit.runs[w]
		flight := r.flight
		*r = modelRun{highest: r.highest}
		if flight.to.id == 0 || !m.alive(&t, u, flight) {
			yield(t)
			return
		}
		for i := range unit.late {
			if unit.late[i].to.id == 0 {
				unit.late[i] = flight
				yield(t)
				return
			}
		}
		if !yield(t) { // the new one is the one that is lost
			return
		}
		for i := range unit.late {
			x := t
			x.units[u].late[i] = flight
			if !yield(x) {
				return
			}
		}
	}
}

// alive tells whether a checkpoint can still be of effect. Ids of marks are never used again, and whoever sends one has
// seen from in the store: once that is gone, it does not come back.
func (m *model) alive(s *modelState, u int, c modelCheckpoint) bool {
	held := s.units[u].mark.id
	return m.steps.unfenced || c.from == held || c.from == 0 && int(s.log.drops) < m.drop || m.steps.again && c.to.id == held
}

// to moves a run to another phase and emits that; the run that it ends may have a checkpoint under way.
func (m *model) to(s *modelState, w, u int, a modelAction, change func(t *modelState, r *modelRun)) {
	for t := range m.endRun(s, w, u) {
		change(&t, &t.units[u].runs[w])
		m.emit(a, &t, "")
	}
}

func (m *model) nextOfRun(s *modelState, w, u int) {
	r := &s.units[u].runs[w]
	act := func(what string) modelAction { return modelAction{what: what, worker: int8(w), unit: int8(u)} }
	slow := func(what string) modelAction { a := act(what); a.fault = true; return a }
	if r.phase != modelDown {
		m.to(s, w, u, slow("is told that the unit is not its own any more, and stops"), func(*modelState, *modelRun) {})
	}
	switch r.phase {
	case modelDown:
		m.to(s, w, u, act("starts: it holds that the unit is its own"), func(_ *modelState, r *modelRun) { r.phase = modelStarting })
	case modelStarting:
		m.to(s, w, u, act("reads the mark"), func(t *modelState, r *modelRun) { r.phase, r.held = modelFound, t.units[u].mark })
	case modelFound:
		m.begin(s, w, u, act("judges the log by the mark that it found"))
	case modelClaiming:
		m.reply(s, w, u, act("its claim is answered"), slow("its claim reaches the store, the reply is lost"))
	case modelOwning:
		m.own(s, w, u, act)
		m.reply(s, w, u, act("its checkpoint is answered"), slow("its checkpoint reaches the store, the reply is lost"))
	case modelStandby:
		m.standby(s, w, u, act("stands by, looks, and sees the mark move"), act("stands by, and takes over: the owner makes no progress"))
	case modelHalting:
		m.to(s, w, u, act("is halted, and reads the mark"), func(t *modelState, h *modelRun) {
			h.phase, h.reason, h.held = modelHalted, r.reason, t.units[u].mark
		})
	case modelHalted:
		m.halted(s, w, u, act("is halted, and looks"))
	}
}

// judge asks the log and lets the engine decide. What the decision must not be is looked at here: last is the event that
// the position truly is of.
func (m *model) judge(s *modelState, at position, proofs [4]uint8, created, last uint8, a *modelAction) (j modelJudgement, wrong string) {
	l := &s.log
	seq := uint8(at.seq)
	key := modelRuling{seq, created, proofs, l.created, l.first, l.n, l.events}
	j, ok := m.memo[key]
	if !ok {
		var heard []testimony
		for _, w := range at.witnesses {
			t := testimony{witness: w}
			if n := w.Seq; n >= uint64(l.first) && n <= uint64(l.n) {
				t.found, t.readable = l.witness(l.events[n-1]), true
			}
			heard = append(heard, t)
		}
		proof, v := m.steps.whose(at, projections.Beginning, l.bounds(), heard)
		j.proof = proof
		switch {
		case v != nil && v.Reason == Gap:
			j.reason = 1
		case v != nil:
			j.reason = 2
		}
		m.memo[key] = j
	}
	switch truth := l.has(last, seq); {
	case j.reason == 1 && l.first <= seq+1:
		wrong = "GAP, but the log has the next event"
	case j.reason == 2 && truth:
		wrong = "DIVERGED, but the log is the one that was folded"
	case j.reason == 0 && !truth && j.proof == ProofCreated:
		a.beyondLimit = true
	case j.reason == 0 && !truth:
		wrong = "a log was accepted that is not the one that was folded"
	case j.reason == 0 && l.first > seq+1:
		wrong = "a log was accepted that has lost events which the snapshot lacks"
	}
	return j, wrong
}

// begin judges, and claims.
func (m *model) begin(s *modelState, w, u int, a modelAction) {
	r := s.units[u].runs[w]
	j, wrong := m.judge(s, positionOf(r.held.real(&s.log)), r.held.proofs, r.held.created, r.held.last, &a)
	t := *s
	n := &t.units[u].runs[w]
	if j.reason != 0 {
		a.what += ", and halts"
		*n = modelRun{highest: n.highest, phase: modelHalting, reason: j.reason}
		m.emit(a, &t, wrong)
		return
	}
	a.what += ", and sends its claim"
	n.phase, n.bounds = modelClaiming, t.log.created
	m.sendClaim(&t, u, w)
	m.emit(a, &t, wrong)
}

func (m *model) sendClaim(t *modelState, u, w int) {
	r := &t.units[u].runs[w]
	bounds := t.log.bounds()
	bounds.Created = modelTimes[r.bounds]
	to := m.steps.claimOf(r.held.real(&t.log), uint64(r.highest), bounds, "f")
	r.flight = modelCheckpoint{claim: true, from: r.held.id, after: r.held.seq, to: sealedModel(to, w, t.units[u].unused(), r.held.last)}
}

// deliver is the store: it applies a checkpoint or not.
func (m *model) deliver(s *modelState, u int, c modelCheckpoint, a *modelAction) (p snapshotstore.Passage, wrong string) {
	unit := &s.units[u]
	p = m.steps.fence(rawOfModel(unit.mark.id), rawOfModel(c.from), rawOfModel(c.to.id))
	if p == snapshotstore.Applied && (m.steps.again || m.steps.apart) {
		for k := range modelKeys {
			for _, e := range c.value[k] {
				if c.keys&(1<<k) != 0 && e != 0 && s.log.seqOf[e] > c.after {
					unit.held.add(e)
				}
			}
		}
		return p, unit.sound(&s.log)
	}
	if p != snapshotstore.Applies {
		return p, ""
	}
	was := unit.mark
	unit.mark, a.claimed = c.to, c.claim
	if !m.steps.apart {
		for k := range modelKeys {
			if c.keys&(1<<k) != 0 {
				unit.held[k] = c.value[k]
			}
		}
	}
	switch {
	case was.id == 0 || m.steps.ownersUnseen:
	case c.to.epoch < was.epoch:
		return p, fmt.Sprintf("the epoch went back from %d to %d", was.epoch, c.to.epoch)
	case c.to.seq < was.seq:
		return p, fmt.Sprintf("the seq that readers see went back from %d to %d", was.seq, c.to.seq)
	case c.to.epoch == was.epoch && c.to.writer != was.writer:
		return p, fmt.Sprintf("two owners in epoch %d: %s after %s", was.epoch, modelNames[c.to.writer], modelNames[was.writer])
	}
	return p, unit.sound(&s.log)
}

// reply lets the checkpoint under way reach the store, with and without its reply reaching the worker. One whose reply
// was lost is sent again: the same.
func (m *model) reply(s *modelState, w, u int, a, lost modelAction) {
	c := s.units[u].runs[w].flight
	if c.to.id == 0 {
		return
	}
	t := *s
	had := t.units[u].mark
	p, wrong := m.deliver(&t, u, c, &a)
	if p == snapshotstore.Applies || wrong != "" {
		lost.claimed = a.claimed
		m.emit(lost, &t, wrong)
	}
	r := &t.units[u].runs[w]
	if p != snapshotstore.Refused {
		a.what += ": applied"
		m.settle(r, c)
		m.emit(a, &t, wrong)
		return
	}
	if had.id == c.to.id {
		wrong = "a checkpoint was refused to its own sender, after the store had applied it"
	}
	l := &t.log
	held := t.units[u].mark
	var what response
	var highest uint64
	if c.claim {
		what, highest = m.steps.afterRefusedClaim(modelNames[w], r.held.real(l), c.to.real(l), held.real(l), uint64(r.highest))
	} else {
		what, highest = m.steps.afterConflict(modelNames[w], r.held.real(l), held.real(l), uint64(r.highest))
	}
	r.flight = modelCheckpoint{} // refused once, it is refused for ever
	m.respond(&t, w, u, what, highest, a, wrong)
}

// settle is what an applied checkpoint means to its sender.
func (m *model) settle(r *modelRun, c modelCheckpoint) {
	r.flight = modelCheckpoint{}
	if !c.claim {
		r.held = c.to
		return
	}
	*r = modelRun{phase: modelOwning, highest: max(r.highest, c.to.epoch), held: c.to, fresh: c.from == 0,
		seq: c.to.seq, last: c.to.last, created: c.to.created}
}

// respond does what was decided about a mark that was not expected.
func (m *model) respond(s *modelState, w, u int, what response, highest uint64, a modelAction, wrong string) {
	if what == responseClaimAgain {
		t := *s
		r := &t.units[u].runs[w]
		r.highest, r.held = uint8(highest), t.units[u].mark
		m.sendClaim(&t, u, w)
		a.what += ": refused; it claims what the owner left meanwhile"
		m.emit(a, &t, wrong)
		return
	}
	for t := range m.endRun(s, w, u) {
		r := &t.units[u].runs[w]
		r.highest = uint8(highest)
		b := a
		switch what {
		case responseStandBy:
			b.what += ": another has the unit, it stands by"
			r.phase, r.held = modelStandby, t.units[u].mark
			r.highest = max(r.highest, r.held.epoch)
		case responseBeginAgain, responseRefold, responseReload:
			b.what += ": it begins again"
			r.phase = modelStarting
		default:
			wrong = "no response"
		}
		m.emit(b, &t, wrong)
	}
}

// at is the position of what an owner has folded, as runner.position has it.
func (r *modelRun) at(l *modelLog) (position, [4]uint8) {
	p := position{seq: uint64(r.seq), created: modelTimes[r.created], witnesses: witnessesWith(r.held.real(l).Witnesses, l.witness(r.last))}
	var proofs [4]uint8
	for i, w := range p.witnesses {
		proofs[i] = w.Hash[0] - 'a'
	}
	return p, proofs
}

// own is what an owner can do but wait for replies.
func (m *model) own(s *modelState, w, u int, act func(string) modelAction) {
	r := &s.units[u].runs[w]
	l := &s.log
	if unit := &s.units[u]; r.flight.to.id == 0 && !m.steps.sameMark(r.held.real(l), unit.mark.real(l)) {
		t := *s
		what, highest := m.steps.afterConflict(modelNames[w], r.held.real(l), unit.mark.real(l), uint64(r.highest))
		m.respond(&t, w, u, what, highest, act("looks at the mark"), "")
	}
	switch r.reader {
	case modelNoReader:
		if r.seq > l.n {
			m.recognise(s, w, u, act("can't open a reader, and judges the log"), false)
			return
		}
		t := *s
		t.units[u].runs[w].reader, t.units[u].runs[w].opened = modelOpened, r.created
		m.emit(act("opens a reader"), &t, "")
	case modelOpened, modelOpenedEnded:
		m.recognise(s, w, u, act("judges the log before the first event"), true)
	case modelJudged:
		if r.seq < l.n && l.first <= r.seq+1 {
			m.fold(s, w, u, m.batch(s, l.events[l.n-1], r.seq), act)
		}
	case modelJudgedEnded:
		if e := r.read; e != 0 && l.seqOf[e] > r.seq {
			m.fold(s, w, u, m.batch(s, e, r.seq), act)
		}
	}
	if r.reader == modelOpenedEnded || r.reader == modelJudgedEnded {
		m.recognise(s, w, u, act("sees that its reader has ended, and judges the log"), false)
	}
	if r.flight.to.id == 0 && r.seq > r.held.seq {
		t := *s
		n := &t.units[u].runs[w]
		to := m.steps.checkpointOf(r.held.real(l), position{seq: uint64(r.seq), created: modelTimes[r.created]}, l.witness(r.last))
		n.flight = modelCheckpoint{to: sealedModel(to, w, t.units[u].unused(), r.last), from: r.held.id, after: r.held.seq, keys: r.dirty}
		for k := range modelKeys {
			if r.dirty&(1<<k) != 0 {
				n.flight.value[k] = r.value[k]
			}
		}
		n.dirty = 0
		m.emit(act(fmt.Sprintf("sends a checkpoint, seq %d to %d", r.held.seq, r.seq)), &t, "")
	}
}

// recognise judges the log by what is folded.
func (m *model) recognise(s *modelState, w, u int, a modelAction, first bool) {
	r := &s.units[u].runs[w]
	at, proofs := r.at(&s.log)
	j, wrong := m.judge(s, at, proofs, r.created, r.last, &a)
	switch {
	case j.reason == 0:
		t := *s
		n := &t.units[u].runs[w]
		n.created, n.opened = t.log.created, 0
		switch {
		case !first:
			n.reader, n.read = modelNoReader, 0
		case !m.steps.sameLog(modelTimes[r.opened], modelTimes[t.log.created]):
			n.reader, n.read = modelNoReader, 0
			a.what += ": it was made again, the reader is opened once more"
		case n.reader == modelOpened:
			n.reader = modelJudged
		default:
			n.reader = modelJudgedEnded
		}
		m.emit(a, &t, wrong)
	case onlyTail(r.held.real(&s.log), uint64(r.seq)):
		a.what += ": what is not committed is not of it, it begins again"
		m.to(s, w, u, a, func(_ *modelState, n *modelRun) { n.phase = modelStarting })
	default:
		a.what += ": it halts"
		for t := range m.endRun(s, w, u) {
			n := &t.units[u].runs[w]
			n.phase, n.reason = modelHalting, j.reason
			m.emit(a, &t, wrong)
		}
	}
}

// batch is what a reader hands out that has read up to an event: as a shared reader does, from before what is folded.
func (m *model) batch(s *modelState, last, seq uint8) []projections.Event {
	var chain [modelEvents]projections.Event
	n := len(chain)
	for e := last; e != 0 && s.log.seqOf[e] >= max(seq, 1); e = s.log.before[e] {
		n--
		chain[n] = projections.Event{Seq: uint64(s.log.seqOf[e]), Time: modelTimes[e]}
	}
	return append([]projections.Event(nil), chain[n:]...)
}

// fold folds the first event of a batch that is not folded yet.
func (m *model) fold(s *modelState, w, u int, events []projections.Event, act func(string) modelAction) {
	r := &s.units[u].runs[w]
	if len(events) == 0 || !continues(events[0].Seq-1, uint64(r.seq)) {
		return
	}
	if events = m.steps.tailOf(events, uint64(r.seq)); len(events) == 0 {
		return
	}
	e := uint8(events[0].Time.Sub(modelBegan) / time.Hour)
	a := act(fmt.Sprintf("folds event %d, seq %d", e, events[0].Seq))
	t := *s
	n := &t.units[u].runs[w]
	if k := keyOfModel(e); r.loaded&(1<<k) == 0 {
		if unit := &t.units[u]; !r.fresh { // else all that the snapshot has was folded here
			if l := &t.log; !m.steps.sameMark(r.held.real(l), unit.mark.real(l)) && !(r.flight.to.id != 0 && r.flight.to.id == unit.mark.id) {
				what, highest := m.steps.afterConflict(modelNames[w], r.held.real(l), unit.mark.real(l), uint64(r.highest))
				m.respond(&t, w, u, what, highest, act("loads a key, and sees another mark"), "")
				return
			}
			n.value[k] = unit.held[k]
		}
		n.loaded |= 1 << k
	}
	wrong := ""
	if s.log.before[e] != r.last {
		wrong = fmt.Sprintf("event %d is folded after event %d, which it did not follow", e, r.last)
	}
	n.value.add(e)
	n.dirty |= 1 << keyOfModel(e)
	n.seq, n.last = uint8(events[0].Seq), e
	m.emit(a, &t, wrong)
}

// standby is one look of a standby, with the owner's time up and not.
func (m *model) standby(s *modelState, w, u int, moved, over modelAction) {
	unit := &s.units[u]
	l := &s.log
	left, now := unit.runs[w].held.real(l), unit.mark.real(l)
	begin := func(a modelAction) {
		t := *s
		t.units[u].runs[w] = modelRun{phase: modelStarting, highest: unit.runs[w].highest}
		m.emit(a, &t, "")
	}
	other := &unit.runs[1-w]
	switch standbySees(left, now, 0, gaveUp, 0) {
	case standingMoved:
		t := *s
		t.units[u].runs[w].held = unit.mark
		m.emit(moved, &t, "")
	case standingGone: // whether the membership is right or wrong
		a := over
		a.what, a.fault = "stands by, and takes over: the membership says that the owner gave it up", other.phase != modelDown
		begin(a)
	}
	seq := unit.mark.seq
	if standbySees(left, now, standbyAfter, there, 0) != standingStill || !(l.n < seq || l.n > seq && l.n >= l.first) {
		return
	}
	switch other.phase {
	case modelStarting, modelFound, modelClaiming:
		over.fault = true // without faults it would have made progress
	case modelOwning:
		over.fault = other.held.id == unit.mark.id
	}
	begin(over)
}

// halted is one look of a halted unit, and a judgement of the log once in a while.
func (m *model) halted(s *modelState, w, u int, a modelAction) {
	unit := &s.units[u]
	r := &unit.runs[w]
	l := &s.log
	t := *s
	n := &t.units[u].runs[w]
	switch haltedSees(modelNames[w], r.held.real(l), unit.mark.real(l)) {
	case sightClaimed:
		a.what += ": another has claimed it, which is about to meet the same"
		n.held = unit.mark
	case sightOwned:
		a.what += ": another has it, it stands by"
		*n = modelRun{phase: modelStandby, held: unit.mark, highest: max(r.highest, unit.mark.epoch)}
	case sightChanged:
		a.what += ": the snapshot is another, it begins again"
		*n = modelRun{phase: modelStarting, highest: r.highest}
	default:
		j, wrong := m.judge(s, positionOf(r.held.real(l)), r.held.proofs, r.held.created, r.held.last, &a)
		if j.reason != 0 || j.proof == ProofCreated && r.reason != 1 {
			a.beyondLimit = false
			if wrong != "" {
				m.emit(a, &t, wrong)
			}
			return
		}
		a.what += ": the log is the right one again"
		*n = modelRun{phase: modelStarting, highest: r.highest}
		m.emit(a, &t, wrong)
		return
	}
	m.emit(a, &t, "")
}
