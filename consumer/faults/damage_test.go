package faults

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// damages are what can befall the files of a NATS server that is down.
var damages = []struct {
	name    string
	inOrder bool   // it was stopped in good order
	files   string // below its store, as a pattern of names with their folders
	do      func(file string) error
	dead    bool // it does not start any more, and says so
}{
	{"a byte of the stream", false, "*/streams/EVENTS/msgs/1.blk", natstest.ChangeByte, false},
	{"a byte of the stream, its index whole", true, "*/streams/EVENTS/msgs/1.blk", natstest.ChangeByte, false},
	{"half of the stream's first block", true, "*/streams/EVENTS/msgs/1.blk", cutInHalf, false},
	{"the stream's first block", true, "*/streams/EVENTS/msgs/1.blk", os.Remove, false},
	{"the stream's index", true, "*/streams/EVENTS/msgs/index.db", natstest.ChangeByte, false},
	{"the stream's replication log", false, "*/_js_/S-R3F-*/msgs/*.blk", natstest.ChangeByte, false},
	{"the cluster's replication log", false, "*/_js_/_meta_/msgs/*", natstest.ChangeByte, false},
	{"the cluster's snapshot", false, "*/_js_/_meta_/snapshots/*", natstest.ChangeByte, true},
}

func cutInHalf(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	return os.Truncate(file, info.Size()/2)
}

// TestADamagedMinorityIsNeverFoldedInSilence damages the files of one of three NATS servers while it is down, and folds
// again from the log's beginning when it is back, as a follower and as the leader: what comes out is right, or the unit
// says what is wrong. Readers look on all the time.
func TestADamagedMinorityIsNeverFoldedInSilence(t *testing.T) {
	chosen := damages
	if *kills < 50 { // all of them take minutes: one that is drawn by lot, and named
		i := int(seedOf(t) % uint64(len(damages)))
		chosen = damages[i : i+1]
	}
	for _, damage := range chosen {
		t.Run(damage.name, func(t *testing.T) {
			servers := natstest.StartCluster(t, 3)
			s := newSceneIn(t, redistest.Start(t), servers)
			conn := s.connect()
			js := natstest.JetStream(t, conn)
			s.startWorker("")
			s.awaitSeq(100, allModels...)
			s.stopPublishing()
			s.publishAtOnce(350, nats.Header{"Pad": {strings.Repeat("x", 30_000)}}, s.between(100)) // more than a block
			s.startPublishing()
			replicas(t, js, len(servers))
			at := s.rng.IntN(len(servers))
			victim := servers[at]
			if damage.inOrder {
				victim.Stop()
			} else {
				victim.Kill()
			}
			n := 0
			store := filepath.Join(victim.Dir(), "store", "jetstream")
			err := filepath.WalkDir(store, func(path string, entry fs.DirEntry, err error) error {
				rel, relErr := filepath.Rel(store, path)
				matches, _ := filepath.Match(damage.files, rel)
				if err != nil || relErr != nil || entry.IsDir() || !matches {
					return err
				}
				n++
				return damage.do(path)
			})
			if err != nil || n == 0 {
				t.Fatalf("%d files were damaged: %v", n, err)
			}
			s.awaitEvents(50)
			left := len(servers)
			if damage.dead {
				left--
			} else {
				victim.Restart()
			}
			for _, role := range []string{"follower", "leader"} {
				if role == "leader" {
					awaitCurrent(t, js, left)
					_, err := conn.Request("$JS.API.STREAM.LEADER.STEPDOWN.EVENTS", fmt.Appendf(nil, `{"placement":{"preferred":"node-%d"}}`, at), 5*time.Second)
					t.Logf("a leader is elected: %v", err) // where the damaged server can't follow, it is another one
				}
				leader := awaitCurrent(t, js, left)
				s.killWorker()
				s.mayGoBack()
				if err := s.redis.Client().FlushAll(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
				w := s.startWorker("")
				last := s.published()
				for _, model := range allModels {
					outcome := s.comesTo(w, model, last)
					t.Logf("node-%d damaged, %s leads: %s %s", at, leader, model, outcome)
				}
				for _, x := range w.lines(func(x line) bool { return strings.HasPrefix(x.Msg, "the reader ended") }) {
					t.Logf("%+v", x)
				}
			}
		})
	}
}

// comesTo waits until a model has come to a seq, where it must be the events' prefix, or its unit has said what is wrong.
func (s *scene) comesTo(w *life, model string, last uint64) string {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		if halted := w.lines(func(x line) bool { return x.Msg == "halted" && x.Projection == model }); len(halted) > 0 {
			return halted[0].Verdict + ": " + halted[0].Evidence
		}
		raw, err := s.redis.Client().HGet(s.t.Context(), keyOf(model), "$mark").Result()
		if err == nil {
			if seq, err := seqOf(raw); err == nil && seq >= last {
				return fmt.Sprintf("is right at %d", s.mustBeAPrefix(model))
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s has neither come to %d nor says what is wrong:\n%s", model, last, w.output.end())
		}
		time.Sleep(10 * time.Millisecond) // polls another process
	}
}

// awaitCurrent gives the servers some time to follow the stream, which a damaged one may never do, and names the leader.
func awaitCurrent(t *testing.T, js jetstream.JetStream, n int) string {
	t.Helper()
	leader, ok := natstest.AwaitFollowing(t, js, "EVENTS", n, 15*time.Second)
	if !ok {
		t.Logf("fewer than %d servers follow the stream", n)
	}
	return leader
}
