// Package dev is the command tailfold dev: an event log, a worker and its store in one process, with nothing to install.
// Only it and tailfold bench link nats-server.
package dev

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tailfold/tailfold/cmd"
)

// Command is tailfold dev. A team's own binary adds it by
//
//	cmd.Main(&registry, cmd.WithCommand("dev", dev.Summary, &dev.Command{}))
//
// and then it runs the registry's projections.
type Command struct {
	Dir     string  `name:"dir" default:"tailfold-dev" placeholder:"DIR" help:"Folder that holds log and store together. Default: ${default}."`
	Fresh   bool    `name:"fresh" help:"Begin anew: remove log and store from the folder first."`
	Config  string  `short:"c" name:"config" placeholder:"FILE" help:"Run the projections of this configuration, in place of those of the flights. What it says of nats, store and http does not count here."`
	Events  string  `name:"events" placeholder:"FILE|-" help:"Publish these events, one JSON object a line; -: standard input."`
	Stream  string  `name:"stream" placeholder:"NAME" help:"Stream that the events go into. Default: the one that the projections read."`
	Subject string  `name:"subject" placeholder:"TEMPLATE" help:"Subject of each event; {name} or {name.below} stands for a member of it. Default: one that the projections read."`
	Rate    *int    `name:"rate" placeholder:"N" help:"Events per second; 0: as fast as it goes. Default: 1000, with --kill 2000."`
	Loop    bool    `name:"loop" help:"When all events are out, begin again with the first."`
	Kill    int     `name:"kill" placeholder:"N" help:"Kill the worker with SIGKILL N times under load, then compare all values with a full replay."`
	Seed    *uint64 `name:"seed" placeholder:"N" help:"With --kill: choose the same moments as a run that printed this seed."`

	Worker string `name:"worker" hidden:"" help:"URL of the NATS server: this process is the worker of a --kill."`
}

// Summary is the command's line in the list of commands.
const Summary = "Try it: a log, a worker and a store in one process, with 20,000 real flights or your events."

// Help completes --help.
func (Command) Help() string {
	return `It runs a NATS server with JetStream inside (on a free port of 127.0.0.1), publishes 20,000 real flights into it, folds them
by four projections into a store in one file, and shows what they come to. Kill it (kill -9) and start it again: it goes on from
its snapshots and replays the tail. Publishing, too, goes on where it stopped; when all is out, it stays and follows the log.

A line of --events that is no JSON object, or lacks a member that the subject names, is told with its number and left out; the
next lines are published. Events of standard input are published anew at each start.

With --kill the worker is a process of its own, and log and store are made anew in DIR/kill. Exit code 1: a value differs.

Examples:

    tailfold dev --rate 500
    tailfold dev --kill 50
    tailfold dev --config tailfold.yaml --events orders.ndjson --subject 'orders.{type}'`
}

// Rates that are used where none is asked for, in events per second.
const (
	usualRate   = 1000
	killingRate = 2000
)

func usage(err error) error { return &cmd.ExitError{Code: 2, Err: err} }

// Run runs the command.
func (c *Command) Run(app *cmd.App) error {
	if c.Worker != "" {
		return c.work(app)
	}
	if err := c.check(app); err != nil {
		return usage(err)
	}
	f, err := openFolder(c.Dir)
	if err != nil {
		return usage(err)
	}
	defer f.close()
	if c.Fresh {
		if err := f.fresh(); err != nil {
			return usage(err)
		}
	}
	if c.Kill > 0 {
		return c.kill(app, f)
	}
	return c.show(app, f)
}

func (c *Command) check(app *cmd.App) error {
	var errs []error
	own := c.Config != "" || len(app.Registry.All()) > 0
	switch {
	case c.Rate != nil && *c.Rate < 0:
		errs = append(errs, fmt.Errorf("--rate is %d: write events per second, 0 for as fast as it goes", *c.Rate))
	case c.Loop && c.Events == "-":
		errs = append(errs, errors.New("--loop repeats a file, not standard input: name a file with --events FILE"))
	case c.Kill < 0:
		errs = append(errs, fmt.Errorf("--kill is %d: write how many times", c.Kill))
	}
	if c.Events != "" && !own {
		errs = append(errs, errors.New("--events needs projections that fold them: name the configuration that declares some with --config FILE"))
	}
	if c.Events == "" {
		for flag, given := range map[string]bool{"--subject": c.Subject != "", "--stream": c.Stream != "", "--loop": c.Loop && own} {
			if given {
				errs = append(errs, fmt.Errorf("%s is about the events of --events FILE: give that too", flag))
			}
		}
	}
	switch {
	case c.Kill == 0 && c.Seed != nil:
		errs = append(errs, errors.New("--seed is about --kill N: give that too"))
	case c.Kill > 0 && c.Events == "-":
		errs = append(errs, errors.New("--kill publishes the events again and again: name a file with --events FILE"))
	case c.Kill > 0 && own && c.Events == "":
		errs = append(errs, errors.New("--kill needs events for the projections of --config: name a file with --events FILE"))
	}
	return errors.Join(errs...)
}

func (c *Command) rate() int {
	switch {
	case c.Rate != nil:
		return *c.Rate
	case c.Kill > 0:
		return killingRate
	}
	return usualRate
}

// demo tells that it is the flights that are shown.
func (c *Command) demo(app *cmd.App) bool { return c.Config == "" && len(app.Registry.All()) == 0 }

// invocation is how the user called the program, so that the commands that are shown can be copied.
type invocation []string

func (i invocation) program() string { return quote(i[0]) }

// again is the same command for the next time, in words.
func (i invocation) again() []string {
	words := []string{i.program()}
	for _, word := range i[1:] {
		if word != "--fresh" {
			words = append(words, quote(word))
		}
	}
	return words
}

// anew is the command that begins anew on the same folder.
func (i invocation) anew() string { return strings.Join(append(i.again(), "--fresh"), " ") }

// quote makes a word that a shell takes as it is.
func quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-=:,+@%", r)
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !plain(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// deadline bounds what the embedded server is asked at a start.
func deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, startsUpIn)
}
