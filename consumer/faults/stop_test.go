package faults

import (
	"testing"
	"time"
)

// A worker has own after SIGTERM for its last checkpoints, and takes little more: a second to resign, and what a busy
// machine adds.
const (
	own   = 2 * time.Second
	grace = own + 3*time.Second
)

// TestTermEndsAWorkerInTime has workers end by SIGTERM in hard moments: in time, with exit code 0, with nothing lost but time.
func TestTermEndsAWorkerInTime(t *testing.T) {
	for name, hardship := range map[string]func(s *scene) (heal func()){
		"all is well": func(*scene) func() { return func() {} },
		"Redis is slow": func(s *scene) func() {
			slow := startBrake(s.t, s.redis.Addr())
			s.redisURL = "redis://" + slow.addr()
			s.killWorker()
			s.startWorker("")
			slow.slow(200 * time.Millisecond)
			s.await(time.Second)
			return func() { slow.slow(0) }
		},
		"Redis does not answer": func(s *scene) func() { s.redis.Pause(); s.await(500 * time.Millisecond); return s.redis.Continue },
		"Redis is away": func(s *scene) func() {
			s.redis.Restart("--save", "3600 1")
			s.redis.Stop()
			return func() { s.redis.Restart() }
		},
		"NATS does not answer": func(s *scene) func() { s.nats.Pause(); s.await(500 * time.Millisecond); return s.nats.Continue },
		"NATS is away":         func(s *scene) func() { s.nats.Kill(); s.await(500 * time.Millisecond); return s.nats.Restart },
		"both do not answer": func(s *scene) func() {
			s.nats.Pause()
			s.redis.Pause()
			s.await(500 * time.Millisecond)
			return func() { s.nats.Continue(); s.redis.Continue() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			s := newScene(t, "--save", "3600 1")
			s.environment = []string{"TAILFOLD_FAULTS_GRACE=" + own.String()}
			s.startWorker("")
			s.awaitSeq(300, allModels...)
			heal := hardship(s)
			took := s.worker.terminate(grace)
			heal()
			t.Logf("ended after %v", took.Round(time.Millisecond))
			s.worker = nil
			s.startWorker("").mustNotHalt()
			s.finish()
		})
	}
}

// TestTermAtTheFirstMoments ends workers that have hardly begun.
func TestTermAtTheFirstMoments(t *testing.T) {
	s := newScene(t)
	for range max(6, *kills) {
		w := s.startWorker("")
		w.says("that it listens to signals", func(x line) bool { return x.Msg == "listening to signals" })
		s.await(time.Duration(s.rng.IntN(40)) * time.Millisecond)
		if took := w.terminate(grace); took > 2*time.Second {
			t.Errorf("with nothing to do it ended after %v", took)
		}
	}
	s.worker = nil
	s.finish()
	s.worker.mustNotHalt()
}

func TestTermAtTheFirstMomentWithServersThatAreAway(t *testing.T) {
	s := newScene(t)
	s.environment = []string{"TAILFOLD_FAULTS_GRACE=" + own.String()}
	s.startWorker("")
	s.awaitSeq(100, allModels...)
	s.killWorker()
	s.redis.Pause()
	s.nats.Pause()
	for range 2 {
		w := s.startWorker("")
		w.says("that it listens to signals", func(x line) bool { return x.Msg == "listening to signals" })
		s.await(time.Duration(s.rng.IntN(300)) * time.Millisecond)
		t.Logf("ended after %v", w.terminate(grace).Round(time.Millisecond))
	}
	s.redis.Continue()
	s.nats.Continue()
	s.worker = nil
	s.finish()
}

// TestAWorkerThatIsTerminatedHasCommittedAllThatItFolded looks at what is left to replay: nothing.
func TestAWorkerThatIsTerminatedHasCommittedAllThatItFolded(t *testing.T) {
	s := newScene(t)
	for range 3 {
		w := s.startWorker("")
		s.awaitEvents(uint64(200 + s.rng.IntN(300)))
		w.terminate(grace)
		said := w.lines(func(x line) bool { return x.Msg == "stopped, all that was folded is committed" })
		if len(said) != len(allModels) {
			t.Errorf("%d units stopped with all committed, want %d:\n%s", len(said), len(allModels), w.output.end())
		}
		s.seqs()
	}
	s.worker = nil
	s.finish()
}
