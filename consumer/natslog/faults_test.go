package natslog_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/natslog"
	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/projections"
)

// publish makes a stream S of n numbered events on s.0 to s.6.
func publish(t *testing.T, conn *nats.Conn, n int) jetstream.JetStream {
	t.Helper()
	js := natstest.JetStream(t, conn)
	natstest.CreateStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	more(t, js, 1, n)
	return js
}

func more(t *testing.T, js jetstream.JetStream, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		_, err := js.PublishAsync(fmt.Sprintf("s.%d", i%7), fmt.Appendf(nil, "%d", i), jetstream.WithStallWait(20*time.Second))
		if err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
}

func newLog(t *testing.T, config natslog.Config) *natslog.Log {
	t.Helper()
	config.Stream = "S"
	if config.Heartbeat == 0 {
		config.Heartbeat = 100 * time.Millisecond
	}
	log, err := natslog.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// follow reads up to last as an engine does: when a reader ends, it opens the next one where that was. between is called
// after each batch. It returns the events and how many readers it took.
func follow(
	t *testing.T, log consumer.Log, last uint64, subjects []string, between func(to uint64),
) (events []projections.Event, readers int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var to uint64
	for to < last {
		reader, err := log.Open(ctx, to, subjects)
		var logError *consumer.LogError
		if err != nil && (!errors.As(err, &logError) || errors.Is(err, consumer.ErrBeyondLast) || ctx.Err() != nil) {
			t.Fatalf("open after %d: %v", to, err)
		}
		if err != nil { // the log is away: an engine waits longer
			wait(t, ctx, 10*time.Millisecond)
			continue
		}
		readers++
		for to < last {
			batch, err := reader.Next(ctx)
			if err != nil {
				if !errors.As(err, &logError) {
					t.Fatalf("next after %d: %v", to, err)
				}
				t.Logf("reader %d ended after %d: %v", readers, to, err)
				break
			}
			if batch.From != to {
				t.Fatalf("a batch begins at %d, the last one ended at %d", batch.From, to)
			}
			to = batch.To
			events = append(events, batch.Events...)
			if len(batch.Events) > 0 {
				between(to)
			}
		}
		_ = reader.Close(ctx) // the server may be away
	}
	return events, readers
}

// wait is how the caller of an unavailable log passes the time.
func wait(t *testing.T, ctx context.Context, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-ctx.Done():
		t.Fatal(ctx.Err())
	}
}

// complete checks that events are those from 1 to n that match the subjects, each once and in order.
func complete(t *testing.T, events []projections.Event, n int, match func(i int) bool) {
	t.Helper()
	var want, got []string
	for i := 1; i <= n; i++ {
		if match(i) {
			want = append(want, fmt.Sprintf("%d s.%d %d", i, i%7, i))
		}
	}
	for _, event := range events {
		got = append(got, fmt.Sprintf("%d %s %s", event.Seq, event.Subject, event.Data))
	}
	if !slices.Equal(want, got) {
		t.Errorf("%d events were read, want %d; the first differences:\n%s", len(got), len(want),
			cmp.Diff(want[:min(len(want), 50)], got[:min(len(got), 50)]))
	}
}

// cutter is a dialer whose connections can be cut.
type cutter struct {
	mu   sync.Mutex
	open []net.Conn
}

func (c *cutter) Dial(network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: time.Second}).Dial(network, address)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = append(c.open, conn)
	return conn, err
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.open {
		_ = conn.Close() // once more for those that are closed already
	}
	c.open = nil
}

func TestNothingIsLostOrRepeatedWhenTheConnectionIsCut(t *testing.T) {
	const n = 40_000
	server := natstest.Start(t)
	publish(t, server.Connect(), n)
	for name, c := range map[string]struct {
		subjects []string
		match    func(i int) bool
	}{
		"all":    {nil, func(int) bool { return true }},
		"filter": {[]string{"s.3"}, func(i int) bool { return i%7 == 3 }},
		"two":    {[]string{"s.3", "s.5"}, func(i int) bool { return i%7 == 3 || i%7 == 5 }},
	} {
		t.Run(name, func(t *testing.T) {
			natslog.EachReader(t, func(t *testing.T, how ...nats.Option) {
				cutter := &cutter{}
				dialer := nats.SetCustomDialer(cutter)
				if len(how) > 0 {
					dialer = nats.SetCustomDialer(natslog.NewTap(cutter))
				}
				log := newLog(t, natslog.Config{Conn: server.Connect(dialer)})
				cuts := uint64(0)
				events, readers := follow(t, log, n, c.subjects, func(to uint64) {
					if to/8_000 > cuts {
						cuts = to / 8_000
						cutter.cut()
					}
				})
				complete(t, events, n, c.match)
				if readers < 2 {
					t.Errorf("%d reader was enough: the connection was never cut while reading", readers)
				}
			})
		})
	}
}

func TestNothingIsLostOrRepeatedWhenTheServerIsKilled(t *testing.T) {
	natslog.EachReader(t, func(t *testing.T, how ...nats.Option) {
		const n = 40_000
		server := natstest.StartProcess(t)
		conn := server.Connect(how...)
		publish(t, conn, n)
		kills := uint64(0)
		events, readers := follow(t, newLog(t, natslog.Config{Conn: conn}), n, nil, func(to uint64) {
			if to/12_000 > kills {
				kills = to / 12_000
				server.Kill()
				server.Restart()
			}
		})
		complete(t, events, n, func(int) bool { return true })
		if readers < 2 {
			t.Errorf("%d reader was enough: the server was never killed while reading", readers)
		}
	})
}

// idle opens a reader of a stream that it has read to its end.
func idle(t *testing.T, log consumer.Log, last uint64, subjects ...string) consumer.Reader {
	t.Helper()
	reader, err := log.Open(t.Context(), 0, subjects)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close(context.Background()) })
	for {
		batch, err := reader.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if batch.To == last {
			return reader
		}
	}
}

// endsWithin returns the error with which a reader ends.
func endsWithin(t *testing.T, reader consumer.Reader, d time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	for {
		if _, err := reader.Next(ctx); err != nil {
			var logError *consumer.LogError
			if !errors.As(err, &logError) {
				t.Fatalf("the reader does not end within %v: %v", d, err)
			}
			return err
		}
	}
}

func consumers(t *testing.T, js jetstream.JetStream) (names []string) {
	t.Helper()
	stream, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	for name := range stream.ConsumerNames(t.Context()).Name() {
		names = append(names, name)
	}
	return names
}

func TestReaderEndsWhenItsConsumerIsDeleted(t *testing.T) {
	natslog.EachReader(t, func(t *testing.T, how ...nats.Option) {
		server := natstest.Start(t)
		conn := server.Connect(how...)
		js := publish(t, conn, 10)
		for _, subjects := range [][]string{nil, {"s.1"}} {
			reader := idle(t, newLog(t, natslog.Config{Conn: conn, Worker: "w"}), 10, subjects...)
			for _, name := range consumers(t, js) {
				if err := js.DeleteConsumer(t.Context(), "S", name); err != nil {
					t.Fatal(err)
				}
			}
			t.Log(endsWithin(t, reader, 20*time.Second))
			if err := reader.Close(t.Context()); err != nil {
				t.Errorf("closing a reader whose consumer is gone: %v", err)
			}
		}
	})
}

func TestReaderEndsWhenTheServerIsSilent(t *testing.T) {
	natslog.EachReader(t, func(t *testing.T, how ...nats.Option) {
		server := natstest.StartProcess(t)
		conn := server.Connect(how...)
		publish(t, conn, 10)
		reader := idle(t, newLog(t, natslog.Config{Conn: conn, Timeout: 200 * time.Millisecond}), 10)
		server.Pause()
		t.Log(endsWithin(t, reader, 20*time.Second))
		server.Continue()
	})
}

// A server that shuts down takes requests to the last, and answers none of them.
func TestARequestEndsWithItsConnection(t *testing.T) {
	server := natstest.StartProcess(t)
	conn, other := server.Connect(), server.Connect()
	asked := make(chan *nats.Msg, 1)
	if _, err := other.ChanSubscribe("mute.>", asked); err != nil {
		t.Fatal(err)
	}
	if err := other.Flush(); err != nil {
		t.Fatal(err)
	}
	log := newLog(t, natslog.Config{Conn: conn, APIPrefix: "mute", Timeout: time.Hour})
	ended := make(chan error, 1)
	go func() {
		_, err := log.Bounds(t.Context())
		ended <- err
	}()
	<-asked
	server.Stop()
	server.Restart()
	select {
	case err := <-ended:
		failed, ok := errors.AsType[*consumer.LogError](err)
		if !ok || !strings.Contains(err.Error(), "lost before the answer") && !strings.Contains(err.Error(), "not connected") {
			t.Errorf("it ended with %v (%v), want that the connection was lost", err, failed)
		}
	case <-time.After(20 * time.Second):
		t.Error("it still waits for an answer that went with its connection")
	}
}

func TestReaderGivesItsConsumerBack(t *testing.T) {
	natslog.EachReader(t, func(t *testing.T, how ...nats.Option) {
		server := natstest.Start(t)
		conn := server.Connect(how...)
		js := publish(t, conn, 10)
		log := newLog(t, natslog.Config{Conn: conn, Worker: "rack 7/ä"})
		reader := idle(t, log, 10)
		names := consumers(t, js)
		if len(names) != 1 {
			t.Fatalf("consumers %q, want one", names)
		}
		c, err := js.Consumer(t.Context(), "S", names[0])
		if err != nil {
			t.Fatal(err)
		}
		if got := c.CachedInfo().Config.Metadata["io.tailfold.worker"]; got != "rack 7/ä" {
			t.Errorf("the consumer's metadata names the worker %q", got)
		}
		if err := reader.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := log.Open(t.Context(), 11, nil); !errors.Is(err, consumer.ErrBeyondLast) {
			t.Errorf("open beyond the end: %v", err)
		}
		if names := consumers(t, js); len(names) != 0 {
			t.Errorf("consumers %q are left", names)
		}
	})
}

func TestLimitsOfPullsAreKept(t *testing.T) {
	natslog.EachReader(t, func(t *testing.T, how ...nats.Option) {
		server := natstest.Start(t, natstest.Options{JetStream: "limits { max_request_batch: 100 }"})
		conn := server.Connect(how...)
		publish(t, conn, 2_000)
		events, readers := follow(t, newLog(t, natslog.Config{Conn: conn}), 2_000, nil, func(uint64) {})
		complete(t, events, 2_000, func(int) bool { return true })
		if readers != 1 {
			t.Errorf("it took %d readers", readers)
		}
	})
}

func TestLongReplySubjectsAreRead(t *testing.T) {
	natslog.EachReader(t, func(t *testing.T, how ...nats.Option) {
		server := natstest.Start(t, natstest.Options{Config: "feature_flags { js_ack_fc_v2: true }"})
		conn := server.Connect(how...)
		publish(t, conn, 2_000)
		events, readers := follow(t, newLog(t, natslog.Config{Conn: conn}), 2_000, nil, func(uint64) {})
		complete(t, events, 2_000, func(int) bool { return true })
		if readers != 1 {
			t.Errorf("it took %d readers", readers)
		}
	})
}

func TestStreamInADomainIsRead(t *testing.T) {
	natslog.EachReader(t, func(t *testing.T, how ...nats.Option) {
		server := natstest.Start(t, natstest.Options{JetStream: "domain: hub"})
		conn := server.Connect(how...)
		publish(t, conn, 100)
		for _, config := range []natslog.Config{{Domain: "hub"}, {APIPrefix: "$JS.hub.API"}} {
			config.Conn = conn
			events, _ := follow(t, newLog(t, config), 100, nil, func(uint64) {})
			complete(t, events, 100, func(int) bool { return true })
		}
	})
}

func TestBoundsNameWhatIsUnsuitable(t *testing.T) {
	server := natstest.Start(t)
	conn := server.Connect()
	js := natstest.JetStream(t, conn)
	type told struct {
		Unsuitable, Holes string
		Configured        uint64
	}
	const wayOut = "its messages go away as others read them, so that nothing can be folded again; publish to a stream " +
		"with limits retention, and let the others read a stream that sources it"
	for name, c := range map[string]struct {
		config jetstream.StreamConfig
		want   told
	}{
		"limits": {jetstream.StreamConfig{MaxAge: time.Hour, MaxMsgs: 10}, told{}},
		"work queue": {jetstream.StreamConfig{Retention: jetstream.WorkQueuePolicy},
			told{Unsuitable: "stream S has workqueue retention: " + wayOut}},
		"interest": {jetstream.StreamConfig{Retention: jetstream.InterestPolicy},
			told{Unsuitable: "stream S has interest retention: " + wayOut}},
		"per subject": {jetstream.StreamConfig{MaxMsgsPerSubject: 5, AllowMsgTTL: true, AllowRollup: true},
			told{Holes: "max_msgs_per_subject is 5, allow_msg_ttl is on, allow_rollup_hdrs is on"}},
		"first seq": {jetstream.StreamConfig{FirstSeq: 100}, told{Configured: 100}},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.Name, c.config.Subjects, c.config.Storage = "S", []string{"s.>"}, jetstream.MemoryStorage
			natstest.CreateStream(t, js, c.config)
			defer func() {
				if err := js.DeleteStream(t.Context(), "S"); err != nil {
					t.Error(err)
				}
			}()
			b, err := newLog(t, natslog.Config{Conn: conn}).Bounds(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, told{b.Unsuitable, b.Holes, b.Configured}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if b.First != max(c.config.FirstSeq, 1) || b.Last != max(c.config.FirstSeq, 1)-1 {
				t.Errorf("the bounds of the empty stream are %d to %d", b.First, b.Last)
			}
		})
	}
}
