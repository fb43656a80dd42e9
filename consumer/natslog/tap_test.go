package natslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/projections"
)

func TestFastReaderTakesItsMessagesUnderTheClient(t *testing.T) {
	const n = 3_000
	server := natstest.Start(t)
	EachReader(t, func(t *testing.T, how ...nats.Option) {
		conn := server.Connect(how...)
		js := natstest.JetStream(t, conn)
		r := open(t, conn, n, 100)
		if got := all(t, r, n); got != n {
			t.Fatalf("%d events were read, want %d", got, n)
		}
		delivered, err := r.sub.Delivered()
		if err != nil {
			t.Fatal(err)
		}
		if fast := len(how) > 0; fast && delivered != 0 || !fast && delivered < n {
			t.Errorf("the client was given %d messages", delivered)
		}
		if err := js.DeleteStream(t.Context(), "S"); err != nil {
			t.Fatal(err)
		}
	})
}

// Several readers and the requests of others go over one connection, and each gets what is its own.
func TestReadersShareAConnection(t *testing.T) {
	const n, readers = 20_000, 4
	server := natstest.Start(t)
	EachReader(t, func(t *testing.T, how ...nats.Option) {
		conn := server.Connect(how...)
		js := natstest.JetStream(t, conn)
		opened := []*reader{open(t, conn, n, 50)}
		for len(opened) < readers {
			opened = append(opened, reopen(t, conn))
		}
		done := make(chan error, readers)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for _, r := range opened {
			go func() { done <- readTo(ctx, r, n) }()
		}
		for ended := 0; ended < readers; {
			select {
			case err := <-done:
				if ended++; err != nil {
					t.Error(err)
				}
			default:
				if m, err := opened[0].log.message(ctx, "test", messageRequest{Seq: 7}); err != nil || m.Seq != 7 {
					t.Fatalf("a request while events come: %+v, %v", m, err)
				}
			}
		}
		if err := js.DeleteStream(t.Context(), "S"); err != nil {
			t.Fatal(err)
		}
	})
}

func readTo(ctx context.Context, r *reader, last uint64) error {
	seq := uint64(0)
	for seq < last {
		batch, err := r.Next(ctx)
		if err != nil {
			return err
		}
		for _, event := range batch.Events {
			if seq++; event.Seq != seq {
				return fmt.Errorf("seq %d comes after %d", event.Seq, seq-1)
			}
		}
	}
	return nil
}

// piped is a tap on a stream that a test writes, with one subscription, number 1, for in.
func piped(t *testing.T, stream io.Reader, in *inflow) *tapped {
	t.Helper()
	tap := NewTap(dialFunc(func() net.Conn { return &scripted{Reader: stream} }))
	tap.watch("inbox.*", in)
	made, err := tap.Dial("tcp", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := made.Write([]byte("CONNECT {}\r\nPING\r\nSUB inbox.*  1\r\n")); err != nil {
		t.Fatal(err)
	}
	return made.(*tapped)
}

type dialFunc func() net.Conn

func (f dialFunc) Dial(string, string) (net.Conn, error) { return f(), nil }

// scripted is a connection of which the stream is known, and to which anything can be written.
type scripted struct {
	net.Conn
	io.Reader
}

func (s *scripted) Read(p []byte) (int, error)  { return s.Reader.Read(p) }
func (s *scripted) Write(p []byte) (int, error) { return len(p), nil }

// delivery is an event as the server sends it.
func deliver(n int, subject, header, data string) string {
	reply := fmt.Sprintf("$JS.ACK.S.mine.1.%d.%d.1790000000000000000.0", n, n)
	if header != "" {
		return fmt.Sprintf("HMSG %s 1 %s %d %d\r\n%s%s\r\n", subject, reply, len(header), len(header)+len(data), header, data)
	}
	return fmt.Sprintf("MSG %s 1 %s %d\r\n%s\r\n", subject, reply, len(data), data)
}

// What has been handed out stays as it is, whatever comes after it, in whatever pieces.
func TestEventsKeepTheirBytes(t *testing.T) {
	const n = 3_000
	var stream strings.Builder
	var want []string
	for i := 1; i <= n; i++ {
		subject, header, data := fmt.Sprintf("s.%d", i/3), "", strings.Repeat(string(rune('a'+i%26)), i%500)
		if i%100 == 0 {
			data = strings.Repeat(data+".", 300) // beyond a buffer
		}
		if i%5 == 0 {
			header = fmt.Sprintf("NATS/1.0\r\nN: %d\r\n\r\n", i)
		}
		stream.WriteString(deliver(i, subject, header, data))
		if i%7 == 0 {
			stream.WriteString("PING\r\n")
		}
		want = append(want, fmt.Sprintf("%d %s %q %s", i, subject, header, data))
	}
	for name, piece := range map[string]func(io.Reader) io.Reader{
		"as it comes":      func(r io.Reader) io.Reader { return r },
		"halves":           iotest.HalfReader,
		"with its error":   iotest.DataErrReader,
		"one byte a piece": iotest.OneByteReader,
	} {
		t.Run(name, func(t *testing.T) {
			in := &inflow{stream: "S", consumer: "mine", signal: make(chan struct{}, 1)}
			c := piped(t, piece(strings.NewReader(stream.String())), in)
			passed, err := io.ReadAll(c)
			if err != nil {
				t.Fatal(err)
			}
			if got := bytes.Count(passed, []byte("PING\r\n")); got != n/7 || len(passed) != got*6 {
				t.Errorf("%d pings passed in %d bytes, want %d", got, len(passed), n/7)
			}
			var got []projections.Event
			for taken := in.take(); taken.chunk != nil; taken = in.take() {
				got = append(got, taken.chunk.events...)
			}
			if len(got) != n {
				t.Fatalf("%d events, want %d: %v", len(got), n, in.err)
			}
			for i, e := range got {
				if is := fmt.Sprintf("%d %s %q %s", e.Seq, e.Subject, e.Header.Block(), e.Data); is != want[i] {
					t.Fatalf("event %d is %.200s, want %.200s", i+1, is, want[i])
				}
			}
		})
	}
}

// Wherever a connection is cut, what came before it whole is handed out, and nothing else.
func TestConnectionThatIsCutLeavesNoHalfEvent(t *testing.T) {
	var stream string
	var ends []int
	for i, size := range []int{0, 3, 100_000, 40, 17_000} {
		stream += deliver(i+1, "s.1", "NATS/1.0\r\nA: 1\r\n\r\n", strings.Repeat("x", size))
		ends = append(ends, len(stream))
		stream += "PING\r\n"
	}
	for cut := 0; cut <= len(stream); cut += 1 + cut%97 {
		in := &inflow{stream: "S", consumer: "mine", signal: make(chan struct{}, 1)}
		if _, err := io.ReadAll(piped(t, strings.NewReader(stream[:cut]), in)); err != nil {
			t.Fatal(err)
		}
		whole := uint64(0)
		for _, end := range ends {
			if end <= cut {
				whole++
			}
		}
		if in.place != whole || in.err != nil {
			t.Fatalf("cut after %d bytes, %d events came, want %d: %v", cut, in.place, whole, in.err)
		}
	}
}

// The last message of a batch has its bytes too, where its event is not handed out.
func TestLastMessageThatIsNotWantedIsKept(t *testing.T) {
	in := &inflow{stream: "S", consumer: "mine", drop: []string{"a.>"}, signal: make(chan struct{}, 1)}
	var stream string
	for i := 1; i <= 2*maxBatchRead+10; i++ {
		stream += deliver(i, "b.1", "", fmt.Sprint("data ", i))
		if i%1000 == 0 { // a string that long is slow to build
			if _, err := io.ReadAll(piped(t, strings.NewReader(stream), in)); err != nil {
				t.Fatal(err)
			}
			stream = ""
		}
	}
	if _, err := io.ReadAll(piped(t, strings.NewReader(stream), in)); err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{maxBatchRead, 2 * maxBatchRead, 2*maxBatchRead + 10} {
		taken := in.take()
		if taken.chunk == nil {
			t.Fatalf("nothing up to seq %d: %v", seq, taken.err)
		}
		if last := taken.chunk.last; last.seq != seq || last.subject != "b.1" || string(last.data) != fmt.Sprint("data ", seq) ||
			len(taken.chunk.events) > 0 {
			t.Errorf("the last message is %+v with %d events, want seq %d", last, len(taken.chunk.events), seq)
		}
	}
}

func TestControlMessagesAreReadInTheirPlace(t *testing.T) {
	in := &inflow{stream: "S", consumer: "mine", signal: make(chan struct{}, 1), pulls: []pull{{1, 5, 5}, {2, 5, 5}}}
	control := func(to, header string) string {
		return fmt.Sprintf("HMSG inbox.%s 1 %d %d\r\n%s\r\n", to, len(header), len(header), header)
	}
	status := "NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 5\r\nNats-Pending-Bytes: 0\r\n\r\n"
	stream := control("1", status) + deliver(1, "s", "NATS/1.0 \r\nStatus: 404\r\n\r\n", "") +
		control("2", "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1\r\nNats-Last-Stream: 9\r\n\r\n")
	if _, err := io.ReadAll(piped(t, strings.NewReader(stream), in)); err != nil {
		t.Fatal(err)
	}
	if len(in.pulls) != 1 || in.pulls[0] != (pull{2, 5, 4}) || in.beat != (beat{1, 9}) || in.err != nil || in.place != 1 {
		t.Errorf("pulls %v, beat %v, place %d, error %v", in.pulls, in.beat, in.place, in.err)
	}
	stream = control("2", "NATS/1.0 409 Consumer Deleted\r\n\r\n") + deliver(2, "s", "", "x")
	if _, err := io.ReadAll(piped(t, strings.NewReader(stream), in)); err != nil {
		t.Fatal(err)
	}
	if in.err == nil || in.place != 1 {
		t.Errorf("after the consumer's end, place %d, error %v", in.place, in.err)
	}
	for name, stream := range map[string]string{
		"another consumer's": "MSG s 1 $JS.ACK.S.theirs.1.1.1.1790000000000000000.0 0\r\n\r\n",
		"an unreadable one":  "MSG s 1 $JS.ACK.S.mine.1.x 0\r\n\r\n",
		"a lost one":         deliver(1, "s", "", "") + deliver(3, "s", "", ""),
	} {
		in := &inflow{stream: "S", consumer: "mine", signal: make(chan struct{}, 1)}
		if _, err := io.ReadAll(piped(t, strings.NewReader(stream), in)); err != nil || in.err == nil {
			t.Errorf("%s is taken: %v", name, err)
		}
	}
}

func TestWhatIsNotClearPassesThrough(t *testing.T) {
	message := deliver(1, "s", "", "x")
	for first, want := range map[string]string{"\x16\x03\x01": message, "GET / HTTP/1.1\r\n": message, "CONNECT {}\r\n": ""} {
		in := &inflow{stream: "S", consumer: "mine", signal: make(chan struct{}, 1)}
		tap := NewTap(dialFunc(func() net.Conn { return &scripted{Reader: strings.NewReader(message)} }))
		tap.watch("inbox.*", in)
		conn, _ := tap.Dial("tcp", "")
		for _, say := range []string{first, "SUB inbox.*  1\r\n"} {
			if _, err := conn.Write([]byte(say)); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := io.ReadAll(conn); err != nil || string(got) != want {
			t.Errorf("after %q, %q passes, want %q: %v", first, got, want, err)
		}
	}
}

// A read that times out is no end: what came before it and what comes after it is one stream.
func TestTimeoutOfAReadIsPassedOn(t *testing.T) {
	in := &inflow{stream: "S", consumer: "mine", signal: make(chan struct{}, 1)}
	message := deliver(1, "s", "", "x")
	c := piped(t, iotest.TimeoutReader(iotest.HalfReader(strings.NewReader(message+"PING\r\n"))), in)
	var passed []byte
	timeouts := 0
	for {
		p := make([]byte, 64)
		n, err := c.Read(p)
		passed = append(passed, p[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			timeouts++
		}
	}
	if timeouts != 1 || string(passed) != "PING\r\n" || in.place != 1 {
		t.Errorf("%d timeouts, %q passed, %d deliveries", timeouts, passed, in.place)
	}
}

// Reading an event costs no allocation of its own: events share slabs, and a batch's list.
func TestFastReaderHardlyAllocates(t *testing.T) {
	const n = 20_000
	for name, subject := range map[string]func(i int) string{
		"one subject":   func(int) string { return "orders.eu.1" },
		"many subjects": func(i int) string { return fmt.Sprintf("orders.eu.%d", i) },
	} {
		t.Run(name, func(t *testing.T) {
			var stream strings.Builder
			for i := 1; i <= n; i++ {
				stream.WriteString(deliver(i, subject(i), "", strings.Repeat("x", 120)))
			}
			text := stream.String()
			perRun := testing.AllocsPerRun(3, func() {
				in := &inflow{stream: "S", consumer: "mine", signal: make(chan struct{}, 1)}
				c := piped(t, strings.NewReader(text), in)
				if _, err := c.Read(make([]byte, 10)); !errors.Is(err, io.EOF) || in.place != n {
					t.Fatalf("%d events came: %v, %v", in.place, err, in.err)
				}
			})
			if perEvent := perRun / n; perEvent > 0.1 {
				t.Errorf("%.3f allocations per event, want at most 0.1", perEvent)
			} else {
				t.Logf("%.4f allocations per event", perEvent)
			}
		})
	}
}

// The header that a fold sees is the same with either reader.
func FuzzHeaderIsTheSameWithEitherReader(f *testing.F) {
	for _, block := range []string{
		"NATS/1.0\r\nA: 1\r\nb:2\r\nA:  3 \r\n\r\n", "NATS/1.0\r\n:x\r\nA : 1\r\n\r\n", "NATS/1.0\r\nA: \t1\r\n\r\nB: 2\r\n\r\n",
		"NATS/1.0\r\nA: 1\nB: 2\r\n\r\n", "NATS/1.0\r\nStatus: 5\r\nA:1\r\n\r\n",
	} {
		f.Add([]byte(block))
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		read, err := nats.DecodeHeadersMsg(block)
		made, ok := headerBlock(read, len(block))
		if err != nil || !ok { // the plain reader asks for the block as it was stored
			return
		}
		plain, fast := projections.HeaderOf(made), projections.HeaderOf(block)
		names := map[string]bool{}
		for _, line := range strings.Split(string(block), "\n") {
			name, _, _ := strings.Cut(line, ":")
			names[name] = true
		}
		for name := range names {
			if got, want := fast.Values(name), plain.Values(name); fmt.Sprint(len(got), got) != fmt.Sprint(len(want), want) {
				t.Errorf("of %q, %q is %q with the fast reader, %q with the plain one", block, name, got, want)
			}
		}
	})
}
