package faults

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
)

// TestAWorkerThatTakesNothingForLongIsDroppedByTheServerAndResumes stops a worker while large events are on their way to
// it: the server can't write to it for longer than its write deadline (10 s), takes it for a slow consumer and closes its
// connection. What was under way is read again.
func TestAWorkerThatTakesNothingForLongIsDroppedByTheServerAndResumes(t *testing.T) {
	s := newScene(t)
	w := s.startWorker("")
	s.awaitSeq(300, allModels...)
	for _, model := range allModels {
		w.says("that it is live", is(model, "live"))
	}
	s.stopPublishing()
	w.pause()
	js := natstest.JetStream(t, s.nats.Connect())
	s.mu.Lock()
	pad := `{"pad":"` + strings.Repeat("x", 200<<10) + `",`
	for range 100 {
		x := event{ID: len(s.events) + 1, From: accountKey(s.rng.IntN(50)), To: "to " + accountKey(s.rng.IntN(50)), Amount: 1}
		if _, err := js.Publish(t.Context(), "events.large", []byte(strings.Replace(text(x), "{", pad, 1)), jetstream.WithRetryAttempts(5)); err != nil {
			t.Fatal(err)
		}
		s.events = append(s.events, x)
	}
	s.mu.Unlock()
	dropped := func() bool { return strings.Contains(s.nats.Log(), "Slow Consumer") }
	for deadline := time.Now().Add(40 * time.Second); !dropped(); {
		if time.Now().After(deadline) {
			t.Fatalf("the server does not drop the worker's connection; it said:\n%s", s.nats.Log())
		}
		time.Sleep(50 * time.Millisecond) // polls another process
	}
	w.continueOn()
	s.startPublishing()
	s.awaitEvents(300)
	s.finish()
	w.mustNotHalt()
	ended := w.lines(func(x line) bool { return strings.Contains(x.Msg, "the reader ended") })
	if len(ended) == 0 {
		t.Errorf("the worker does not say that its reader ended; it said:\n%s", w.output.end())
	} else {
		t.Logf("%+v", ended[0])
	}
}
