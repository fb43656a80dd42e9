package faults

import (
	"fmt"
	"testing"
	"time"
)

var failpoints = []string{"before-fold", "after-fold", "before-commit", "after-commit", "during-load", "after-claim"}

// failpointAt draws a failpoint, and after how many passages the process is killed there. It is never the first few:
// a worker that is killed at the same event again and again is right to call it poison.
func (s *scene) failpointAt() string {
	return fmt.Sprintf("%s:%d", failpoints[s.rng.IntN(len(failpoints))], 4+s.rng.IntN(60))
}

func TestKilledWorkersLeaveNothingThatAFullReplayWouldNot(t *testing.T) {
	s := newScene(t)
	for range *kills {
		if s.rng.IntN(3) == 0 { // blind
			s.startWorker("")
			s.await(time.Duration(30+s.rng.IntN(500)) * time.Millisecond)
		} else {
			s.startWorker(s.failpointAt())
			s.await(time.Duration(200+s.rng.IntN(1000)) * time.Millisecond)
		}
		s.killWorker()
	}
	s.finish()
}

// TestWorkersKilledInAReplayOfManyKeys kills workers whose checkpoints have thousands of keys: these go to Redis by a
// transaction, and no longer by the script. Where no life came to a checkpoint, the next one looks for a deadly event in
// small steps, so that some events have as many keys by themselves.
func TestWorkersKilledInAReplayOfManyKeys(t *testing.T) {
	s := newScene(t)
	s.environment = append(s.environment, "TAILFOLD_FAULTS_CACHE=0") // the default
	s.foldAndStop()
	for range *kills {
		for range 5 {
			s.publishTail(200_000)
		}
		s.publishAtOnce(1, nil, wide)
		s.startWorker("")
		s.await(time.Duration(50+s.rng.IntN(600)) * time.Millisecond)
		s.killWorker()
		s.mustBeAPrefix("accounts")
	}
	for range 10 { // for a life that is not killed, also where a busy machine let none of the others get far
		s.publishTail(200_000)
	}
	s.publishAtOnce(1, nil, wide)
	s.finish()
	s.mustHaveFolded(0)
	var bulks int
	stats := s.redis.Client().InfoMap(t.Context(), "commandstats").Val()["Commandstats"]
	if _, err := fmt.Sscanf(stats["cmdstat_watch"], "calls=%d,", &bulks); err != nil {
		t.Errorf("no checkpoint was a transaction: %v", err)
	}
	t.Logf("%d checkpoints were transactions", bulks)
}

func wide(x *event) { x.From, x.To, x.Amount, x.Also = accountKey(1), accountKey(2), 1, 5000 }

func TestRedisKilledAndStartedAgain(t *testing.T) {
	for _, persistence := range [][]string{
		{"--appendonly", "yes", "--appendfsync", "always"},
		{"--appendonly", "yes", "--appendfsync", "everysec"},
		{"--save", "1 1"},
		{"--appendonly", "no", "--save", ""},
	} {
		t.Run(fmt.Sprint(persistence), func(t *testing.T) {
			s := newScene(t, persistence...)
			if persistence[1] != "yes" || persistence[3] != "always" {
				s.mayGoBack()
			}
			s.startWorker("")
			for range max(1, *kills/4) {
				s.await(time.Duration(300+s.rng.IntN(1500)) * time.Millisecond)
				s.redis.Kill()
				s.await(time.Duration(s.rng.IntN(700)) * time.Millisecond)
				s.redis.Restart()
			}
			s.await(time.Second)
			s.finish()
		})
	}
}

func TestNATSKilledAndStartedAgain(t *testing.T) {
	s := newScene(t)
	s.startWorker("")
	for range max(1, *kills/3) {
		s.await(time.Duration(300+s.rng.IntN(1000)) * time.Millisecond)
		s.nats.Kill()
		s.await(time.Duration(s.rng.IntN(500)) * time.Millisecond)
		s.nats.Restart()
	}
	s.await(time.Second)
	s.finish()
}

// TestNATSStoppedInGoodOrderIsFollowedAtOnce: a server that is stopped takes requests to the last, whose answers nobody gets.
func TestNATSStoppedInGoodOrderIsFollowedAtOnce(t *testing.T) {
	s := newScene(t)
	w := s.startWorker("")
	s.awaitSeq(100, allModels...)
	var longest time.Duration
	for range 3 + *kills/3 {
		s.await(time.Duration(s.rng.IntN(300)) * time.Millisecond)
		s.nats.Stop()
		s.nats.Restart()
		back, last := time.Now(), s.published()+10
		s.awaitEvents(10)
		s.awaitSeq(last, allModels...)
		longest = max(longest, time.Since(back))
	}
	t.Logf("%v after the server was back, at most, the worker had gone on", longest.Round(time.Millisecond))
	if longest > 4*time.Second { // less than an answer is waited for
		t.Error("it waited for answers that the server took with it")
	}
	s.finish()
	w.mustNotHalt()
}

func TestWorkersKilledWhileTheServersAreKilledToo(t *testing.T) {
	s := newScene(t, "--appendonly", "yes", "--appendfsync", "always")
	for range max(2, *kills/2) {
		s.startWorker(s.failpointAt())
		s.await(time.Duration(100+s.rng.IntN(600)) * time.Millisecond)
		switch s.rng.IntN(3) {
		case 0:
			s.redis.Kill()
			s.killWorker()
			s.redis.Restart()
		case 1:
			s.nats.Kill()
			s.killWorker()
			s.nats.Restart()
		default:
			s.killWorker()
		}
	}
	s.finish()
}
