package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
)

// The tests of this file do to the stream and to the worker's reader what admins and stalled machines do.

func (s *scene) stream() jetstream.Stream {
	s.t.Helper()
	stream, err := natstest.JetStream(s.t, s.nats.Connect()).Stream(s.t.Context(), "EVENTS")
	if err != nil {
		s.t.Fatal(err)
	}
	return stream
}

// readers are the names of the stream's consumers.
func readers(stream jetstream.Stream) []string {
	var names []string
	for name := range stream.ConsumerNames(context.Background()).Name() {
		names = append(names, name)
	}
	return names
}

func readAgain(x line) bool { return strings.HasPrefix(x.Msg, "the reader ended") }

// mustStillOwn demands that the models were never claimed again: their reader ended, they did not.
func (s *scene) mustStillOwn(w *life) {
	s.t.Helper()
	for _, model := range allModels {
		if m := s.mark(model); m.Epoch != 1 || m.Writer != w.name {
			s.t.Errorf("%s is of %s with epoch %d, want %s with epoch 1", model, m.Writer, m.Epoch, w.name)
		}
	}
}

func TestAReaderWhoseConsumerAnAdminDeletesIsOpenedAgain(t *testing.T) {
	s := newScene(t)
	w := s.startWorker("")
	s.awaitSeq(100, allModels...)
	stream := s.stream()
	for round := range 3 {
		deleted := 0
		for _, name := range readers(stream) {
			if err := stream.DeleteConsumer(t.Context(), name); err == nil {
				deleted++
			}
		}
		if deleted == 0 {
			t.Fatal("the stream has no consumer: the test shows nothing")
		}
		s.awaitEvents(200)
		s.awaitSeq(s.published(), allModels...)
		if n := len(w.lines(readAgain)); n < round+1 {
			t.Errorf("after %d deleted consumers the reader was opened again %d times", round+1, n)
		}
	}
	s.mustStillOwn(w)
	w.mustNotHalt()
	s.finish()
}

// TestAReaderThatTheServerHasForgottenIsOpenedAgain stops the worker until the server has removed its consumer.
func TestAReaderThatTheServerHasForgottenIsOpenedAgain(t *testing.T) {
	s := newScene(t)
	w := s.live("TAILFOLD_FAULTS_INACTIVE=1s")
	s.worker = w
	s.awaitSeq(100, allModels...)
	stream := s.stream()
	w.pause()
	for deadline := time.Now().Add(45 * time.Second); len(readers(stream)) > 0; { // its pull lasts 30 s if nothing is published
		if time.Now().After(deadline) {
			t.Fatalf("the server still has the consumers %v of a worker that is stopped", readers(stream))
		}
		time.Sleep(50 * time.Millisecond) // polls the server
	}
	w.continueOn()
	w.says("that the reader ended", readAgain)
	s.awaitSeq(s.published(), allModels...)
	s.mustStillOwn(w)
	w.mustNotHalt()
	s.finish()
}

func TestAStoppedServerIsWaitedFor(t *testing.T) {
	s := newScene(t)
	w := s.startWorker("")
	s.awaitSeq(300, allModels...)
	s.nats.Pause()
	s.await(max(3*time.Second, *away/2))
	s.nats.Continue()
	continued := time.Now()
	s.awaitEvents(100)
	s.awaitSeq(s.published(), allModels...)
	if took := time.Since(continued); took > 10*time.Second {
		t.Errorf("it took %v to catch up once the server was back", took)
	}
	s.mustStillOwn(w)
	w.mustNotHalt()
	s.finish()
}

// TestAStreamThatIsGoneForAWhileIsJudgedWhenItIsBack deletes the stream under a live worker. Then it comes back from the
// server's files, as they were at the end or earlier, or it is made anew.
func TestAStreamThatIsGoneForAWhileIsJudgedWhenItIsBack(t *testing.T) {
	for _, c := range []struct {
		name     string
		lost     int // events that the files lack; -1: it is made anew
		foreign  int // published to it before the worker sees it
		diverged string
	}{
		{"restored as it was", 0, 0, ""},
		{"restored to an earlier moment", 200, 0, "the log ends at"},
		{"restored to an earlier moment, and written to", 200, 400, "is not the one that was folded"},
		{"made anew, empty", -1, 0, "the log ends at 0; the log was made at"},
		{"made anew, and written to", -1, 5000, "is not the one that was folded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			w := s.startWorker("")
			s.awaitSeq(500, allModels...)
			backup, files := t.TempDir(), filepath.Join(s.nats.Dir(), "store")
			keep := func() {
				s.nats.Kill()
				copyTree(t, files, backup)
				s.nats.Restart()
			}
			last := s.stopPublishing()
			if c.lost > 0 {
				keep()
				s.startPublishing()
				s.awaitEvents(uint64(c.lost))
				last = s.stopPublishing()
			}
			s.awaitSeq(last, allModels...)
			if c.lost == 0 {
				keep()
			}
			js := natstest.JetStream(t, s.nats.Connect())
			if err := js.DeleteStream(t.Context(), "EVENTS"); err != nil {
				t.Fatal(err)
			}
			x := w.says("LOG_UNAVAILABLE", waitsFor("LOG_UNAVAILABLE"))
			if !strings.Contains(x.Evidence, "EVENTS") {
				t.Errorf("the verdict says %+v", x)
			}
			if c.lost >= 0 {
				s.nats.Kill()
				if err := os.RemoveAll(files); err != nil {
					t.Fatal(err)
				}
				copyTree(t, backup, files)
				s.nats.Restart()
			} else {
				natstest.CreateStream(t, js, jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}})
			}
			for i := range c.foreign {
				if _, err := js.PublishAsync("events.foreign", []byte(text(event{ID: i, From: "foreign", To: "foreign", Amount: 1}))); err != nil {
					t.Fatal(err)
				}
			}
			<-js.PublishAsyncComplete()
			if c.diverged == "" {
				s.startPublishing()
				s.awaitEvents(200)
				s.finish()
				w.mustNotHalt()
				return
			}
			for _, model := range allModels {
				x := w.says("DIVERGED", halts(model, "DIVERGED"))
				if !strings.Contains(x.Evidence, c.diverged) && !strings.Contains(x.Evidence, "the log ends at") || !strings.Contains(x.WayOut, "tailfold drop "+model) {
					t.Errorf("the verdict says %+v, want %q", x, c.diverged)
				}
				if seq := s.mustBeAPrefix(model); seq != last {
					t.Errorf("%s is at seq %d, it was left at %d", model, seq, last)
				}
			}
			again := s.live() // nor does another worker think otherwise
			w.kill()
			for _, model := range allModels {
				again.says("DIVERGED", halts(model, "DIVERGED"))
				if seq := s.mustBeAPrefix(model); seq != last {
					t.Errorf("%s is at seq %d, it was left at %d", model, seq, last)
				}
			}
		})
	}
}

// TestAServerThatIsStoppedAgainAndAgain has the worker meet a server that comes and goes for moments.
func TestAServerThatIsStoppedAgainAndAgain(t *testing.T) {
	s := newScene(t)
	w := s.startWorker("")
	s.awaitSeq(100, allModels...)
	for range max(4, *kills/2) {
		s.nats.Pause()
		s.await(time.Duration(s.rng.IntN(1500)) * time.Millisecond)
		s.nats.Continue()
		s.await(time.Duration(s.rng.IntN(300)) * time.Millisecond)
	}
	s.awaitSeq(s.published(), allModels...)
	w.mustNotHalt()
	s.finish()
	t.Log(fmt.Sprint(len(w.lines(readAgain)), " times the reader was opened again"))
}
