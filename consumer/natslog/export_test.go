package natslog

import (
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// EachReader runs a test with either reader. The options are for the connection on which it reads.
func EachReader(t *testing.T, test func(t *testing.T, reader ...nats.Option)) {
	t.Helper()
	t.Run("plain", func(t *testing.T) { test(t) })
	t.Run("fast", func(t *testing.T) {
		test(t, nats.SetCustomDialer(NewTap(&net.Dialer{Timeout: 5 * time.Second})))
	})
}
