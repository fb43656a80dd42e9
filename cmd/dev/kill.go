package dev

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/tailfold/tailfold/cmd"
	"github.com/tailfold/tailfold/consumer"
)

// kill runs the worker as a process of its own, under load, kills it again and again at random moments, and then
// compares what it kept with a full replay.
func (c *Command) kill(app *cmd.App, outer *folder) error {
	if err := removeAll(app.Context, outer.file(killFolder)); err != nil {
		return usage(err)
	}
	f, err := outer.within(killFolder)
	if err != nil {
		return usage(err)
	}
	s, err := c.newStage(app, f, false)
	if err != nil {
		return err
	}
	defer s.close()
	k := &killer{command: c, stage: s, out: newScreen(app.Stdout), seed: c.seed()}
	k.random = rand.New(rand.NewPCG(k.seed, 0))
	k.out.say("killing the worker %d times under load of %s; seed %d (--seed %d chooses the same moments)", c.Kill, k.load(), k.seed, k.seed)
	differences, err := k.run(app.Context)
	switch {
	case err != nil:
		return &cmd.ExitError{Code: 1, Err: fmt.Errorf("%w (seed %d; log, store and %s of this run stay in %s)", err, k.seed, linesFile, f.path)}
	case differences > 0:
		return &cmd.ExitError{Code: 1, Err: fmt.Errorf("%d values differ from a full replay (seed %d; log and store of this run stay in %s)", differences, k.seed, f.path)}
	}
	return nil
}

func (c *Command) seed() uint64 {
	if c.Seed != nil {
		return *c.Seed
	}
	return rand.Uint64() >> 32
}

// killer kills workers.
type killer struct {
	command *Command
	stage   *stage
	out     *screen
	seed    uint64
	random  *rand.Rand

	seenStart time.Duration // how long the last worker took until it moved
}

func (k *killer) load() string {
	if k.command.rate() == 0 {
		return "as many events as go"
	}
	return fmt.Sprintf("%d events/s", k.command.rate())
}

// patience is how long a worker may take until it has moved, or caught up.
const patience = 2 * time.Minute

// run kills, lets the last worker catch up, and compares.
func (k *killer) run(ctx context.Context) (differences int, err error) {
	publisher := k.stage.publisher(k.command, k.out.say)
	publisher.loop = true
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	loaded, unload := context.WithCancel(ctx)
	published := make(chan struct{})
	go func() {
		defer close(published)
		if err := publisher.run(loaded); err != nil {
			fail(err)
		}
	}()
	err = k.killAll(ctx)
	unload()
	<-published
	if err != nil {
		return 0, err
	}
	if err := k.catchUp(ctx); err != nil {
		return 0, err
	}
	return k.compare(ctx)
}

func (k *killer) killAll(ctx context.Context) error {
	k.seenStart = 300 * time.Millisecond
	early := false
	for n := 1; n <= k.command.Kill; n++ {
		worker, err := k.command.startWorker(k.stage)
		if err != nil {
			return err
		}
		// One in four is killed while it starts, but never two in a row: after three claims of a snapshot without
		// progress a worker takes an event for the killer, and looks for it one by one.
		early = !early && n > 1 && k.random.IntN(4) == 0
		if err := k.moment(ctx, worker, early); err != nil {
			return errors.Join(err, worker.kill())
		}
		if err := worker.kill(); err != nil {
			return err
		}
		k.tell(n, worker)
	}
	k.out.release()
	return nil
}

// moment waits for the moment to kill: at any time of the start, or at any time of the work.
func (k *killer) moment(ctx context.Context, worker *process, early bool) error {
	most := 400 * time.Millisecond
	if early {
		most = k.seenStart
	} else {
		if err := worker.until(ctx, patience, allMoved); err != nil {
			return err
		}
		k.seenStart = time.Since(worker.began)
	}
	select {
	case <-time.After(time.Duration(k.random.Int64N(int64(most)))):
		return nil
	case <-worker.ended:
		return worker.died()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// allMoved tells that every unit that runs has made a checkpoint beyond the snapshot that it resumed.
func allMoved(rows []consumer.UnitStatus) bool {
	for _, row := range rows {
		if row.State != consumer.Halted && (row.State == consumer.Starting || row.Seq <= row.ResumedAt) {
			return false
		}
	}
	return true
}

func (k *killer) tell(n int, worker *process) {
	lived := time.Since(worker.began).Round(time.Millisecond)
	where := "before it had read its snapshots"
	if rows, _ := worker.now(); len(rows) > 0 {
		behind := furthestBehind(rows)
		where = fmt.Sprintf("at seq %d, %d behind", behind.Seq, behind.Lag)
	}
	text := fmt.Sprintf("kill %d of %d: process id %d, %v after its start, %s", n, k.command.Kill, worker.pid(), lived, where)
	if k.out.terminal {
		k.out.draw([]string{text})
		return
	}
	k.out.say("%s", text)
}

// catchUp lets one more worker fold what is left, and stops it.
func (k *killer) catchUp(ctx context.Context) error {
	ends := map[string]uint64{}
	for stream := range streamSubjects(k.stage.setup.Registry) {
		s, err := k.stage.js.Stream(ctx, stream)
		if err != nil {
			return fmt.Errorf("stream %s: %w", stream, err)
		}
		ends[stream] = s.CachedInfo().State.LastSeq
	}
	worker, err := k.command.startWorker(k.stage)
	if err != nil {
		return err
	}
	err = worker.until(ctx, patience, func(rows []consumer.UnitStatus) bool {
		for _, row := range rows {
			if row.State != consumer.Halted && row.Seq < ends[row.Stream] {
				return false
			}
		}
		return true
	})
	if err != nil {
		return errors.Join(err, worker.kill())
	}
	return worker.stop()
}

// removeAll removes the folder of an earlier run. A worker of one that was killed may still be on its way out, and write
// into it while it is removed.
func removeAll(ctx context.Context, path string) error {
	for try := 0; ; try++ {
		err := os.RemoveAll(path)
		if err == nil || try == 20 {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
