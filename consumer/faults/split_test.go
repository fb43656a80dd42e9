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
	"github.com/tailfold/tailfold/snapshotstore/redisstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// tokenReader reads the total from a server, and never wants an older seq than its token.
func tokenReader(t *testing.T, server *redistest.Server, token uint64) func(timeout time.Duration) (seq uint64, err error) {
	t.Helper()
	store, err := redisstore.Open(redisstore.Options{URL: server.URL(), Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	reader, err := reading.New(store, reading.Options{Projection: "total"})
	if err != nil {
		t.Fatal(err)
	}
	return func(timeout time.Duration) (uint64, error) {
		t.Helper()
		result, err := reader.After(token, timeout).Get(t.Context(), "")
		if err != nil {
			return 0, err
		}
		value, err := reading.JSON[total](result)
		if err != nil || result.Seq < token || uint64(value.Events) != result.Seq {
			t.Errorf("a reader with the token %d got %+v at seq %d (%v)", token, value, result.Seq, err)
		}
		return result.Seq, nil
	}
}

// TestAPrimaryThatWasSplitOffAndHealsLeavesOneLineage has a worker go on with a primary that the majority has given up, and
// another one fold with the replica that was promoted. The minority is ahead when it heals, and its lead is lost.
func TestAPrimaryThatWasSplitOffAndHealsLeavesOneLineage(t *testing.T) {
	primary := redistest.Start(t)
	replica, link := follower(t, primary)
	s := newSceneOn(t, primary)
	v := startValve(t, primary.Addr())
	s.redisURL = v.in(t, s.redisURL)
	w := s.startWorker("")
	s.awaitSeq(300, allModels...)
	awaitCopied(replica)

	link.hold()
	replica.Do("REPLICAOF", "NO", "ONE")
	rival := s.live("TAILFOLD_FAULTS_REDIS=" + replica.URL())
	s.awaitSeq(s.published()+300, allModels...)
	s.seqs()
	s.mayGoBack()
	s.moveTo(replica)
	s.awaitSeq(s.published()+300, allModels...)
	rival.pause()
	majority := s.seqs()
	s.moveTo(primary)
	s.awaitSeq(s.published()+300, allModels...)

	// It is told first that it is no primary any more, and then copies the majority.
	heal := startBrake(t, replica.Addr())
	heal.hold()
	primary.Do("REPLICAOF", "127.0.0.1", heal.port())
	x := w.says("that the store takes no writes", waitsFor("STORE_UNAVAILABLE"))
	if !strings.Contains(x.Evidence, "READONLY") || !strings.Contains(x.WayOut, "point the URL at the primary") {
		t.Errorf("the verdict says %+v", x)
	}
	minority := s.seqs()
	for _, model := range allModels {
		if minority[model] <= majority[model] {
			t.Fatalf("%s is at seq %d in the minority, at %d in the majority: nothing would be lost", model, minority[model], majority[model])
		}
	}
	token := minority["total"]
	readers := map[string]func(time.Duration) (uint64, error){
		"healed": tokenReader(t, primary, token), "promoted": tokenReader(t, replica, token)}
	if _, err := readers["healed"](time.Second); err != nil {
		t.Errorf("the minority does not answer for its own last seq: %v", err)
	}
	heal.release()
	primary.Await("the old primary follows", func(client *redis.Client) bool {
		raw, err := client.HGet(context.Background(), keyOf("total"), "$mark").Result()
		seq, _ := seqOf(raw)
		return err == nil && seq == majority["total"]
	})
	for name, read := range readers {
		_, err := read(300 * time.Millisecond)
		if stale, ok := errors.AsType[*reading.StaleError](err); !ok || stale.Want != token || stale.Seq >= token {
			t.Errorf("%s: a reader with the token %d got %v, want that it is stale", name, token, err)
		}
	}

	s.moveTo(replica)
	s.mustNotGoBack()
	v.lead(replica.Addr())
	rival.continueOn()
	for name, read := range readers {
		seq, err := read(30 * time.Second)
		if err != nil {
			t.Fatalf("%s: %v; the worker said:\n%s", name, err, w.output.end())
		}
		for range 100 {
			if _, err := read(5 * time.Second); err != nil {
				t.Fatalf("%s: after seq %d: %v", name, seq, err)
			}
		}
	}
	s.mustSettle(w, rival)
	w.mustNotHalt()
	rival.mustNotHalt()
	rival.kill()
	s.finish()
	for _, model := range allModels {
		if m := s.mark(model); m.Writer != w.name {
			t.Errorf("%s is of %s, want %s", model, m.Writer, w.name)
		}
	}
	w.mustNotHalt()
}

// mustSettle demands that soon each model has one writer, whose epoch does not rise any more while events come in, and that
// the other worker stands by.
func (s *scene) mustSettle(workers ...*life) {
	s.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		before := map[string]string{}
		for _, model := range allModels {
			before[model] = s.owner(model)
		}
		s.awaitEvents(1000)
		s.awaitSeq(s.published(), allModels...)
		settled := true
		for _, model := range allModels {
			settled = settled && s.owner(model) == before[model]
		}
		if settled {
			break
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("they fight: from %v to %s, %s, %s", before, s.owner("total"), s.owner("accounts"), s.owner("ids"))
		}
	}
	for _, model := range allModels {
		m := s.mark(model)
		if m.Epoch > 6 {
			s.t.Errorf("%s has epoch %d after two starts and one split: they fight", model, m.Epoch)
		}
		for _, w := range workers {
			states := w.lines(func(x line) bool { return x.Projection == model && strings.HasPrefix(x.Msg, "is ") })
			if len(states) == 0 || (states[len(states)-1].Msg == "is standby") == (m.Writer == w.name) {
				s.t.Errorf("%s is of %s, and %s says %+v", model, m.Writer, w.name, states)
			}
		}
	}
}

// owner is who writes a model, and its epoch.
func (s *scene) owner(model string) string {
	s.t.Helper()
	m := s.mark(model)
	return fmt.Sprintf("%s with epoch %d", m.Writer, m.Epoch)
}
