package schedules

const (
	commitFile   = "consumer/commit.go"
	foldingFile  = "consumer/folding.go"
	runnerFile   = "consumer/runner.go"
	protocolFile = "consumer/protocol.go"
	judgeFile    = "consumer/judge.go"
	unitFile     = "consumer/unit.go"
	tableFile    = "projections/table.go"
	fenceFile    = "snapshotstore/fence.go"
)

// wrongEngines are caught each by a seed that was found by searching (-find).
//
// Some that come to mind leave nothing wrong behind, because something else holds. A checkpoint while one is in flight: the
// fold does not give its changes twice, and the unit begins again from its snapshot. A checkpoint that failed taken for
// success: the next one is refused, or the next look at the store tells. Acked after a checkpoint whose outcome is unknown:
// the error ends the runner, and its fold with it. Values loaded under another mark than the one that was left there: they
// are folded, but the fence refuses the checkpoint; the check only saves the time. The record of skipped events not
// honoured: the event fails again, in the same way, and is skipped again. A lost tail that was folded and not committed
// taken for another log: a false DIVERGED, which the unit takes back within ten seconds by itself; that it does not say so
// in the first place has a test in consumer/faults. A skipped event's position that is not noted at once is too rare for
// random schedules, and has a test of its own (TestAStopInTheMiddleOfABatchKeepsValuesAndPositionTogether).
var wrongEngines = []mutant{
	{"position stored apart", 1, []edit{{protocolFile,
		"to.Seq, to.Created, to.Witnesses = folded.seq, folded.created, witnessesWith(held.Witnesses, last)",
		"to.Seq, to.Created, to.Witnesses = max(held.Seq, folded.seq-min(folded.seq, 1)), folded.created, witnessesWith(held.Witnesses, last)"}}},
	{"fence dropped", 2, []edit{{fenceFile, "return Refused", "return Applies"}}},
	{"epoch not raised", 1, []edit{{protocolFile, "max(found.Epoch, highest) + 1", "max(found.Epoch, highest)"}}},
	{"dirty key forgotten on conflict", 156, []edit{{runnerFile, "	default:\n		return &outcome{reload: fmt.Sprintf(\"the store holds",
		"	default:\n		if r.fold != nil {\n			r.fold.Acked()\n			r.held = held\n			return nil\n		}\n		return &outcome{reload: fmt.Sprintf(\"the store holds"}}},
	{"conflict taken for success", 4188, []edit{{commitFile, "		f.done <- err",
		"		if _, ok := errors.AsType[*snapshotstore.ConflictError](err); ok {\n			err = nil\n		}\n		f.done <- err"}}},
	{"deleted key read back", 3, []edit{{tableFile,
		"	for _, r := range t.dirty {\n		e := t.entries.entry(r)\n		e.dirty, e.inFlight = false, true\n	}\n	t.dirty, t.inFlight, t.guess = t.inFlight[:0], t.dirty, 0",
		"	var kept []ref\n	for _, r := range t.dirty {\n		e := t.entries.entry(r)\n		if e.dirty = false; !e.exists {\n			t.forget(e)\n			t.evicted = true\n			continue\n		}\n		e.inFlight = true\n		kept = append(kept, r)\n	}\n	t.dirty, t.inFlight, t.guess = t.inFlight[:0], kept, 0"}}},
	{"value in flight evicted", 1, []edit{{tableFile,
		"	for _, r := range t.dirty {\n		e := t.entries.entry(r)\n		e.dirty, e.inFlight = false, true\n	}\n	t.dirty, t.inFlight, t.guess = t.inFlight[:0], t.dirty, 0",
		"	for _, r := range t.dirty {\n		e := t.entries.entry(r)\n		e.dirty = false\n		t.forget(e)\n		t.evicted = true\n	}\n	t.dirty, t.guess = t.dirty[:0], 0"}}},
	{"witnesses not checked", 27, []edit{{judgeFile, "case !same(t.witness, t.found):", "case false:"}}},
	{"resumed one event too late", 1, []edit{{runnerFile, "r.seq, r.created, r.target = r.held.Seq,", "r.seq, r.created, r.target = min(r.held.Seq+1, max(bounds.Last, r.held.Seq)),"}}},
	{"resumed one event too early", 1, []edit{{runnerFile, "r.seq, r.created, r.target = r.held.Seq,", "r.seq, r.created, r.target = r.held.Seq-min(r.held.Seq, 1),"}}},
	{"resumed from the beginning", 1, []edit{{runnerFile, "feeds.join(r.u.worker.ctx, r.seq, r.created)", "feeds.join(r.u.worker.ctx, r.seq/2, r.created)"}}},
	{"stale cache after takeover", 2, []edit{
		{unitFile, "	chance  *chance       // of random waits", "	chance  *chance\n	kept    projections.Fold"},
		{runnerFile, "	return &runner{u: u, care: care, began: time.Now(),\n		fold: u.projection.NewFold(projections.FoldOptions{Subjects: u.subjects, MaxKey: c.MaxKey, MaxValue: c.MaxValue})}",
			"	if u.kept == nil {\n		u.kept = u.projection.NewFold(projections.FoldOptions{Subjects: u.subjects, MaxKey: c.MaxKey, MaxValue: c.MaxValue})\n	}\n	u.kept.Acked()\n	return &runner{u: u, care: care, began: time.Now(), fold: u.kept}"}}},
	{"event half folded", 2, []edit{
		{foldingFile, "if !failed.Intact && !(suspected", "if false && !(suspected"},
		{foldingFile, "	if failed.Intact {\n		return nil\n	}", "	if true {\n		return nil\n	}"}}},
	{"batch with a gap accepted", 19, []edit{{protocolFile, "return from <= seq }", "return true }"}}},
	{"log not judged when a reader is opened", 67, []edit{
		{runnerFile, "	if !r.judged {", "	if false {"},
		{runnerFile, "	bounds, out := r.recognise(ctx, r.position())\n	if out != nil {\n		return out\n	}\n	r.created = bounds.Created\n	if r.ends > 1", "	if r.ends > 1"}}},
	{"a shrunk log taken for the same", 79, []edit{{judgeFile, "	if log.Last < at.seq {", "	if false {"}}},
	{"gap not seen", 29, []edit{{judgeFile, "case log.First > at.seq+1 && sameCreated:", "case false:"}}},
	{"position moved without a witness", 13, []edit{{protocolFile, "folded.created, witnessesWith(held.Witnesses, last)", "folded.created, held.Witnesses"}}},
	{"event of the mark folded twice", 1, []edit{{protocolFile, "events[0].Seq <= seq", "events[0].Seq < seq"}}},
	{"suspects folded before what came first is committed", 2, []edit{{foldingFile, "if suspected { // what is folded so far", "if false { // what is folded so far"}}},
}
