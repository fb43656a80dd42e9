package natslog

import (
	"context"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
)

// BenchmarkRead reads a stream of small events to its end, over TCP from a server process, and does nothing with them:
// by either reader, and by the client's own ordered consumer. They take turns within each round, because the machine's
// speed changes: only the ratios of one run tell something.
func BenchmarkRead(b *testing.B) {
	const n = 200_000
	server := natstest.StartProcess(b)
	fill(b, server.Connect(), n)
	plain := server.Connect()
	fast := server.Connect(nats.SetCustomDialer(NewTap(&net.Dialer{Timeout: 5 * time.Second})))
	ways := []struct {
		name string
		read func()
		used spent
	}{
		{name: "stock", read: func() { consume(b, plain, n) }},
		{name: "plain", read: func() { readWhole(b, plain, n) }},
		{name: "fast", read: func() { readWhole(b, fast, n) }},
	}
	for b.Loop() {
		for i := range ways {
			w := &ways[i]
			w.used.add(measure(w.read))
		}
	}
	events := float64(n * b.N)
	for _, w := range ways {
		b.ReportMetric(events/w.used.wall.Seconds(), w.name+"-events/s")
		b.ReportMetric(float64(w.used.cpu.Nanoseconds())/events, w.name+"-cpu-ns/event")
		b.ReportMetric(float64(ways[0].used.wall)/float64(w.used.wall), w.name+"-to-stock")
	}
}

// spent is what reading took of this process.
type spent struct{ wall, cpu time.Duration }

func (s *spent) add(more spent) { s.wall, s.cpu = s.wall+more.wall, s.cpu+more.cpu }

func measure(do func()) spent {
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before) // can't fail for the process itself
	begun := time.Now()
	do()
	wall := time.Since(begun)
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	cpu := func(u syscall.Rusage) time.Duration { return time.Duration(u.Utime.Nano() + u.Stime.Nano()) }
	return spent{wall, cpu(after) - cpu(before)}
}

func fill(b *testing.B, conn *nats.Conn, n int) {
	b.Helper()
	js := natstest.JetStream(b, conn)
	natstest.CreateStream(b, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	data := make([]byte, 120)
	for i := range n {
		if _, err := js.PublishAsync("s."+strconv.Itoa(i%1000), data, jetstream.WithStallWait(time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
}

func readWhole(b *testing.B, conn *nats.Conn, n uint64) { read(b, conn, n, nil) }

// read reads the stream up to seq n, by a filter or without one.
func read(b *testing.B, conn *nats.Conn, n uint64, subjects []string) {
	b.Helper()
	log, err := New(Config{Conn: conn, Stream: "S"})
	if err != nil {
		b.Fatal(err)
	}
	r, err := log.Open(b.Context(), 0, subjects)
	if err != nil {
		b.Fatal(err)
	}
	for to := uint64(0); to < n; {
		batch, err := r.Next(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		to = batch.To
	}
	if err := r.Close(context.WithoutCancel(b.Context())); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkReadPartition reads one of two partitions of a stream to its end: by the server's filter, and without one, by
// how many subjects the stream has.
func BenchmarkReadPartition(b *testing.B) {
	for _, subjects := range []int{10, 1000, 10_000} {
		b.Run(strconv.Itoa(subjects), func(b *testing.B) {
			const n = 200_000
			server := natstest.StartProcess(b)
			js := natstest.JetStream(b, server.Connect())
			natstest.CreateStream(b, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
			data := make([]byte, 120)
			for i := range n { // the last one is of partition 0
				subject := "s." + strconv.Itoa((i+1)%2) + "." + strconv.Itoa(i%subjects)
				if _, err := js.PublishAsync(subject, data, jetstream.WithStallWait(time.Minute)); err != nil {
					b.Fatal(err)
				}
			}
			<-js.PublishAsyncComplete()
			conn := server.Connect(nats.SetCustomDialer(NewTap(&net.Dialer{Timeout: 5 * time.Second})))
			var filtered, whole spent
			for b.Loop() {
				filtered.add(measure(func() { read(b, conn, n, []string{"s.0.>"}) }))
				whole.add(measure(func() { read(b, conn, n, nil) }))
			}
			events := float64(n / 2 * b.N)
			b.ReportMetric(float64(filtered.wall.Nanoseconds())/events, "filtered-ns/event")
			b.ReportMetric(float64(whole.wall.Nanoseconds())/events, "whole-ns/event")
		})
	}
}

// consume counts events by the client's ordered consumer, in its usual settings.
func consume(b *testing.B, conn *nats.Conn, n int) {
	b.Helper()
	c, err := natstest.JetStream(b, conn).OrderedConsumer(b.Context(), "S", jetstream.OrderedConsumerConfig{})
	if err != nil {
		b.Fatal(err)
	}
	done, count := make(chan struct{}), 0
	reading, err := c.Consume(func(jetstream.Msg) {
		if count++; count == n {
			close(done)
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	<-done
	reading.Stop()
	<-reading.Closed()
}

// BenchmarkFrames takes events out of a stream that is there already: what the fast reader itself spends on one.
func BenchmarkFrames(b *testing.B) {
	var stream []byte
	const n = 10_000
	for i := 1; i <= n; i++ {
		stream = append(stream, deliver(i, "s."+strconv.Itoa(i%1000), "", string(make([]byte, 120)))...)
	}
	b.ReportAllocs()
	for b.Loop() {
		in := &inflow{stream: "S", consumer: "mine", signal: make(chan struct{}, 1)}
		f := frames{bound: frameBuffer}
		to := &tapped{}
		to.sinks.Store(&map[uint64]*inflow{1: in})
		for rest := stream; len(rest) > 0; {
			size := min(frameBuffer, len(rest))
			left, _, err := f.sort(rest[:size], nil, to)
			if err != nil {
				b.Fatal(err)
			}
			to.settle()
			rest = rest[size-len(left):]
		}
		if in.place != n {
			b.Fatalf("%d events came", in.place)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*b.N), "ns/event")
}
