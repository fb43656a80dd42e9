package cmd

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"

	"github.com/go-json-experiment/json"

	"github.com/tailfold/tailfold/projections/declared"
)

type testCommand struct {
	Files []string `arg:"" name:"file" help:"Files with projections, tests, or both; a configuration with all that it includes."`
	Only  string   `name:"run" placeholder:"PATTERN" help:"Only tests whose \"projection: name\" the regular expression matches."`
	JSON  bool     `name:"json" help:"Print a line of JSON for each test."`
	Watch bool     `name:"watch" short:"w" help:"Run them again whenever a file changes, until SIGINT."`
}

// Help completes --help.
func (testCommand) Help() string {
	return `A test gives events and says what values, or which poison, are to come of them. Tests may stand in another file than their
projections, if both are named. No server is asked. Exit code 1: a test failed. 2: a file can't be read.

Examples:

    tailfold test projections/*.yaml --watch
    tailfold test tailfold.yaml --run 'customer-totals: .*exact'`
}

// testLine is what --json prints of a test.
type testLine struct {
	Projection  string   `json:"projection"`
	Name        string   `json:"name"`
	File        string   `json:"file"`
	Line        int      `json:"line"`
	Passed      bool     `json:"passed"`
	Differences []string `json:"differences"`
}

// Run runs the tests.
func (c *testCommand) Run(app *App) error {
	pattern, err := regexp.Compile(c.Only)
	if err != nil {
		return usage(fmt.Errorf("--run is no regular expression: %w", err))
	}
	if c.Watch {
		return c.watch(app, pattern)
	}
	return c.once(app, pattern, newSuite(app))
}

// once runs the tests of the files as they are now. What it has read stands in suite.
func (c *testCommand) once(app *App, pattern *regexp.Regexp, suite *suite) error {
	for _, file := range c.Files {
		suite.read(file)
	}
	if err := suite.err(); err != nil {
		return usage(err)
	}
	ran, failed := 0, 0
	for _, test := range suite.tests {
		if !pattern.MatchString(test.Projection + ": " + test.Name) {
			continue
		}
		p := suite.find(test, app)
		if p == nil {
			continue
		}
		ran++
		result := test.Run(p)
		if !result.Passed() {
			failed++
		}
		if err := c.print(app, result); err != nil {
			return err
		}
	}
	if err := suite.err(); err != nil {
		return usage(err)
	}
	switch {
	case ran == 0:
		return notSo(errors.New("no test was run: there is none in these files, or none that --run matches"))
	case failed > 0:
		return notSo(fmt.Errorf("%d of %s failed", failed, count(ran, "test")))
	case !c.JSON:
		fmt.Fprintln(app.Stdout, count(ran, "test")+" passed")
	}
	return nil
}

func (c *testCommand) print(app *App, result declared.Result) error {
	if !c.JSON {
		_, err := fmt.Fprintln(app.Stdout, result)
		return err
	}
	t := result.Test
	line := testLine{t.Projection, t.Name, t.File, t.Line, result.Passed(), append([]string{}, result.Differences...)}
	text, err := json.Marshal(line, json.Deterministic(true))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(app.Stdout, "%s\n", text)
	return err
}

// suite is what the files hold.
type suite struct {
	problems
	env         func(string) (string, bool)
	seen        map[string]bool // files, by path
	patterns    []string        // that files include
	projections []*declared.Projection
	tests       []declared.Test
}

func newSuite(app *App) *suite { return &suite{env: lookup(app.Environ), seen: map[string]bool{}} }

// read takes projections and tests out of a file and of those that it includes. It passes over all other settings, so
// that a test needs none of the variables that a worker needs.
func (s *suite) read(path string) {
	if clean := filepath.Clean(path); s.seen[clean] {
		return
	} else {
		s.seen[clean] = true
	}
	d := &decoder{config: &Config{origin: map[string]origin{}}, env: s.env, file: path}
	defer func() { s.list = append(s.list, d.list...) }()
	text, ok := d.read(path)
	if !ok {
		return
	}
	body := d.parse(text)
	if body == nil {
		return
	}
	pairs, _ := d.pairs(body, "", "projections: or tests:")
	known := keysBelow(reflect.TypeFor[Config](), "")
	for _, pair := range pairs {
		name, ok := d.name(pair, "")
		if i := indexKey(known, name); ok && (name == "projections" || name == "include") {
			d.value(pair.Value, known[i], fieldOf(reflect.ValueOf(d.config).Elem(), name))
		}
	}
	d.expandEntries()
	for _, entries := range d.config.Projections {
		found, err := declared.ParseEntries(path, declarations(entries.Nodes))
		if err != nil {
			s.list = append(s.list, err)
		}
		s.projections = append(s.projections, found...)
	}
	tests, err := declared.ParseTests(path, text)
	if err != nil {
		s.list = append(s.list, err)
	}
	s.tests = append(s.tests, tests...)
	for _, pattern := range d.config.Include {
		s.patterns = append(s.patterns, filepath.Join(filepath.Dir(path), pattern))
		for _, included := range d.included(path, pattern) {
			s.read(included)
		}
	}
}

// find is the projection that a test is about: of the version that it names, else the highest.
func (s *suite) find(test declared.Test, app *App) *declared.Projection {
	var found *declared.Projection
	var names []string
	for _, p := range s.projections {
		d := p.Definition()
		names = append(names, d.Name)
		if d.Name == test.Projection && (test.Version == 0 && (found == nil ||
			d.Version > found.Definition().Version) || d.Version == test.Version) {
			found = p
		}
	}
	if found != nil {
		return found
	}
	where := fmt.Sprintf("%s:%d", test.File, test.Line)
	for _, p := range app.Registry.All() {
		if p.Definition().Name == test.Projection {
			s.add(where, "tests", "the projection %q is written in Go: test it in Go (package projectiontest)",
				test.Projection)
			return nil
		}
	}
	about := fmt.Sprintf("there is no projection %q in these files", test.Projection)
	if test.Version > 0 {
		about = fmt.Sprintf("there is no version %d of the projection %q in these files", test.Version, test.Projection)
	}
	s.add(where, "tests", "%s: %s", about, didYouMean(test.Projection, names))
	return nil
}

// count writes a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
