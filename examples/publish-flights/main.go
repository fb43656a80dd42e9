// Command publish-flights publishes the 20,000 flights of examples/flights into the stream FLIGHTS, which it makes if it
// is not there. Stopped and started again, it goes on where it was: the stream itself tells.
//
//	go run ./examples/publish-flights -nats nats://127.0.0.1:4222 -rate 200
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/examples/flights"
	"github.com/tailfold/tailfold/projections"
)

func main() {
	url := flag.String("nats", nats.DefaultURL, "URL of the NATS server")
	rate := flag.Int("rate", 200, "flights per second; 0: as fast as it goes")
	count := flag.Int("count", flights.Count, "publish until the stream has so many")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *url, *rate, *count); err != nil && ctx.Err() == nil {
		stop()
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string, rate, count int) error {
	conn, err := nats.Connect(url, nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true))
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", url, err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	stream, err := makeStream(ctx, js)
	if err != nil {
		return fmt.Errorf("making the stream %s on %s: %w", flights.Stream, url, err)
	}
	lines, err := flights.Lines()
	if err != nil {
		return err
	}
	return publish(ctx, js, lines[:min(max(count, 0), len(lines))], stream.CachedInfo().State.LastSeq, rate)
}

// makeStream waits for the server, and makes the stream: kept on file, by limits, with no limit that removes events
// from the middle.
func makeStream(ctx context.Context, js jetstream.JetStream) (jetstream.Stream, error) {
	for {
		stream, err := js.CreateStream(ctx, jetstream.StreamConfig{
			Name: flights.Stream, Subjects: []string{"flights.>"}, Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy,
		})
		switch {
		case err == nil:
			return stream, nil
		case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse): // with other settings: they are the owner's business
			return js.Stream(ctx, flights.Stream)
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		log.Printf("waiting for JetStream: %v", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// publish publishes the lines after the first done ones. Each is published only if the stream is as long as it should
// be then, so that two publishers, or an answer that was lost, make no double.
func publish(ctx context.Context, js jetstream.JetStream, lines [][]byte, done uint64, rate int) error {
	began := time.Now()
	for i, line := range lines {
		seq := uint64(i + 1)
		if seq <= done {
			continue
		}
		if rate > 0 {
			due := began.Add(time.Duration(seq-done) * time.Second / time.Duration(rate))
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Until(due)):
			}
		}
		flight, err := projections.JSON[flights.Flight](projections.Event{Data: line})
		if err != nil {
			return fmt.Errorf("flight %d: %w", seq, err)
		}
		_, err = js.Publish(ctx, "flights."+flight.Origin, line,
			jetstream.WithExpectLastSequence(seq-1), jetstream.WithRetryAttempts(10), jetstream.WithRetryWait(time.Second))
		if err != nil {
			return fmt.Errorf("publishing flight %d: %w", seq, err)
		}
		if seq%5000 == 0 {
			log.Printf("published %d of %d flights", seq, len(lines))
		}
	}
	log.Printf("%d flights are in the stream %s", len(lines), flights.Stream)
	return nil
}
