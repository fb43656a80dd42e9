// Package natstest gives tests real NATS servers with JetStream: one inside the test's own process, which starts in
// milliseconds, and one in a process of its own, which can be killed, paused and started again on the same store.
package natstest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Options say what a test's server is like. The zero value is a server with JetStream on loopback.
type Options struct {
	// NoJetStream leaves JetStream out.
	NoJetStream bool
	// JetStream has further lines of the configuration file's jetstream block, such as "domain: hub".
	JetStream string
	// Config has further lines of the configuration file, such as accounts, permissions or max_payload.
	Config string
	// Route gives the address under which server number from of a cluster reaches number to, whose own address it is told:
	// a proxy's, for tests that cut the way. Servers then tell no other way to each other. Default: that address.
	Route func(from, to int, address string) string
	// Dir is the directory of store and configuration. Default: a temporary one.
	Dir string

	name string // of the server
}

// patience is how long a test waits for a server. It only passes where something is broken.
const patience = 30 * time.Second

// write makes the configuration file and returns its name. Port -1 is any free one.
func (o Options) write(t testing.TB, port int) string {
	t.Helper()
	server := o.name
	if server == "" {
		server = "natstest"
	}
	text := fmt.Sprintf("listen: \"127.0.0.1:%d\"\nserver_name: %s\n", port, server)
	if !o.NoJetStream {
		text += fmt.Sprintf("jetstream {\n  store_dir: %q\n  max_memory_store: 256MB\n  max_file_store: 4GB\n%s\n}\n",
			filepath.Join(o.Dir, "store"), o.JetStream)
	}
	name := filepath.Join(o.Dir, "nats.conf")
	if err := os.WriteFile(name, []byte(text+o.Config+"\n"), 0o600); err != nil {
		t.Fatalf("natstest: %v", err)
	}
	return name
}

// connect makes a connection that is closed, and has ended all that it started, when the test ends.
func connect(t testing.TB, url string, options ...nats.Option) *nats.Conn {
	t.Helper()
	closed := make(chan struct{})
	all := []nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // the default one prints
	}
	conn, err := nats.Connect(url, append(append(all, options...), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))...)
	if err != nil {
		t.Fatalf("natstest: connect to %s: %v", url, err)
	}
	t.Cleanup(func() {
		conn.Close()
		<-closed
	})
	return conn
}

// JetStream is the client's JetStream on a connection.
func JetStream(t testing.TB, conn *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatalf("natstest: %v", err)
	}
	return js
}

// CreateStream makes a stream. Where one of that name has just been deleted it waits until the server has removed its
// files, which it does in the background, and in a cluster until the servers know each other.
func CreateStream(t testing.TB, js jetstream.JetStream, config jetstream.StreamConfig) {
	t.Helper()
	const errorCreatingStore, noSuitablePeers = 10049, 10005
	for deadline := time.Now().Add(patience); ; {
		_, err := js.CreateStream(t.Context(), config)
		if err == nil {
			return
		}
		refused, ok := errors.AsType[*jetstream.APIError](err)
		if !ok || refused.ErrorCode != errorCreatingStore && refused.ErrorCode != noSuitablePeers || time.Now().After(deadline) {
			t.Fatalf("natstest: create stream %s: %v", config.Name, err)
		}
		time.Sleep(10 * time.Millisecond) // polls the server
	}
}
