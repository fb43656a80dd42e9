package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// entries are n keys with a value each.
func entries(n int, value string) []snapshotstore.Entry {
	all := make([]snapshotstore.Entry, n)
	for i := range all {
		all[i] = snapshotstore.Entry{Key: fmt.Sprintf("key-%d", i), Data: []byte(value)}
	}
	return all
}

func names(entries []snapshotstore.Entry) []string {
	all := make([]string, len(entries))
	for i, entry := range entries {
		all[i] = entry.Key
	}
	return all
}

// What is stored is public: other languages read it with these very commands.
func TestLayoutInRedis(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL())
	ctx := context.Background()
	at := time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)
	to := mark(3)
	err := store.Commit(ctx, unit, snapshotstore.Checkpoint{To: to, Definition: "the definition",
		Put:     []snapshotstore.Entry{{Key: "c-77", Data: []byte("1")}, {Key: "", Data: []byte("2")}, {Key: "$mark", Data: []byte("3")}},
		Skipped: []snapshotstore.Skipped{{Seq: 2, Subject: "orders.x", Key: "c-1", Cause: "no amount", At: at}}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"c-77": "1", "": "2", "$$mark": "3", "$mark": string(to.Raw), "$definition": "the definition",
		"$skipped": `[{"seq":2,"subject":"orders.x","key":"c-1","cause":"no amount","at":"2026-11-23T20:00:00Z"}]`,
	}
	got := server.Client().HGetAll(ctx, "tailfold:{totals/v1/0}").Val()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := store.Promote(ctx, "totals", 0, 1); err != nil {
		t.Fatal(err)
	}
	if served := server.Do("GET", "tailfold:served:totals"); served != "1" {
		t.Errorf("served is %q, want 1", served)
	}
	if err := store.Announce(ctx, "w1", []byte(`{"units":[]}`), 2*time.Second); err != nil {
		t.Fatal(err)
	}
	said := fmt.Sprint(server.Do("HGET", "tailfold:workers", "w1"))
	if !strings.HasPrefix(said, `{"at_ms":1`) || !strings.HasSuffix(said, `,"renew_ms":2000,"report":{"units":[]}}`) {
		t.Errorf("the worker's announcement is stored as %s", said)
	}
	keys := server.Client().DBSize(ctx).Val()
	if keys != 3 {
		t.Errorf("%d keys in Redis, want 3", keys)
	}
}

// Lua's unpack gives up beyond 7,998 values: each size around the bounds of a chunk is one commit.
func TestCheckpointsOfAnySizeAreOneStep(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL())
	ctx := context.Background()
	for _, n := range []int{1, 3499, 3500, 3501, 3999, 4000, 6999, 7000, 7001, 8000} {
		head, err := store.Head(ctx, unit)
		if err != nil {
			t.Fatal(err)
		}
		put := entries(n, fmt.Sprint(n))
		to := mark(uint64(n))
		if err := store.Commit(ctx, unit, snapshotstore.Checkpoint{From: head, To: to, Put: put}); err != nil {
			t.Fatalf("a put of %d: %v", n, err)
		}
		if size := server.Client().HLen(ctx, "tailfold:{totals/v1/0}").Val(); size != int64(n+1) {
			t.Fatalf("a put of %d left %d fields", n, size)
		}
		err = store.Commit(ctx, unit, snapshotstore.Checkpoint{From: to, To: mark(uint64(n)), Delete: names(put)})
		if err != nil {
			t.Fatalf("a delete of %d: %v", n, err)
		}
		if size := server.Client().HLen(ctx, "tailfold:{totals/v1/0}").Val(); size != 1 {
			t.Fatalf("a delete of %d left %d fields", n, size)
		}
	}
}

func TestHundredThousandKeys(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL())
	ctx := context.Background()
	const n = 100_000
	put := entries(n, "v")
	if err := commit(store, unit, put...); err != nil {
		t.Fatal(err)
	}
	got, values, err := store.Get(ctx, unit, names(put))
	if err != nil || got.Seq != 1 || len(values) != n {
		t.Fatalf("seq %d, %d values, %v; want all %d", got.Seq, len(values), err, n)
	}
	for i, value := range values {
		if !value.Exists || string(value.Data) != "v" {
			t.Fatalf("value %d is %q, %v", i, value.Data, value.Exists)
		}
	}
	seen := map[string]bool{}
	for entry, err := range store.Scan(ctx, unit) {
		if err != nil {
			t.Fatal(err)
		}
		seen[entry.Key] = true
	}
	if len(seen) != n {
		t.Errorf("a scan yields %d keys, want %d", len(seen), n)
	}
	if err := store.Drop(ctx, unit); err != nil {
		t.Fatal(err)
	}
	if left := server.Client().DBSize(ctx).Val(); left != 0 {
		t.Errorf("a drop left %d keys", left)
	}
}

func TestScanAsksForFewFieldsWhereValuesAreBig(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL())
	if err := commit(store, unit, entries(600, strings.Repeat("x", 100<<10))...); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range store.Scan(context.Background(), unit) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n < 600 {
		t.Errorf("a scan yields %d keys, want 600", n)
	}
	calls := 0
	for line := range strings.Lines(server.Client().Info(context.Background(), "commandstats").Val()) {
		if rest, ok := strings.CutPrefix(line, "cmdstat_hscan:calls="); ok {
			_, _ = fmt.Sscanf(rest, "%d,", &calls)
		}
	}
	if calls < 20 { // 64 fields at first, which are 6 MB, then 16
		t.Errorf("60 MB came in %d pages, want some 35", calls)
	}
}

func TestForeignTypeAtTheNameOfAUnitIsCorruptAndLeftAlone(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL())
	ctx := context.Background()
	server.Do("SET", "tailfold:{totals/v1/0}", "mine")
	_, headErr := store.Head(ctx, unit)
	_, _, skippedErr := store.Skipped(ctx, unit)
	_, definitionErr := store.Definition(ctx, unit)
	commitErr := store.Commit(ctx, unit, snapshotstore.Checkpoint{To: mark(1), Put: entries(1, "x")})
	var scanErr error
	for _, err := range store.Scan(ctx, unit) {
		scanErr = err
	}
	for op, err := range map[string]error{"head": headErr, "skipped": skippedErr, "definition": definitionErr, "commit": commitErr,
		"scan": scanErr} {
		corrupt, ok := errors.AsType[*snapshotstore.CorruptError](err)
		if !ok || corrupt.Unit != unit || !strings.Contains(corrupt.Why, "not a hash") {
			t.Errorf("%s: %v, want CORRUPT", op, err)
		}
	}
	if held := server.Do("GET", "tailfold:{totals/v1/0}"); held != "mine" {
		t.Errorf("the foreign value is now %q", held)
	}
}

func TestForeignTypesAtOtherNames(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL())
	ctx := context.Background()
	server.Do("RPUSH", "tailfold:served:totals", "x")
	server.Do("SET", "tailfold:workers", "x")
	_, servedErr := store.Served(ctx, "totals")
	promoteErr := store.Promote(ctx, "totals", 0, 1)
	server.Do("SET", "tailfold:served:other", "latest")
	_, otherErr := store.Served(ctx, "other")
	for op, err := range map[string]error{"served": servedErr, "promote": promoteErr, "served other": otherErr} {
		if _, ok := errors.AsType[*snapshotstore.CorruptError](err); !ok {
			t.Errorf("%s: %v, want CORRUPT", op, err)
		}
	}
	_, err := store.Workers(ctx)
	wantError(t, err, snapshotstore.Stop, "WRONGTYPE", "prefix of its own")
	wantError(t, store.Announce(ctx, "w1", nil, time.Second), snapshotstore.Stop, "WRONGTYPE", "prefix of its own")
}

func TestDamagedRecordOfSkippedEventsIsCorruptAndLeftAlone(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL())
	ctx := context.Background()
	if err := commit(store, unit); err != nil {
		t.Fatal(err)
	}
	server.Do("HSET", "tailfold:{totals/v1/0}", "$skipped", "none")
	_, _, readErr := store.Skipped(ctx, unit)
	head, err := store.Head(ctx, unit)
	if err != nil {
		t.Fatal(err)
	}
	writeErr := store.Commit(ctx, unit, snapshotstore.Checkpoint{From: head, To: mark(2), Put: entries(1, "x"),
		Skipped: []snapshotstore.Skipped{{Seq: 2}}})
	for op, err := range map[string]error{"skipped": readErr, "commit": writeErr} {
		if corrupt, ok := errors.AsType[*snapshotstore.CorruptError](err); !ok || corrupt.Key != "$skipped" {
			t.Errorf("%s: %v, want CORRUPT at $skipped", op, err)
		}
	}
	wantHeld(t, store, 1, "key-0", "")
}

func TestMarksThatAreNotSealedAreRefused(t *testing.T) {
	store := open(t, redistest.Start(t).URL())
	for _, checkpoint := range []snapshotstore.Checkpoint{
		{To: snapshotstore.Mark{Format: 1, Seq: 1}},
		{To: mark(2), From: snapshotstore.Mark{Format: 1, Seq: 1}},
	} {
		wantError(t, store.Commit(context.Background(), unit, checkpoint), snapshotstore.Stop, "Mark.Seal", "")
	}
}

// The connection dies after Redis has applied the commit and before its reply: the caller can't know, sends the same
// again, and it counts once.
func TestCommitWhoseReplyWasLostIsAppliedOnce(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server)
	store := open(t, proxy.URL())
	ctx := context.Background()
	if err := commit(store, unit); err != nil {
		t.Fatal(err)
	}
	head, err := store.Head(ctx, unit)
	if err != nil {
		t.Fatal(err)
	}
	checkpoint := snapshotstore.Checkpoint{From: head, To: mark(2), Put: entries(1, "x"),
		Skipped: []snapshotstore.Skipped{{Seq: 2, Subject: "s", Cause: "c"}}}
	lost := proxy.LoseReply("evalsha")
	err = store.Commit(ctx, unit, checkpoint)
	wantError(t, err, snapshotstore.Again, "", "")
	<-lost
	wantHeld(t, store, 2, "key-0", "x") // it was applied
	if err := store.Commit(ctx, unit, checkpoint); err != nil {
		t.Fatalf("the same checkpoint again: %v", err)
	}
	_, skipped, err := store.Skipped(ctx, unit)
	if err != nil || len(skipped) != 1 {
		t.Errorf("skipped events are %+v, %v; want the one", skipped, err)
	}
	next := mark(3)
	if err := store.Commit(ctx, unit, snapshotstore.Checkpoint{From: checkpoint.To, To: next}); err != nil {
		t.Fatal(err)
	}
	err = store.Commit(ctx, unit, checkpoint) // too late: somebody has gone on from it
	conflict, ok := errors.AsType[*snapshotstore.ConflictError](err)
	if !ok || conflict.Held.ID != next.ID {
		t.Errorf("%v, want a conflict with what is held", err)
	}
}

// A cluster's client sends again by itself after a lost connection.
func TestCommitThatTheClientSendsAgainIsAppliedOnce(t *testing.T) {
	node := redistest.StartCluster(t, 1)[0]
	proxy := redistest.StartProxy(t, node)
	_, port, _ := net.SplitHostPort(proxy.Addr())
	node.Do("CONFIG", "SET", "cluster-announce-port", port) // where the cluster sends its clients
	store := open(t, "redis+cluster://"+proxy.Addr())
	if err := commit(store, unit); err != nil {
		t.Fatal(err)
	}
	lost := proxy.LoseReply("evalsha")
	if err := commit(store, unit, entries(1, "x")...); err != nil {
		t.Fatal(err)
	}
	<-lost
	wantHeld(t, store, 2, "key-0", "x")
}

// A worker whose announcement has run out renews it just as another removes it: it must stay.
func TestRenewedAnnouncementIsNotRemovedAsTheOldOne(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL())
	ctx := context.Background()
	const old = `{"at_ms":1000,"renew_ms":1000,"report":{"old":true}}`
	server.Do("HSET", "tailfold:workers", "gone", old, "back", old, "future", `{"format":2}`)
	// Between reading and removing, "back" is renewed.
	proxy := redistest.StartProxy(t, server)
	behind := open(t, proxy.URL())
	renewed := proxy.Before(redisstore.ForgetScript, func() {
		if err := store.Announce(ctx, "back", []byte(`{"old":false}`), time.Minute); err != nil {
			t.Error(err)
		}
	})
	if _, err := behind.Workers(ctx); err != nil {
		t.Fatal(err)
	}
	<-renewed
	workers, err := store.Workers(ctx)
	if err != nil || len(workers) != 1 || workers[0].Worker != "back" || string(workers[0].Report) != `{"old":false}` {
		t.Errorf("%+v, %v; want the renewed one alone", workers, err)
	}
	want := []string{"back", "future"} // what can't be read is left alone
	if diff := cmp.Diff(want, server.Client().HKeys(ctx, "tailfold:workers").Val()); diff != "" {
		t.Error(diff)
	}
}

func TestTwoPrefixesAreTwoStores(t *testing.T) {
	server := redistest.Start(t)
	a, b := open(t, server.URL()), openWith(t, server.URL(), "other")
	if err := commit(a, unit, entries(1, "a")...); err != nil {
		t.Fatal(err)
	}
	if err := commit(b, unit, entries(1, "b")...); err != nil {
		t.Fatal(err)
	}
	wantHeld(t, a, 1, "key-0", "a")
	wantHeld(t, b, 1, "key-0", "b")
	if size := server.Client().HLen(context.Background(), "other:{totals/v1/0}").Val(); size != 2 {
		t.Errorf("the other prefix has %d fields, want 2", size)
	}
}

func TestACommitTellsHowLongRedisWasHeld(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL())
	ctx := context.Background()
	to := mark(1)
	checkpoint := snapshotstore.Checkpoint{To: to, Put: entries(20_000, "v")}
	began := time.Now()
	receipt, err := store.CommitWithReceipt(ctx, unit, checkpoint)
	if took := time.Since(began); err != nil || receipt.Held <= 0 || receipt.Held > took {
		t.Errorf("held for %v of %v, %v", receipt.Held, took, err)
	}
	if again, err := store.CommitWithReceipt(ctx, unit, checkpoint); err != nil || again.Held != 0 {
		t.Errorf("the same checkpoint again held Redis for %v, %v; want 0, it was applied before", again.Held, err)
	}
}
