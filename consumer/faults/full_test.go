package faults

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
)

// TestALogThatIsFullIsReadOn has the stream reach its size, beyond which it takes nothing in. The worker stays live and
// takes checkpoints; when there is room again, it goes on.
func TestALogThatIsFullIsReadOn(t *testing.T) {
	s := newScene(t)
	w := s.startWorker("")
	s.awaitSeq(300, allModels...)
	js := natstest.JetStream(t, s.nats.Connect())
	config := jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}, Replicas: 1, Discard: jetstream.DiscardNew}
	info, err := s.stream().Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	limit := func(bytes int64) {
		t.Helper()
		config.MaxBytes = bytes
		if _, err := js.UpdateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}
	defer limit(-1) // else the publisher would not end
	for round := range 3 {
		limit(int64(info.State.Bytes) + int64(round+1)*(256<<10))
		full := uint64(0)
		for deadline := time.Now().Add(40 * time.Second); full == 0 || full != s.published(); {
			if time.Now().After(deadline) {
				t.Fatalf("the log still takes events at seq %d", s.published())
			}
			full = s.published()
			time.Sleep(500 * time.Millisecond) // the time is what tells: nothing comes any more
		}
		if _, err := js.Publish(t.Context(), "events.more", make([]byte, 100<<10)); err == nil {
			t.Fatal("the log is not full")
		}
		s.awaitSeq(full, allModels...)
		for _, model := range allModels {
			if seq := s.mustBeAPrefix(model); seq != full {
				t.Errorf("%s is at seq %d of a log that ends at %d", model, seq, full)
			}
		}
		limit(-1)
		s.awaitEvents(200)
	}
	s.awaitSeq(s.published(), allModels...)
	w.mustNotHalt()
	s.finish()
}
