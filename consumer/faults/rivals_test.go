package faults

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// The tests of this file have two workers on the same units. One of them goes on, the other's checkpoints are refused.

// stands is the line of a worker that stands by.
func stands(model string) func(line) bool { return is(model, "standby") }

// mark is what the store says of a model's owner.
func (s *scene) mark(model string) (m struct {
	Seq, Epoch uint64
	Writer     string
}) {
	s.t.Helper()
	raw, err := s.server().Client().HGet(context.Background(), keyOf(model), "$mark").Result()
	if err == nil {
		err = json.Unmarshal([]byte(raw), &m)
	}
	if err != nil {
		s.t.Fatalf("mark of %s: %v", model, err)
	}
	return m
}

// TestAWorkerThatWasStoppedForLongStandsByWhenItGoesOn stops a worker by SIGSTOP in the middle of its work, and lets a
// rival make progress for longer than any lease would last.
func TestAWorkerThatWasStoppedForLongStandsByWhenItGoesOn(t *testing.T) {
	s := newScene(t)
	zombie := s.startWorker("")
	s.awaitSeq(300, allModels...)
	zombie.pause()
	rival := s.live()
	until := time.Now().Add(*zombieFor)
	for _, model := range allModels {
		rival.says("that it is live", is(model, "live"))
	}
	for time.Now().Before(until) {
		s.awaitSeq(s.published(), allModels...)
		time.Sleep(50 * time.Millisecond) // the time is what is tested
	}
	before := map[string]uint64{}
	for _, model := range allModels {
		before[model] = s.mark(model).Epoch
	}
	zombie.continueOn()
	for _, model := range allModels {
		zombie.says("that it stands by", stands(model))
	}
	s.awaitEvents(500)
	s.awaitSeq(s.published(), allModels...)
	for _, model := range allModels {
		if m := s.mark(model); m.Writer != rival.name || m.Epoch != before[model] {
			t.Errorf("%s is of %s with epoch %d, want %s with epoch %d", model, m.Writer, m.Epoch, rival.name, before[model])
		}
	}
	zombie.mustNotHalt()
	rival.mustNotHalt()
	s.finish()
}

// TestOfTwoWorkersOnTheSameUnitsOneIsLiveAndTheOtherTakesOverWhenItDies has two workers claim the same units under load.
func TestOfTwoWorkersOnTheSameUnitsOneIsLiveAndTheOtherTakesOverWhenItDies(t *testing.T) {
	s := newScene(t)
	workers := []*life{s.live(), s.live()}
	s.awaitSeq(1000, allModels...)
	s.awaitEvents(2000)
	s.awaitSeq(s.published(), allModels...)
	owners := map[string]*life{}
	for _, model := range allModels {
		m := s.mark(model)
		for i, w := range workers {
			if m.Writer == w.name {
				owners[model] = w
			} else {
				workers[i].says("that it stands by", stands(model))
			}
		}
		if m.Epoch > 6 {
			t.Errorf("%s has epoch %d after two starts: they fight", model, m.Epoch)
		}
		if n := len(workers[0].lines(stands(model))) + len(workers[1].lines(stands(model))); n > 2 {
			t.Errorf("%d times to standby on %s: they fight", n, model)
		}
	}
	dead := owners["total"]
	dead.kill()
	left := workers[0]
	if left == dead {
		left = workers[1]
	}
	died := time.Now()
	s.awaitSeq(s.published()+1, allModels...)
	if took := time.Since(died); took > 15*time.Second {
		t.Errorf("the other worker took over after %v", took)
	} else {
		t.Logf("taken over after %v", took.Round(time.Millisecond))
	}
	for _, model := range allModels {
		if m := s.mark(model); m.Writer != left.name {
			t.Errorf("%s is of %s, want %s", model, m.Writer, left.name)
		}
	}
	left.mustNotHalt()
	s.worker = left
	s.finish()
}

// TestStandbysNameTheOwner reads what the worker that stands by tells of itself in Redis.
func TestStandbysNameTheOwner(t *testing.T) {
	s := newScene(t)
	first := s.startWorker("")
	s.awaitSeq(100, allModels...)
	second := s.live()
	for _, model := range allModels {
		first.says("that it stands by", stands(model))
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		report, err := s.redis.Client().HGet(t.Context(), "tailfold:workers", first.name).Result()
		if err == nil && strings.Count(report, `standby`) >= len(allModels) && strings.Contains(report, second.name) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s reports %s (%v)", first.name, report, err)
		}
		time.Sleep(20 * time.Millisecond) // polls what another process writes
	}
	s.finish()
}
