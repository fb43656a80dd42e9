package natstest_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServerKeepsItsStreamsAndItsAddressOverARestart(t *testing.T) {
	server := natstest.Start(t)
	survives(t, server.Connect(), server.Restart, server.URL)
}

func TestProcessKeepsItsStreamsAndItsAddressWhenKilled(t *testing.T) {
	process := natstest.StartProcess(t)
	survives(t, process.Connect(), func() { process.Kill(); process.Restart() }, process.URL)
}

func survives(t *testing.T, conn *nats.Conn, restart func(), url func() string) {
	js := natstest.JetStream(t, conn)
	natstest.CreateStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	if _, err := js.Publish(t.Context(), "s.1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	before := url()
	connected := conn.StatusChanged(nats.CONNECTED)
	restart()
	if url() != before {
		t.Errorf("the address was %s and is %s", before, url())
	}
	<-connected
	stream, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if last := stream.CachedInfo().State.LastSeq; last != 1 {
		t.Errorf("last seq %d, want 1", last)
	}
}

func TestPausedProcessAnswersAgainWhenContinued(t *testing.T) {
	process := natstest.StartProcess(t)
	conn := process.Connect()
	process.Pause()
	if err := conn.FlushTimeout(50 * time.Millisecond); err == nil {
		t.Error("a paused server answered")
	}
	process.Continue()
	if err := conn.Flush(); err != nil {
		t.Error(err)
	}
}

func TestConfigurationReachesTheServer(t *testing.T) {
	server := natstest.Start(t, natstest.Options{NoJetStream: true, Config: "max_payload: 4096"})
	conn := server.Connect()
	if got := conn.MaxPayload(); got != 4096 {
		t.Errorf("max payload %d, want 4096", got)
	}
	if _, err := natstest.JetStream(t, conn).AccountInfo(t.Context()); err == nil {
		t.Error("JetStream is there")
	}
}
