package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/tailfold/tailfold/projections"
)

// Main runs the command that the program's arguments name, with the projections of registry (nil: none) and those that
// the configuration declares, and exits the process: 0 done, 1 the thing asked about is not so, 2 bad usage or
// configuration, 3 log or store out of reach, 128+n on a second signal n.
func Main(registry *projections.Registry, options ...Option) {
	silenceLibraries()
	ctx, stop := untilSignal(os.Exit)
	code := execute(ctx, App{
		Registry: registry, Version: buildVersion(), Environ: os.Environ(),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Name: filepath.Base(os.Args[0]),
	}, os.Args[1:], options)
	stop()
	os.Exit(code)
}

// Option changes what Main offers.
type Option func(*program)

// WithCommand adds a command: a pointer to a struct with kong's tags and a method Run(*App) error. A method Help() string
// with two examples completes its --help. It may embed ConfigFlags.
func WithCommand(name, help string, command any) Option {
	return func(p *program) { p.added = append(p.added, addedCommand{name, help, command}) }
}

// WithVersion tells the program's version; else it is what the Go build recorded.
func WithVersion(version string) Option {
	return func(p *program) {
		if version != "" {
			p.app.Version = version
		}
	}
}

type addedCommand struct {
	name, help string
	command    any
}

// App is what a command has to work with.
type App struct {
	Name     string                // of the program
	Registry *projections.Registry // as given to Main; nil: none
	Version  string
	Environ  []string
	Stdin    io.Reader
	Stdout   io.Writer // for what was asked for
	Stderr   io.Writer // for logs, progress and errors

	// Context is done at the first SIGINT or SIGTERM. The second one ends the process.
	Context context.Context

	model *kong.Application
}

type program struct {
	app   App
	added []addedCommand
}

// ExitError ends the program with a code of its own, and says why.
type ExitError struct {
	Code int
	Err  error // nil: all was said already
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

func (e *ExitError) Unwrap() error { return e.Err }

// Exit codes.
const (
	exitNotSo  = 1 // what was asked about is not so
	exitUsage  = 2 // bad usage or configuration
	exitAway   = 3 // log or store out of reach
	exitSignal = 128
)

func notSo(err error) error { return &ExitError{exitNotSo, err} }
func usage(err error) error { return &ExitError{exitUsage, err} }
func away(err error) error  { return &ExitError{exitAway, err} }

// untilSignal is done at the first SIGINT or SIGTERM; the second one exits at once.
func untilSignal(exit func(code int)) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	stopped, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for n := 0; ; n++ {
			select {
			case s := <-signals:
				if n > 0 {
					exit(exitSignal + int(s.(syscall.Signal)))
				}
				cancel(&signalError{s.(syscall.Signal)})
			case <-stopped:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(stopped)
		<-gone
		cancel(nil)
	}
}

// signalError is why a context ended.
type signalError struct{ signal syscall.Signal }

func (e *signalError) Error() string { return "stopped by " + e.signal.String() }

// commands are what every program of this package offers.
type commands struct {
	Run        runCommand        `cmd:"" help:"Fold the logs and keep the snapshots, until SIGTERM."`
	Status     statusCommand     `cmd:"" help:"Tell of each unit: state, verdict, seq, lag, owner."`
	Get        getCommand        `cmd:"" help:"Print the value of a key, or the keys."`
	Drop       dropCommand       `cmd:"" help:"Remove the snapshots of one version of a projection."`
	Init       initCommand       `cmd:"" help:"Write a first configuration from the events of a stream or a file."`
	Check      checkCommand      `cmd:"" help:"Validate a configuration and its projections, without any server."`
	Test       testCommand       `cmd:"" help:"Run the tests that stand beside declared projections."`
	Schema     schemaCommand     `cmd:"" help:"Print the JSON Schema of the configuration, for editors."`
	Version    versionCommand    `cmd:"" help:"Print the version."`
	Completion completionCommand `cmd:"" help:"Print a completion script for bash, zsh or fish."`
}

// reserved are commands that other versions have.
var reserved = []string{"verify", "diff", "rebuild", "promote", "skip", "pause", "resume", "explain", "doctor"}

type exitPanic struct{ code int }

// execute runs one command and returns the exit code.
func execute(ctx context.Context, app App, args []string, options []Option) (code int) {
	app.Context = ctx
	if app.Registry == nil {
		app.Registry = &projections.Registry{}
	}
	p := &program{app: app}
	for _, option := range options {
		option(p)
	}
	defer func() { // kong ends --help by its Exit
		switch cause := recover().(type) {
		case nil:
		case exitPanic:
			code = cause.code
		default:
			panic(cause)
		}
	}()
	parser, err := p.parser()
	if err != nil {
		fmt.Fprintf(p.app.Stderr, "%s: %v\n", p.app.Name, err)
		return exitUsage
	}
	p.app.model = parser.Model
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(p.app.Stderr, "%s: %s\n", p.app.Name, p.usageMessage(args, err))
		return exitUsage
	}
	return p.finish(parsed.Run(&p.app))
}

func (p *program) parser() (*kong.Kong, error) {
	options := []kong.Option{
		kong.Name(p.app.Name),
		kong.Description("Tailfold folds event logs into read models: it replays the tail of a NATS JetStream " +
			"stream on top of the last " +
			"snapshot, and keeps each projection's value and seq in Redis."),
		kong.Writers(p.app.Stdout, p.app.Stderr),
		kong.Exit(func(code int) { panic(exitPanic{code}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 100}),
	}
	for _, c := range p.added {
		options = append(options, kong.DynamicCommand(c.name, c.help, "", c.command))
	}
	return kong.New(&commands{}, options...)
}

// usageMessage says what is wrong with the arguments, and what to do.
func (p *program) usageMessage(args []string, err error) string {
	var names []string
	for _, c := range p.app.model.Children {
		names = append(names, c.Name)
	}
	first := args[0]
	switch {
	case slices.Contains(reserved, first):
		return fmt.Sprintf("%s comes in a later version; this one has %s", first, strings.Join(names, ", "))
	case !strings.HasPrefix(first, "-") && !slices.Contains(names, first):
		return fmt.Sprintf("there is no command %q: %s (%s --help explains them)", first, didYouMean(first, names),
			p.app.Name)
	case slices.Contains(names, first):
		return fmt.Sprintf("%s: %v (see %s %s --help)", first, err, p.app.Name, first)
	}
	return fmt.Sprintf("%v: the command comes first, then its flags (see %s --help)", err, p.app.Name)
}

// finish prints a command's error and finds its exit code.
func (p *program) finish(err error) int {
	if err == nil {
		return 0
	}
	code := exitNotSo
	var exit *ExitError
	if errors.As(err, &exit) {
		code, err = exit.Code, exit.Err
	}
	var stopped *signalError
	if errors.As(context.Cause(p.app.Context), &stopped) && (code == exitAway || errors.Is(err, context.Canceled)) {
		return exitSignal + int(stopped.signal)
	}
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "\n"): // several, each with its place
		fmt.Fprintln(p.app.Stderr, err)
	default:
		fmt.Fprintf(p.app.Stderr, "%s: %v\n", p.app.Name, err)
	}
	return code
}

// buildVersion is what the Go build recorded of this module: its version, or the revision that it was built from.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	const module = "github.com/tailfold/tailfold"
	if info.Main.Path != module {
		for _, dep := range info.Deps {
			if dep.Path == module {
				return dep.Version
			}
		}
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}
