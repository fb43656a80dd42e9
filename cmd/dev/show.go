package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tailfold/tailfold/cmd"
	"github.com/tailfold/tailfold/consumer"
)

// show runs log, publisher and worker in this process, and shows what they do.
func (c *Command) show(app *cmd.App, f *folder) error {
	s, err := c.newStage(app, f, true)
	if err != nil {
		return err
	}
	defer s.close()
	out := newScreen(app.Stdout)
	ctx, fail := context.WithCancelCause(app.Context)
	defer fail(nil)
	v := &view{called: os.Args, stage: s, demo: c.demo(app), out: out, table: out.terminal && (c.Events != "-" || !isTerminal(app.Stdin)), told: map[string]bool{}, recognised: make(chan struct{})}
	published := make(chan struct{})
	if s.source != nil {
		v.publisher = s.publisher(c, out.say)
	}
	go func() {
		defer close(published)
		if v.publisher == nil {
			return
		}
		select { // nothing is added to a log that is not the one of the snapshots
		case <-v.recognised:
		case <-ctx.Done():
			return
		}
		if err := v.publisher.run(ctx); err != nil {
			fail(usage(err))
		}
	}()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		v.run(ctx)
	}()
	err = s.setup.Run(ctx, s.lines, v.started)
	fail(err)
	if s.source == nil || s.source.repeats { // a read of standard input can't be ended; the process does
		<-published
	}
	<-watched
	if cause := new(cmd.ExitError); err == nil && app.Context.Err() == nil && errors.As(context.Cause(ctx), &cause) {
		err = cause
	}
	if err == nil {
		v.farewell()
	}
	return err
}

func isTerminal(in any) bool {
	f, ok := in.(*os.File)
	return ok && newScreen(f).terminal
}

// view tells how things stand.
type view struct {
	called    invocation
	stage     *stage
	publisher *publisher // nil: nothing is published
	demo      bool
	out       *screen
	table     bool // drawn in place; else lines now and then

	worker  atomic.Pointer[cmd.Running]
	rates   rates
	top     busiest
	resumed string          // the line about the start, once it is known
	told    map[string]bool // what was said once
	spoke   time.Time       // of the last plain line
	moved   uint64          // what it said
	allOut  bool            // that was told
	opened  bool            // recognised is closed

	recognised chan struct{} // closed when a unit has recognised its log, or found it new
	last       []consumer.UnitStatus
}

func (v *view) started(worker cmd.Running) { v.worker.Store(&worker) }

// How often the table is drawn, and a plain line is written.
const (
	drawEvery = 250 * time.Millisecond
	lineEvery = 5 * time.Second

	plainWidth = 1 << 20 // where there is no terminal, a command stays on its line
)

func (v *view) run(ctx context.Context) {
	if !v.table {
		for _, text := range append(v.heading(), v.next(plainWidth)...) {
			v.out.say("%s", text)
		}
	}
	if _, err := os.Stat(cmd.DefaultFile); err == nil && v.demo {
		v.out.say("%s is not used here: --config %[1]s runs its projections", cmd.DefaultFile)
	}
	v.spoke = time.Now()
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			v.look(context.WithoutCancel(ctx))
			v.out.release()
			return
		case <-tick.C:
			v.look(ctx)
		}
	}
}

// look takes the state of things and shows it.
func (v *view) look(ctx context.Context) {
	worker := v.worker.Load()
	if worker == nil {
		return
	}
	rows := worker.Status()
	v.last = rows
	v.rates.look(rows, time.Now())
	if v.demo && ctx.Err() == nil {
		v.top.look(ctx, worker.Store)
	}
	v.tellStart(rows)
	v.openGate(rows)
	if v.table {
		v.out.draw(v.frame(rows))
		return
	}
	v.tellVerdicts(rows)
	v.tellAllOut(rows)
	if seq := furthestBehind(rows).Seq; time.Since(v.spoke) >= lineEvery && seq != v.moved {
		v.spoke, v.moved = time.Now(), seq
		v.out.say("%s", v.line(rows))
	}
}

// openGate lets the publisher begin.
func (v *view) openGate(rows []consumer.UnitStatus) {
	if v.opened {
		return
	}
	for _, row := range rows {
		if row.State == consumer.Replaying || row.State == consumer.Live {
			v.opened = true
			close(v.recognised)
			return
		}
	}
}

// tellStart says once what the start took, when every unit has caught up or was stopped.
func (v *view) tellStart(rows []consumer.UnitStatus) {
	if v.resumed != "" {
		return
	}
	live, first := 0, rows[0]
	var replayed uint64
	var took int64
	for _, row := range rows {
		switch {
		case row.ReplayMS > 0:
			live++
		case row.State != consumer.Halted:
			return
		default:
			continue
		}
		if row.ResumedAt < first.ResumedAt {
			first = row
		}
		replayed, took = max(replayed, row.Replayed), max(took, row.ReplayMS)
	}
	switch {
	case live == 0:
		return
	case first.ResumedAt == 0:
		v.resumed = "started at seq 0: there were no snapshots"
	default:
		v.resumed = fmt.Sprintf("resumed at seq %d, replayed %d events in %d ms", first.ResumedAt, replayed, took)
	}
	if !v.table {
		v.out.say("%s", v.resumed)
	}
}

// tellVerdicts says once why units have stopped.
func (v *view) tellVerdicts(rows []consumer.UnitStatus) {
	for _, text := range v.verdicts(rows) {
		if !v.told[text] {
			v.told[text] = true
			v.out.say("%s", text)
		}
	}
}

// verdicts say why units do not run, and the way out that is safe here. Where the log is not the one that the snapshots
// were folded from, that is to begin anew: both are worth nothing without the other.
func (v *view) verdicts(rows []consumer.UnitStatus) []string {
	var texts, order []string
	halted, hopeless := map[string][]string{}, false
	for _, row := range rows {
		if row.Verdict == "" {
			continue
		}
		text := row.Verdict + ": " + row.Detail
		switch consumer.Reason(row.Verdict) {
		case consumer.Diverged, consumer.Gap:
			hopeless = true
			evidence, _, _ := strings.Cut(row.Detail, ". ")
			text = row.Verdict + ": " + evidence
		case consumer.Corrupt, consumer.Changed:
			hopeless = true
		}
		if halted[text] == nil {
			order = append(order, text)
		}
		halted[text] = append(halted[text], row.Projection)
	}
	for _, text := range order {
		texts = append(texts, strings.Join(halted[text], ", ")+": "+text)
	}
	if hopeless {
		texts = append(texts, "What was folded last stays readable. To begin anew, with an empty log and no snapshots: "+v.called.anew())
	}
	return texts
}

func (v *view) tellAllOut(rows []consumer.UnitStatus) {
	if v.allOut || v.publisher == nil || !v.publisher.now().done || furthestBehind(rows).Lag > 0 {
		return
	}
	v.allOut = true
	v.out.say("%s", v.line(rows))
	v.out.say("%s", v.publishing())
}

func furthestBehind(rows []consumer.UnitStatus) consumer.UnitStatus {
	behind := rows[0]
	for _, row := range rows {
		if row.Seq < behind.Seq {
			behind = row
		}
	}
	return behind
}

// farewell is said at a stop in good order.
func (v *view) farewell() {
	if len(v.last) == 0 {
		return
	}
	v.out.say("stopped; %s keeps log and snapshots: %s goes on from there, --fresh begins anew", quote(v.stage.folder.path), strings.Join(v.called.again(), " "))
}
