package faults

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// replicas waits until every replica of the stream is there and has all that the leader has, and returns the leader's
// name.
func replicas(t *testing.T, js jetstream.JetStream, n int) string {
	t.Helper()
	leader, ok := natstest.AwaitFollowing(t, js, "EVENTS", n, 2*time.Minute)
	if !ok {
		t.Fatalf("the stream's replicas are not all there after two minutes: leader %q", leader)
	}
	return leader
}

// TestLeadersOfAReplicatedStreamStepDownAndDie has the stream on three servers. Its leader is told to step down, a server
// is killed, the leader's among them, and now and then the worker.
func TestLeadersOfAReplicatedStreamStepDownAndDie(t *testing.T) {
	servers := natstest.StartCluster(t, 3)
	s := newSceneIn(t, redistest.Start(t), servers)
	conn := s.connect()
	js := natstest.JetStream(t, conn)
	w := s.startWorker("")
	rounds, stepped := 2+*kills/4, 0
	for round := range rounds {
		leader := replicas(t, js, len(servers))
		s.awaitEvents(50)
		switch {
		case round%2 == 0:
			for range 1 + *kills/50 {
				if _, err := conn.Request("$JS.API.STREAM.LEADER.STEPDOWN.EVENTS", nil, 20*time.Second); err != nil {
					t.Logf("round %d: the leader does not step down: %v", round, err)
					continue
				}
				stepped++
				s.awaitEvents(20)
			}
		default:
			victim := servers[s.rng.IntN(len(servers))]
			if round%4 == 1 {
				victim = servers[natstest.Number(leader)] // node-<i>
			}
			victim.Kill()
			s.awaitEvents(20)
			victim.Restart()
		}
		if round%3 == 2 {
			w.mustNotHalt()
			s.killWorker()
			w = s.startWorker("")
		}
	}
	replicas(t, js, len(servers))
	s.finish()
	w.mustNotHalt()
	t.Logf("leaders stepped down %d times", stepped)
}

// TestSlotsMigrateDuringCheckpoints moves the hashes of all models from one node of a Redis Cluster to the other and back
// while they are written.
func TestSlotsMigrateDuringCheckpoints(t *testing.T) {
	nodes := redistest.StartCluster(t, 2)
	slots := map[int64]bool{}
	for _, model := range allModels {
		slots[nodes[0].Do("CLUSTER", "KEYSLOT", keyOf(model)).(int64)] = true
	}
	for slot := range slots { // to begin with all are on the first one; none holds a key
		if slot >= 16384/2 {
			for _, node := range nodes {
				node.Do("CLUSTER", "SETSLOT", slot, "NODE", nodes[0].Do("CLUSTER", "MYID"))
			}
		}
	}
	s := newSceneOn(t, nodes[0])
	s.redisURL = "redis+cluster://" + nodes[0].Addr() + "," + nodes[1].Addr()
	w := s.startWorker("")
	s.awaitSeq(100, allModels...)
	for round := range 2 + *kills/4 {
		from, to := nodes[round%2], nodes[1-round%2]
		for slot := range slots {
			migrate(t, slot, from, to, func() {
				s.publishOne(func(x *event) { x.Also = 5000 }) // checkpoints of many keys go another way
				s.await(400 * time.Millisecond)
			})
			s.awaitEvents(uint64(s.rng.IntN(30)))
		}
		s.moveTo(to)
		s.awaitSeq(s.published(), allModels...)
		for _, model := range allModels {
			s.mustBeAPrefix(model)
		}
		if round%3 == 2 {
			s.killWorker()
			w = s.startWorker("")
		}
	}
	s.finish()
	w.mustNotHalt()
}

// migrate moves a slot with all its keys, as redis-cli's reshard does. Meanwhile it has moved and the cluster does not know.
func migrate(t *testing.T, slot int64, from, to *redistest.Server, meanwhile func()) {
	t.Helper()
	source, target := from.Do("CLUSTER", "MYID"), to.Do("CLUSTER", "MYID")
	to.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", source)
	from.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", target)
	host, port, _ := strings.Cut(to.Addr(), ":")
	for {
		keys := from.Do("CLUSTER", "GETKEYSINSLOT", slot, 100).([]any)
		if len(keys) == 0 {
			break
		}
		for _, key := range keys {
			from.Do("MIGRATE", host, port, key, 0, 20_000)
		}
	}
	meanwhile()
	to.Do("CLUSTER", "SETSLOT", slot, "NODE", target) // the new owner first: else the slot could be nobody's
	from.Do("CLUSTER", "SETSLOT", slot, "NODE", target)
}
