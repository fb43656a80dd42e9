package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// roundTrip commits to several units, which are in several slots, reads them back, and uses each other operation once.
func roundTrip(t *testing.T, store *redisstore.Store) {
	t.Helper()
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for partition := range 8 {
		unit := snapshotstore.Unit{Projection: "spread", Version: 1, Partition: partition}
		head, err := store.Head(ctx, unit)
		must(err)
		next := mark(head.Seq + 1)
		must(store.Commit(ctx, unit, snapshotstore.Checkpoint{From: head, To: next,
			Put: []snapshotstore.Entry{{Key: "k", Data: fmt.Append(nil, partition)}}}))
		got, values, err := store.Get(ctx, unit, []string{"k"})
		must(err)
		if diff := cmp.Diff(next, got); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]snapshotstore.Value{{Data: fmt.Append(nil, partition), Exists: true}}, values); diff != "" {
			t.Error(diff)
		}
		keys := 0
		for _, err := range store.Scan(ctx, unit) {
			must(err)
			keys++
		}
		if keys != 1 {
			t.Errorf("scan of %s yields %d keys, want 1", unit, keys)
		}
	}
	served, err := store.Served(ctx, "spread")
	must(err)
	must(store.Promote(ctx, "spread", served, served+1))
	must(store.Announce(ctx, "w1", []byte(`{}`), time.Minute))
	workers, err := store.Workers(ctx)
	must(err)
	if len(workers) != 1 {
		t.Errorf("%d workers, want 1", len(workers))
	}
	must(store.Resign(ctx, "w1"))
	must(store.Drop(ctx, snapshotstore.Unit{Projection: "spread", Version: 1, Partition: 7}))
	_, err = store.Check(ctx)
	must(err)
}

func TestClusterIsReachedThroughAnyOfItsNodes(t *testing.T) {
	nodes := redistest.StartCluster(t, 3)
	roundTrip(t, open(t, "redis+cluster://"+nodes[2].Addr()+",127.0.0.1:1"))
}

// An operator moves a unit's slot to another node and back while it is written: each commit is applied once, and no read
// shows a value beside another one's mark.
func TestUnitThatMovesBetweenNodesOfAClusterLosesNothing(t *testing.T) {
	nodes := redistest.StartCluster(t, 2)
	store := open(t, "redis+cluster://"+nodes[0].Addr())
	key := store.Layout().Unit(unit)
	slot := nodes[0].Do("CLUSTER", "KEYSLOT", key)
	from, to := nodes[0], nodes[1]
	if err := commit(store, unit); err != nil {
		t.Fatal(err)
	}
	if from.Client().Exists(context.Background(), key).Val() == 0 {
		from, to = to, from
	}

	ctx, cancel := context.WithCancel(context.Background())
	applied := make(chan uint64, 1)
	defer func() {
		cancel()
		for range applied { // until it has ended
		}
	}()
	moved := make(chan struct{})
	go func() { // commits without a pause until the slot has moved often enough
		defer close(applied)
		for seq := uint64(2); ; seq++ {
			select {
			case <-moved:
				applied <- seq - 1
				return
			default:
			}
			checkpoint := snapshotstore.Checkpoint{To: mark(seq),
				Put: []snapshotstore.Entry{{Key: "seq", Data: fmt.Append(nil, seq)}}}
			for {
				head, err := store.Head(ctx, unit)
				if err == nil && head.ID != checkpoint.To.ID {
					if checkpoint.From = head; head.Seq != seq-1 {
						t.Errorf("the store holds seq %d, want %d", head.Seq, seq-1)
						return
					}
					err = store.Commit(ctx, unit, checkpoint)
				}
				if err == nil {
					break
				}
				if ctx.Err() != nil {
					return
				}
				if snapshotstore.ClassOf(err) != snapshotstore.Again {
					t.Errorf("commit of seq %d: %v", seq, err)
					return
				}
			}
			if got, values, err := store.Get(ctx, unit, []string{"seq"}); err == nil && string(values[0].Data) != fmt.Sprint(got.Seq) {
				t.Errorf("the value is %q beside the mark of seq %d", values[0].Data, got.Seq)
				return
			}
		}
	}()
	for range 10 {
		fromID, toID := from.Do("CLUSTER", "MYID"), to.Do("CLUSTER", "MYID")
		to.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", fromID)
		from.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", toID)
		host, port, _ := strings.Cut(to.Addr(), ":")
		from.Do("MIGRATE", host, port, key, 0, 10_000)
		to.Do("CLUSTER", "SETSLOT", slot, "NODE", toID)
		from.Do("CLUSTER", "SETSLOT", slot, "NODE", toID)
		awaitOwner(nodes, slot.(int64), toID.(string)) // else the nodes may still quarrel about it at the next move
		from, to = to, from
	}
	close(moved)
	last, ok := <-applied
	if !ok {
		t.FailNow() // it said why
	}
	head, err := store.Head(ctx, unit)
	if err != nil || head.Seq != last || last < 10 {
		t.Errorf("the store holds seq %d, %v; %d were applied", head.Seq, err, last)
	}
}

// awaitOwner waits until all nodes agree that a slot is a node's, and on the epoch that says so.
func awaitOwner(nodes []*redistest.Server, slot int64, owner string) {
	nodes[0].Await("all nodes agree on the slot's new owner", func(*redisClient) bool {
		epochs := map[string]bool{}
		for _, node := range nodes {
			slots, err := node.Client().ClusterSlots(context.Background()).Result()
			if err != nil || !slices.ContainsFunc(slots, func(s redis.ClusterSlot) bool {
				return int64(s.Start) <= slot && slot <= int64(s.End) && s.Nodes[0].ID == owner
			}) {
				return false
			}
			_, epoch, _ := strings.Cut(node.Client().ClusterInfo(context.Background()).Val(), "cluster_current_epoch:")
			epoch, _, _ = strings.Cut(epoch, "\r")
			epochs[epoch] = true
		}
		return len(epochs) == 1
	})
}

func TestNodeOfAClusterIsRefusedAsASingleServer(t *testing.T) {
	nodes := redistest.StartCluster(t, 2)
	store := open(t, nodes[0].URL())
	var last error
	for partition := range 8 { // some of them are on the other node
		if _, err := store.Head(context.Background(), snapshotstore.Unit{Projection: "p", Version: 1, Partition: partition}); err != nil {
			last = err
		}
	}
	wantError(t, last, snapshotstore.Stop, "MOVED", "redis+cluster://")
}

func TestSingleServerIsRefusedAsACluster(t *testing.T) {
	server := redistest.Start(t)
	_, err := open(t, "redis+cluster://"+server.Addr()).Head(context.Background(), unit)
	wantError(t, err, snapshotstore.Stop, "cluster support disabled", "use redis://")
}

func TestSentinelLeadsToThePrimaryAlsoAfterAFailOver(t *testing.T) {
	primary := redistest.Start(t)
	replica := redistest.StartReplica(t, primary)
	sentinel := redistest.StartSentinel(t, "orders", primary, 1, 300*time.Millisecond)
	store := open(t, "redis+sentinel://"+sentinel.Addr()+"/orders/0")
	roundTrip(t, store)

	primary.Kill()
	sentinel.Await("the sentinel promotes the replica", func(client *redisClient) bool {
		answer, err := client.Do(context.Background(), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "orders").StringSlice()
		return err == nil && strings.Join(answer, ":") == replica.Addr()
	})
	replica.Await("the store follows", func(*redisClient) bool {
		_, err := store.Head(context.Background(), unit)
		return err == nil
	})
	roundTrip(t, store)
}

func TestSentinelThatDoesNotKnowTheMasterIsNamed(t *testing.T) {
	primary := redistest.Start(t)
	sentinel := redistest.StartSentinel(t, "orders", primary, 0, time.Second)
	_, err := open(t, "redis+sentinel://"+sentinel.Addr()+"/payments").Head(context.Background(), unit)
	wantError(t, err, snapshotstore.Wait, "payments", "SENTINEL MASTERS")
}

func TestTLS(t *testing.T) {
	certificates := redistest.MakeCertificates(t, time.Hour)
	server := redistest.StartTLS(t, certificates, "--tls-auth-clients", "yes")
	url := fmt.Sprintf("rediss://%s/0?ca=%s&cert=%s&key=%s", server.Addr(), certificates.CA, certificates.Cert, certificates.Key)
	roundTrip(t, open(t, url))

	_, err := open(t, server.URL()).Head(context.Background(), unit)
	wantRefusal(t, err)
	others := redistest.MakeCertificates(t, time.Hour)
	foreign := fmt.Sprintf("rediss://%s/0?ca=%s&cert=%s&key=%s", server.Addr(), certificates.CA, others.Cert, others.Key)
	_, err = open(t, foreign).Head(context.Background(), unit)
	wantRefusal(t, err)
	_, err = open(t, "rediss://"+server.Addr()).Head(context.Background(), unit)
	wantError(t, err, snapshotstore.Wait, "unknown authority", "?ca=")
	_, err = open(t, url+"&server_name=elsewhere").Head(context.Background(), unit)
	wantError(t, err, snapshotstore.Wait, "elsewhere", "server_name")
}

// wantRefusal wants an error of a server that refuses the client's certificate. Its alert is often lost, the way out never.
func wantRefusal(t *testing.T, err error) {
	t.Helper()
	failed, ok := errors.AsType[*snapshotstore.Error](err)
	if !ok || failed.Class == snapshotstore.Stop || !strings.Contains(failed.Fix, "cert=…&key=…") {
		t.Errorf("got %v, want what to do about our certificate", err)
	}
}

func TestRenewedCertificatesAreTakenByAnOpenStore(t *testing.T) {
	old := redistest.MakeCertificates(t, -time.Minute)
	server := redistest.StartTLS(t, old)
	url := fmt.Sprintf("rediss://%s/0?ca=%s&cert=%s&key=%s", server.Addr(), old.CA, old.Cert, old.Key)
	store := open(t, url)
	_, err := store.Head(context.Background(), unit)
	wantError(t, err, snapshotstore.Wait, "expired", "renew")
	old.Renew(t, time.Hour)
	server.Restart("--tls-auth-clients", "yes") // the client's own is renewed with it
	roundTrip(t, store)
}

func TestClusterAndSentinelWithTLS(t *testing.T) {
	certificates := redistest.MakeCertificates(t, time.Hour)
	nodes := redistest.StartTLSCluster(t, certificates, 2)
	roundTrip(t, open(t, "rediss+cluster://"+nodes[1].Addr()+"?ca="+certificates.CA))

	primary := redistest.StartTLS(t, certificates)
	sentinel := redistest.StartSentinel(t, "orders", primary, 0, time.Second)
	roundTrip(t, open(t, "rediss+sentinel://"+sentinel.Addr()+"/orders?ca="+certificates.CA))
}

func TestPasswordsOfSentinelsAndOfRedisAreTwo(t *testing.T) {
	primary := redistest.Start(t)
	sentinel := redistest.StartSentinel(t, "orders", primary, 0, time.Minute)
	primary.Do("ACL", "SETUSER", "worker", "on", ">w:p@ss", "~tailfold:*", "+@all")
	sentinel.Do("ACL", "SETUSER", "looker", "on", ">sekret", "+@all")
	sentinel.Do("ACL", "SETUSER", "default", "off")
	url := "redis+sentinel://worker:w%3Ap%40ss@" + sentinel.Addr() + "/orders"
	_, err := open(t, url).Head(context.Background(), unit)
	wantError(t, err, snapshotstore.Wait, "NOAUTH", "sentinel_password")
	_, err = open(t, url+"?sentinel_username=looker&sentinel_password=wrong").Head(context.Background(), unit)
	wantError(t, err, snapshotstore.Wait, "WRONGPASS", "sentinel_password")
	roundTrip(t, open(t, url+"?sentinel_username=looker&sentinel_password=sekret"))
}

func TestExpiredCertificateIsToBeRenewed(t *testing.T) {
	server := redistest.StartTLS(t, redistest.MakeCertificates(t, -time.Minute))
	_, err := open(t, server.URL()).Head(context.Background(), unit)
	wantError(t, err, snapshotstore.Wait, "expired", "renew")
}

func TestTLSTowardsAPlainPort(t *testing.T) {
	server := redistest.Start(t)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err := open(t, "rediss://"+server.Addr()).Head(ctx, unit)
	wantError(t, err, snapshotstore.Again, "deadline", "does not speak TLS")
}
