package cmd

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/natslog"
)

// streams makes the logs of a configuration, over one connection to NATS.
type streams struct {
	config *Config
	pull   int // bytes that a feed asks for at a time: less where there are many

	mu     sync.Mutex
	worker string
	conn   *nats.Conn
}

func (l *loaded) newStreams() *streams {
	return &streams{config: l.Config, pull: min(mostPull, pullMemory/(2*max(1, l.feeds())))}
}

const (
	mostPull   = 4 << 20
	pullMemory = 256 << 20 // asked for by all feeds together, two pulls each
)

// feeds is how many partitions of streams the projections read.
func (l *loaded) feeds() int {
	feeds := map[string]bool{}
	for _, u := range l.units {
		feeds[u.stream+"/"+strconv.Itoa(u.Partition)] = true
	}
	return len(feeds)
}

// connect begins to connect. NATS may be away: the connection is tried for until it is closed. The first attempt may take
// some seconds, where a host does not answer at all; ctx ends the wait for it.
func (s *streams) connect(ctx context.Context, worker string, log *zap.Logger) error {
	options := s.config.nats
	options.Name, options.Notify = strings.TrimSpace("tailfold "+worker), notify(log.Named("nats"))
	type outcome struct {
		conn *nats.Conn
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		conn, err := natslog.Connect(options)
		done <- outcome{conn, err}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return usage(s.config.redacted(o.err))
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.worker, s.conn = worker, o.conn
		return nil
	case <-ctx.Done():
		go func() { // ends with the attempt, by options.Timeout at the latest
			if o := <-done; o.conn != nil {
				o.conn.Close()
			}
		}()
		return ctx.Err()
	}
}

// notify logs what happens to the connection. An attempt that fails like the one before is not told again.
func notify(log *zap.Logger) func(event string, err error) {
	var mu sync.Mutex
	last := ""
	return func(event string, err error) {
		mu.Lock()
		defer mu.Unlock()
		text := event
		if err != nil {
			text += ": " + err.Error()
		}
		level := zapcore.InfoLevel
		switch {
		case event == "closed" || event == "disconnected" && err == nil || text == last:
			level = zapcore.DebugLevel
		case err != nil:
			level = zapcore.WarnLevel
		}
		last = text
		log.Log(level, event, zap.Error(err))
	}
}

// log makes the log of a partition of a stream.
func (s *streams) log(stream consumer.Stream, partition int) (consumer.Log, error) {
	return s.natsLog(stream.Name)
}

func (s *streams) natsLog(stream string) (*natslog.Log, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return natslog.New(natslog.Config{Conn: s.conn, Stream: stream, Worker: s.worker, PullBytes: s.pull,
		Domain: s.config.nats.Domain, APIPrefix: s.config.nats.APIPrefix})
}

// members is where the workers see each other.
func (s *streams) members() (consumer.Membership, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return natslog.NewMembers(natslog.MembersConfig{Conn: s.conn, Bucket: s.config.bucket(), Worker: s.worker,
		Keep: max(time.Minute, 10*s.config.Leases.TTL), Domain: s.config.nats.Domain, APIPrefix: s.config.nats.APIPrefix})
}

// bounds asks what a stream holds.
func (s *streams) bounds(ctx context.Context, stream string) (consumer.Bounds, error) {
	log, err := s.whole(ctx, stream)
	if err != nil {
		return consumer.Bounds{}, err
	}
	return log.Bounds(ctx)
}

// subject is that of the event at a seq of a stream.
func (s *streams) subject(ctx context.Context, stream string, seq uint64) (string, error) {
	log, err := s.whole(ctx, stream)
	if err != nil {
		return "", err
	}
	return log.Subject(ctx, seq)
}

// whole is a stream's log, connecting first if nobody has.
func (s *streams) whole(ctx context.Context, stream string) (*natslog.Log, error) {
	s.mu.Lock()
	connected := s.conn != nil
	s.mu.Unlock()
	if !connected {
		if err := s.connect(ctx, "", zap.NewNop()); err != nil {
			return nil, err
		}
	}
	return s.natsLog(stream)
}

func (s *streams) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		s.conn.Close()
	}
}
