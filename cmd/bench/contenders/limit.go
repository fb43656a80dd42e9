package contenders

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// What is under way at a time, for the consumers of the stock client: enough that the server never waits for us.
const (
	pulled      = 8192
	pulledBytes = 16 << 20
)

// LimitOrdered counts what the stock client's ordered consumer hands over, and does nothing with it.
func LimitOrdered(ctx context.Context, t Task) (int, error) {
	conn, stream, err := t.open(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return 0, fmt.Errorf("ordered consumer: %w", err)
	}
	return count(ctx, consumer, t.Events)
}

// LimitPull does the same with a pull consumer that wants no acknowledgements.
func LimitPull(ctx context.Context, t Task) (int, error) {
	conn, stream, err := t.open(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true})
	if err != nil {
		return 0, fmt.Errorf("pull consumer: %w", err)
	}
	defer func() { _ = stream.DeleteConsumer(context.WithoutCancel(ctx), consumer.CachedInfo().Name) }()
	return count(ctx, consumer, t.Events)
}

func count(ctx context.Context, consumer jetstream.Consumer, events int) (int, error) {
	done := make(chan struct{})
	n := 0
	consuming, err := consumer.Consume(func(jetstream.Msg) {
		if n++; n == events {
			close(done)
		}
	}, jetstream.PullMaxMessagesWithBytesLimit(pulled, pulledBytes))
	if err != nil {
		return 0, fmt.Errorf("consume: %w", err)
	}
	defer func() { <-consuming.Closed() }()
	defer consuming.Stop()
	select {
	case <-done:
		return events, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
