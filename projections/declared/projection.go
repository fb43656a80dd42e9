package declared

import (
	"fmt"
	"strings"

	"github.com/tailfold/tailfold/projections"
)

// Projection is one declared projection, checked and compiled. It is immutable and may be shared.
type Projection struct {
	definition projections.Definition
	program    *program
	seed       value
	when       *compiled // of the entry; nil: every event
	rules      []*rule
	groups     []*keys // of the rules, each once
	gone       *compiled
	decided    bool // there is one rule, and whether it holds is told from the event: when the keys were named
	inPlace    bool // fields are set, and no expression hands out value as a whole: its map may be changed where it is
}

// rule says what becomes of a key.
type rule struct {
	when   *compiled // nil: always
	group  int       // its keys; rules with the same ones share them
	fields []assignment
	whole  *compiled // instead of fields: the new value
	at     spot      // of the value
}

// assignment sets a field of the value.
type assignment struct {
	name     string
	compiled *compiled
}

// keys are the expressions that name a rule's keys.
type keys struct {
	of   []*compiled // none: a Single, whose one key is ""
	at   []spot
	text string
}

var _ projections.Projection = (*Projection)(nil)

// codecName names the canonical JSON of appendJSON. Another name is another definition.
const codecName = "canonical-json"

// Definition describes it. Its Rules are the canonical text of the expressions: comments, spacing and the order of
// fields make no difference.
func (p *Projection) Definition() projections.Definition { return p.definition }

// Check tells what is wrong with its name, version, stream or subjects.
func (p *Projection) Check() error { return p.definition.Check() }

// NewFold makes the working memory of one unit.
func (p *Projection) NewFold(options projections.FoldOptions) projections.Fold {
	d, m := p.definition, newMachine(p)
	if !d.Keyed {
		return projections.Single[state]{Name: d.Name, Version: d.Version, Stream: d.Stream, Subjects: d.Subjects,
			Seed: m.seed, Step: func(s state, event projections.Event) (state, error) { return m.step("", s, event) },
			Codec: codec{}}.NewFold(options)
	}
	return projections.Keyed[state]{Name: d.Name, Version: d.Version, Stream: d.Stream, Subjects: d.Subjects, Immutable: !p.inPlace,
		Keys: m.keys, Seed: m.seed, Step: m.step, Gone: func(s state) bool { return s.gone },
		Codec: codec{}}.NewFold(options)
}

// canonical is the text that stands for the projection in its fingerprint.
func (p *Projection) canonical() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("declared 1")
	line("seed: %s", appendJSON(nil, p.seed))
	if p.when != nil {
		line("when: %s", p.when.text)
	}
	for _, name := range p.program.names {
		line("let %s: %s", name, p.program.lets[name].compiled.text)
	}
	for _, r := range p.rules {
		line("rule:")
		if r.when != nil {
			line("  when: %s", r.when.text)
		}
		if k := p.groups[r.group]; len(k.of) > 0 {
			line("  key: %s", k.text)
		}
		if r.whole != nil {
			line("  value: %s", r.whole.text)
		}
		for _, a := range r.fields {
			line("  value%s: %s", memberText(a.name), a.compiled.text)
		}
	}
	if p.gone != nil {
		line("gone: %s", p.gone.text)
	}
	return strings.TrimSpace(b.String())
}
