package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestAnEventThatEndsTheProcessIsFoundAndOnlyItsUnitHalts has total's step call os.Exit at one event. A supervisor starts
// worker after worker: one of them finds the event, halts that unit and lives on. The other units, which die with it
// each time, are never blamed.
func TestAnEventThatEndsTheProcessIsFoundAndOnlyItsUnitHalts(t *testing.T) {
	for round := range max(2, *kills/6) {
		t.Run(fmt.Sprint("round ", round), func(t *testing.T) {
			s := newScene(t)
			w := s.startWorker("")
			s.awaitSeq(uint64(50+s.rng.IntN(500)), allModels...)
			backlog := s.rng.IntN(2) == 0 // the event is met in the middle of a replay, or as the newest one
			if backlog {
				s.killWorker()
				s.awaitEvents(uint64(s.rng.IntN(3000)))
			}
			deadly := s.publishOne(func(x *event) { x.Exit = true })
			if backlog {
				s.awaitEvents(uint64(s.rng.IntN(3000)))
				w = s.startWorker("")
			}
			deaths := 0
			for len(w.lines(halts("total", "POISON"))) == 0 {
				if !w.ends(20 * time.Millisecond) {
					continue
				}
				if code := w.cmd.ProcessState.ExitCode(); code != 3 {
					t.Fatalf("the worker ended with code %d:\n%s", code, w.output.end())
				}
				// Seven or eight lives, where none of them gets on; each that does, before it dies, costs some more.
				if deaths++; deaths > 30 {
					t.Fatalf("%d workers died, and still it is not found; the last one said:\n%s", deaths, w.output.end())
				}
				w = s.startWorker("")
			}
			x := w.says("POISON", halts("total", "POISON"))
			if x.EventSeq != deadly || !strings.Contains(x.Evidence, "died while they folded it alone") {
				t.Errorf("the verdict says %+v, the event is %d", x, deadly)
			}
			if seq := s.mustBeAPrefix("total"); seq != deadly-1 {
				t.Errorf("total is at seq %d, before the event it was %d", seq, deadly-1)
			}
			t.Logf("backlog %v: found by life %d", backlog, deaths+1)
			s.finishAll("accounts", "ids")
			for _, x := range w.lines(func(x line) bool { return x.Msg == "halted" && x.Projection != "total" }) {
				t.Errorf("%s was blamed: %s: %s", x.Projection, x.Verdict, x.Evidence)
			}
		})
	}
}

// TestAValueThatGrowsTooLargeHaltsItsUnitAlone has sets of ids grow past the bound.
func TestAValueThatGrowsTooLargeHaltsItsUnitAlone(t *testing.T) {
	s := newScene(t)
	const bound = 210 // accounts, which come to know 40 partners, are beyond it first
	w := s.live(fmt.Sprint("TAILFOLD_FAULTS_MAX_VALUE=", bound))
	s.worker = w
	x := w.says("TOO_LARGE", halts("accounts", "TOO_LARGE"))
	for _, fact := range []string{"accounts/v1/0", x.Key, fmt.Sprint(bound), fmt.Sprint("event ", x.EventSeq)} {
		if fact == "" || !strings.Contains(x.Evidence, fact) {
			t.Errorf("the evidence lacks %q: %s", fact, x.Evidence)
		}
	}
	if seq := s.mustBeAPrefix("accounts"); seq != x.EventSeq-1 {
		t.Errorf("accounts is at seq %d, the event is %d", seq, x.EventSeq)
	}
	s.killWorker()
	again := s.live(fmt.Sprint("TAILFOLD_FAULTS_MAX_VALUE=", bound))
	y := again.says("TOO_LARGE", halts("accounts", "TOO_LARGE"))
	if y.EventSeq < x.EventSeq { // a later one, where the key was gone again before a checkpoint could see how large it was
		t.Errorf("the next worker says %+v, the one before said %+v", y, x)
	}
	s.worker = again
	s.finishAll("total")
	again.kill()
	s.startWorker("") // with the default bound
	s.finish()
}
