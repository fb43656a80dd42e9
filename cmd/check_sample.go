package cmd

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/projections/declared"
)

// sampleReport is what the events of one stream tell of the projections that read it.
type sampleReport struct {
	Stream      string           `json:"stream"`
	Which       string           `json:"which"` // all, first, newest
	Events      int              `json:"events"`
	From        uint64           `json:"from"` // seqs
	To          uint64           `json:"to"`
	Held        uint64           `json:"held"` // about how many events the stream holds
	NotJSON     int              `json:"not_json"`
	Projections []*sampledReport `json:"projections"`
}

// sampledReport is what the events tell of one projection.
type sampledReport struct {
	Name       string         `json:"name"`
	Version    int            `json:"version"`
	Events     int            `json:"events"` // that have one of its subjects
	Matched    int            `json:"matched"`
	Keys       int            `json:"keys"`
	Values     []sampledValue `json:"values"`
	Warnings   []checkFault   `json:"warnings"`
	Mismatches []checkFault   `json:"mismatches"`
	Poison     []poisonReport `json:"poison"`

	warnings []error
	skips    bool // on_poison: skip
}

// sampledValue is a key and the value that the sample gives.
type sampledValue struct {
	Key   string         `json:"key"`
	Value jsontext.Value `json:"value"`
}

// poisonReport is an event that can't be folded.
type poisonReport struct {
	Seq   uint64 `json:"seq"`
	Key   string `json:"key,omitzero"`
	Error string `json:"error"`
}

// sample reads some events of each stream and tells what the projections make of them.
func (c *checkCommand) sample(app *App, l *loaded, report *checkReport) error {
	streams := l.newStreams()
	defer streams.close()
	var errs []error
	code := 0
	for _, stream := range streamNames(l.registry) {
		found, err := streams.sample(app.Context, stream, c.Sample, c.Newest)
		if err != nil {
			var exit *ExitError
			if !errors.As(err, &exit) {
				return err
			}
			errs, code = append(errs, exit.Err), max(code, exit.Code)
			continue
		}
		r := l.examine(found)
		report.Samples = append(report.Samples, r)
		if !c.JSON {
			r.print(app.Stdout)
		}
		errs = append(errs, r.errors()...)
	}
	if len(errs) == 0 {
		return nil
	}
	return &ExitError{max(code, exitNotSo), errors.Join(errs...)}
}

// streamNames are the streams that projections read, each once, sorted.
func streamNames(registry *projections.Registry) []string {
	names := map[string]bool{}
	for _, p := range registry.All() {
		names[p.Definition().Stream] = true
	}
	return sortedKeys(names)
}

// examine folds a sample through each projection of its stream.
func (l *loaded) examine(s *sample) *sampleReport {
	r := &sampleReport{Stream: s.stream, Which: "first", Events: len(s.events), From: s.from(), To: s.to,
		Held: s.bounds.Last + 1 - s.bounds.First}
	switch {
	case s.whole():
		r.Which = "all"
	case s.newest:
		r.Which = "newest"
	}
	all := newShape()
	for _, e := range s.events {
		all.add(e.Data)
	}
	r.NotJSON = all.events - all.objects
	for _, p := range l.registry.All() {
		if p.Definition().Stream == s.stream {
			r.Projections = append(r.Projections, l.examineOne(p, s, all))
		}
	}
	return r
}

func (l *loaded) examineOne(p projections.Projection, s *sample, all *shape) *sampledReport {
	d := p.Definition()
	t := l.try(p, s.events)
	r := &sampledReport{Name: d.Name, Version: d.Version, Events: t.events, Matched: t.matched, Keys: len(t.order), Values: []sampledValue{},
		Warnings: []checkFault{}, Mismatches: []checkFault{}, Poison: []poisonReport{}, skips: d.OnPoison == projections.Skip}
	for _, key := range t.order {
		r.Values = append(r.Values, sampledValue{key, jsontext.Value(t.values[key])})
	}
	for _, e := range t.poison {
		r.Poison = append(r.Poison, poisonReport{e.Seq, e.Key, projections.Quoted(e.Err)})
	}
	declaration, ok := p.(*declared.Projection)
	if !ok {
		return r
	}
	if len(d.Subjects) > 0 {
		all = newShape()
		for _, e := range s.events {
			if matchesAny(d.Subjects, e.Subject) {
				all.add(e.Data)
			}
		}
	}
	r.warnings = pathWarnings(declaration, all)
	for _, w := range r.warnings {
		r.Warnings = append(r.Warnings, faultsOf(w)...)
	}
	r.Mismatches = mismatches(declaration, s.events, d.Subjects)
	return r
}

func matchesAny(subjects []string, subject string) bool {
	if len(subjects) == 0 {
		return true
	}
	for _, filter := range subjects {
		if projections.MatchSubject(filter, subject) {
			return true
		}
	}
	return false
}

// pathWarnings tells of paths that no event has, and of texts that a path never is.
func pathWarnings(p *declared.Projection, s *shape) (warnings []error) {
	if s.objects == 0 {
		return nil
	}
	for _, path := range p.Paths() {
		if s.count(path.Steps) == 0 {
			message := fmt.Sprintf("%v in 0 of %s", path, thousands(s.events))
			if near := s.near(path.Steps); near != nil {
				message += fmt.Sprintf("; did you mean %v (%s)?", near, thousands(near.events))
			}
			warnings = append(warnings, path.Fault("%s", message))
			continue
		}
		seen := s.paths[strings.Join(path.Steps, "\x00")]
		if seen == nil || seen.more || !seen.is("text") {
			continue
		}
		for _, text := range path.Texts {
			if seen.texts[text] > 0 {
				continue
			}
			message := fmt.Sprintf("%v is never %q in %s", path, text, thousands(s.events))
			if near := nearest(text, sortedKeys(seen.texts)); near != "" {
				message += fmt.Sprintf("; did you mean %q (%s)?", near, thousands(seen.texts[near]))
			} else if len(seen.texts) <= 8 {
				message += "; it is " + strings.Join(quoted(sortedKeys(seen.texts)), ", ")
			}
			warnings = append(warnings, path.Fault("%s", message))
		}
	}
	return warnings
}

func quoted(texts []string) []string {
	var all []string
	for _, text := range texts {
		all = append(all, strconv.Quote(text))
	}
	return all
}

// mismatches holds the events against what event: declares.
func mismatches(p *declared.Projection, events []projections.Event, subjects []string) []checkFault {
	counts, first := map[declared.Mismatch]int{}, map[declared.Mismatch]uint64{}
	var order []declared.Mismatch
	of := 0
	for _, e := range events {
		if !matchesAny(subjects, e.Subject) {
			continue
		}
		of++
		for _, m := range p.Mismatches(e) {
			if counts[m] == 0 {
				order = append(order, m)
				first[m] = e.Seq
			}
			counts[m]++
		}
	}
	found := []checkFault{}
	for _, m := range order {
		found = append(found, checkFault{Problem: fmt.Sprintf("%v in %s of %s, first at seq %d: correct event:, or the publisher", m,
			thousands(counts[m]), thousands(of), first[m])})
	}
	return found
}

// errors are what makes the exit code 1.
func (r *sampleReport) errors() (errs []error) {
	for _, p := range r.Projections {
		if n := len(p.Poison); n > 0 && !p.skips {
			errs = append(errs, fmt.Errorf("projection %s version %d: %s of the sample would be POISON, the first is seq %d", p.Name, p.Version,
				count(n, "event"), p.Poison[0].Seq))
		}
		if n := len(p.Mismatches); n > 0 {
			errs = append(errs, fmt.Errorf("projection %s version %d: %s not as event: declares", p.Name, p.Version, plural(n, "path is", "paths are")))
		}
	}
	return errs
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
