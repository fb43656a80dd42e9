package natslog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/natslog/natstest"
)

// open publishes n events of a size and opens a reader of them.
func open(t *testing.T, conn *nats.Conn, n, size int) *reader {
	t.Helper()
	js := natstest.JetStream(t, conn)
	natstest.CreateStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	for range n {
		if _, err := js.PublishAsync("s.1", make([]byte, size), jetstream.WithStallWait(20*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	return reopen(t, conn)
}

func reopen(t *testing.T, conn *nats.Conn) *reader {
	t.Helper()
	log, err := New(Config{Conn: conn, Stream: "S", Heartbeat: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	r, err := log.Open(t.Context(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(context.Background()) })
	return r.(*reader)
}

// all reads up to a position and returns the number of events.
func all(t *testing.T, r *reader, last uint64) (count int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		batch, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if count += len(batch.Events); batch.To >= last {
			return count
		}
	}
}

// until waits until what holds under the inflow's lock holds.
func (in *inflow) until(t *testing.T, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		in.mu.Lock()
		ok := holds()
		if !ok {
			in.waiting = true
		}
		in.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-in.signal:
		case <-time.After(time.Until(deadline)):
			t.Fatal("it never holds")
		}
	}
}

func TestReaderThatIsNotAskedHoldsWhatWasPulled(t *testing.T) {
	for name, c := range map[string]struct{ n, size, most int }{
		"small events": {25_000, 10, 2 * pullMessages},
		"large events": {200, 100_000, 2 * (pullBytes / 100_000)},
	} {
		t.Run(name, func(t *testing.T) {
			EachReader(t, func(t *testing.T, how ...nats.Option) {
				conn := natstest.Start(t).Connect(how...)
				r := open(t, conn, c.n, c.size)
				if _, err := r.Next(t.Context()); err != nil {
					t.Fatal(err)
				}
				r.in.until(t, func() bool { return len(r.in.pulls) == 0 || r.in.beat.place > 0 }) // both pulls are used up
				if err := conn.Flush(); err != nil {                                              // and nothing else is on its way
					t.Fatal(err)
				}
				r.in.mu.Lock()
				read := r.in.read
				r.in.mu.Unlock()
				if read == 0 || read > c.most {
					t.Errorf("%d messages lie here, want at most %d", read, c.most)
				}
				if got := all(t, r, uint64(c.n)); got != c.n {
					t.Errorf("%d events were read, want %d", got, c.n)
				}
			})
		})
	}
}

// The client drops what its bound does not admit. Nothing after that may be handed out.
func TestMessagesThatTheClientDropsEndTheReader(t *testing.T) {
	conn := natstest.Start(t).Connect()
	r := open(t, conn, 3_000, 10)
	if err := r.sub.SetPendingLimits(100, -1); err != nil {
		t.Fatal(err)
	}
	r.in.mu.Lock() // the client's goroutine stands
	r.in.pulls = append(r.in.pulls, pull{id: 1, batch: 3_000, left: 3_000})
	err := conn.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.S."+r.name, r.inbox+".1", []byte("2000"))
	if err == nil {
		err = conn.Flush()
	}
	dropped, _ := r.sub.Dropped()
	for err == nil && dropped == 0 {
		err = conn.Flush()
		dropped, _ = r.sub.Dropped()
	}
	r.in.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	seq := uint64(0)
	for {
		batch, err := r.Next(t.Context())
		if err != nil {
			if !strings.Contains(err.Error(), "messages were lost on the way") {
				t.Errorf("the reader says %v", err)
			}
			break
		}
		for _, event := range batch.Events {
			if seq++; event.Seq != seq {
				t.Fatalf("seq %d comes after %d", event.Seq, seq-1)
			}
		}
	}
	t.Logf("%d were dropped, the reader ended after %d", dropped, seq)
}

func TestEventLargerThanAPullIsRead(t *testing.T) {
	EachReader(t, func(t *testing.T, how ...nats.Option) {
		r := open(t, natstest.Start(t).Connect(how...), 20, 10_000)
		r.maxBytes = 3_000 // as if the server's max_payload had been lowered since
		if got := all(t, r, 20); got != 20 {
			t.Errorf("%d events were read, want 20", got)
		}
	})
}

func TestForeignReplySubjectEndsTheReader(t *testing.T) {
	in := &inflow{stream: "S", consumer: "mine", signal: make(chan struct{}, 1)}
	in.receive(&nats.Msg{Subject: "s.1", Reply: "$JS.ACK.S.mine.1.1.1.1790000000000000000.0"})
	in.receive(&nats.Msg{Subject: "s.1", Reply: "$JS.ACK.S.theirs.1.2.2.1790000000000000000.0"})
	if t1 := in.take(); t1.chunk == nil || len(t1.chunk.events) != 1 {
		t.Errorf("what came before is not handed out: %+v", t1)
	}
	if t2 := in.take(); t2.err == nil {
		t.Errorf("a message of another consumer was taken: %+v", t2)
	}
}

func TestGapsInTheConsumersNumbersEndTheReader(t *testing.T) {
	for name, second := range map[string]string{
		"a lost one":      "$JS.ACK.S.mine.1.3.3.1790000000000000000.0",
		"one twice":       "$JS.ACK.S.mine.1.1.1.1790000000000000000.0",
		"a seq backwards": "$JS.ACK.S.mine.1.1.2.1790000000000000000.0",
	} {
		t.Run(name, func(t *testing.T) {
			in := &inflow{stream: "S", consumer: "mine", signal: make(chan struct{}, 1)}
			in.receive(&nats.Msg{Subject: "s.1", Reply: "$JS.ACK.S.mine.1.1.1.1790000000000000000.0"})
			in.receive(&nats.Msg{Subject: "s.1", Reply: second})
			in.receive(&nats.Msg{Subject: "s.1", Reply: "$JS.ACK.S.mine.1.9.2.1790000000000000000.0"})
			if got := in.take(); got.chunk == nil || len(got.chunk.events) != 1 {
				t.Errorf("what came before is not handed out alone: %+v", got)
			}
			if got := in.take(); got.err == nil {
				t.Error("the reader goes on")
			}
		})
	}
	in := &inflow{stream: "S", consumer: "mine", signal: make(chan struct{}, 1)}
	in.receive(&nats.Msg{Header: nats.Header{"Status": {"100"}, "Nats-Last-Consumer": {"1"}, "Nats-Last-Stream": {"1"}}})
	if got := in.take(); got.err == nil {
		t.Error("a heartbeat that tells of a delivery that never came goes unheard")
	}
}

func TestStatusOfAPullDecides(t *testing.T) {
	for name, c := range map[string]struct {
		status, description string
		ends                bool
		pulls               int
	}{
		"expired":          {"408", "Request Timeout", false, 1},
		"used up":          {"409", "Batch Completed", false, 1},
		"too large":        {"409", "Message Size Exceeds MaxBytes", false, 1},
		"deleted":          {"409", "Consumer Deleted", true, 2},
		"new leader":       {"409", "Leadership Change", true, 2},
		"shutdown":         {"409", "Server Shutdown", true, 2},
		"nobody there":     {"503", "", true, 2},
		"bad request":      {"400", "Bad Request", true, 2},
		"heartbeat":        {"100", "Idle Heartbeat", false, 2},
		"neither of these": {"", "", false, 2},
	} {
		t.Run(name, func(t *testing.T) {
			in := &inflow{signal: make(chan struct{}, 1), pulls: []pull{{1, 5, 5}, {2, 5, 5}}}
			in.receive(&nats.Msg{Subject: "_INBOX.x.2", Header: nats.Header{"Status": {c.status}, "Description": {c.description}}})
			if got := in.take(); (got.err != nil) != c.ends || len(in.pulls) != c.pulls {
				t.Errorf("error %v and %d pulls, want an error: %v, and %d", got.err, len(in.pulls), c.ends, c.pulls)
			}
		})
	}
}

// A header can be stored that no client library reads, or reads as what it is not.
func TestHeadersThatTheClientCanNotReadComeAsTheyWereStored(t *testing.T) {
	EachReader(t, headersComeAsStored)
}

func headersComeAsStored(t *testing.T, how ...nats.Option) {
	server := natstest.Start(t)
	conn := server.Connect(how...)
	r := open(t, conn, 1, 5)
	blocks := []string{
		"NATS/1.0\r\nnonsense\r\n\r\n",
		"NATS/1.0 404 No Messages\r\n\r\n",
		"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 99\r\nNats-Last-Stream: 99\r\n\r\n",
		"NATS/1.0\r\nA:1\r\n\r\n",
	}
	publishRaw(t, server.URL(), "s.raw", blocks)
	// The server itself takes a status off the first line; the last header can be made of what the client reads.
	beat := "NATS/1.0\r\nNats-Last-Consumer: 99\r\nNats-Last-Stream: 99\r\n\r\n"
	want := []string{blocks[0], "", beat, "NATS/1.0\r\nA: 1\r\n\r\n"}
	if len(how) > 0 {
		want[3] = blocks[3] // read under the client, it is the very block
	}
	stored := []string{blocks[0], "", beat, blocks[3]}
	var got []string
	for r.to < 5 {
		batch, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, event := range batch.Events {
			if event.Seq > 1 {
				got = append(got, string(event.Header.Block()))
			}
		}
		if batch.To == 5 && batch.Last.Hash != "" {
			t.Errorf("the hash of seq %d was made without its header", batch.To)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	for i, block := range stored {
		w, err := r.log.Witness(t.Context(), uint64(i)+2)
		if err != nil {
			t.Fatal(err)
		}
		if want := consumer.WitnessHash("s.raw", []byte(block), nil); w.Hash != want {
			t.Errorf("the hash of seq %d is %s, want %s: its header is not as it was stored", i+2, w.Hash, want)
		}
	}
}

// publishRaw publishes empty messages with headers byte for byte.
func publishRaw(t *testing.T, url, subject string, headers []string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	fmt.Fprintf(conn, "CONNECT {\"headers\":true,\"verbose\":false}\r\n")
	for _, header := range headers {
		fmt.Fprintf(conn, "HPUB %s %d %d\r\n%s\r\n", subject, len(header), len(header), header)
	}
	fmt.Fprintf(conn, "PING\r\n")
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, "-ERR") {
			t.Fatal(line)
		} else if line == "PONG" {
			return
		}
	}
	t.Fatal("the server closed the connection")
}

func TestClosedConnectionIsTold(t *testing.T) {
	EachReader(t, func(t *testing.T, how ...nats.Option) {
		conn := natstest.Start(t).Connect(how...)
		r := open(t, conn, 5, 5)
		all(t, r, 5)
		conn.Close()
		_, err := r.Next(t.Context())
		var logError *consumer.LogError
		if !errors.As(err, &logError) {
			t.Errorf("the reader says %v", err)
		}
		if _, err := r.log.Bounds(t.Context()); !errors.Is(err, errNotConnected) {
			t.Errorf("bounds say %v", err)
		}
	})
}

// What an idle reader asks of the stream must be of the one that its consumer was in, also where the stream is made
// again in the middle of it.
func TestIdleReaderDoesNotMoveOverAStreamThatWasMadeAgain(t *testing.T) {
	EachReader(t, func(t *testing.T, how ...nats.Option) {
		conn := natstest.Start(t).Connect(how...)
		js := natstest.JetStream(t, conn)
		open(t, conn, 5, 5)
		log, err := New(Config{Conn: conn, Stream: "S", Heartbeat: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		made, err := log.Open(t.Context(), 0, []string{"s.never"})
		if err != nil {
			t.Fatal(err)
		}
		r := made.(*reader)
		t.Cleanup(func() { _ = r.Close(context.Background()) })
		if err := js.DeleteStream(t.Context(), "S"); err != nil {
			t.Fatal(err)
		}
		open(t, conn, 9, 7)
		if batch, err := r.advance(t.Context(), 5); err == nil {
			t.Errorf("it moves: %+v", batch)
		}
		info, err := log.info(t.Context(), "test")
		if err != nil {
			t.Fatal(err)
		}
		r.created = info.Created // as if it had the same time of creation, like a directory that was copied back
		if batch, err := r.advance(t.Context(), 5); err == nil {
			t.Errorf("it moves: %+v", batch)
		}
	})
}

func TestSilentServerIsAskedWhatIsWrong(t *testing.T) {
	EachReader(t, func(t *testing.T, how ...nats.Option) {
		conn := natstest.Start(t).Connect(how...)
		r := open(t, conn, 5, 5)
		all(t, r, 5)
		if err := r.silent(t.Context(), r.in.count(), 0); err != nil {
			t.Errorf("a server that is only slow ends the reader: %v", err)
		}
		r.in.mu.Lock()
		r.in.place-- // as if the last delivery had been lost
		r.in.mu.Unlock()
		var err error
		for range 100 { // heartbeats come between
			if err = r.silent(t.Context(), r.in.count(), 0); err != nil {
				break
			}
		}
		if err == nil {
			t.Error("a delivery that does not come goes unnoticed")
		}

		r = reopen(t, conn) // has not pulled yet, as if its pulls had been lost
		if err := r.silent(t.Context(), r.in.count(), 0); err == nil {
			t.Error("pulls that are lost go unnoticed")
		}
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.silent(t.Context(), r.in.count(), 0); err == nil {
			t.Error("a consumer that is gone goes unnoticed")
		}
	})
}
