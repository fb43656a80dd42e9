package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tailfold/tailfold/consumer"
)

type dropCommand struct {
	ConfigFlags
	Projection string `arg:"" help:"Name of the projection."`
	Version    int    `name:"version" required:"" placeholder:"N" help:"Version whose snapshots are to be removed, on all partitions."`
	Yes        bool   `name:"yes" short:"y" help:"Do not ask."`
}

// Help completes --help.
func (dropCommand) Help() string {
	return `It says what would be lost, and asks, unless --yes is given. The log is not touched: a running worker folds a dropped
version again from the log's beginning, or halts with GAP where the log no longer has it. With a store in a file it asks the
running worker to do it. Exit code 1: there is nothing to drop, or the answer was no.

Examples:

    tailfold drop customer-totals --version 1
    tailfold drop customer-totals --version 1 --yes --config tailfold.yaml`
}

// Run drops after asking.
func (c *dropCommand) Run(app *App) error {
	l, err := c.load(app, LogFlags{})
	if err != nil {
		return err
	}
	if c.Version < 1 {
		return usage(fmt.Errorf("--version is %d: versions count from 1", c.Version))
	}
	from, err := l.openModels(app.Context)
	if err != nil {
		return err
	}
	defer from.close()
	found, err := from.snapshots(app.Context, c.Projection, c.Version)
	if err != nil {
		return l.readFailed(err)
	}
	if len(found) == 0 {
		return notSo(fmt.Errorf("%s version %d has no snapshot in %s: nothing to drop", c.Projection, c.Version,
			l.storeName()))
	}
	c.explain(app, l, from, found)
	if !c.Yes {
		if err := c.confirm(app); err != nil {
			return err
		}
	}
	dropped, err := from.drop(app.Context, c.Projection, c.Version)
	for _, d := range dropped {
		fmt.Fprintf(app.Stdout, "dropped %s\n", d.Name)
	}
	return l.readFailed(err)
}

// explain says what will be lost, and what follows.
func (c *dropCommand) explain(app *App, l *loaded, from models, found []snapshotFound) {
	fmt.Fprintf(app.Stderr, "In %s these snapshots will be removed, with all their values and the record of "+
		"skipped events:\n", l.storeName())
	for _, f := range found {
		if f.Corrupt != "" {
			fmt.Fprintf(app.Stderr, "  %s, which can't be read: %s\n", f.Name, f.Corrupt)
			continue
		}
		fmt.Fprintf(app.Stderr, "  %s, folded from stream %s up to seq %d\n", f.Name, f.Stream, f.Seq)
	}
	ctx, cancel := context.WithTimeout(app.Context, storeTimeout)
	defer cancel()
	answer, err := from.status(ctx)
	var logAway *logAwayError
	if err != nil && !errors.As(err, &logAway) {
		return // drop itself will tell
	}
	owners, served := []string{}, false
	for _, row := range answer.Units {
		if row.Projection != c.Projection || row.Version != c.Version {
			continue
		}
		served = served || row.Served
		if row.State != consumer.Unowned && row.Owner != "" {
			owners = append(owners, row.Owner)
		}
	}
	if served {
		fmt.Fprintf(app.Stderr, "Readers use version %d: they will find no values, until it is folded again.\n",
			c.Version)
	}
	if len(owners) > 0 {
		fmt.Fprintf(app.Stderr, "It is running (%s): that worker folds it again from the log's beginning, or "+
			"halts with GAP where the log no longer has it.\n",
			strings.Join(owners, ", "))
	}
}

func (c *dropCommand) confirm(app *App) error {
	fmt.Fprintf(app.Stderr, "Type the projection's name to go on: ")
	answer := make(chan string, 1)
	go func() { // ends with the process: reading a terminal can't be given up
		line, _ := bufio.NewReader(app.Stdin).ReadString('\n')
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-app.Context.Done():
		return context.Canceled
	case line := <-answer:
		if line != c.Projection {
			fmt.Fprintln(app.Stderr)
			return notSo(errors.New("nothing was dropped: confirm with the projection's name, or give --yes"))
		}
	}
	return nil
}
