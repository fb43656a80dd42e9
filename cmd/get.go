package cmd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"unicode"

	"github.com/go-json-experiment/json"

	"github.com/tailfold/tailfold/snapshotstore"
)

type getCommand struct {
	ConfigFlags
	Projection string  `arg:"" help:"Name of the projection."`
	Key        *string `arg:"" optional:"" help:"The key; \"\" for the value of a projection without keys. Without it the keys are listed."`
	Version    int     `name:"version" placeholder:"N" help:"Version of the projection. Default: the one that readers should use."`
	Prefix     string  `name:"prefix" placeholder:"TEXT" help:"Without a key: list the keys that begin so."`
	Limit      int     `name:"limit" placeholder:"N" default:"1000" help:"Without a key: list at most so many; 0: all."`
	JSON       bool    `name:"json" help:"Print JSON: the value with its seq and partition, or one line per key."`
}

// Help completes --help.
func (getCommand) Help() string {
	return `The value is printed as it is stored; its seq goes to standard error. Keys are listed in no order. With a store in a file it
asks the running worker. Exit code 1: there is no such key.

Examples:

    tailfold get customer-totals c-77 --json
    tailfold get customer-totals --prefix c-7 --limit 0`
}

// Run prints a value or lists keys.
func (c *getCommand) Run(app *App) error {
	l, err := c.load(app, LogFlags{})
	if err != nil {
		return err
	}
	if c.Version < 0 || c.Limit < 0 {
		return usage(errors.New("--version and --limit are not negative"))
	}
	from, err := l.openModels(app.Context)
	if err != nil {
		return err
	}
	defer from.close()
	if c.Key == nil {
		return c.list(app, l, from)
	}
	ctx, cancel := context.WithTimeout(app.Context, storeTimeout)
	defer cancel()
	answers, err := from.get(ctx, c.Projection, c.Version, *c.Key)
	if err != nil {
		return l.readFailed(err)
	}
	found := 0
	for _, a := range answers {
		if !a.Exists {
			continue
		}
		found++
		if err := c.print(app, a); err != nil {
			return err
		}
	}
	if found == 0 {
		return notSo(c.missing(answers))
	}
	return nil
}

func (c *getCommand) missing(answers []valueAnswer) error {
	a := answers[0]
	if a.Seq == 0 {
		return fmt.Errorf("%s version %d has no snapshot yet: look at tailfold status", a.Projection, a.Version)
	}
	return fmt.Errorf("%s version %d has no key %q at seq %d", a.Projection, a.Version, *c.Key, a.Seq)
}

func (c *getCommand) print(app *App, a valueAnswer) error {
	if c.JSON {
		text, err := json.Marshal(a, json.Deterministic(true))
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(app.Stdout, "%s\n", text)
		return err
	}
	stale := ""
	if a.Verdict != "" {
		stale = ", stale: " + a.Verdict
	}
	fmt.Fprintf(app.Stderr, "%s/v%d/%d, seq %d%s\n", a.Projection, a.Version, a.Partition, a.Seq, stale)
	_, err := fmt.Fprintf(app.Stdout, "%s\n", a.raw)
	return err
}

// errEnough ends a listing that has reached its limit.
var errEnough = errors.New("enough")

func (c *getCommand) list(app *App, l *loaded, from models) error {
	n := 0
	err := from.keys(app.Context, c.Projection, c.Version, c.Prefix, func(partition int, key string) error {
		if n++; c.Limit > 0 && n > c.Limit {
			return errEnough
		}
		if !c.JSON {
			_, err := fmt.Fprintln(app.Stdout, printable(key))
			return err
		}
		line := keyLine{Partition: &partition, Key: key}
		if text := toUTF8(key); text != key {
			line.Key, line.KeyBase64 = text, []byte(key)
		}
		text, err := json.Marshal(line, json.Deterministic(true))
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(app.Stdout, "%s\n", text)
		return err
	})
	if errors.Is(err, errEnough) {
		fmt.Fprintf(app.Stderr, "%s: there are more than %d keys: --limit 0 lists all, --prefix some\n", app.Name,
			c.Limit)
		return nil
	}
	return l.readFailed(err)
}

// printable is a key on one line: as it is where it can be, else quoted.
func printable(key string) string {
	if key == "" {
		return `""`
	}
	for _, r := range key {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return strconv.Quote(key)
		}
	}
	return key
}

// readFailed gives an error of reading models its exit code.
func (l *loaded) readFailed(err error) error {
	var unknown *unknownProjectionError
	var corrupt *snapshotstore.CorruptError
	var refused *refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown):
		return usage(err)
	case errors.As(err, &corrupt):
		return notSo(fmt.Errorf("%w: drop it, and it is folded again (tailfold drop %s --version %d)", err,
			corrupt.Unit.Projection, corrupt.Unit.Version))
	case errors.As(err, &refused) && refused.Code < 500:
		return notSo(err)
	case errors.Is(err, context.Canceled):
		return err
	}
	return l.storeAway(err)
}
