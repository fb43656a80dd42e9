package faults

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	reading "github.com/tailfold/tailfold/snapshotstore/read"
	"github.com/tailfold/tailfold/snapshotstore/redisstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// follower is a replica of a primary whose link can be held: it then falls behind, and does not know it.
func follower(t *testing.T, primary *redistest.Server) (*redistest.Server, *brake) {
	t.Helper()
	link := startBrake(t, primary.Addr())
	replica := redistest.Start(t, "--replicaof", "127.0.0.1 "+link.port())
	replica.Await("the replica follows", func(client *redis.Client) bool {
		text, err := client.Info(context.Background(), "replication").Result()
		return err == nil && strings.Contains(text, "master_link_status:up")
	})
	return replica, link
}

// awaitCopied waits until a replica has some snapshot of each model, and which version readers should use.
func awaitCopied(replica *redistest.Server) {
	replica.Await("the replica has all models", func(client *redis.Client) bool {
		for _, model := range allModels {
			n, err := client.Exists(context.Background(), keyOf(model), "tailfold:served:"+model).Result()
			if err != nil || n != 2 {
				return false
			}
		}
		return true
	})
}

// TestAFailoverALeadersEndAndAWorkersEndInOneMoment has Redis fail over to a replica that lacks the last checkpoints, the
// stream's leader killed, and the worker killed, all before any of them is noticed.
func TestAFailoverALeadersEndAndAWorkersEndInOneMoment(t *testing.T) {
	servers := natstest.StartCluster(t, 3) // first: some seconds after it begins the sentinel leads the replica past the link
	primary := redistest.Start(t)
	replica, link := follower(t, primary)
	sentinel := redistest.StartSentinel(t, "house", primary, 1, 300*time.Millisecond)
	s := newSceneIn(t, primary, servers)
	s.redisURL = "redis+sentinel://" + sentinel.Addr() + "/house/0"
	conn := s.connect()
	js := natstest.JetStream(t, conn)
	s.startWorker("")
	s.awaitSeq(300, allModels...)
	leader := replicas(t, js, len(servers))
	awaitCopied(replica)
	link.hold()
	s.awaitSeq(s.published()+300, allModels...)
	for _, model := range allModels {
		behind, err := seqOf(replica.Do("HGET", keyOf(model), "$mark").(string))
		if at := s.mustBeAPrefix(model); err != nil || behind >= at {
			t.Fatalf("the replica has %s at seq %d, the primary at %d (%v): nothing would be lost", model, behind, at, err)
		}
	}

	s.mayGoBack()
	dead := servers[natstest.Number(leader)] // node-<i>
	primary.Kill()
	dead.Kill()
	s.killWorker()
	w := s.startWorker("")
	sentinel.Await("the sentinel promotes the replica", func(client *redis.Client) bool {
		answer, err := client.Do(context.Background(), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "house").StringSlice()
		return err == nil && strings.Join(answer, ":") == replica.Addr()
	})
	s.moveTo(replica)
	healed := time.Now()
	s.awaitEvents(300)
	s.awaitSeq(s.published(), allModels...)
	t.Logf("caught up %v after the failover", time.Since(healed).Round(time.Millisecond))
	s.mustNotGoBack()
	dead.Restart()
	replicas(t, js, len(servers))
	s.finish()
	w.mustNotHalt()
}

// TestAReplicaThatLagsNeverAnswersForALaterSeq reads from a replica whose link is held: without a seq it answers with an
// older prefix, with the seq of an event that it lacks not at all, and once it has followed, with that event.
func TestAReplicaThatLagsNeverAnswersForALaterSeq(t *testing.T) {
	primary := redistest.Start(t)
	replica, link := follower(t, primary)
	s := newSceneOn(t, primary)
	s.startWorker("")
	s.awaitSeq(300, allModels...)
	store, err := redisstore.Open(redisstore.Options{URL: replica.URL(), Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	reader, err := reading.New(store, reading.Options{Projection: "total"})
	if err != nil {
		t.Fatal(err)
	}
	awaitCopied(replica)
	link.hold()
	last := s.published() + 500
	s.awaitSeq(last, "total")
	result, err := reader.Get(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if value, err := reading.JSON[total](result); err != nil || result.Seq >= last || uint64(value.Events) != result.Seq {
		t.Errorf("a replica that lags answers %+v at seq %d (%v), want an older prefix than %d", value, result.Seq, err, last)
	}
	if result, err := reader.After(last, 300*time.Millisecond).Get(t.Context(), ""); err == nil {
		t.Errorf("asked for seq %d, a replica that lags answers with seq %d", last, result.Seq)
	} else if stale, ok := errors.AsType[*reading.StaleError](err); !ok {
		t.Errorf("it answers %v (%T), want that it is stale", err, stale)
	}
	link.release()
	result, err = reader.After(last, 20*time.Second).Get(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if value, err := reading.JSON[total](result); err != nil || result.Seq < last || uint64(value.Events) != result.Seq {
		t.Errorf("it answers %+v at seq %d (%v), want seq %d at least", value, result.Seq, err, last)
	}
	s.finish()
}
