package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	reading "github.com/tailfold/tailfold/snapshotstore/read"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// TestAReplicaThatIsDroppedForItsOutputBufferCostsNothing has a replica take nothing until its primary ends the connection.
// The worker does not notice, and a reader with a token is not answered by the replica before that has copied all anew.
// Where writes need the replica they wait for it, and readers see what is stored.
func TestAReplicaThatIsDroppedForItsOutputBufferCostsNothing(t *testing.T) {
	primary := redistest.Start(t, "--client-output-buffer-limit", "replica 1mb 0 0", "--repl-backlog-size", "16kb",
		"--repl-diskless-sync-delay", "0")
	replica, link := follower(t, primary)
	s := newSceneOn(t, primary)
	w := s.startWorker("")
	s.awaitSeq(300, allModels...)
	awaitCopied(replica)

	link.hold()
	pad := strings.Repeat("x", 2000)
	s.publishAs(func(x *event) { x.From, x.To = fmt.Sprint("n", x.ID, pad), fmt.Sprint("m", x.ID, pad) })
	primary.Await("it drops the replica for its output buffer", func(client *redis.Client) bool {
		text, err := client.Info(context.Background(), "replication").Result()
		return err == nil && strings.Contains(text, "connected_slaves:0") &&
			strings.Contains(primary.Log(), "overcoming of output buffer limits")
	})
	s.publishAs(nil)
	s.awaitSeq(s.published(), allModels...)
	for _, x := range w.lines(waitsFor("STORE_UNAVAILABLE")) {
		t.Errorf("it says of a primary that takes all: %+v", x)
	}
	token := s.mustBeAPrefix("total")
	read := tokenReader(t, replica, token)
	if _, err := read(300 * time.Millisecond); err == nil {
		t.Error("a replica that was dropped answers for a seq that it lacks")
	} else if stale, ok := errors.AsType[*reading.StaleError](err); !ok || stale.Want != token || stale.Seq >= token {
		t.Errorf("a reader with the token %d got %v, want that it is stale", token, err)
	}

	primary.Do("CONFIG", "SET", "min-replicas-to-write", "1")
	x := w.says("that the store takes no writes", waitsFor("STORE_UNAVAILABLE"))
	if !strings.Contains(x.Evidence, "NOREPLICAS") || !strings.Contains(x.WayOut, "min-replicas-to-write") {
		t.Errorf("the verdict says %+v", x)
	}
	stands := s.seqs()
	s.awaitEvents(300)
	for model, seq := range s.seqs() {
		if seq != stands[model] {
			t.Errorf("%s went from seq %d to %d while no write was taken", model, stands[model], seq)
		}
	}

	link.release()
	released := time.Now()
	seq, err := read(60 * time.Second)
	if err != nil {
		t.Fatalf("%v; the worker said:\n%s", err, w.output.end())
	}
	s.awaitSeq(s.published(), allModels...)
	t.Logf("%v after it came back it answered with seq %d for %d, and all was caught up", time.Since(released).Round(time.Millisecond), seq, token)
	w.mustNotHalt()
	s.finish()
	replica.Await("the replica has what the primary has", func(client *redis.Client) bool {
		for _, model := range allModels {
			want, err := primary.Client().HGetAll(context.Background(), keyOf(model)).Result()
			got, err2 := client.HGetAll(context.Background(), keyOf(model)).Result()
			if err != nil || err2 != nil || len(want) == 0 || differences(want, got) != "" {
				return false
			}
		}
		return true
	})
}
