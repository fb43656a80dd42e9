package natslog

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// Tap is a dialer whose connections let readers take their messages straight out of the server's stream, at a fraction of
// what the client spends on one. Everything else passes through, so that the client keeps login, pings and reconnects.
// Connect uses one. A connection made otherwise has it with
//
//	nats.Connect(url, nats.SetCustomDialer(natslog.NewTap(&net.Dialer{Timeout: 5 * time.Second})))
//
// Where the stream can't be read under the client, because it is encrypted or a WebSocket, all passes through, and the
// readers get their messages from the client. Its methods may be called from any goroutine.
type Tap struct {
	failure

	dialer nats.CustomDialer

	mu      sync.Mutex
	watched map[string]*inflow // by the subject subscribed to
	last    clarity            // of the newest connection that has shown it
	told    clarity            // last told as news
}

// NewTap makes a tap over a dialer.
func NewTap(dialer nats.CustomDialer) *Tap {
	return &Tap{dialer: dialer, watched: map[string]*inflow{}}
}

// Dial implements nats.CustomDialer.
func (t *Tap) Dial(network, address string) (net.Conn, error) {
	conn, err := t.dialer.Dial(network, address)
	if err != nil {
		return nil, err
	}
	return &tapped{Conn: conn, tap: t, frames: frames{bound: frameBuffer}}, nil
}

// SkipTLSHandshake tells the client whether the dialer below has encrypted the connection already.
func (t *Tap) SkipTLSHandshake() bool {
	below, ok := t.dialer.(interface{ SkipTLSHandshake() bool })
	return ok && below.SkipTLSHandshake()
}

// watch sends the messages of the subscription to subject, when it comes to be made, to in.
func (t *Tap) watch(subject string, in *inflow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watched[subject] = in
}

// forget ends what watch began. Messages that still come pass through, until the subscription ends.
func (t *Tap) forget(subject string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.watched, subject)
}

func (t *Tap) find(subject []byte) *inflow {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.watched[string(subject)]
}

// clarity is whether the server's stream can be read under the client.
type clarity int32

const (
	unknown clarity = iota // the client has not begun to speak
	clear
	encrypted
	webSocket
)

// clarityOf tells by the first byte that a client sends: CONNECT, a TLS handshake, or GET.
func clarityOf(first byte) clarity {
	switch first {
	case 'C', 'c':
		return clear
	case 'G':
		return webSocket
	}
	return encrypted
}

// news says what the newest connection is like, "" if that is known.
func (t *Tap) news() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.told == t.last {
		return ""
	}
	t.told = t.last
	switch t.last {
	case clear:
		return "fast reader"
	case webSocket:
		return "plain reader: the connection is a WebSocket"
	}
	return "plain reader: the connection is encrypted"
}

// tapOf is the tap of a connection, nil if it has none.
func tapOf(conn *nats.Conn) *Tap {
	if conn.Opts.InProcessServer != nil {
		return nil // its connections are not dialed
	}
	tap, _ := conn.Opts.CustomDialer.(*Tap)
	return tap
}

// tapped is a connection under the client. Reads come from one goroutine at a time.
type tapped struct {
	net.Conn
	tap *Tap

	clarity atomic.Int32
	sinks   atomic.Pointer[map[uint64]*inflow] // by number of the subscription; never changed in place

	writing sync.Mutex
	spoken  spoken // under writing

	// Of Read alone.
	frames frames
	buffer []byte // what was read, up to filled, is not yet sorted
	filled int
	passed []byte // sorted out for the client
	given  int    // of passed, to the client
	err    error  // of the last read, told after passed

	sid  uint64  // wanted last
	sink *inflow // of sid
	open *inflow // the one that takes frames in
}

// Read reads what the readers do not take.
func (c *tapped) Read(p []byte) (int, error) {
	for c.given == len(c.passed) {
		c.passed, c.given = c.passed[:0], 0
		if err := c.err; err != nil {
			c.err = nil
			return 0, err
		}
		if clarity(c.clarity.Load()) > clear {
			if c.filled == 0 {
				return c.Conn.Read(p)
			}
			c.passed, c.filled = append(c.passed, c.buffer[:c.filled]...), 0
			continue
		}
		c.fill()
	}
	n := copy(p, c.passed[c.given:])
	c.given += n
	return n, nil
}

// fill reads once and sorts what has come.
func (c *tapped) fill() {
	if c.buffer == nil {
		c.buffer = make([]byte, frameBuffer)
	}
	n, err := c.Conn.Read(c.buffer[c.filled:])
	if c.err = err; n == 0 {
		return
	}
	rest, passed, err := c.frames.sort(c.buffer[:c.filled+n], c.passed, c)
	c.settle()
	c.sink = nil // looked up anew after the next read: the subscription may have ended
	c.filled = copy(c.buffer, rest)
	if c.passed = passed; err != nil {
		c.err = err
	}
}

// wants implements receiver.
func (c *tapped) wants(sid uint64) bool {
	if c.sink == nil || c.sid != sid {
		c.sid, c.sink = sid, nil
		if sinks := c.sinks.Load(); sinks != nil {
			c.sink = (*sinks)[sid]
		}
	}
	return c.sink != nil
}

// receive implements receiver.
func (c *tapped) receive(f *frame) {
	if c.open != c.sink {
		c.settle()
		c.open = c.sink
		c.open.begin()
	}
	c.open.frame(f)
}

func (c *tapped) settle() {
	if c.open != nil {
		c.open.settle()
		c.open = nil
	}
}

// Write learns which subscriptions the client makes and ends, before the server does.
func (c *tapped) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if len(p) > 0 && clarity(c.clarity.Load()) == unknown {
		c.begin(clarityOf(p[0]))
	}
	if clarity(c.clarity.Load()) == clear {
		c.spoken.hear(p, c.subscribed, c.unsubscribed)
	}
	return c.Conn.Write(p)
}

func (c *tapped) begin(seen clarity) {
	c.clarity.Store(int32(seen))
	c.tap.mu.Lock()
	defer c.tap.mu.Unlock()
	c.tap.last = seen
}

func (c *tapped) subscribed(subject []byte, sid uint64) {
	if in := c.tap.find(subject); in != nil {
		c.change(sid, in)
	}
}

func (c *tapped) unsubscribed(sid uint64) {
	if sinks := c.sinks.Load(); sinks != nil && (*sinks)[sid] != nil {
		c.change(sid, nil)
	}
}

func (c *tapped) change(sid uint64, in *inflow) {
	changed := map[uint64]*inflow{}
	if old := c.sinks.Load(); old != nil {
		for sid, in := range *old {
			changed[sid] = in
		}
	}
	if changed[sid] = in; in == nil {
		delete(changed, sid)
	}
	c.sinks.Store(&changed)
}
