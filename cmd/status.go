package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/term"

	"github.com/tailfold/tailfold/consumer"
)

type statusCommand struct {
	ConfigFlags
	JSON  bool `name:"json" help:"Print JSON."`
	Watch bool `name:"watch" short:"w" help:"Print it anew every second, until interrupted."`
}

// Help completes --help.
func (statusCommand) Help() string {
	return `It reads what the workers last said, the marks in the store, and, for units that no worker has, the log's head. With a
store in a file it asks the running worker. Exit code 1: a unit is halted. 3: the store, or a log that had to be asked, is out
of reach.

Examples:

    tailfold status --config tailfold.yaml
    tailfold status --json | jq '.units[] | select(.state == "halted")'`
}

// Run prints one row per unit.
func (c *statusCommand) Run(app *App) error {
	l, err := c.load(app, LogFlags{})
	if err != nil {
		return err
	}
	from, err := l.openModels(app.Context)
	if err != nil {
		return err
	}
	defer from.close()
	for {
		err := c.once(app, l, from)
		if !c.Watch {
			return err
		}
		var exit *ExitError
		if errors.As(err, &exit) && exit.Err != nil {
			fmt.Fprintf(app.Stderr, "%s: %v\n", app.Name, exit.Err)
		}
		select {
		case <-app.Context.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func (c *statusCommand) once(app *App, l *loaded, from models) error {
	ctx, cancel := context.WithTimeout(app.Context, storeTimeout)
	defer cancel()
	answer, err := from.status(ctx)
	var logAway *logAwayError
	if err != nil && !errors.As(err, &logAway) {
		return l.storeAway(err)
	}
	var text strings.Builder
	if c.JSON {
		options := []json.Options{json.Deterministic(true)}
		if !c.Watch {
			options = append(options, jsontext.WithIndent("  "))
		}
		answer.Store = l.storeName()
		if err := json.MarshalWrite(&text, answer, options...); err != nil {
			return err
		}
		text.WriteByte('\n')
	} else {
		writeTable(&text, answer.Units)
		writeWorkers(&text, answer)
	}
	if c.Watch && !c.JSON && isTerminal(app.Stdout) {
		io.WriteString(app.Stdout, "\x1b[H\x1b[2J")
	}
	io.WriteString(app.Stdout, text.String())
	if logAway != nil {
		return away(l.redacted(err))
	}
	for _, row := range answer.Units {
		if row.State == consumer.Halted {
			return notSo(nil) // the table says it
		}
	}
	return nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// redacted is an error without the configuration's secrets.
func (c *Config) redacted(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if clean := c.redact(text); clean != text {
		return errors.New(clean)
	}
	return err
}

const (
	tableWidth  = 100
	maxUnitName = 36
)

// writeTable writes rows for people: at most 100 columns, what is wrong with a unit on lines of their own below it.
func writeTable(w io.Writer, rows []consumer.UnitStatus) {
	if len(rows) == 0 {
		fmt.Fprintln(w, "no units: the configuration has no projections, and no worker has any")
		return
	}
	cells := [][]string{{"UNIT", "STATE", "SEQ", "LAG", "SAVED", "SERVED", "OWNER"}}
	for _, row := range rows {
		served := ""
		if row.Served {
			served = "yes"
		}
		cells = append(cells, []string{shorten(unitName(row), maxUnitName), string(row.State),
			strconv.FormatUint(row.Seq, 10),
			strconv.FormatUint(row.Lag, 10), age(row.CheckpointAgeMS), served, row.Owner})
	}
	widths := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for i, line := range cells {
		text := fmt.Sprintf("%-*s  %-*s  %*s  %*s  %*s  %-*s  %s", widths[0], line[0], widths[1], line[1], widths[2],
			line[2],
			widths[3], line[3], widths[4], line[4], widths[5], line[5], line[6])
		short := strings.TrimRight(shorten(text, tableWidth), " ")
		fmt.Fprintln(w, short)
		if i == 0 {
			continue
		}
		texts := notes(rows[i-1])
		if short != strings.TrimRight(text, " ") {
			texts = append(texts, "owner: "+rows[i-1].Owner)
		}
		for _, text := range texts {
			for _, part := range wrap(text, tableWidth-4) {
				fmt.Fprintln(w, "    "+part)
			}
		}
	}
}

// writeWorkers tells of what lies across units: keys that cross partitions, and the workers, where they are several or one
// of them can't do its work.
func writeWorkers(w io.Writer, answer statusAnswer) {
	for _, c := range answer.Crossing {
		fmt.Fprintln(w)
		for _, part := range wrap(c.String(), tableWidth) {
			fmt.Fprintln(w, part)
		}
	}
	if len(answer.Workers) < 2 && !slices.ContainsFunc(answer.Workers, func(row workerRow) bool { return row.Lease != "" }) {
		return
	}
	width := len("WORKER")
	for _, row := range answer.Workers {
		width = max(width, utf8.RuneCountInString(row.Worker))
	}
	fmt.Fprintf(w, "\n%-*s  %5s  %-10s  %s\n", width, "WORKER", "UNITS", "VERSION", "RUNS")
	for _, row := range answer.Workers {
		text := fmt.Sprintf("%-*s  %5d  %-10s  %s", width, row.Worker, row.Units, row.Version, strings.Join(row.Runs, " "))
		fmt.Fprintln(w, strings.TrimRight(shorten(text, max(tableWidth, width+20)), " "))
		if row.Lease == "" {
			continue
		}
		for _, part := range wrap("has no lease: "+row.Lease, tableWidth-4) {
			fmt.Fprintln(w, "    "+part)
		}
	}
}

func unitName(row consumer.UnitStatus) string {
	return fmt.Sprintf("%s/v%d/%d", row.Projection, row.Version, row.Partition)
}

// notes are what a row does not show.
func notes(row consumer.UnitStatus) []string {
	var texts []string
	switch {
	case row.Verdict != "" && row.Detail != "":
		texts = append(texts, row.Verdict+": "+strings.TrimPrefix(row.Detail, row.Verdict+": "))
	case row.Verdict != "" || row.Detail != "":
		texts = append(texts, row.Verdict+row.Detail)
	}
	if row.State == consumer.Replaying && row.ReplayTarget > row.Seq && row.ReplayRate > 0 {
		texts = append(texts, replayText(row))
	}
	if row.Proof == "partial" || row.Proof == "created" {
		texts = append(texts, "the log was recognised by less than its newest witness (proof: "+row.Proof+")")
	}
	if r := row.Replicas; r.Short() {
		text := fmt.Sprintf("%d of %d replicas of the store had the last checkpoint in time", r.Have, r.Asked)
		if r.Why != "" {
			text = fmt.Sprintf("it is not known whether %d replicas of the store have the last checkpoint: %s", r.Asked, r.Why)
		}
		texts = append(texts, text+"; without them a fail-over would have it folded again")
	}
	if row.Skipped > 0 {
		texts = append(texts, fmt.Sprintf("skipped %d events that could not be folded", row.Skipped))
	}
	if len(row.Standbys) > 0 {
		texts = append(texts, "standing by: "+strings.Join(row.Standbys, ", "))
	}
	return texts
}

// age writes a time since for people.
func age(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case ms < 0:
		return "never"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func shorten(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	return string(runes[:width-1]) + "…"
}

// wrap breaks a text between words; a word that is too long stays whole: it may be a command to copy.
func wrap(text string, width int) []string {
	var lines []string
	for paragraph := range strings.SplitSeq(text, "\n") {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			switch {
			case line == "":
				line = word
			case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
				lines = append(lines, line)
				line = word
			default:
				line += " " + word
			}
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}
