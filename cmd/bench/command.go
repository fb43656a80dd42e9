// Package bench is the command tailfold bench: it measures Tailfold beside what else a team could write, over the same log
// and in the same run. Only it and package dev link nats-server.
package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tailfold/tailfold/cmd"
)

// Command is tailfold bench.
type Command struct {
	NATS     string   `name:"nats" placeholder:"URL" help:"NATS server with JetStream to run on. Default: one of our own, a process beside this one."`
	Redis    string   `name:"redis" placeholder:"URL" help:"Redis to run on. Default: a redis-server of our own, from the PATH."`
	Events   int      `name:"events" default:"300000" placeholder:"N" help:"Events in the log. Default: ${default}."`
	Keys     int      `name:"keys" default:"100000" placeholder:"K" help:"Customers that they are spread over. Default: ${default}."`
	Size     int      `name:"size" default:"120" placeholder:"BYTES" help:"Of an event. Default: ${default}."`
	Rounds   int      `name:"rounds" default:"5" placeholder:"N" help:"How often each contender runs, in turn; 5 at the least for figures to be quoted. Default: ${default}."`
	Only     []string `name:"only" placeholder:"NAME" help:"Only these, with commas between: limit, naive, batched, go, declared, fanout, restart, freshness, isolation, checkpoint, rss."`
	JSON     bool     `name:"json" help:"Print one JSON object."`
	Plot     string   `name:"plot" type:"path" placeholder:"DIR" help:"Measure too how cost grows with keys, events, projections and the size of values, and write drawings (SVG) and tables (CSV) into this folder."`
	Embedded bool     `name:"embedded" help:"Run the NATS server inside this process. Its cost then counts for nobody."`

	Serve string `name:"serve" hidden:"" help:"This process is the NATS server, with its store in this folder."`
	Child string `name:"run" hidden:"" help:"This process is one run of a contender."`
}

// Summary is the command's line in the list of commands.
const Summary = "Measure Tailfold beside a hand-written consumer, over the same log in the same run."

// Help completes --help.
func (Command) Help() string {
	return `Without addresses it starts a nats-server and a redis-server of its own, as processes on 127.0.0.1. It publishes orders
once, and then lets each contender fold them into totals by customer, in turn, round after round:

    limit      the stock client's fastest consumer (the better of two), which does nothing with what it reads
    naive      one HINCRBY and one acknowledgement per event (over a share of the events)
    batched    fetch 1,000, add up in a map, one pipeline, acknowledge all
    go         Tailfold, a projection in Go
    declared   Tailfold, the same projection in YAML

Rates are medians; ratios are medians of the rounds' own ratios, because all else moves with the machine; the CPU time that an
event takes in each process is the steadiest figure. A result is checked before its rate is printed: WRONG is no rate, and the
exit code is 1. On servers of yours it makes a stream and names of its own, and removes them at the end, also after Ctrl-C.

Examples:

    tailfold bench
    tailfold bench --only limit,go --events 1000000
    tailfold bench --plot plots
    tailfold bench --nats nats://nats:4222 --redis redis://redis:6379/15 --json > bench.json`
}

// measures are what --only names.
var measures = []string{"limit", "naive", "batched", "go", "declared", "fanout", "restart", "freshness", "isolation", "checkpoint", "rss"}

// Run runs the command.
func (c *Command) Run(app *cmd.App) error {
	switch {
	case c.Serve != "":
		return serve(app, c.Serve)
	case c.Child != "":
		return child(app, c.Child)
	}
	if err := c.check(); err != nil {
		return &cmd.ExitError{Code: 2, Err: err}
	}
	dir, err := os.MkdirTemp("", "tailfold-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := c.begin(app, dir)
	if err != nil {
		return &cmd.ExitError{Code: 3, Err: err}
	}
	report, err := b.run(app.Context)
	b.progress.clear()
	if left := b.end(); left != nil {
		err = errors.Join(err, left)
	}
	if err != nil {
		if app.Context.Err() != nil {
			return &cmd.ExitError{Code: 1, Err: fmt.Errorf("stopped: %w", context.Cause(app.Context))}
		}
		return err
	}
	if c.JSON {
		err = report.writeJSON(app.Stdout)
	} else {
		err = report.writeText(app.Stdout)
	}
	if err == nil && len(report.Wrong) > 0 {
		return &cmd.ExitError{Code: 1, Err: fmt.Errorf("wrong: %s", strings.Join(report.Wrong, "; "))}
	}
	return err
}

func (c *Command) check() error {
	var errs []error
	for flag, n := range map[string]int{"--events": c.Events, "--keys": c.Keys, "--rounds": c.Rounds} {
		if n < 1 {
			errs = append(errs, fmt.Errorf("%s is %d: it is at least 1", flag, n))
		}
	}
	if c.Keys > 10_000_000 {
		errs = append(errs, fmt.Errorf("--keys is %d: 10000000 is the most", c.Keys))
	}
	if c.Size < 1 || c.Size > 512<<10 {
		errs = append(errs, fmt.Errorf("--size is %d: write bytes, 524288 at the most", c.Size))
	}
	for _, name := range c.Only {
		if !slices.Contains(measures, name) {
			errs = append(errs, fmt.Errorf("--only: there is no %q: %s", name, strings.Join(measures, ", ")))
		}
	}
	if c.Embedded && c.NATS != "" {
		errs = append(errs, errors.New("--embedded and --nats are both given: keep one"))
	}
	return errors.Join(errs...)
}

func (c *Command) wants(name string) bool { return len(c.Only) == 0 || slices.Contains(c.Only, name) }

// serve is a NATS server as a process of its own: it prints its URL, and ends with standard input.
func serve(app *cmd.App, dir string) error {
	node, err := serveNATS(filepath.Clean(dir))
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(app.Stdout, node.ClientURL()); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = app.Stdin.Read(make([]byte, 1))
	}()
	<-ended // not with a signal: a Ctrl-C reaches this process too, and its streams are still to be removed
	node.Shutdown()
	node.WaitForShutdown()
	return nil
}
