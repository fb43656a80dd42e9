package natslog_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"go.uber.org/goleak"

	"github.com/tailfold/tailfold/consumer/logtest"
	"github.com/tailfold/tailfold/consumer/natslog"
	"github.com/tailfold/tailfold/consumer/natslog/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stream is a stream on a real server, and what is done to it from outside.
type stream struct {
	t      logtest.T
	server *natstest.Server
	js     jetstream.JetStream
	name   string
}

func newStream(t logtest.T, server *natstest.Server, conn *nats.Conn) *stream {
	t.Helper()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatalf("%v", err)
	}
	s := &stream{t: t, server: server, js: js, name: "S" + nuid.Next()}
	// With the last stream the server removes the account's directory too, while the next one is being made (2.15.2).
	keep := jetstream.StreamConfig{Name: "KEEP", Subjects: []string{"keep"}}
	if _, err := js.CreateOrUpdateStream(t.Context(), keep); err != nil {
		t.Fatalf("create stream: %v", err)
	}
	s.create(jetstream.StreamConfig{})
	return s
}

// create makes the stream. What config leaves out is as the suite wants it.
func (s *stream) create(config jetstream.StreamConfig) {
	s.t.Helper()
	config.Name = s.name
	if config.Subjects == nil {
		config.Subjects = []string{s.name + ".never", "a.>", "b.>", "c.>"}
	}
	if _, err := s.js.CreateStream(s.t.Context(), config); err != nil {
		s.t.Fatalf("create stream: %v", err)
	}
}

// drop deletes the stream and waits until the server has removed its files, which it does in the background: a second
// deletion meanwhile fails unseen, and what is then made under the name has the old messages in it (2.15.2).
func (s *stream) drop() {
	s.t.Helper()
	if err := s.js.DeleteStream(s.t.Context(), s.name); err != nil {
		s.t.Fatalf("delete stream: %v", err)
	}
	s.removed()
}

func (s *stream) removed() {
	s.t.Helper()
	trash := filepath.Join(s.server.Dir(), "store", "jetstream", "$G", "streams", "."+s.name)
	deadline := time.Now().Add(20 * time.Second)
	for {
		if _, err := os.Stat(trash); errors.Is(err, os.ErrNotExist) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the server does not remove %s", trash)
		}
		<-time.After(time.Millisecond) // nothing tells when it is so
	}
}

func (s *stream) stream() jetstream.Stream {
	s.t.Helper()
	stream, err := s.js.Stream(s.t.Context(), s.name)
	if err != nil {
		s.t.Fatalf("stream: %v", err)
	}
	return stream
}

func (s *stream) append(entries ...logtest.Entry) uint64 {
	s.t.Helper()
	var acks []jetstream.PubAckFuture
	for _, e := range entries {
		msg := nats.NewMsg(e.Subject)
		msg.Data = e.Data
		for i := 0; i+1 < len(e.Header); i += 2 {
			msg.Header[e.Header[i]] = append(msg.Header[e.Header[i]], e.Header[i+1])
		}
		future, err := s.js.PublishMsgAsync(msg, jetstream.WithStallWait(20*time.Second))
		if err != nil {
			s.t.Fatalf("publish: %v", err)
		}
		acks = append(acks, future)
	}
	var seq uint64
	for i, ack := range acks {
		select {
		case ack := <-ack.Ok():
			seq = ack.Sequence
		case err := <-ack.Err():
			s.t.Fatalf("publish to %s: %v", entries[i].Subject, err)
		}
	}
	return seq
}

func (s *stream) delete(seq uint64) {
	s.t.Helper()
	if err := s.stream().DeleteMsg(s.t.Context(), seq); err != nil {
		s.t.Fatalf("delete %d: %v", seq, err)
	}
}

func (s *stream) purge(upTo uint64) {
	s.t.Helper()
	if err := s.stream().Purge(s.t.Context(), jetstream.WithPurgeSequence(upTo+1)); err != nil {
		s.t.Fatalf("purge: %v", err)
	}
}

func (s *stream) log(conn *nats.Conn) *natslog.Log {
	s.t.Helper()
	// A machine that is busy with other things must not look like a fault.
	log, err := natslog.New(natslog.Config{Conn: conn, Stream: s.name, Worker: "test", Heartbeat: 200 * time.Millisecond,
		Timeout: 30 * time.Second})
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	return log
}

func harness(server *natstest.Server, conn *nats.Conn) logtest.Harness {
	drop := func(logtest.T) {}
	return logtest.Harness{Patience: time.Minute, New: func(t logtest.T) logtest.Subject {
		drop(t) // two streams can't have the same subjects
		s := newStream(t, server, conn)
		drop = func(t logtest.T) {
			err := s.js.DeleteStream(t.Context(), s.name)
			if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
				t.Errorf("delete stream: %v", err)
			}
		}
		return logtest.Subject{
			Log:    s.log(conn),
			Append: s.append,
			Delete: s.delete,
			Purge:  s.purge,
			Drop:   s.drop,
			Create: func() { s.create(jetstream.StreamConfig{}) },
		}
	}}
}

func TestStreamConforms(t *testing.T) {
	natslog.EachReader(t, func(t *testing.T, how ...nats.Option) {
		server := natstest.Start(t, natstest.Options{Config: fmt.Sprintf("max_payload: %d", 8<<20+128<<10)})
		logtest.Run(t, harness(server, server.Connect(how...)))
	})
}
