package contenders

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
)

// Naive has a durable consumer: one HINCRBY and one acknowledgement per event. An event whose acknowledgement is lost counts
// twice.
func Naive(ctx context.Context, t Task) (int, error) {
	conn, stream, err := t.open(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	options, err := redis.ParseURL(t.Redis)
	if err != nil {
		return 0, fmt.Errorf("Redis: %w", err)
	}
	client := redis.NewClient(options)
	defer client.Close()
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "naive", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		return 0, fmt.Errorf("durable consumer: %w", err)
	}
	defer func() { _ = stream.DeleteConsumer(context.WithoutCancel(ctx), "naive") }()

	messages, err := consumer.Messages()
	if err != nil {
		return 0, fmt.Errorf("messages: %w", err)
	}
	defer messages.Stop()
	for n := range t.Events {
		message, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return n, fmt.Errorf("next: %w", err)
		}
		var order Order
		if err := json.Unmarshal(message.Data(), &order); err != nil {
			return n, err
		}
		if err := client.HIncrBy(ctx, t.Hash, order.Customer, order.Amount).Err(); err != nil {
			return n, err
		}
		if err := message.Ack(); err != nil {
			return n, err
		}
	}
	return t.Events, nil
}
