package natslog

import (
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// failure is why the last attempt to connect failed. The client keeps it too, but not that of its first attempt, which is
// the one that whoever has just started a worker waits for. It is kept by the connection's dialer, where Log finds it.
type failure struct {
	mu  sync.Mutex
	err error
}

func (f *failure) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *failure) last() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// failed makes every dialer of Connect's one that keeps it.
func (f *failure) failed() *failure { return f }

// plainDialer is the dialer of the plain reader.
type plainDialer struct {
	nats.CustomDialer
	failure
}

// failureOf is where a connection keeps why it could not be made, nil if it was not made by Connect.
func failureOf(conn *nats.Conn) *failure {
	if dialer, ok := conn.Opts.CustomDialer.(interface{ failed() *failure }); ok {
		return dialer.failed()
	}
	return nil
}

// noteFailure keeps an error of connecting.
func noteFailure(conn *nats.Conn, err error) {
	if f := failureOf(conn); f != nil {
		f.note(err)
	}
}

// lastFailure is why there is no connection, nil if that is not known.
func lastFailure(conn *nats.Conn) error {
	if err := conn.LastError(); err != nil {
		return err
	}
	if f := failureOf(conn); f != nil {
		return f.last()
	}
	return nil
}

// withFix adds what to do about an error of connecting.
func withFix(err error) error {
	if fix := tlsFix(err); fix != "" {
		return fmt.Errorf("%w (%s)", err, fix)
	}
	return err
}

// awaitOutcome waits until the first attempt is known to have failed, where it has. The client tells so from a goroutine
// of its own, which may be a moment behind.
func awaitOutcome(conn *nats.Conn, told <-chan struct{}) {
	if conn.IsConnected() {
		return
	}
	patience := time.NewTimer(time.Second)
	defer patience.Stop()
	select {
	case <-told:
	case <-patience.C:
	}
}
