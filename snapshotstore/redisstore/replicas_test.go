package redisstore_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// waitFor is enough to see that a replica does not answer, but not, on a busy machine, that it does.
const (
	waitFor   = 50 * time.Millisecond
	patiently = 9 * time.Second
)

// openAsking makes a store that asks for so many replicas, whose checkpoints are all scripts or all tried as bulks.
func openAsking(t testing.TB, url string, replicas int, timeout time.Duration, bulk bool) *redisstore.Store {
	store := openAs(t, redisstore.Options{URL: url, Replicas: replicas, ReplicasTimeout: timeout})
	if bulk {
		store.BulkFrom(1)
	}
	return store
}

// follow starts a replica and waits until the primary counts on it.
func follow(t testing.TB, primary *redistest.Server) *redistest.Server {
	replica := redistest.StartReplica(t, primary)
	online(primary)
	return replica
}

func online(primary *redistest.Server) {
	primary.Await("the replica acknowledges", func(client *redis.Client) bool { // a new one does not, for up to a second
		conn := client.Conn()
		defer conn.Close()
		return conn.Set(context.Background(), "x{totals/v1/0}", "1", 0).Err() == nil && conn.Wait(context.Background(), 1, waitFor).Val() == 1
	})
}

// next makes the next checkpoint of a unit and returns its receipt.
func next(t testing.TB, store *redisstore.Store, unit snapshotstore.Unit) snapshotstore.Receipt {
	t.Helper()
	from, err := store.Head(context.Background(), unit)
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := store.CommitWithReceipt(context.Background(), unit,
		snapshotstore.Checkpoint{From: from, To: mark(from.Seq + 1), Put: entries(3, strconv.FormatUint(from.Seq+1, 10))})
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

func wantReplicas(t testing.TB, receipt snapshotstore.Receipt, asked, have int) {
	t.Helper()
	if got := receipt.Replicas; got != (snapshotstore.Replicas{Asked: asked, Have: have}) {
		t.Errorf("the receipt tells of %+v, want %d of %d", got, have, asked)
	}
	short := have < asked
	if short != receipt.Replicas.Short() || short && receipt.Waited < waitFor {
		t.Errorf("waited %v, short: %v", receipt.Waited, receipt.Replicas.Short())
	}
}

// frozen stops a replica, once it has all that there is: what is written from now on it does not have.
func frozen(t testing.TB, primary, replica *redistest.Server) {
	t.Helper()
	primary.Await("the replica has said that it has it all", func(client *redis.Client) bool {
		facts := client.InfoMap(context.Background(), "replication").Val()["Replication"]
		return strings.Contains(facts["slave0"], "state=online,offset="+facts["master_repl_offset"]+",")
	})
	replica.Pause()
	t.Cleanup(replica.Continue) // so that it can be ended
}

// thawed has it go on, and waits until it is back.
func thawed(primary, replica *redistest.Server) {
	replica.Continue()
	online(primary)
}

func TestACheckpointTellsHowManyReplicasHaveIt(t *testing.T) {
	for _, bulk := range []bool{false, true} {
		t.Run(fmt.Sprint("bulk ", bulk), func(t *testing.T) {
			primary := redistest.Start(t)
			replica := follow(t, primary)
			store := openAsking(t, primary.URL(), 1, patiently, bulk)
			wantReplicas(t, next(t, store, unit), 1, 1)
			wantReplicas(t, next(t, store, unit), 1, 1)
			frozen(t, primary, replica)
			receipt := next(t, openAsking(t, primary.URL(), 1, waitFor, bulk), unit)
			wantReplicas(t, receipt, 1, 0)
			if receipt.Held >= waitFor {
				t.Errorf("the wait counts as time for which Redis was held: %v", receipt.Held)
			}
			wantHeld(t, store, 3, "key-0", "3") // made all the same
			thawed(primary, replica)
			wantReplicas(t, next(t, store, unit), 1, 1)
			wantReplicas(t, next(t, openAsking(t, primary.URL(), 2, time.Second, bulk), unit), 2, 1)
			if got := next(t, open(t, primary.URL()), unit); got.Replicas != (snapshotstore.Replicas{}) || got.Waited != 0 {
				t.Errorf("nobody asked, and the receipt tells of %+v after %v", got.Replicas, got.Waited)
			}
		})
	}
}

// WAIT on another connection of the pool tells of what was written before that one was last used: with a replica that
// stands still it says that all is well. No checkpoint may be told so, however many there are at once.
func TestReplicasAreAskedOnTheConnectionThatWrote(t *testing.T) {
	for _, bulk := range []bool{false, true} {
		t.Run(fmt.Sprint("bulk ", bulk), func(t *testing.T) {
			primary := redistest.Start(t)
			replica := follow(t, primary)
			hasty, patient := openAsking(t, primary.URL(), 1, waitFor, bulk), openAsking(t, primary.URL(), 1, patiently, bulk)
			other := primary.Client().Conn() // of another pool, which Redis can't tell from this one
			defer other.Close()
			const units, rounds = 12, 4
			all := func(store *redisstore.Store, check func(snapshotstore.Replicas) bool) {
				var wg sync.WaitGroup
				for i := range units {
					wg.Go(func() {
						u := snapshotstore.Unit{Projection: "totals", Version: 1, Partition: i}
						for range rounds {
							receipt := next(t, store, u)
							if !check(receipt.Replicas) {
								t.Errorf("%s: the receipt tells of %+v", u, receipt.Replicas)
							}
						}
					})
				}
				wg.Wait()
			}
			has := func(have int) func(snapshotstore.Replicas) bool {
				return func(r snapshotstore.Replicas) bool { return r == snapshotstore.Replicas{Asked: 1, Have: have} }
			}
			all(patient, has(1))
			all(hasty, func(snapshotstore.Replicas) bool { return true }) // so that it has connections from before
			if err := other.Set(t.Context(), "x", "1", 0).Err(); err != nil {
				t.Fatal(err)
			}
			frozen(t, primary, replica)
			all(hasty, has(0))
			if have := other.Wait(t.Context(), 1, waitFor).Val(); have != 1 {
				t.Errorf("WAIT on another connection tells of %d replicas: then this test finds nothing", have)
			}
			thawed(primary, replica)
			all(patient, has(1))
		})
	}
}

// What a checkpoint was told to be on is there when the primary dies.
func TestWhatReplicasAreSaidToHaveOutlivesThePrimary(t *testing.T) {
	primary := redistest.Start(t)
	replica := follow(t, primary)
	var wg sync.WaitGroup
	said := make([]uint64, 6) // the last seq that the replica was said to have
	for i := range said {
		store := openAsking(t, primary.URL(), 1, waitFor, i%2 == 0)
		wg.Go(func() {
			u := snapshotstore.Unit{Projection: "totals", Version: 1, Partition: i}
			var from snapshotstore.Mark
			for seq := uint64(1); ; seq++ {
				to := mark(seq)
				receipt, err := store.CommitWithReceipt(context.Background(), u,
					snapshotstore.Checkpoint{From: from, To: to, Put: entries(20, strconv.FormatUint(seq, 10))})
				if err != nil {
					return // it is dead
				}
				if from = to; receipt.Replicas.Have > 0 {
					said[i] = seq
				}
			}
		})
	}
	for range 5 {
		time.Sleep(30 * time.Millisecond) // lets them commit
		replica.Pause()
		time.Sleep(waitFor)
		replica.Continue()
	}
	primary.Kill()
	wg.Wait()
	replica.Do("REPLICAOF", "NO", "ONE")
	store := open(t, replica.URL())
	for i, seq := range said {
		head, err := store.Head(t.Context(), snapshotstore.Unit{Projection: "totals", Version: 1, Partition: i})
		if err != nil || head.Seq < seq || seq == 0 {
			t.Errorf("unit %d: the replica has seq %d, %v; it was said to have %d", i, head.Seq, err, seq)
		}
	}
	t.Logf("the replica was said to have, at least, %v", said)
}

func TestACheckpointWhoseAnswerWasLostIsNotSaidToBeOnReplicas(t *testing.T) {
	for command, bulk := range map[string]bool{"evalsha": false, "multi": true} {
		primary := redistest.Start(t)
		follow(t, primary)
		proxy := redistest.StartProxy(t, primary)
		store := openAsking(t, proxy.URL(), 1, patiently, bulk)
		wantReplicas(t, next(t, store, unit), 1, 1)
		from, err := store.Head(t.Context(), unit)
		if err != nil {
			t.Fatal(err)
		}
		checkpoint := snapshotstore.Checkpoint{From: from, To: mark(2), Put: entries(1, "x")}
		lost := proxy.LoseReply(command)
		_, err = store.CommitWithReceipt(t.Context(), unit, checkpoint)
		wantError(t, err, snapshotstore.Again, "", "")
		<-lost
		receipt, err := store.CommitWithReceipt(t.Context(), unit, checkpoint)
		if err != nil || !receipt.Replicas.Short() || !strings.Contains(receipt.Replicas.Why, "was lost") {
			t.Errorf("%s: the same checkpoint again: %+v, %v; want that nothing is known", command, receipt.Replicas, err)
		}
		wantReplicas(t, next(t, store, unit), 1, 1)
	}
}

func TestACheckpointIsMadeWhereWAITIsRefused(t *testing.T) {
	primary := redistest.Start(t)
	follow(t, primary)
	primary.Do("ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all", "-wait")
	for _, bulk := range []bool{false, true} {
		store := openAsking(t, "redis://bob:pw@"+primary.Addr(), 1, waitFor, bulk)
		got := next(t, store, unit).Replicas
		if got.Have != 0 || got.Asked != 1 || !strings.Contains(got.Why, "NOPERM") || !strings.Contains(got.Why, "+wait") {
			t.Errorf("bulk %v: the receipt tells of %+v, want the permission that is missing", bulk, got)
		}
	}
	wantHeld(t, open(t, primary.URL()), 2, "key-0", "2")
}

// A cluster's client sends a command without a key to any node. WAIT has none.
func TestReplicasInACluster(t *testing.T) {
	nodes := redistest.StartCluster(t, 2)
	store := openAsking(t, "redis+cluster://"+nodes[1].Addr(), 1, waitFor, false)
	u := snapshotstore.Unit{Projection: "totals", Version: 1}
	primary := nodes[0]
	wantReplicas(t, next(t, store, u), 1, 0)
	if primary.Client().Exists(t.Context(), store.Layout().Unit(u)).Val() == 0 {
		primary = nodes[1]
	}
	bus := strconv.Itoa(redistest.FreePort(t))
	replica := redistest.Start(t, "--cluster-enabled", "yes", "--cluster-port", bus)
	host, port, _ := strings.Cut(primary.Addr(), ":")
	replica.Do("CLUSTER", "MEET", host, port, primary.Do("CONFIG", "GET", "cluster-port").([]any)[1])
	replica.Await("the node knows the cluster", func(client *redis.Client) bool {
		return strings.Contains(client.ClusterInfo(context.Background()).Val(), "cluster_known_nodes:3")
	})
	replica.Do("CLUSTER", "REPLICATE", primary.Do("CLUSTER", "MYID"))
	online(primary)
	for _, bulk := range []bool{false, true} {
		store := openAsking(t, "redis+cluster://"+nodes[0].Addr(), 1, patiently, bulk)
		wantReplicas(t, next(t, store, u), 1, 1)
		frozen(t, primary, replica)
		wantReplicas(t, next(t, openAsking(t, "redis+cluster://"+nodes[0].Addr(), 1, waitFor, bulk), u), 1, 0)
		thawed(primary, replica)
		wantReplicas(t, next(t, store, u), 1, 1)
	}
	// The snapshot is on its way to the other node: one connection can't follow it there, a checkpoint must.
	other := nodes[0]
	if primary == other {
		other = nodes[1]
	}
	move(primary, other, store.Layout().Unit(u))
	if got := next(t, store, u).Replicas; got.Asked != 1 || got.Have != 0 || !strings.Contains(got.Why, "moves the snapshot") {
		t.Errorf("while its slot moves, the receipt tells of %+v", got)
	}
}

// move moves a key to another node of its cluster, and leaves its slot on the way.
func move(from, to *redistest.Server, key string) {
	slot := from.Do("CLUSTER", "KEYSLOT", key)
	to.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", from.Do("CLUSTER", "MYID"))
	from.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", to.Do("CLUSTER", "MYID"))
	host, port, _ := strings.Cut(to.Addr(), ":")
	from.Do("MIGRATE", host, port, key, 0, 10_000)
}
