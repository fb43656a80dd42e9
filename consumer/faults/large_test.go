package faults

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// TestMemoryIsBoundedWhileTheLargestEventsComeIn publishes the largest events that a stream takes (nats-server's files
// have no messages of more than 32 MB), and headers of 60 KB, among small ones. A reader asks for two pulls of at
// most one largest payload each; what it was given, what is folded now and what a connection's buffer holds are a few
// such messages, and as much again that is not collected yet, however many there are.
func TestMemoryIsBoundedWhileTheLargestEventsComeIn(t *testing.T) {
	const payload, largest = 64 << 20, 31 << 20
	server := natstest.StartProcess(t, natstest.Options{Config: "max_payload: 64MB\nmax_pending: 256MB"})
	s := newSceneIn(t, redistest.Start(t), []*natstest.Process{server})
	w := s.startWorker("")
	s.awaitSeq(300, allModels...)
	s.stopPublishing()
	s.awaitSeq(s.published(), allModels...)
	_, before := w.memory()
	js := natstest.JetStream(t, s.nats.Connect())
	if _, err := js.Publish(t.Context(), "events.large", make([]byte, payload-1)); err == nil {
		t.Fatal("the stream took a message of 64 MB: then this test is to be of such")
	}
	for i := range 60 {
		x := event{ID: int(s.published()) + 1, From: accountKey(s.rng.IntN(50)), To: "to " + accountKey(s.rng.IntN(50)), Amount: 1}
		m := &nats.Msg{Subject: "events.large", Data: []byte(text(x)), Header: nats.Header{}}
		switch i % 6 {
		case 0:
			m.Data = []byte(strings.Replace(text(x), "{", `{"pad":"`+strings.Repeat("x", largest-1000)+`",`, 1))
		case 1:
			m.Header.Set("Note", strings.Repeat("n", 60<<10))
		case 2:
			m.Data = []byte(strings.Replace(text(x), "{", `{"pad":"`+strings.Repeat("x", 1+s.rng.IntN(largest/4))+`",`, 1))
		}
		if _, err := js.PublishMsg(t.Context(), m, jetstream.WithRetryAttempts(5)); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		s.events = append(s.events, x)
		s.mu.Unlock()
	}
	s.awaitSeq(s.published(), allModels...)
	live, _ := w.memory()
	s.finish()
	w.mustNotHalt()

	s.killWorker()
	for _, model := range allModels { // and all of them in one replay
		s.redis.Do("DEL", keyOf(model))
	}
	s.mayGoBack()
	w = s.startWorker("")
	began := time.Now()
	s.awaitSeq(s.published(), allModels...)
	replaying, _ := w.memory()
	t.Logf("memory was %d MiB before, at most %d MiB live and %d MiB replaying, which took %v", before, live, replaying, time.Since(began).Round(time.Millisecond))
	s.finish()
	w.mustNotHalt()
	if bound := before + 8*(payload>>20); live > bound || replaying > bound {
		t.Errorf("that is more than %d MiB, eight of the largest payloads", bound)
	}
}
