package dev

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tailfold/tailfold/cmd"
	"github.com/tailfold/tailfold/consumer"
)

// reportEvery is how often a worker process says how far it is.
const reportEvery = 10 * time.Millisecond

// work is the worker process of a --kill: it says on standard output how far its units are, as JSON lines, and ends with
// standard input, so that it does not outlive the process that started it.
func (c *Command) work(app *cmd.App) error {
	f := &folder{path: c.Dir} // held by the process that started this one
	setup, err := c.setup(app, f, cmd.Place{NATS: c.Worker, Store: f.file(storeFile), Listen: "off"})
	if err != nil {
		return err
	}
	lines, err := f.lines()
	if err != nil {
		return err
	}
	defer lines.close()
	go func() {
		_, _ = io.Copy(io.Discard, app.Stdin)
		os.Exit(1)
	}()
	ctx, stop := context.WithCancel(app.Context)
	defer stop()
	var reporting sync.WaitGroup
	defer reporting.Wait()
	defer stop()
	return setup.Run(ctx, lines, func(worker cmd.Running) {
		reporting.Go(func() { report(ctx, app.Stdout, worker.Status) })
	})
}

// report writes the units' rows whenever they have changed, until ctx is done.
func report(ctx context.Context, to io.Writer, status func() []consumer.UnitStatus) {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	var said []consumer.UnitStatus
	for {
		rows := status()
		for i := range rows {
			rows[i].CheckpointAgeMS, rows[i].ReplayRate = 0, 0
		}
		if !slices.EqualFunc(rows, said, sameRow) {
			text, err := json.Marshal(rows, json.Deterministic(true))
			if err == nil {
				_, err = to.Write(append(text, '\n'))
			}
			if err != nil {
				return // nobody listens any more
			}
			said = rows
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func sameRow(a, b consumer.UnitStatus) bool {
	return a.State == b.State && a.Verdict == b.Verdict && a.Detail == b.Detail && a.Seq == b.Seq && a.Head == b.Head
}

// process is a worker in a process of its own.
type process struct {
	command *exec.Cmd
	stdin   io.Closer
	began   time.Time
	ended   chan struct{} // closed when it has ended and all that it said was read

	mu      sync.Mutex
	rows    []consumer.UnitStatus
	changed chan struct{} // closed at the next report, then replaced
	said    string        // on standard error
}

// startWorker starts a worker process on a stage.
func (c *Command) startWorker(s *stage) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("this program's own file can't be found: %w", err)
	}
	args := []string{"dev", "--worker", s.place.NATS, "--dir", s.folder.path}
	if c.Config != "" {
		args = append(args, "--config", c.Config)
	}
	p := &process{command: exec.Command(program, args...), began: time.Now(), ended: make(chan struct{}), changed: make(chan struct{})}
	p.command.Stderr = (*processErrors)(p)
	stdin, err := p.command.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("the worker process can't be started: %w", err)
	}
	p.stdin = stdin
	go p.follow(stdout)
	return p, nil
}

func (p *process) follow(stdout io.Reader) {
	defer close(p.ended)
	reader := bufio.NewReader(stdout)
	for {
		text, err := reader.ReadBytes('\n')
		if err != nil {
			break // a line that a SIGKILL cut off counts for nothing
		}
		var rows []consumer.UnitStatus
		if json.Unmarshal(text, &rows) != nil {
			continue
		}
		p.mu.Lock()
		p.rows = rows
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
	_ = p.command.Wait() // how it ended is seen from what it did
}

// processErrors keeps the last of what a process writes to standard error.
type processErrors process

// Write implements io.Writer.
func (e *processErrors) Write(text []byte) (int, error) {
	p := (*process)(e)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said += string(text)
	p.said = p.said[max(0, len(p.said)-4096):]
	return len(text), nil
}

func (p *process) pid() int { return p.command.Process.Pid }

func (p *process) now() (rows []consumer.UnitStatus, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rows, p.changed
}

// until waits for the process's units to be as wanted. ok is never asked before the first report.
func (p *process) until(ctx context.Context, patience time.Duration, ok func(rows []consumer.UnitStatus) bool) error {
	patient := time.NewTimer(patience)
	defer patient.Stop()
	for {
		rows, changed := p.now()
		if len(rows) > 0 && ok(rows) {
			return nil
		}
		select {
		case <-changed:
		case <-p.ended:
			return p.died()
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-patient.C:
			return fmt.Errorf("the worker (process id %d) did not get on within %v: %s", p.pid(), patience, rowsText(rows))
		}
	}
}

func (p *process) died() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.said == "" {
		return fmt.Errorf("the worker (process id %d) ended by itself", p.pid())
	}
	return fmt.Errorf("the worker (process id %d) ended by itself: %s", p.pid(), p.said)
}

func rowsText(rows []consumer.UnitStatus) string {
	if len(rows) == 0 {
		return "it said nothing"
	}
	text := ""
	for _, row := range rows {
		text += fmt.Sprintf("%s is %s at seq %d of %d %s; ", name(row), row.State, row.Seq, row.Head, row.Detail)
	}
	return text
}

// kill ends the process by SIGKILL, and returns when it is gone.
func (p *process) kill() error {
	err := p.command.Process.Kill()
	<-p.ended
	p.stdin.Close()
	if errors.Is(err, os.ErrProcessDone) {
		return p.died()
	}
	return err
}

// stop ends the process in good order.
func (p *process) stop() error {
	if err := p.command.Process.Signal(os.Interrupt); err != nil {
		return errors.Join(err, p.kill())
	}
	select {
	case <-p.ended:
		p.stdin.Close()
		return nil
	case <-time.After(30 * time.Second):
		return errors.Join(errors.New("the worker did not stop within 30 s"), p.kill())
	}
}
