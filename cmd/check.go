package cmd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/projections/declared"
)

type checkCommand struct {
	File   string `arg:"" optional:"" help:"Configuration file. Default: as for --config."`
	Sample int    `name:"sample" placeholder:"N" help:"Also read N events of each stream and fold them, in memory."`
	Newest bool   `name:"newest" help:"With --sample: the stream's last N events, not its first."`
	JSON   bool   `name:"json" help:"Print one JSON object."`
	ConfigFlags
}

// Help completes --help.
func (checkCommand) Help() string {
	return `It reads the configuration with all that it includes, fills in variables, compiles the projections, and says all that is
wrong, each with file, line and column. No server is asked. Exit code 2: something is wrong.

With --sample it reads the first N events of each stream, as a replay begins, and tells per projection how many matched, the
keys and values they give, paths that no event has, and events that can't be folded. The store is not touched, and nothing stays
on the server. Exit code 1: an event can't be folded or is not as event: declares, or a stream does not exist. 3: NATS is out of
reach.

Examples:

    tailfold check tailfold.yaml
    tailfold check tailfold.yaml --sample 1000 --newest`
}

// checkReport is what --json prints.
type checkReport struct {
	OK          bool            `json:"ok"`
	Errors      []checkFault    `json:"errors"`
	Warnings    []string        `json:"warnings"`
	Store       string          `json:"store,omitzero"`
	Projections []checkedEntry  `json:"projections"`
	Tests       int             `json:"tests"`
	Samples     []*sampleReport `json:"samples,omitzero"`
}

// checkFault is one thing that is wrong.
type checkFault struct {
	Where      string `json:"where"` // "tailfold.yaml:3:7"
	Problem    string `json:"problem"`
	Expression string `json:"expression,omitzero"`
	Offset     int    `json:"offset,omitzero"` // of the caret in the expression, in code points
}

// checkedEntry is a projection.
type checkedEntry struct {
	Name     string   `json:"name"`
	Version  int      `json:"version"`
	Kind     string   `json:"kind"`
	Stream   string   `json:"stream"`
	Subjects []string `json:"subjects"` // none: the whole stream
}

// Run validates.
func (c *checkCommand) Run(app *App) error {
	if c.File != "" {
		c.Config = c.File
	}
	report := checkReport{Errors: []checkFault{}, Warnings: []string{}, Projections: []checkedEntry{}}
	err := c.check(app, &report)
	if !c.JSON {
		return err
	}
	report.OK = err == nil
	if err != nil && len(report.Errors) == 0 {
		report.Errors = faultsOf(err)
	}
	text, jsonErr := json.Marshal(report, json.Deterministic(true))
	if jsonErr != nil {
		return jsonErr
	}
	fmt.Fprintf(app.Stdout, "%s\n", text)
	var exit *ExitError
	if errors.As(err, &exit) {
		return &ExitError{exit.Code, nil} // all is said
	}
	return err
}

func (c *checkCommand) check(app *App, report *checkReport) error {
	switch {
	case c.Sample < 0 || c.Sample > maxSample:
		return usage(fmt.Errorf("--sample is %d: write 1 to %d", c.Sample, maxSample))
	case c.Newest && c.Sample == 0:
		return usage(errors.New("--newest goes with --sample N: it says which N events"))
	}
	l, err := c.load(app, LogFlags{})
	if err != nil {
		return err
	}
	if len(l.units) == 0 {
		return usage(l.noProjections())
	}
	report.Store, report.Warnings = l.storeName(), append(report.Warnings, l.Warnings...)
	for _, p := range l.registry.All() {
		report.Projections = append(report.Projections, checkedEntryOf(p.Definition()))
	}
	if l.File != "" {
		suite := newSuite(app)
		suite.read(l.File)
		if err := suite.err(); err != nil {
			return usage(err)
		}
		report.Tests = len(suite.tests)
	}
	if !c.JSON {
		report.print(app, l.File)
	}
	if c.Sample > 0 {
		if err := c.sample(app, l, report); err != nil {
			return err
		}
	}
	if !c.JSON {
		fmt.Fprintln(app.Stdout, "ok")
	}
	return nil
}

func checkedEntryOf(d projections.Definition) checkedEntry {
	kind := "single"
	if d.Keyed {
		kind = "keyed"
	}
	return checkedEntry{d.Name, d.Version, kind, d.Stream, append([]string{}, d.Subjects...)}
}

func (r *checkReport) print(app *App, file string) {
	for _, warning := range r.Warnings {
		fmt.Fprintf(app.Stderr, "warning: %s\n", warning)
	}
	fmt.Fprintf(app.Stdout, "store %s\n", r.Store)
	for _, p := range r.Projections {
		subjects := "all subjects"
		if len(p.Subjects) > 0 {
			subjects = strings.Join(p.Subjects, " ")
		}
		fmt.Fprintf(app.Stdout, "projection %s version %d, %s, on stream %s, %s\n", p.Name, p.Version, p.Kind, p.Stream, subjects)
	}
	if r.Tests > 0 {
		fmt.Fprintf(app.Stdout, "%s, to be run by %s test %s\n", count(r.Tests, "test"), app.Name, file)
	}
}

// faultsOf are the single faults of a joined error.
func faultsOf(err error) []checkFault {
	switch e := err.(type) {
	case *ExitError:
		return faultsOf(e.Err)
	case *ConfigError:
		problem := e.Problem
		if e.Path != "" {
			problem = e.Path + ": " + problem
		}
		return []checkFault{{Where: e.Where, Problem: problem}}
	case *declared.Error:
		return []checkFault{{fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column), e.Message, e.Expression, e.Offset}}
	case interface{ Unwrap() []error }:
		var all []checkFault
		for _, one := range e.Unwrap() {
			all = append(all, faultsOf(one)...)
		}
		return all
	}
	return []checkFault{{Problem: err.Error()}}
}
