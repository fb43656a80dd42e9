package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// The tests of this file have Redis go back to an earlier moment: values and marks together. That harms nothing: the
// worker meets an older mark, begins again from there and replays the tail. It is no reason for a verdict.

// wentBack is the line about a unit whose store has gone back: to an earlier mark, or to none, as a replica does that was
// about to copy everything anew when its primary died.
func wentBack(model string) func(line) bool {
	return func(x line) bool {
		return x.Projection == model && (strings.Contains(x.Why, "it went back by") || strings.Contains(x.Why, "is gone from the store"))
	}
}

// seqs are where the models stand.
func (s *scene) seqs() map[string]uint64 {
	s.t.Helper()
	at := map[string]uint64{}
	for _, model := range allModels {
		at[model] = s.mustBeAPrefix(model)
	}
	return at
}

func TestAFailoverThatLosesCheckpointsIsReplayed(t *testing.T) {
	for round := range max(1, *kills/12) {
		t.Run(fmt.Sprint("round ", round), func(t *testing.T) {
			primary := redistest.Start(t)
			replica, link := follower(t, primary)
			sentinel := redistest.StartSentinel(t, "house", primary, 1, 300*time.Millisecond)
			s := newSceneOn(t, primary)
			s.redisURL = "redis+sentinel://" + sentinel.Addr() + "/house/0"
			w := s.startWorker("")
			s.awaitSeq(uint64(200+s.rng.IntN(500)), allModels...)
			for _, model := range allModels {
				w.says("that it is live", is(model, "live"))
			}

			link.hold() // the replica falls behind
			s.awaitSeq(s.published()+uint64(300+s.rng.IntN(1000)), allModels...)
			primary.Pause()
			lost := s.published()
			s.mayGoBack()
			primary.Kill()
			sentinel.Await("the sentinel promotes the replica", func(client *redis.Client) bool {
				answer, err := client.Do(context.Background(), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "house").StringSlice()
				return err == nil && strings.Join(answer, ":") == replica.Addr()
			})
			s.moveTo(replica)
			s.mustNotGoBack()
			for _, model := range allModels {
				w.says("that the store went back", wentBack(model))
			}
			s.awaitSeq(lost, allModels...)
			w.mustNotHalt()
			s.finish()
			if !t.Failed() {
				t.Log(w.lines(wentBack("total"))[0].Why)
			}
		})
	}
}

// TestASnapshotPutBackToAnEarlierOneIsReplayed puts an older copy of one unit's hash back, as an operator might.
func TestASnapshotPutBackToAnEarlierOneIsReplayed(t *testing.T) {
	for _, live := range []bool{true, false} {
		t.Run(fmt.Sprint("live ", live), func(t *testing.T) {
			s := newScene(t)
			w := s.startWorker("")
			s.awaitSeq(300, allModels...)
			client := s.redis.Client()
			copied := map[string]string{}
			for _, model := range allModels {
				dump, err := client.Dump(t.Context(), keyOf(model)).Result()
				if err != nil {
					t.Fatal(err)
				}
				copied[model] = dump
			}
			s.awaitSeq(s.published()+500, allModels...)
			if !live {
				s.killWorker()
			}
			s.mayGoBack()
			for _, model := range allModels {
				if err := client.RestoreReplace(t.Context(), keyOf(model), 0, copied[model]).Err(); err != nil {
					t.Fatal(err)
				}
			}
			if live {
				for _, model := range allModels {
					w.says("that the store went back", wentBack(model))
				}
			} else {
				w = s.startWorker("")
			}
			s.finish()
			w.mustNotHalt()
		})
	}
}

// TestARedisRestoredFromAnEarlierFileIsReplayedIfTheLogStillHasTheTail restores yesterday's RDB file.
func TestARedisRestoredFromAnEarlierFileIsReplayedIfTheLogStillHasTheTail(t *testing.T) {
	for _, live := range []bool{true, false} {
		for _, trimmed := range []bool{false, true} {
			t.Run(fmt.Sprintf("live %v, log trimmed %v", live, trimmed), func(t *testing.T) {
				s := newScene(t)
				w := s.startWorker("")
				s.awaitSeq(300, allModels...)
				s.redis.Do("SAVE")
				file := filepath.Join(s.redis.Dir(), "dump.rdb")
				yesterday, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				s.awaitSeq(s.published()+500, allModels...)
				today := s.seqs()
				if !live {
					s.killWorker()
				}
				s.mayGoBack()
				s.redis.Kill()
				if err := os.WriteFile(file, yesterday, 0o600); err != nil {
					t.Fatal(err)
				}
				if trimmed {
					js := natstest.JetStream(t, s.nats.Connect())
					stream, err := js.Stream(t.Context(), "EVENTS")
					if err != nil {
						t.Fatal(err)
					}
					if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(today["total"])); err != nil {
						t.Fatal(err)
					}
				}
				s.redis.Restart()
				if !live {
					w = s.startWorker("")
				}
				if trimmed {
					for _, model := range allModels {
						x := w.says("GAP", halts(model, "GAP"))
						if !strings.Contains(x.Evidence, fmt.Sprintf("to %d are gone", today["total"]-1)) || !strings.Contains(x.WayOut, "tailfold drop "+model) {
							t.Errorf("the verdict says %+v", x)
						}
						if seq := s.mustBeAPrefix(model); seq >= today[model] {
							t.Errorf("%s stands at seq %d: it did not go back from %d", model, seq, today[model])
						}
					}
					return
				}
				s.finish()
				w.mustNotHalt()
			})
		}
	}
}
