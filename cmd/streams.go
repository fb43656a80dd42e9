package cmd

import (
	"context"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/natslog"
)

// streams makes the logs of a configuration, over one connection to NATS.
type streams struct {
	config *Config

	mu     sync.Mutex
	worker string
	conn   *nats.Conn
}

func (l *loaded) newStreams() *streams { return &streams{config: l.Config} }

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
	s.mu.Lock()
	defer s.mu.Unlock()
	return natslog.New(natslog.Config{Conn: s.conn, Stream: stream.Name, Worker: s.worker,
		Domain: s.config.nats.Domain, APIPrefix: s.config.nats.APIPrefix})
}

// bounds asks what a stream holds now, connecting first if nobody has.
func (s *streams) bounds(ctx context.Context, stream string) (consumer.Bounds, error) {
	s.mu.Lock()
	connected := s.conn != nil
	s.mu.Unlock()
	if !connected {
		if err := s.connect(ctx, "", zap.NewNop()); err != nil {
			return consumer.Bounds{}, err
		}
	}
	log, err := s.log(consumer.Stream{Name: stream}, 0)
	if err != nil {
		return consumer.Bounds{}, err
	}
	return log.Bounds(ctx)
}

func (s *streams) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		s.conn.Close()
	}
}
