package faults

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
)

// TestAStreamWhoseMessagesAllExpiredResumesByItsCreation lets max_age remove everything, the snapshot being at its end.
func TestAStreamWhoseMessagesAllExpiredResumesByItsCreation(t *testing.T) {
	s := newLogScene(t)
	s.publish(10, "s.mine", "ours")
	w, stop := s.start()
	s.await(w, "the head", liveAt(10))
	stop()
	s.config.MaxAge = time.Second
	stream, err := s.js.UpdateStream(t.Context(), s.config)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) { // polls the server
		info, err := stream.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if info.State.Msgs == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d messages have not expired", info.State.Msgs)
		}
	}
	s.config.MaxAge = 0
	if _, err := s.js.UpdateStream(t.Context(), s.config); err != nil {
		t.Fatal(err)
	}
	w, _ = s.start()
	if row := s.await(w, "the head", liveAt(10)); row.Proof != "created" {
		t.Errorf("proof is %q, want created: no witness is left", row.Proof)
	}
	s.publish(3, "s.mine", "ours")
	s.await(w, "the head", liveAt(13))
	s.mustStand(13, "13")
}

// TestAStreamOfAnotherNameThatMirrorsTheLogIsRecognised moves a projection's stream to a mirror, as one does when a site is
// lost: the messages prove that it is the same log, though it was made at another time.
func TestAStreamOfAnotherNameThatMirrorsTheLogIsRecognised(t *testing.T) {
	s := newLogScene(t)
	s.publish(20, "s.mine", "ours")
	w, stop := s.start()
	s.await(w, "the head", liveAt(20))
	stop()
	mirror, err := s.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "M", Mirror: &jetstream.StreamSource{Name: "S"}})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) { // polls the server
		info, err := mirror.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if info.State.LastSeq == 20 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the mirror does not follow")
		}
	}
	// The original is lost. The mirror is promoted, and a stream of the old name made that has what it has.
	if err := s.js.DeleteStream(t.Context(), "S"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.js.UpdateStream(t.Context(), jetstream.StreamConfig{Name: "M", Subjects: []string{"s.>"}}); err != nil {
		t.Fatal(err)
	}
	s.config.Subjects, s.config.Mirror = nil, &jetstream.StreamSource{Name: "M"}
	natstest.CreateStream(t, s.js, s.config)
	w, _ = s.start()
	row := s.await(w, "the head", liveAt(20))
	if row.Proof != "full" {
		t.Errorf("proof is %q, want full: all messages are there, with their seqs and times", row.Proof)
	}
	s.mustStand(20, "20")
}

// TestARedisThatCannotSaveIsWaitedFor takes Redis's directory away, so that it refuses writes (MISCONF).
func TestARedisThatCannotSaveIsWaitedFor(t *testing.T) {
	s := newScene(t, "--save", "3600 1000000", "--enable-protected-configs", "yes")
	w := s.startWorker("")
	s.awaitSeq(300, allModels...)
	dir := t.TempDir() + "/away"
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.redis.Do("CONFIG", "SET", "dir", dir)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	s.redis.Do("BGSAVE")
	for _, model := range allModels {
		x := w.says("STORE_UNAVAILABLE", func(x line) bool { return x.Projection == model && waitsFor("STORE_UNAVAILABLE")(x) })
		if !strings.Contains(x.Evidence, "MISCONF") {
			t.Errorf("the verdict says %+v", x)
		}
	}
	s.awaitEvents(300)
	s.redis.Do("CONFIG", "SET", "dir", t.TempDir())
	s.redis.Do("BGSAVE")
	for _, model := range allModels {
		w.says("that the store is back", func(x line) bool {
			return x.Projection == model && strings.Contains(x.Msg, "STORE_UNAVAILABLE is over")
		})
	}
	s.finish()
	w.mustNotHalt()
}

// TestASnapshotThatExpiresIsFoldedAgain sets an expiry on a snapshot's key, as a mistaken script does.
func TestASnapshotThatExpiresIsFoldedAgain(t *testing.T) {
	s := newScene(t)
	w := s.startWorker("")
	s.awaitSeq(300, allModels...)
	s.mayGoBack()
	s.redis.Do("PEXPIRE", keyOf("accounts"), 1)
	w.says("that the snapshot is gone", gone("accounts"))
	s.finish()
	for _, model := range []string{"total", "ids"} {
		if n := len(w.lines(begunAgain(model))); n > 0 {
			t.Errorf("%s was begun again %d times", model, n)
		}
	}
	w.mustNotHalt()
}
