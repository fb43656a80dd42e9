package contenders

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
)

// batch is how many events are fetched at a time.
const batch = 1000

// Batched fetches a thousand events, folds them in a map, writes the sums in one pipeline and acknowledges them all. When it
// dies between the two, a thousand events count twice.
func Batched(ctx context.Context, t Task) (int, error) {
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
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "batched", AckPolicy: jetstream.AckAllPolicy, MaxAckPending: 4 * batch})
	if err != nil {
		return 0, fmt.Errorf("durable consumer: %w", err)
	}
	defer func() { _ = stream.DeleteConsumer(context.WithoutCancel(ctx), "batched") }()

	for n := 0; n < t.Events; {
		messages, err := consumer.Fetch(min(batch, t.Events-n))
		if err != nil {
			return n, fmt.Errorf("fetch: %w", err)
		}
		sums := map[string]int64{}
		var last jetstream.Msg
		for message := range messages.Messages() {
			var order Order
			if err := json.Unmarshal(message.Data(), &order); err != nil {
				return n, err
			}
			sums[order.Customer] += order.Amount
			last = message
			n++
		}
		if err := messages.Error(); err != nil {
			return n, fmt.Errorf("fetch: %w", err)
		}
		if last == nil {
			continue
		}
		_, err = client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for customer, sum := range sums {
				pipe.HIncrBy(ctx, t.Hash, customer, sum)
			}
			return nil
		})
		if err != nil {
			return n, err
		}
		if err := last.Ack(); err != nil {
			return n, err
		}
	}
	return t.Events, nil
}
