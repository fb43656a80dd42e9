package read_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/read"
	"github.com/tailfold/tailfold/snapshotstore/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fold moves a unit on to seq, with keys and values in turn.
func fold(t testing.TB, store snapshotstore.Store, unit snapshotstore.Unit, seq uint64, pairs ...string) snapshotstore.Mark {
	t.Helper()
	from, err := store.Head(context.Background(), unit)
	if err != nil {
		t.Fatal(err)
	}
	to := snapshotstore.Mark{Seq: seq, Writer: "w1"}.Seal(fmt.Sprintf("%s@%d", unit, seq))
	checkpoint := snapshotstore.Checkpoint{From: from, To: to}
	for pair := range slices.Chunk(pairs, 2) {
		checkpoint.Put = append(checkpoint.Put, snapshotstore.Entry{Key: pair[0], Data: []byte(pair[1])})
	}
	if err := store.Commit(context.Background(), unit, checkpoint); err != nil {
		t.Fatal(err)
	}
	return to
}

func promote(t testing.TB, store snapshotstore.Store, from, to int) {
	t.Helper()
	if err := store.Promote(context.Background(), "totals", from, to); err != nil {
		t.Fatal(err)
	}
}

func reader(t testing.TB, store snapshotstore.Store, options read.Options) *read.Reader {
	t.Helper()
	options.Projection = "totals"
	r, err := read.New(store, options)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func totals(version, partition int) snapshotstore.Unit {
	return snapshotstore.Unit{Projection: "totals", Version: version, Partition: partition}
}

// wantErr is an error that must be of the type of want and equal to it.
func wantErr[E error](t testing.TB, err error, want E) {
	t.Helper()
	got, ok := errors.AsType[E](err)
	if !ok {
		t.Fatalf("%v, want a %T", err, want)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the error (-want +got):\n%s", diff)
	}
}

func TestGetTellsValueSeqAndMark(t *testing.T) {
	store := storetest.NewMemory()
	mark := fold(t, store, totals(3, 0), 7, "a", `{"orders":2}`)
	promote(t, store, 0, 3)
	r := reader(t, store, read.Options{})
	got, err := r.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	want := read.Result{Key: "a", Value: []byte(`{"orders":2}`), Exists: true, Seq: 7, Version: 3, Mark: mark}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got, err = r.Get(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(read.Result{Key: "b", Seq: 7, Version: 3, Mark: mark}, got); diff != "" {
		t.Error(diff)
	}
}

func TestKeyIsLookedForInEveryPartition(t *testing.T) {
	store := storetest.NewMemory()
	for p, seq := range []uint64{9, 5, 8} {
		fold(t, store, totals(1, p), seq, fmt.Sprintf("only-%d", p), "1")
	}
	r := reader(t, store, read.Options{Version: 1, Partitions: 3})
	results, err := r.GetMany(t.Context(), []string{"only-2", "none", "only-0", "only-2"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, result := range results {
		got = append(got, fmt.Sprintf("%s %v in %d at %d", result.Key, result.Exists, result.Partition, result.Seq))
	}
	want := []string{"only-2 true in 2 at 8", "none false in -1 at 5", "only-0 true in 0 at 9", "only-2 true in 2 at 8"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestKeyInSeveralPartitionsIsAnsweredAsSeveral(t *testing.T) {
	store := storetest.NewMemory()
	for p := range 3 {
		fold(t, store, totals(1, p), uint64(p+1))
	}
	fold(t, store, totals(1, 0), 10, "a", "1")
	fold(t, store, totals(1, 2), 12, "a", "3")
	r := reader(t, store, read.Options{Version: 1, Partitions: 3})
	all, err := r.Find(t.Context(), []string{"none", "a"})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || len(all[0]) != 0 || len(all[1]) != 2 || string(all[1][0].Value) != "1" || string(all[1][1].Value) != "3" {
		t.Fatalf("Find: %+v", all)
	}
	_, err = r.Get(t.Context(), "a")
	wantErr(t, err, &read.SeveralError{Projection: "totals", Key: "a", Results: all[1]})
	if !strings.Contains(err.Error(), "[0 2]") {
		t.Errorf("the error does not name the partitions: %v", err)
	}
}

// counting counts the units that are asked.
type counting struct {
	snapshotstore.Store
	asked, served []string
}

func (c *counting) Get(ctx context.Context, unit snapshotstore.Unit, keys []string) (snapshotstore.Mark, []snapshotstore.Value, error) {
	c.asked = append(c.asked, fmt.Sprintf("%s %q", unit, keys))
	return c.Store.Get(ctx, unit, keys)
}

func (c *counting) Served(ctx context.Context, projection string) (int, error) {
	c.served = append(c.served, projection)
	return c.Store.Served(ctx, projection)
}

func TestOnlyThePartitionOfAKeyIsAsked(t *testing.T) {
	store := &counting{Store: storetest.NewMemory()}
	fold(t, store, totals(1, 1), 1, "a", "1", "b", "2")
	partition := func(key string) int { return map[string]int{"a": 1, "b": 1, "far": 4}[key] }
	r := reader(t, store, read.Options{Version: 1, Partitions: 4, PartitionOf: partition})
	if _, err := r.GetMany(t.Context(), []string{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{`totals/v1/1 ["a" "b"]`}, store.asked); diff != "" {
		t.Error(diff)
	}
	if _, err := r.Get(t.Context(), "far"); err == nil || !strings.Contains(err.Error(), "partition 4 of 4") {
		t.Errorf("%v, want that there is no such partition", err)
	}
}

func TestServedVersionIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &counting{Store: storetest.NewMemory()}
		r := reader(t, store, read.Options{})
		_, err := r.Get(t.Context(), "a")
		wantErr(t, err, &read.NotServedError{Projection: "totals"})

		fold(t, store, totals(1, 0), 5, "a", "one")
		promote(t, store, 0, 1)
		want := func(value string) {
			t.Helper()
			got, err := r.Get(t.Context(), "a")
			if err != nil || string(got.Value) != value {
				t.Fatalf("%q, %v; want %q", got.Value, err, value)
			}
		}
		want("one")
		fold(t, store, totals(2, 0), 5, "a", "two")
		promote(t, store, 1, 2)
		store.served = nil
		want("one") // known for a second
		if len(store.served) != 0 {
			t.Error("the served version was asked again within the time that it is kept")
		}
		time.Sleep(time.Second)
		want("two")

		// A version that was dropped meanwhile is no missing key.
		fold(t, store, totals(3, 0), 5, "a", "three")
		promote(t, store, 2, 3)
		if err := store.Drop(t.Context(), totals(2, 0)); err != nil {
			t.Fatal(err)
		}
		want("three")
	})
}

func TestSnapshotThatIsGoneIsNoMissingKey(t *testing.T) {
	store := storetest.NewMemory()
	_, err := reader(t, store, read.Options{Version: 4}).Get(t.Context(), "a")
	wantErr(t, err, &read.NoSnapshotError{Unit: totals(4, 0)})
	promote(t, store, 0, 4)
	_, err = reader(t, store, read.Options{}).Get(t.Context(), "a")
	wantErr(t, err, &read.NoSnapshotError{Unit: totals(4, 0)})
	for _, err := range reader(t, store, read.Options{}).All(t.Context(), "") {
		wantErr(t, err, &read.NoSnapshotError{Unit: totals(4, 0)})
	}
}

func TestReadYourOwnWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory()
		fold(t, store, totals(1, 0), 1, "a", "1")
		fold(t, store, totals(1, 1), 1)
		r := reader(t, store, read.Options{Version: 1, Partitions: 2})
		began := time.Now()
		time.AfterFunc(300*time.Millisecond, func() { fold(t, store, totals(1, 0), 10, "a", "10") })
		time.AfterFunc(600*time.Millisecond, func() { fold(t, store, totals(1, 1), 12) })
		got, err := r.After(10, 2*time.Second).Get(t.Context(), "a")
		if err != nil || string(got.Value) != "10" || got.Seq != 10 {
			t.Fatalf("%+v, %v; want the value at seq 10", got, err)
		}
		if waited := time.Since(began); waited < 600*time.Millisecond || waited > 700*time.Millisecond {
			t.Errorf("waited %v, both partitions were there after 600ms", waited)
		}
		for _, err := range r.After(12, time.Second).All(t.Context(), "") {
			wantErr(t, err, &read.StaleError{Unit: totals(1, 0), Want: 12, Seq: 10})
		}
	})
}

func TestFirstSnapshotIsWaitedForToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory()
		r := reader(t, store, read.Options{})
		time.AfterFunc(100*time.Millisecond, func() { promote(t, store, 0, 1) })
		time.AfterFunc(200*time.Millisecond, func() { fold(t, store, totals(1, 0), 3, "a", "1") })
		got, err := r.After(3, time.Second).Get(t.Context(), "a")
		if err != nil || string(got.Value) != "1" {
			t.Fatalf("%+v, %v; want the value", got, err)
		}
	})
}

func TestWaitingEndsWithItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory()
		fold(t, store, totals(1, 0), 5, "a", "1")
		r := reader(t, store, read.Options{Version: 1})
		began := time.Now()
		_, err := r.After(6, time.Second).Get(t.Context(), "a")
		wantErr(t, err, &read.StaleError{Unit: totals(1, 0), Want: 6, Seq: 5})
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("waited %v, want 1s", waited)
		}
		_, err = r.After(6, 0).Get(t.Context(), "a")
		wantErr(t, err, &read.StaleError{Unit: totals(1, 0), Want: 6, Seq: 5})
		if waited := time.Since(began); waited != time.Second {
			t.Error("waited without a timeout")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err = r.After(6, time.Minute).Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the context's deadline", err)
		}
		wantErr(t, err, &read.StaleError{Unit: totals(1, 0), Want: 6, Seq: 5})
	})
}

func TestErrorsOfTheStoreAreNotWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory()
		fold(t, store, totals(1, 0), 5, "a", "1")
		store.SetMark(totals(1, 0), nil)
		began := time.Now()
		_, err := reader(t, store, read.Options{Version: 1}).After(6, time.Minute).Get(t.Context(), "a")
		if _, ok := errors.AsType[*snapshotstore.CorruptError](err); !ok || time.Since(began) != 0 {
			t.Errorf("%v after %v, want CORRUPT at once", err, time.Since(began))
		}
	})
}

func TestAllYieldsEachKeyWithThePrefix(t *testing.T) {
	store := storetest.NewMemory()
	want := map[string]string{}
	for p := range 2 {
		var pairs []string
		for i := range 600 {
			key := fmt.Sprintf("eu-%d-%d", p, i)
			want[key] = fmt.Sprintf("%d in %d at %d", i, p, 7+p)
			pairs = append(pairs, key, fmt.Sprint(i), fmt.Sprintf("us-%d-%d", p, i), "x")
		}
		fold(t, store, totals(1, p), uint64(7+p), pairs...)
	}
	r := reader(t, store, read.Options{Version: 1, Partitions: 2})
	got := map[string]string{}
	for result, err := range r.All(t.Context(), "eu-") {
		if err != nil {
			t.Fatal(err)
		}
		got[result.Key] = fmt.Sprintf("%s in %d at %d", result.Value, result.Partition, result.Seq)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for range r.All(t.Context(), "") {
		break // a consumer may stop
	}
}

func TestJSONDecodesWhatThereIs(t *testing.T) {
	type total struct {
		Orders int `json:"orders"`
	}
	got, err := read.JSON[total](read.Result{Value: []byte(`{"orders":3}`), Exists: true})
	if err != nil || got.Orders != 3 {
		t.Errorf("%+v, %v; want 3 orders", got, err)
	}
	if got, err = read.JSON[total](read.Result{}); err != nil || got.Orders != 0 {
		t.Errorf("%+v, %v; want the zero value of a key that does not exist", got, err)
	}
	got, err = read.JSON[total](read.Result{Key: "c-77", Seq: 9, Value: []byte(`{"orders":3,"orders":4}`), Exists: true})
	if err == nil || got.Orders != 0 || !strings.Contains(err.Error(), `"c-77" at seq 9`) {
		t.Errorf("%+v, %v; want an error that names the key and the seq", got, err)
	}
}

func TestOptionsAreCheckedOnce(t *testing.T) {
	store := storetest.NewMemory()
	for _, c := range []struct {
		store   snapshotstore.Store
		options read.Options
		why     string
	}{
		{nil, read.Options{Projection: "totals"}, "no store"},
		{store, read.Options{}, "no projection"},
		{store, read.Options{Projection: "totals", Version: -1}, "version -1 of totals"},
		{store, read.Options{Projection: "totals", Partitions: -2}, "-2 partitions of totals"},
	} {
		if _, err := read.New(c.store, c.options); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%+v: %v, want an error that says %q", c.options, err, c.why)
		}
	}
}

// The server decides into which partition a subject goes; a client that computes it must agree.
func TestPartitionIsTheServersOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 64).Draw(t, "n")
		token := rapid.StringMatching(`[^\s.*>\x00\p{Cc}]{1,40}`).Draw(t, "token")
		transform, err := server.NewSubjectTransform("orders.*", fmt.Sprintf("{{partition(%d,1)}}", n))
		if err != nil {
			t.Fatal(err)
		}
		want := transform.TransformSubject("orders." + token)
		if got := fmt.Sprint(read.Partition(token, n)); got != want {
			t.Fatalf("token %q is in partition %s of %d, the server says %s", token, got, n, want)
		}
	})
	for token, want := range map[string]int{"": 0x811c9dc5 % 1000, "a": 0xe40c292c % 1000, "foobar": 0xbf9cf968 % 1000} {
		if got := read.Partition(token, 1000); got != want { // the vectors of FNV-1a's authors, two of them beyond 2^31
			t.Errorf("token %q is in partition %d of 1000, want %d", token, got, want)
		}
	}
}

func TestThePackageIsLight(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dependency := range strings.FieldsSeq(string(out)) {
		for _, heavy := range []string{"nats-io", "zap", "redis", "bbolt", "prometheus", "tailfold/consumer"} {
			if strings.Contains(dependency, heavy) {
				t.Errorf("a service that reads models would have to import %s", dependency)
			}
		}
	}
}
