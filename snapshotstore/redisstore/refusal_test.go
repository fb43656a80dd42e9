package redisstore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

type redisClient = redis.Client

// wantError checks an error's class, a part of what it says and a part of what it tells to do.
func wantError(t *testing.T, err error, class snapshotstore.Class, says, fix string) {
	t.Helper()
	failed, ok := errors.AsType[*snapshotstore.Error](err)
	if !ok {
		t.Fatalf("%v, want a *snapshotstore.Error", err)
	}
	if failed.Class != class || !strings.Contains(failed.Err.Error(), says) || !strings.Contains(failed.Fix, fix) {
		t.Errorf("class %d, %v (%s); want class %d, %q (%q)", failed.Class, failed.Err, failed.Fix, class, says, fix)
	}
}

// commit moves a unit on by one seq from whatever it holds.
func commit(store snapshotstore.Store, unit snapshotstore.Unit, put ...snapshotstore.Entry) error {
	head, err := store.Head(context.Background(), unit)
	if err != nil {
		return err
	}
	return store.Commit(context.Background(), unit, snapshotstore.Checkpoint{From: head, To: mark(head.Seq + 1), Put: put})
}

func TestFullRedisRefusesACommitAsAWholeAndTakesItLater(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL())
	if err := commit(store, unit, snapshotstore.Entry{Key: "a", Data: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	server.Do("CONFIG", "SET", "maxmemory", "1mb")
	err := commit(store, unit, snapshotstore.Entry{Key: "a", Data: []byte("2")})
	wantError(t, err, snapshotstore.Wait, "OOM", "raise maxmemory")
	wantHeld(t, store, 1, "a", "1")
	server.Do("CONFIG", "SET", "maxmemory", "0")
	if err := commit(store, unit, snapshotstore.Entry{Key: "a", Data: []byte("2")}); err != nil {
		t.Fatal(err)
	}
	wantHeld(t, store, 2, "a", "2")
}

// wantHeld checks the seq and one value that a store holds of the unit.
func wantHeld(t *testing.T, store snapshotstore.Store, seq uint64, key, value string) {
	t.Helper()
	got, values, err := store.Get(context.Background(), unit, []string{key})
	if err != nil || got.Seq != seq || string(values[0].Data) != value {
		t.Errorf("the store holds seq %d, %+v, %v; want seq %d, %q", got.Seq, values, err, seq, value)
	}
}

func TestReplicaTakesNoCommit(t *testing.T) {
	primary := redistest.Start(t)
	replica := redistest.StartReplica(t, primary)
	store := open(t, replica.URL())
	wantError(t, commit(store, unit), snapshotstore.Wait, "READONLY", "primary")
	warnings, err := store.Check(context.Background())
	if err != nil || !strings.Contains(strings.Join(warnings, "\n"), "is a replica") {
		t.Errorf("check says %q, %v; want that it is a replica", warnings, err)
	}
}

func TestReplicaThatLostItsPrimaryIsWaitedFor(t *testing.T) {
	server := redistest.Start(t, "--replicaof", "127.0.0.1 1", "--replica-serve-stale-data", "no")
	_, err := open(t, server.URL()).Head(context.Background(), unit)
	wantError(t, err, snapshotstore.Again, "MASTERDOWN", "")
}

func TestTooFewReplicas(t *testing.T) {
	server := redistest.Start(t, "--min-replicas-to-write", "1")
	wantError(t, commit(open(t, server.URL()), unit), snapshotstore.Wait, "NOREPLICAS", "min-replicas-to-write")
}

func TestRedisThatCanNotSaveTakesNoCommit(t *testing.T) {
	server := redistest.Start(t, "--save", "3600 100000")
	if err := os.Mkdir(filepath.Join(server.Dir(), "dump.rdb"), 0o700); err != nil { // in the file's way
		t.Fatal(err)
	}
	server.Do("SET", "x", "1")
	server.Do("BGSAVE")
	server.Await("the save fails", func(client *redisClient) bool {
		text, err := client.Info(context.Background(), "persistence").Result()
		return err == nil && strings.Contains(text, "rdb_last_bgsave_status:err")
	})
	store := open(t, server.URL())
	wantError(t, commit(store, unit), snapshotstore.Wait, "MISCONF", "disk")
	warnings, err := store.Check(context.Background())
	if err != nil || !strings.Contains(strings.Join(warnings, "\n"), "RDB save failed") {
		t.Errorf("check says %q, %v; want that the save failed", warnings, err)
	}
}

func TestPasswordAndPermissions(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "sekret")
	_, err := open(t, server.URL()).Head(context.Background(), unit)
	wantError(t, err, snapshotstore.Wait, "NOAUTH", "password")
	wrong := open(t, "redis://:sekret2@"+server.Addr())
	_, err = wrong.Head(context.Background(), unit)
	wantError(t, err, snapshotstore.Wait, "WRONGPASS", "ACL LIST")
	if text := err.Error() + wrong.String(); strings.Contains(text, "sekret2") {
		t.Errorf("the password is shown: %s", text)
	}
	store := open(t, "redis://:sekret@"+server.Addr())
	if err := commit(store, unit); err != nil {
		t.Fatal(err)
	}

	// The rights that the fix of NOPERM names are all that is needed, and each but PING is needed.
	grant := func(rules ...any) {
		t.Helper()
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), Password: "sekret"})
		defer client.Close()
		if err := client.Do(context.Background(), append([]any{"ACL", "SETUSER", "bob", "reset", "on", ">pw"}, rules...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	grant()
	_, err = open(t, "redis://bob:pw@"+server.Addr()).Head(context.Background(), unit)
	wantError(t, err, snapshotstore.Wait, "NOPERM", "~tailfold:*")
	if !strings.Contains(err.Error(), "hmget") || !strings.Contains(err.Error(), "tailfold:{totals/v1/0}") {
		t.Errorf("the error does not name command and key: %v", err)
	}
	failed, _ := errors.AsType[*snapshotstore.Error](err)
	_, rules, _ := strings.Cut(failed.Fix, "<user> ")
	var words []any
	for word := range strings.FieldsSeq(rules) {
		words = append(words, word)
	}
	grant(words...)
	roundTrip(t, open(t, "redis://bob:pw@"+server.Addr()))

	grant("~tailfold:*", "+@all", "-hlen") // used within MULTI, which hides what is refused
	_, err = open(t, "redis://bob:pw@"+server.Addr()).Head(context.Background(), snapshotstore.Unit{Projection: "new", Version: 1})
	wantError(t, err, snapshotstore.Wait, "hlen", "~tailfold:*")

	grant("~other:*", "+@all")
	_, err = open(t, "redis://bob:pw@"+server.Addr()).Head(context.Background(), unit)
	wantError(t, err, snapshotstore.Wait, "NOPERM", "~tailfold:*")
}

// A script has no rollback: rights that lack only what it does late must be found before it does anything.
func TestMissingRightOfACommandInTheScriptIsFoundBeforeTheFirstWrite(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL())
	put := snapshotstore.Entry{Key: "a", Data: []byte("1")}
	if err := commit(store, unit, put); err != nil {
		t.Fatal(err)
	}
	for _, missing := range []string{"-hdel", "-hset"} {
		server.Do("ACL", "SETUSER", "bob", "reset", "on", ">pw", "~*", "+@all", missing)
		bob := open(t, "redis://bob:pw@"+server.Addr())
		head, err := bob.Head(context.Background(), unit)
		if err != nil {
			t.Fatal(err)
		}
		err = bob.Commit(context.Background(), unit, snapshotstore.Checkpoint{From: head, To: mark(2),
			Put: []snapshotstore.Entry{{Key: "a", Data: []byte("2")}}, Delete: []string{"b", "a2"}})
		wantError(t, err, snapshotstore.Wait, "can't run this command", "+hset")
		wantHeld(t, store, 1, "a", "1")
	}
}

func TestScriptsThatAreSwitchedOffAreAFaultOfSetUp(t *testing.T) {
	server := redistest.Start(t, "--rename-command", "EVALSHA", "")
	store := open(t, server.URL())
	wantError(t, commit(store, unit), snapshotstore.Stop, "unknown command", "rename-command")
	_, err := store.Check(context.Background())
	wantError(t, err, snapshotstore.Stop, "unknown command", "rename-command")
}

func TestDatabaseThatDoesNotExist(t *testing.T) {
	server := redistest.Start(t)
	_, err := open(t, "redis://"+server.Addr()+"/99").Head(context.Background(), unit)
	wantError(t, err, snapshotstore.Stop, "DB index is out of range", "databases")
}

func TestSomebodysEndlessScriptPasses(t *testing.T) {
	server := redistest.Start(t, "--busy-reply-threshold", "1")
	store := open(t, server.URL())
	ended := make(chan error, 1)
	go func() {
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
		defer client.Close()
		ended <- client.Eval(context.Background(), "while true do end", nil).Err()
	}()
	var err error
	server.Await("Redis is busy", func(*redisClient) bool {
		_, err = store.Head(context.Background(), unit)
		return err != nil
	})
	wantError(t, err, snapshotstore.Again, "BUSY", "")
	server.Do("SCRIPT", "KILL")
	if err := <-ended; err == nil {
		t.Error("the endless script ended by itself")
	}
	if err := commit(store, unit); err != nil {
		t.Fatal(err)
	}
}

func TestForgottenScriptIsSentAgain(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	store := open(t, server.URL())
	for range 2 {
		if err := commit(store, unit); err != nil {
			t.Fatal(err)
		}
		server.Do("SCRIPT", "FLUSH")
	}
	server.Restart()
	if err := commit(store, unit); err != nil {
		t.Fatal(err)
	}
	wantHeld(t, store, 3, "", "")
}

func TestRedisThatIsLoadingIsWaitedFor(t *testing.T) {
	server := redistest.Start(t)
	server.Do("DEBUG", "POPULATE", 200_000, "filler", 100)
	server.Do("CONFIG", "SET", "key-load-delay", "50")
	server.Do("CONFIG", "SET", "loading-process-events-interval-bytes", "1024")
	store := open(t, server.URL())
	done := make(chan error, 1)
	go func() { // answers when all is loaded
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1, ReadTimeout: time.Minute})
		defer client.Close()
		done <- client.Do(context.Background(), "DEBUG", "RELOAD").Err()
	}()
	var err error
	server.Await("Redis is loading", func(*redisClient) bool {
		_, err = store.Head(context.Background(), unit)
		return err != nil && strings.Contains(err.Error(), "LOADING")
	})
	wantError(t, err, snapshotstore.Again, "LOADING", "")
	server.Kill()
	<-done
}

func TestRedisThatIsAway(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL())
	if err := commit(store, unit); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	_, err := store.Head(context.Background(), unit)
	wantError(t, err, snapshotstore.Again, "", "")
	_, err = store.Head(context.Background(), unit)
	wantError(t, err, snapshotstore.Again, "connection refused", "")
	server.Restart()
	if err := commit(store, unit); err != nil { // nothing was on disk: the unit begins anew
		t.Fatal(err)
	}
	wantHeld(t, store, 1, "", "")
}

func TestCallsEndWithTheirContextWhileRedisIsStalled(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL())
	if err := commit(store, unit); err != nil {
		t.Fatal(err)
	}
	server.Pause()
	defer server.Continue()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := store.Head(ctx, unit)
	if wantError(t, err, snapshotstore.Again, "", ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the deadline", err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	started := time.AfterFunc(20*time.Millisecond, cancel)
	defer started.Stop()
	_, err = store.Head(ctx, unit)
	if wantError(t, err, snapshotstore.Again, "", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was cancelled", err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := store.Head(context.Background(), unit)
		ended <- err
	}()
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("a call under way outlived Close")
	}
}

func TestCheckWarnsOfWhatWouldLoseSnapshots(t *testing.T) {
	server := redistest.Start(t, "--maxmemory-policy", "allkeys-lru")
	warnings, err := open(t, server.URL()).Check(context.Background())
	all := strings.Join(warnings, "\n")
	if err != nil || len(warnings) != 2 || !strings.Contains(all, "allkeys-lru") || !strings.Contains(all, "appendonly yes") {
		t.Errorf("check says %q, %v; want a warning of eviction and one of persistence", warnings, err)
	}
	for refused, want := range map[string]int{"-info": 0, "-config": 1} { // what can't be seen is no warning
		server.Do("ACL", "SETUSER", "bob", "reset", "on", ">pw", "~*", "+@all", refused)
		warnings, err = open(t, "redis://bob:pw@"+server.Addr()).Check(context.Background())
		if err != nil || len(warnings) != want {
			t.Errorf("with %s, check says %q, %v; want %d warnings", refused, warnings, err, want)
		}
	}
	server.Restart("--maxmemory-policy", "noeviction", "--appendonly", "yes")
	warnings, err = open(t, server.URL()).Check(context.Background())
	if err != nil || len(warnings) != 0 {
		t.Errorf("check says %q, %v; want nothing", warnings, err)
	}
	asking := openAs(t, redisstore.Options{URL: server.URL(), Replicas: 1})
	warnings, err = asking.Check(context.Background())
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "has 0 replicas, and checkpoints are to be on 1") {
		t.Errorf("check says %q, %v; want a warning of too few replicas", warnings, err)
	}
	redistest.StartReplica(t, server)
	if warnings, err = asking.Check(context.Background()); err != nil || len(warnings) != 0 {
		t.Errorf("with a replica, check says %q, %v; want nothing", warnings, err)
	}
}
