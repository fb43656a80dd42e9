// Package contenders has the ways to keep a total per customer from a JetStream stream of orders that tailfold bench
// compares, each as a good Go team would write it, and nothing else: read them, and judge whether they are fair.
//
// All read the same stream from its first event, and (but for Limit) leave the same in Redis: a hash with one field per
// customer, whose value is the sum of the amounts of that customer's orders.
package contenders

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Task is what a contender is to do.
type Task struct {
	NATS   string // URL of the server
	Stream string // all of whose messages are orders
	Redis  string // URL
	Hash   string // where the totals go
	Events int    // from the stream's beginning
}

// Order is what a total needs of an event. The event has more members.
type Order struct {
	Customer string `json:"customer"`
	Amount   int64  `json:"amount"`
}

// open connects to the stream.
func (t Task) open(ctx context.Context) (*nats.Conn, jetstream.Stream, error) {
	conn, err := nats.Connect(t.NATS)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to NATS: %w", err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	stream, err := js.Stream(ctx, t.Stream)
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("stream %s: %w", t.Stream, err)
	}
	return conn, stream, nil
}
