package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// orders are events of one kind: the n-th is always the same.
type orders struct {
	keys, size int
	each       bool // the first orders go to one customer after the other, so that all have one
}

// customer is whose order the n-th is, from 1; amount is what it adds.
func (o orders) customer(n int) (customer int, amount int64) {
	r := rand.New(rand.NewPCG(uint64(n), 7))
	customer, amount = r.IntN(o.keys), int64(r.IntN(10_000))
	if o.each && n <= o.keys {
		customer = n - 1
	}
	return customer, amount
}

func customerName(customer int) string { return fmt.Sprintf("c-%07d", customer) }

// append appends the n-th event as JSON.
func (o orders) append(to []byte, n int) []byte {
	customer, amount := o.customer(n)
	begin := len(to)
	to = append(to, `{"type":"OrderPlaced","id":`...)
	to = strconv.AppendInt(to, int64(n), 10)
	to = append(to, `,"customer":"`...)
	to = append(to, customerName(customer)...)
	to = append(to, `","amount":`...)
	to = strconv.AppendInt(to, amount, 10)
	to = append(to, `,"currency":"EUR","note":"`...)
	if pad := o.size - (len(to) - begin) - 2; pad > 0 {
		to = append(to, strings.Repeat("x", pad)...)
	}
	return append(to, `"}`...)
}

// totals are what the first n events come to, by name: the independent check of every contender.
func (o orders) totals(n int) map[string]int64 {
	sums := make([]int64, o.keys)
	seen := make([]bool, o.keys)
	for i := 1; i <= n; i++ {
		customer, amount := o.customer(i)
		sums[customer] += amount
		seen[customer] = true
	}
	totals := map[string]int64{}
	for customer, sum := range sums {
		if seen[customer] {
			totals[customerName(customer)] = sum
		}
	}
	return totals
}

// stream is a stream of our own on the user's server.
type stream struct {
	name   string
	orders orders
	last   int // events in it
}

func (s *stream) subject() string { return s.name + ".orders" }

// makeStream makes an empty stream.
func (b *bench) makeStream(ctx context.Context, name string, o orders) (*stream, error) {
	s := &stream{name: b.name + "-" + name, orders: o}
	_, err := b.js.CreateStream(ctx, jetstream.StreamConfig{Name: s.name, Subjects: []string{s.name + ".>"},
		Description: "of tailfold bench, which removes it"})
	if err != nil {
		return nil, fmt.Errorf("make stream %s: %w", s.name, err)
	}
	b.streams = append(b.streams, s.name)
	return s, nil
}

// publish appends n events to a stream.
func (b *bench) publish(ctx context.Context, s *stream, n int) error {
	var failed error
	acks := make([]jetstream.PubAckFuture, 0, publishAtOnce)
	settle := func() {
		for _, ack := range acks {
			select {
			case <-ack.Ok():
			case err := <-ack.Err():
				failed = errors.Join(failed, err)
			case <-ctx.Done():
				failed = ctx.Err()
			}
		}
		acks = acks[:0]
	}
	for range n {
		ack, err := b.js.PublishMsgAsync(&nats.Msg{Subject: s.subject(), Data: s.orders.append(nil, s.last+1)}, jetstream.WithStallWait(patience))
		if err != nil {
			return fmt.Errorf("publish event %d to %s: %w", s.last+1, s.name, err)
		}
		s.last++
		if acks = append(acks, ack); len(acks) == cap(acks) {
			settle()
		}
		if failed != nil {
			break
		}
	}
	settle()
	if failed != nil {
		return fmt.Errorf("publish to %s: %w", s.name, failed)
	}
	return nil
}

const publishAtOnce = 2000

// removeAll removes every stream and every name in Redis that was made here.
func (b *bench) removeAll() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var errs []error
	if b.options.NATS == "" {
		b.streams = nil // they go with the server
	}
	for _, name := range b.streams {
		if err := b.js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			errs = append(errs, fmt.Errorf("the stream %s is left on the server: %w", name, err))
		}
	}
	b.streams = nil
	if b.options.Redis == "" {
		return errors.Join(errs...)
	}
	if err := b.unlink(ctx, b.name+"*"); err != nil {
		errs = append(errs, fmt.Errorf("names that begin with %s are left in Redis: %w", b.name, err))
	}
	return errors.Join(errs...)
}

// unlink removes the names in Redis that match.
func (b *bench) unlink(ctx context.Context, pattern string) error {
	names := b.servers.client.Scan(ctx, 0, pattern, 1000).Iterator()
	for names.Next(ctx) {
		if err := b.servers.client.Unlink(ctx, names.Val()).Err(); err != nil {
			return err
		}
	}
	return names.Err()
}

// stored reads the totals out of a hash.
func (b *bench) stored(ctx context.Context, hash string) (map[string]int64, error) {
	fields, err := b.servers.client.HGetAll(ctx, hash).Result()
	if err != nil {
		return nil, err
	}
	totals := make(map[string]int64, len(fields))
	for field, text := range fields {
		if strings.HasPrefix(field, "$") { // Tailfold's own
			continue
		}
		if totals[field], err = strconv.ParseInt(strings.TrimLeft(text, " "), 10, 64); err != nil {
			return nil, fmt.Errorf("field %s of %s: %w", field, hash, err)
		}
	}
	return totals, nil
}

// differs says where two totals differ, "" if they do not.
func differs(want, got map[string]int64) string {
	for name, total := range want {
		if is, ok := got[name]; !ok || is != total {
			return fmt.Sprintf("%s is %d, want %d (%d customers, want %d)", name, is, total, len(got), len(want))
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("%d customers, want %d", len(got), len(want))
	}
	return ""
}
