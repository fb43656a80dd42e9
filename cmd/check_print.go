package cmd

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// How much of a sample people are shown; --json has all of it.
const (
	shownValues = 5
	shownPoison = 3
	shownSeqs   = 10
	shownWidth  = 160 // characters of a value
)

// print shows a sample to people.
func (r *sampleReport) print(w io.Writer) {
	fmt.Fprintln(w, "\n"+r.headline())
	if r.NotJSON > 0 {
		fmt.Fprintf(w, "  %s not a JSON object: expressions that name a path of event can't read such\n", plural(r.NotJSON, "event is", "events are"))
	}
	for _, p := range r.Projections {
		p.print(w, r.Events)
	}
}

func (r *sampleReport) headline() string {
	head := "sample of stream " + r.Stream + ": "
	events := plural(r.Events, "event", "events")
	if r.Events >= 1000 {
		events = thousands(r.Events) + " events"
	}
	seqs := fmt.Sprintf("seq %d to %d", r.From, r.To)
	switch {
	case r.Events == 0:
		return head + "it holds no events yet"
	case r.Which == "all":
		return fmt.Sprintf("%sall %s (%s)", head, events, seqs)
	case r.Which == "newest":
		return fmt.Sprintf("%sthe newest %s of %s (%s): values and poison are as if there had been none before", head, events, thousands(r.Held), seqs)
	}
	return fmt.Sprintf("%sthe first %s of %s (%s), as a replay begins; --newest takes the last ones", head, events, thousands(r.Held), seqs)
}

func (p *sampledReport) print(w io.Writer, events int) {
	fmt.Fprintf(w, "  %s version %d: %s of %s matched", p.Name, p.Version, thousands(p.Matched), plural(events, "event", "events"))
	if p.Events < events {
		fmt.Fprintf(w, " (%s of its subjects)", plural(p.Events, "has one", "have one"))
	}
	switch {
	case p.Keys == 1 && p.Values[0].Key == "":
	case p.Keys == 1:
		fmt.Fprint(w, ", 1 key")
	default:
		fmt.Fprintf(w, ", %s keys", thousands(p.Keys))
	}
	fmt.Fprintln(w)
	p.printValues(w)
	for _, warning := range p.warnings {
		fmt.Fprintf(w, "    warning: %s\n", indented(warning.Error()))
	}
	for _, m := range p.Mismatches {
		fmt.Fprintf(w, "    mismatch: %s\n", m.Problem)
	}
	p.printPoison(w)
}

func (p *sampledReport) printValues(w io.Writer) {
	shown := p.Values[:min(len(p.Values), shownValues)]
	width := 0
	for _, v := range shown {
		width = max(width, min(len(keyShown(v.Key)), 40))
	}
	for _, v := range shown {
		value := string(v.Value)
		if runes := []rune(value); len(runes) > shownWidth {
			value = string(runes[:shownWidth]) + "…"
		}
		fmt.Fprintf(w, "    %-*s  %s\n", width, keyShown(v.Key), value)
	}
	if more := len(p.Values) - len(shown); more > 0 {
		fmt.Fprintf(w, "    … and %s more (--json has all)\n", thousands(more))
	}
}

// keyShown is a key as people read it: quoted where it holds what a line can't.
func keyShown(key string) string {
	switch quoted := strconv.Quote(key); {
	case key == "":
		return "value"
	case quoted != `"`+key+`"` || strings.Contains(key, " "):
		return quoted
	}
	return key
}

func (p *sampledReport) printPoison(w io.Writer) {
	if len(p.Poison) == 0 {
		return
	}
	what := "POISON"
	if p.skips {
		what = "POISON, to be skipped"
	}
	var seqs []string
	for _, e := range p.Poison[:min(len(p.Poison), shownSeqs)] {
		seqs = append(seqs, strconv.FormatUint(e.Seq, 10))
	}
	more := ""
	if n := len(p.Poison) - len(seqs); n > 0 {
		more = fmt.Sprintf(" and %s more", thousands(n))
	}
	fmt.Fprintf(w, "    %s: %s, seq %s%s\n", what, plural(len(p.Poison), "event", "events"), strings.Join(seqs, ", "), more)
	for i, text := range p.causes() {
		if i == shownPoison {
			break
		}
		fmt.Fprintf(w, "      %s\n", strings.ReplaceAll(text, "\n", "\n      "))
	}
}

// causes are the different errors of the poison events, each with the first event that has it.
func (p *sampledReport) causes() (texts []string) {
	like := map[string]int{}
	for _, e := range p.Poison {
		like[e.Error]++
	}
	for _, e := range p.Poison {
		n := like[e.Error]
		if n == 0 {
			continue // told
		}
		at := fmt.Sprintf("seq %d", e.Seq)
		if e.Key != "" {
			at += fmt.Sprintf(", key %q", e.Key)
		}
		if n > 1 {
			at += fmt.Sprintf(", and %s like it", thousands(n-1))
		}
		texts = append(texts, at+": "+e.Error)
		like[e.Error] = 0
	}
	return texts
}

func indented(text string) string { return strings.ReplaceAll(text, "\n", "\n    ") }
