package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// openBulk makes a store that tries each checkpoint with a put as a bulk.
func openBulk(t testing.TB, url string) *redisstore.Store {
	store := open(t, url)
	store.BulkFrom(1)
	return store
}

// calls is how often each of the commands was called, and not refused, since the last time.
func calls(server *redistest.Server, commands ...string) map[string]int {
	n := map[string]int{}
	stats := server.Client().InfoMap(context.Background(), "commandstats").Val()["Commandstats"]
	for _, command := range commands {
		var count int
		_, _ = fmt.Sscanf(stats["cmdstat_"+command], "calls=%d,", &count)
		n[command] = count
	}
	server.Do("CONFIG", "RESETSTAT")
	return n
}

func TestManyPutsAreOneHSETAndAllElseIsTheScript(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL())
	ctx := context.Background()
	byScript, inBulk := map[string]int{"evalsha": 1, "exec": 0, "hset": 0}, map[string]int{"evalsha": 0, "exec": 1, "hset": 1}
	if err := commit(store, unit); err != nil { // Redis knows the script from now on
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		checkpoint snapshotstore.Checkpoint
		want       map[string]int
	}{
		{"many puts", snapshotstore.Checkpoint{Put: entries(4000, "1")}, inBulk},
		{"few puts", snapshotstore.Checkpoint{Put: entries(3999, "2")}, byScript},
		{"puts and a delete", snapshotstore.Checkpoint{Put: entries(4000, "3"), Delete: []string{"x"}}, byScript},
		{"puts and a skipped event", snapshotstore.Checkpoint{Put: entries(4000, "4"), Skipped: []snapshotstore.Skipped{{Seq: 1}}}, byScript},
		{"many puts and a definition", snapshotstore.Checkpoint{Put: entries(9000, "5"), Definition: "d"}, inBulk},
	} {
		head, err := store.Head(ctx, unit)
		if err != nil {
			t.Fatal(err)
		}
		calls(server)
		c.checkpoint.From, c.checkpoint.To = head, mark(head.Seq+1)
		if err := store.Commit(ctx, unit, c.checkpoint); err != nil {
			t.Fatal(err)
		}
		got := calls(server, "evalsha", "exec", "hset")
		if c.want["exec"] == 0 {
			got["hset"] = 0 // the script's own
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	if text, err := store.Definition(ctx, unit); err != nil || text != "d" {
		t.Errorf("the definition is %q, %v", text, err)
	}
	wantHeld(t, store, 6, "key-8999", "5")
}

// Another worker's checkpoint may come at any moment: between what was seen of the snapshot and the HSET, too.
func TestARivalBetweenWatchAndExecIsAConflict(t *testing.T) {
	server := redistest.Start(t)
	rival, watcher := open(t, server.URL()), redistest.StartProxy(t, server)
	store := openBulk(t, watcher.URL())
	ctx := context.Background()
	for _, first := range []bool{true, false} {
		for _, moment := range []string{"\r\nwatch", "\r\nhget", "\r\nmulti"} {
			var from snapshotstore.Mark
			if !first {
				if err := commit(rival, unit, entries(1, "before")...); err != nil {
					t.Fatal(err)
				}
				from, _ = rival.Head(ctx, unit)
			}
			theirs := mark(from.Seq + 1)
			came := watcher.Before(moment, func() {
				err := rival.Commit(ctx, unit, snapshotstore.Checkpoint{From: from, To: theirs, Put: entries(1, "theirs")})
				if err != nil {
					t.Error(err)
				}
			})
			err := store.Commit(ctx, unit, snapshotstore.Checkpoint{From: from, To: mark(from.Seq + 2), Put: entries(2, "ours")})
			<-came
			conflict, ok := errors.AsType[*snapshotstore.ConflictError](err)
			if !ok || conflict.Held.ID != theirs.ID {
				t.Errorf("a rival before %q: %v, want a conflict with what it left", moment, err)
			}
			wantHeld(t, rival, theirs.Seq, "key-0", "theirs")
			wantHeld(t, rival, theirs.Seq, "key-1", "")
			if err := rival.Drop(ctx, unit); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A snapshot that is flushed between what was seen of it and the HSET must not come back as a part of itself.
func TestASnapshotThatVanishesBetweenWatchAndExecStaysAway(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server)
	store := openBulk(t, proxy.URL())
	for _, vanish := range [][]any{{"FLUSHALL"}, {"DEL", "tailfold:{totals/v1/0}"}, {"PEXPIRE", "tailfold:{totals/v1/0}", "0"}} {
		if err := commit(store, unit, entries(3, "1")...); err != nil {
			t.Fatal(err)
		}
		gone := proxy.Before("\r\nmulti", func() { server.Do(vanish...) })
		err := commit(store, unit, entries(1, "2")...)
		<-gone
		if conflict, ok := errors.AsType[*snapshotstore.ConflictError](err); !ok || !conflict.Held.IsZero() {
			t.Errorf("%v: %v, want a conflict with nothing", vanish, err)
		}
		if left := server.Client().DBSize(context.Background()).Val(); left != 0 {
			t.Errorf("%v: %d keys are left", vanish, left)
		}
	}
}

// What refuses a script refuses a bulk as a whole, too, and it is said in the same words.
func TestRefusalsOfABulkAreThoseOfTheScript(t *testing.T) {
	server := redistest.Start(t)
	store := openBulk(t, server.URL())
	if err := commit(store, unit, entries(1, "1")...); err != nil {
		t.Fatal(err)
	}
	server.Do("CONFIG", "SET", "maxmemory", "1mb")
	wantError(t, commit(store, unit, entries(2, "2")...), snapshotstore.Wait, "OOM", "raise maxmemory")
	server.Do("CONFIG", "SET", "maxmemory", "0")
	server.Do("CONFIG", "SET", "min-replicas-to-write", "1")
	wantError(t, commit(store, unit, entries(2, "2")...), snapshotstore.Wait, "NOREPLICAS", "min-replicas-to-write")
	server.Do("CONFIG", "SET", "min-replicas-to-write", "0")
	wantHeld(t, store, 1, "key-0", "1")
	wantHeld(t, store, 1, "key-1", "")

	for _, missing := range []string{"-watch", "-unwatch", "-multi", "-exec", "-hlen"} { // the script does without
		server.Do("ACL", "SETUSER", "bob", "reset", "on", ">pw", "~*", "+@all", missing)
		bob := openBulk(t, "redis://bob:pw@"+server.Addr())
		if err := commit(bob, unit, entries(1, missing)...); err != nil {
			t.Errorf("without %s: %v", missing, err)
		}
	}
	server.Do("ACL", "SETUSER", "bob", "reset", "on", ">pw", "~*", "+@all", "-hset")
	err := commit(openBulk(t, "redis://bob:pw@"+server.Addr()), unit, entries(1, "x")...)
	wantError(t, err, snapshotstore.Wait, "can't run this command", "+hset")
}

// A bulk whose context ended may still be on its way: if it arrives after another's checkpoint it does nothing.
func TestABulkThatArrivesLateIsNotApplied(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server)
	rival, store := open(t, server.URL()), openBulk(t, proxy.URL())
	if err := commit(rival, unit); err != nil {
		t.Fatal(err)
	}
	from, _ := rival.Head(context.Background(), unit)
	ctx, cancel := context.WithCancel(context.Background())
	sent, late := make(chan struct{}), make(chan struct{})
	proxy.Before("\r\nmulti", func() { close(sent); <-late })
	ended := make(chan error, 1)
	go func() {
		ended <- store.Commit(ctx, unit, snapshotstore.Checkpoint{From: from, To: mark(2), Put: entries(2, "late")})
	}()
	<-sent
	cancel()
	wantError(t, <-ended, snapshotstore.Again, "", "")
	if err := commit(rival, unit, entries(1, "theirs")...); err != nil {
		t.Fatal(err)
	}
	close(late)
	server.Await("the late one is answered", func(client *redisClient) bool {
		return strings.Contains(client.Info(context.Background(), "commandstats").Val(), "cmdstat_exec:")
	})
	wantHeld(t, rival, 2, "key-0", "theirs")
	wantHeld(t, rival, 2, "key-1", "")
}

// As TestCommitWhoseReplyWasLostIsAppliedOnce.
func TestABulkWhoseReplyWasLostIsAppliedOnce(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server)
	store := openBulk(t, proxy.URL())
	ctx := context.Background()
	first := snapshotstore.Checkpoint{To: mark(1), Put: entries(1, "1")}
	second := snapshotstore.Checkpoint{From: first.To, To: mark(2), Put: entries(1, "2")}
	for i, checkpoint := range []snapshotstore.Checkpoint{first, second} {
		lost := proxy.LoseReply("multi")
		wantError(t, store.Commit(ctx, unit, checkpoint), snapshotstore.Again, "", "")
		<-lost
		wantHeld(t, store, uint64(i+1), "key-0", fmt.Sprint(i+1)) // it was applied
		calls(server)
		if err := store.Commit(ctx, unit, checkpoint); err != nil {
			t.Fatalf("the same checkpoint again: %v", err)
		}
		if n := calls(server, "hset")["hset"]; n != 0 {
			t.Errorf("the same checkpoint again wrote %d times", n)
		}
	}
	err := store.Commit(ctx, unit, first) // too late: somebody has gone on from it
	if conflict, ok := errors.AsType[*snapshotstore.ConflictError](err); !ok || conflict.Held.ID != second.To.ID {
		t.Errorf("%v, want a conflict with what is held", err)
	}
}

// The nodes send a WATCH to each other, until the client gives up without an error.
func TestABulkWhoseSlotIsOnItsWayIsMadeByTheScript(t *testing.T) {
	nodes := redistest.StartCluster(t, 2)
	store := openBulk(t, "redis+cluster://"+nodes[0].Addr())
	if err := commit(store, unit, entries(1, "1")...); err != nil {
		t.Fatal(err)
	}
	key := store.Layout().Unit(unit)
	from, to := nodes[0], nodes[1]
	if from.Client().Exists(t.Context(), key).Val() == 0 {
		from, to = to, from
	}
	move(from, to, key)
	if err := commit(store, unit, entries(1, "2")...); err != nil {
		t.Fatal(err)
	}
	wantHeld(t, store, 2, "key-0", "2")
}

func TestABulkTellsHowLongRedisWasHeld(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL())
	checkpoint := snapshotstore.Checkpoint{To: mark(1), Put: entries(50_000, "v")}
	began := time.Now()
	receipt, err := store.CommitWithReceipt(context.Background(), unit, checkpoint)
	if took := time.Since(began); err != nil || receipt.Held <= 0 || receipt.Held > took {
		t.Errorf("held for %v of %v, %v", receipt.Held, took, err)
	}
}
