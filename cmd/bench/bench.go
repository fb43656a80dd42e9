package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/cmd"
	"github.com/tailfold/tailfold/cmd/bench/contenders"
)

// bench is one run of the command.
type bench struct {
	options  *Command
	dir      string // for what is to be gone afterwards
	name     string // begins all names on the servers
	servers  *servers
	conn     *nats.Conn
	js       jetstream.JetStream
	streams  []string
	progress *progress
	report   *report
	hashes   int // so many were named so far
}

// begin connects to the servers, starting those that are not named.
func (c *Command) begin(app *cmd.App, dir string) (*bench, error) {
	s, err := start(app.Context, dir, c.NATS, c.Redis, c.Embedded)
	if err != nil {
		return nil, err
	}
	conn, err := nats.Connect(s.nats, nats.MaxReconnects(-1), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		s.end()
		return nil, fmt.Errorf("%s does not answer: %w", s.natsText, err)
	}
	s.ends = append(s.ends, conn.Close)
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(2*publishAtOnce))
	if err == nil {
		_, err = js.AccountInfo(app.Context)
	}
	if err != nil {
		s.end()
		return nil, fmt.Errorf("%s has no JetStream to use: %w", s.natsText, err)
	}
	if s.natsPID == 0 {
		s.natsText += " " + conn.ConnectedServerVersion()
	}
	b := &bench{options: c, dir: dir, name: "tailfold-bench-" + strings.ToLower(rand.Text()[:8]), servers: s, conn: conn, js: js,
		progress: newProgress(app.Stderr)}
	b.report = newReport(c, app.Version, s)
	return b, nil
}

// end leaves nothing behind.
func (b *bench) end() error {
	defer b.servers.end()
	return b.removeAll()
}

// run measures what is asked for.
func (b *bench) run(ctx context.Context) (*report, error) {
	b.progress.say("servers: %s; %s", b.servers.natsText, b.servers.redisText)
	b.progress.steps = b.options.steps()
	for _, part := range []struct {
		wanted  bool
		measure func(context.Context) error
	}{
		{b.wantsContenders() || b.options.wants("fanout"), b.contenders},
		{b.options.wants("freshness"), b.freshness},
		{b.options.wants("isolation"), b.isolation},
		{b.options.wants("checkpoint"), b.checkpoints},
		{b.options.wants("restart") || b.options.wants("rss"), b.restarts},
		{b.options.Plot != "", b.plots},
	} {
		if !part.wanted {
			continue
		}
		if err := part.measure(ctx); err != nil {
			return nil, err
		}
	}
	return b.report, nil
}

// steps is how many there are to show.
func (c *Command) steps() int {
	n := 0
	for _, name := range entrants {
		if c.wants(name) {
			n += c.Rounds
		}
	}
	if c.wants("fanout") {
		n += c.Rounds * len(fanSizes)
	}
	for name, steps := range map[string]int{"freshness": 1, "isolation": 1 + isolationRounds, "checkpoint": 1, "restart": len(restartNames), "rss": 1} {
		if c.wants(name) {
			n += steps
		}
	}
	if c.Plot != "" {
		for _, s := range c.sweeps() {
			n += len(s.points)
		}
	}
	return n
}

func (b *bench) wantsContenders() bool {
	for _, name := range measures[:5] {
		if b.options.wants(name) {
			return true
		}
	}
	return false
}

// task is what a contender is told. Each gets a hash, or a prefix, of its own.
func (b *bench) task(contender string, s *stream, events int) spec {
	b.hashes++
	place := fmt.Sprintf("%s-%d", b.name, b.hashes)
	return spec{Contender: contender, Prefix: place,
		Task: contenders.Task{NATS: b.servers.nats, Stream: s.name, Redis: b.servers.redis, Hash: place, Events: events}}
}

// hashOf is where a run leaves its totals.
func (s spec) hashOf(projection string) string {
	if _, own := runs[s.Contender]; own {
		return s.Task.Hash
	}
	return s.Prefix + ":{" + projection + "/v1/0}"
}

// declared writes the configuration of the declared contender.
func (b *bench) declared(s *stream) (string, error) {
	name := filepath.Join(b.dir, s.name+".yaml")
	return name, os.WriteFile(name, []byte(contenders.Declared(s.name)), 0o600)
}

// carryOut runs a contender in a process of its own.
func (b *bench) carryOut(ctx context.Context, s spec) (outcome, error) {
	p, err := b.startChild(s)
	if err != nil {
		return outcome{}, err
	}
	defer p.kill()
	lines := make(chan []byte, 1)
	go func() { // ends with the process
		line, _ := p.stdout.ReadBytes('\n')
		lines <- line
	}()
	var line []byte
	select {
	case line = <-lines:
	case <-ctx.Done():
		p.kill()
		<-lines
		return outcome{}, ctx.Err()
	}
	var out outcome
	if err := json.Unmarshal(bytes.TrimSpace(line), &out); err != nil {
		return outcome{}, fmt.Errorf("the process of %s ended without a result", s.Contender)
	}
	if out.Error != "" {
		return outcome{}, fmt.Errorf("%s: %w", s.Contender, errors.New(out.Error))
	}
	return out, nil
}

func perEvent(d time.Duration, events int) float64 {
	return float64(d) / float64(time.Microsecond) / float64(events)
}
