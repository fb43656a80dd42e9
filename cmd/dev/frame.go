package dev

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/snapshotstore"
)

// frame is the table: at most 80 columns and 23 lines for the flights.
func (v *view) frame(rows []consumer.UnitStatus) []string {
	width, height := v.out.size()
	lines := append(v.heading(), v.publishing())
	if v.resumed != "" {
		lines = append(lines, v.resumed)
	}
	lines = append(lines, "", fmt.Sprintf("%-24s  %-9s  %9s  %11s  %7s  %s", "PROJECTION", "STATE", "EVENTS/S", "SEQ", "LAG", "CHECKPOINT"))
	for _, row := range rows {
		lines = append(lines, fmt.Sprintf("%-24s  %-9s  %9s  %11s  %7s  %s", cut(name(row), 24), row.State, thousands(v.rates.of(row)),
			thousands(row.Seq), thousands(row.Lag), ago(row.CheckpointAgeMS)))
	}
	for _, text := range v.verdicts(rows) {
		lines = append(append(lines, ""), wrap(text, width)...)
	}
	if v.demo {
		lines = append(append(lines, ""), v.top.table()...)
	}
	if next := v.next(width); len(lines)+1+len(next) < height {
		lines = append(append(lines, ""), next...)
	}
	return lines
}

func name(row consumer.UnitStatus) string {
	return fmt.Sprintf("%s/v%d/%d", row.Projection, row.Version, row.Partition)
}

func (v *view) heading() []string {
	return []string{
		fmt.Sprintf("tailfold dev, process id %d, state in %s", os.Getpid(), v.stage.folder.path),
		fmt.Sprintf("log %s, values http://%s", v.stage.place.NATS, v.stage.place.Listen),
	}
}

// publishing tells how far the publisher is.
func (v *view) publishing() string {
	if v.publisher == nil {
		return "nothing is published here: publish into the log by its address, or give --events FILE"
	}
	if !v.opened {
		return "publishing begins when a projection has recognised the log"
	}
	source, now := v.publisher.source, v.publisher.now()
	var text string
	switch {
	case source.count > 0 && now.done:
		text = fmt.Sprintf("all %s %s are published; the log stays live", thousands(source.count), source.what)
	case source.count > 0:
		text = fmt.Sprintf("%s of %s %s published", thousands(now.lines), thousands(source.count), source.what)
	case now.done:
		text = fmt.Sprintf("%s is published to its end (line %s); the log stays live", source.name, thousands(now.lines))
	default:
		text = fmt.Sprintf("%s: published up to line %s", source.name, thousands(now.lines))
	}
	switch {
	case now.trouble != "":
		text += ", waiting: " + now.trouble
	case now.done && source.count > 0:
		text += " (--loop repeats them)"
	case now.done:
	case v.publisher.rate == 0:
		text += ", as fast as it goes"
	default:
		text += fmt.Sprintf(", %s a second", thousands(v.publisher.rate))
	}
	if now.bad > 0 {
		text += fmt.Sprintf(", bad lines left out: %s", thousands(now.bad))
	}
	if now.round > 0 {
		text += fmt.Sprintf(", round %s", thousands(now.round+1))
	}
	return text
}

// next are three commands to try, each as a shell takes it, on lines of at most width columns.
func (v *view) next(width int) []string {
	config, base := v.stage.configPath(), "http://"+v.stage.place.Listen+"/api/v1/projections/"
	get, ask := []string{v.called.program(), "get", "airports", "ATL", "--config", config}, base+"airports/keys/ATL"
	if !v.demo {
		get = []string{v.called.program(), "status", "--config", config}
		first := v.stage.setup.Registry.All()[0].Definition()
		ask = base + url.PathEscape(first.Name) + "/keys"
		if !first.Keyed {
			ask = base + url.PathEscape(first.Name) + "/value"
		}
	}
	lines := []string{"Try next, in another terminal, in this folder:"}
	for _, words := range [][]string{get, {"curl", "-s", ask}, append([]string{"kill", "-9", strconv.Itoa(os.Getpid()), "&&"}, v.called.again()...)} {
		lines = append(lines, foldCommand(words, width)...)
	}
	return lines
}

// foldCommand writes a command on as many lines as it needs, joined by backslashes.
func foldCommand(words []string, width int) []string {
	var lines []string
	line := " "
	for _, word := range words {
		if line != " " && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width-2 {
			lines, line = append(lines, line+" \\"), "   "
		}
		line += " " + word
	}
	return append(lines, line)
}

// line is the table in one line, for where there is no terminal.
func (v *view) line(rows []consumer.UnitStatus) string {
	behind, rate := furthestBehind(rows), 0
	for _, row := range rows {
		rate = max(rate, v.rates.of(row))
	}
	text := fmt.Sprintf("%s  seq %d  lag %d  %d events/s  checkpoint %s", time.Now().Format("15:04:05"), behind.Seq, behind.Lag, rate, ago(behind.CheckpointAgeMS))
	if len(v.top.rows) > 0 {
		busiest := v.top.rows[0]
		text += fmt.Sprintf("  busiest %s: %d flights, mean delay %+.1f min", busiest.key, busiest.value.Flights, busiest.value.MeanDelay)
	}
	return text
}

// rates are events folded per second, over the last second or so.
type rates struct {
	at     time.Time
	folded map[string]uint64
	rate   map[string]int
}

func (r *rates) of(row consumer.UnitStatus) int { return r.rate[name(row)] }

func (r *rates) look(rows []consumer.UnitStatus, now time.Time) {
	passed := now.Sub(r.at).Seconds()
	if !r.at.IsZero() && passed < 1 {
		return
	}
	rate, folded := map[string]int{}, map[string]uint64{}
	for _, row := range rows {
		folded[name(row)] = row.Folded
		if before, ok := r.folded[name(row)]; ok && row.Folded >= before {
			rate[name(row)] = int(float64(row.Folded-before)/passed + 0.5)
		}
	}
	r.at, r.folded, r.rate = now, folded, rate
}

// busiest are the airports with the most flights.
type busiest struct {
	at   time.Time
	rows []airport
}

type airport struct {
	key   string
	value struct {
		Flights   int     `json:"flights"`
		Late      int     `json:"late"`
		MeanDelay float64 `json:"mean_delay"`
	}
}

const shownAirports = 5

// look reads the airports from the store, once a second at the most.
func (b *busiest) look(ctx context.Context, store snapshotstore.Store) {
	if time.Since(b.at) < time.Second {
		return
	}
	b.at = time.Now()
	found := map[string]airport{}
	for entry, err := range store.Scan(ctx, snapshotstore.Unit{Projection: "airports", Version: 1}) {
		a := airport{key: entry.Key}
		if err != nil || json.Unmarshal(entry.Data, &a.value) != nil {
			return // the worker says what is wrong
		}
		found[a.key] = a
	}
	b.rows = b.rows[:0]
	for _, a := range found {
		b.rows = append(b.rows, a)
	}
	slices.SortFunc(b.rows, func(x, y airport) int {
		return cmp.Or(cmp.Compare(y.value.Flights, x.value.Flights), cmp.Compare(x.key, y.key))
	})
	b.rows = b.rows[:min(len(b.rows), shownAirports)]
}

func (b *busiest) table() []string {
	lines := []string{fmt.Sprintf("%-24s  %9s  %14s  %19s", "BUSIEST AIRPORTS", "FLIGHTS", "MEAN DELAY", "LATE BY 15 MINUTES")}
	for _, a := range b.rows {
		lines = append(lines, fmt.Sprintf("%-24s  %9s  %10.1f min  %17.0f %%", a.key, thousands(a.value.Flights), a.value.MeanDelay,
			100*float64(a.value.Late)/float64(max(1, a.value.Flights))))
	}
	return lines
}
