package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tailfold/tailfold/cmd"
	"github.com/tailfold/tailfold/cmd/bench/contenders"
	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/projections"
)

// The hidden modes of this command, in which it is started again: as a NATS server, and as one run of one contender, so
// that what the run costs is what its process costs.
const (
	flagServe = "--serve"
	flagRun   = "--run"
)

// spec is one run of one contender, in a process of its own.
type spec struct {
	Contender string          `json:"contender"`
	Task      contenders.Task `json:"task"`
	Prefix    string          `json:"prefix"` // of Tailfold's names in Redis
	Config    string          `json:"config"` // declared projections
	Fans      int             `json:"fans"`   // so many projections in Go; 0: one
	Pad       int             `json:"pad"`    // bytes of a value at the least; 0: as few as it takes
	Beside    string          `json:"beside"` // a stream that another projection of the same worker folds; "": none
	Cache     string          `json:"cache"`  // "": the default
	Stay      bool            `json:"stay"`   // follow the log until killed
}

// outcome is what such a process prints at its end.
type outcome struct {
	Events int    `json:"events"`
	Took   int64  `json:"took_ns"`
	CPU    int64  `json:"cpu_ns"`
	RSS    int64  `json:"rss"` // bytes, at most
	Error  string `json:"error,omitempty"`
}

// runs are the contenders that read the log themselves.
var runs = map[string]func(context.Context, contenders.Task) (int, error){
	"limit-ordered": contenders.LimitOrdered,
	"limit-pull":    contenders.LimitPull,
	"naive":         contenders.Naive,
	"batched":       contenders.Batched,
}

// child carries a spec out and prints the outcome.
func child(app *cmd.App, text string) error {
	var s spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(app.Context)
	defer cancel()
	go func() { // ends with the process that started this one
		_, _ = io.Copy(io.Discard, app.Stdin)
		os.Exit(1)
	}()
	began, used := time.Now(), usage()
	var events int
	var err error
	if run, ok := runs[s.Contender]; ok {
		events, err = run(ctx, s.Task)
	} else {
		events, err = tailfold(ctx, app, s)
	}
	now := usage()
	out := outcome{Events: events, Took: int64(time.Since(began)), CPU: int64(now.cpu - used.cpu), RSS: now.rss}
	if err != nil {
		out.Error = err.Error()
	}
	line, err := json.Marshal(out, json.Deterministic(true))
	if err != nil {
		return err
	}
	_, err = app.Stdout.Write(append(line, '\n'))
	return err
}

type used struct {
	cpu time.Duration
	rss int64
}

func usage() used {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return used{}
	}
	rss := r.Maxrss
	if runtime.GOOS != "darwin" {
		rss *= 1024
	}
	return used{time.Duration(r.Utime.Nano() + r.Stime.Nano()), rss}
}

// tailfold runs the worker as tailfold run does, until all events are in the snapshots.
func tailfold(ctx context.Context, app *cmd.App, s spec) (int, error) {
	registry := &projections.Registry{}
	var list []projections.Projection
	switch {
	case s.Fans > 0:
		list = contenders.Fans(s.Task.Stream, s.Fans)
	case s.Pad > 0:
		list = append(list, contenders.Padded(s.Task.Stream, s.Pad))
	case s.Config == "":
		list = append(list, contenders.Totals(s.Task.Stream))
	}
	if s.Beside != "" {
		list = append(list, contenders.Beside(s.Beside))
	}
	if err := registry.Add(list...); err != nil {
		return 0, err
	}
	own := *app
	own.Environ = append(slices.Clone(app.Environ), "TAILFOLD_STORE_PREFIX="+s.Prefix, "TAILFOLD_LOG_LEVEL=warn")
	if s.Cache != "" {
		own.Environ = append(own.Environ, "TAILFOLD_CACHE_MAX_BYTES="+s.Cache)
	}
	setup, err := own.Setup(s.Config, registry, cmd.Place{NATS: s.Task.NATS, Store: s.Task.Redis, Listen: "off"})
	if err != nil {
		return 0, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	watched := make(chan error, 1)
	watching := false
	err = setup.Run(ctx, app.Stderr, func(worker cmd.Running) {
		watching = true
		go func() { watched <- folded(ctx, worker, s, stop) }()
	})
	stop()
	if watching {
		err = errors.Join(err, <-watched)
	}
	return s.Task.Events, err
}

// folded waits until all units have committed the last event, and stops the worker.
func folded(ctx context.Context, worker cmd.Running, s spec, stop context.CancelFunc) error {
	if s.Stay {
		<-ctx.Done()
		return nil
	}
	defer stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		done := true
		for _, row := range worker.Status() {
			if row.State == consumer.Halted {
				return fmt.Errorf("%s is halted: %s: %s", row.Projection, row.Verdict, row.Detail)
			}
			done = done && row.Seq >= uint64(s.Task.Events)
		}
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
