package consumer

import (
	"fmt"
	"time"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

// This file is the model of the protocol: its state and what can be seen in one. docs/model.md says what it stands for.
// model_actions_test.go has what can happen, over the functions of protocol.go and judge.go that the engine itself runs.

const (
	modelWorkers = 2
	modelUnits   = 2 // at the most
	modelEvents  = 4 // at the most
	modelKeys    = 2 // an event changes the key that its id's last bit names
	modelLate    = 2 // checkpoints of senders that are gone, still under way, for each unit

	deadMark  = 255 // a mark that no store holds, nor ever will
	aloneMark = 254 // a mark that nobody knows but the one who sent it in vain
)

// mark is a snapshotstore.Mark in few bytes. Of witnesses the ids of the events are kept.
type modelMark struct {
	id      uint8 // 0: no mark
	seq     uint8
	epoch   uint8
	writer  uint8
	created uint8
	last    uint8 // the event at seq, which the mark itself does not know: what it is judged by here
	proofs  [4]uint8
}

// modelValue is what a snapshot holds: for each key the ids of the events that were folded into it, in order.
type modelValue [modelKeys][modelEvents]uint8

// modelCheckpoint is a checkpoint on its way to the store.
type modelCheckpoint struct {
	to    modelMark // id 0: there is none
	from  uint8
	after uint8 // seq of from
	claim bool
	keys  uint8 // bit set: of these keys it has the values
	value modelValue
}

// modelPhase is where a worker is with a unit.
type modelPhase uint8

const (
	modelDown     modelPhase = iota // it does not run: the worker is dead, or membership says that it is another's
	modelStarting                   // knows nothing
	modelFound                      // has read the mark
	modelClaiming                   // its claim is under way
	modelOwning                     // folds and makes checkpoints
	modelStandby                    // another has it
	modelHalting                    // has a verdict
	modelHalted                     // and has seen what the store holds
	modelPhases
)

// modelReader is the state of an owner's reader of the log.
type modelReader uint8

const (
	modelNoReader    modelReader = iota
	modelOpened                  // tied to the log as it is
	modelJudged                  // and the log was judged since
	modelOpenedEnded             // it ended before the log was judged; what it had read is still there
	modelJudgedEnded
)

// modelRun is what a worker's memory holds about a unit.
type modelRun struct {
	phase   modelPhase
	highest uint8
	reason  uint8 // the verdict: 1 GAP, 2 DIVERGED
	held    modelMark
	bounds  uint8 // created of the log as it was judged before the claim
	flight  modelCheckpoint
	fresh   bool
	reader  modelReader
	opened  uint8 // created of the log as it was judged before the reader was opened
	read    uint8 // the last event that a reader that has ended had read
	seq     uint8
	last    uint8
	created uint8
	loaded  uint8
	dirty   uint8
	value   modelValue
}

type modelUnit struct {
	mark modelMark
	held modelValue
	late [modelLate]modelCheckpoint
	runs [modelWorkers]modelRun
}

// modelLog is the log, with the history of all that it ever held: the events' ids are given out in order.
type modelLog struct {
	created  uint8
	first, n uint8
	events   [modelEvents]uint8 // by seq - 1; also those that are trimmed
	used     uint8              // ids given out
	upsets   uint8
	drops    uint8
	faults   uint8                  // where they are counted
	before   [modelEvents + 1]uint8 // the event that an event followed when it was stored, 0: none
	seqOf    [modelEvents + 1]uint8
	madeIn   [modelEvents + 1]uint8
}

type modelState struct {
	log   modelLog
	units [modelUnits]modelUnit
}

var ( // constants, in effect
	modelTimes [16]time.Time
	modelRaw   [256]byte
	modelHash  [16]string
	modelNames = [modelWorkers]string{"one", "two"}
	modelBegan = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	_          = func() bool {
		for i := range modelTimes {
			modelTimes[i] = modelBegan.Add(time.Duration(i) * time.Hour)
			modelHash[i] = string(rune('a' + i))
		}
		for i := range modelRaw {
			modelRaw[i] = byte(i)
		}
		return true
	}()
)

func rawOfModel(id uint8) []byte {
	if id == 0 {
		return nil
	}
	return modelRaw[id : int(id)+1]
}

func (l *modelLog) witness(event uint8) Witness {
	if event == 0 {
		return Witness{}
	}
	return Witness{Seq: uint64(l.seqOf[event]), Time: modelTimes[event], Hash: modelHash[event]}
}

func (l *modelLog) bounds() Bounds {
	return Bounds{Stream: "S", Created: modelTimes[l.created], First: uint64(l.first), Last: uint64(l.n)}
}

// has tells whether the log as it is goes on from an event at seq, whatever of it is trimmed.
func (l *modelLog) has(event, seq uint8) bool {
	return seq == 0 || seq <= l.n && l.events[seq-1] == event
}

// real is the mark as the engine's functions take it.
func (m modelMark) real(l *modelLog) snapshotstore.Mark {
	if m.id == 0 {
		return snapshotstore.Mark{}
	}
	mark := snapshotstore.Mark{Format: 1, Seq: uint64(m.seq), Stream: "S", Created: modelTimes[m.created], Fingerprint: "f",
		Epoch: uint64(m.epoch), Writer: modelNames[m.writer], Raw: rawOfModel(m.id)}
	n := 0
	for n < len(m.proofs) && m.proofs[n] != 0 {
		n++
	}
	mark.Witnesses = make([]Witness, n)
	for i := range n {
		mark.Witnesses[i] = l.witness(m.proofs[i])
	}
	return mark
}

// sealed is a real mark in few bytes, as a worker sends it.
func sealedModel(mark snapshotstore.Mark, worker int, id, last uint8) modelMark {
	m := modelMark{id: id, seq: uint8(mark.Seq), epoch: uint8(mark.Epoch), writer: uint8(worker), last: last,
		created: uint8(mark.Created.Sub(modelBegan) / time.Hour)}
	for i, w := range mark.Witnesses {
		m.proofs[i] = w.Hash[0] - 'a'
	}
	return m
}

func keyOfModel(event uint8) int { return int(event) % modelKeys }

func (v *modelValue) add(event uint8) {
	list := &v[keyOfModel(event)]
	for i := range list {
		if list[i] == 0 {
			list[i] = event
			return
		}
	}
}

// foldOf is what a full replay of the log up to and including an event gives, of the log that had it.
func (l *modelLog) foldOf(last uint8) (v modelValue) {
	var chain [modelEvents]uint8
	n := 0
	for e := last; e != 0; e = l.before[e] {
		chain[n] = e
		n++
	}
	for n > 0 {
		n--
		v.add(chain[n])
	}
	return v
}

// sound tells what is wrong with the snapshot that the store holds; "" if nothing is.
func (u *modelUnit) sound(l *modelLog) string {
	switch m := u.mark; {
	case m.id == 0 && u.held != (modelValue{}):
		return "there are values without a mark"
	case m.seq != l.seqOf[m.last]:
		return fmt.Sprintf("the mark says seq %d, its last event is that of seq %d", m.seq, l.seqOf[m.last])
	case u.held != l.foldOf(m.last):
		return fmt.Sprintf("the values at seq %d are %v; a full replay gives %v", m.seq, u.held, l.foldOf(m.last))
	case m.seq > 0 && m.created != l.madeIn[m.last]:
		return "the mark names another log than that of its events"
	case m.seq > 0 && m.proofs[0] != m.last:
		return "the mark's newest witness is not its last event"
	}
	return ""
}

// settled tells whether there is nothing left to do: the snapshot is at the log's head, or not of this log.
func (u *modelUnit) settled(l *modelLog) bool {
	m := u.mark
	return m.seq == l.n && l.has(m.last, m.seq) || !l.has(m.last, m.seq) || l.first > m.seq+1
}

// fence etc. are the steps that the model takes. Wrong ones must be found out.
type modelSteps struct {
	fence             func(held, from, to []byte) snapshotstore.Passage
	claimOf           func(found snapshotstore.Mark, highest uint64, log Bounds, fingerprint string) snapshotstore.Mark
	afterRefusedClaim func(me string, found, to, held snapshotstore.Mark, highest uint64) (response, uint64)
	afterConflict     func(me string, left, held snapshotstore.Mark, highest uint64) (response, uint64)
	checkpointOf      func(held snapshotstore.Mark, folded position, last Witness) snapshotstore.Mark
	whose             func(at position, start projections.Start, log Bounds, heard []testimony) (Proof, *Verdict)
	tailOf            func(events []projections.Event, seq uint64) []projections.Event
	sameLog           func(opened, judged time.Time) bool
	sameMark          func(left, held snapshotstore.Mark) bool
	unfenced          bool // fence lets checkpoints in from any mark
	ownersUnseen      bool // what owners do to marks is not looked at, only what becomes of the values
	again             bool // a store that adds what a checkpoint changes, and does so once more when it is sent again
	apart             bool // a store that keeps the position first and the values after
}

func engineSteps() modelSteps {
	return modelSteps{fence: snapshotstore.Fence, claimOf: claimOf, afterRefusedClaim: afterRefusedClaim, afterConflict: afterConflict,
		checkpointOf: checkpointOf, whose: whose, tailOf: tailOf, sameLog: sameLog, sameMark: sameMark}
}
