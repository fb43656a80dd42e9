package cmd

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tailfold/tailfold/projections/declared"
)

// shape is what events look like: how many of them have which paths, with values of which kinds.
type shape struct {
	events  int // that were looked at
	objects int // of them JSON objects
	paths   map[string]*shapePath
	order   []*shapePath // as they were met
}

// shapePath is one path of a shape.
type shapePath struct {
	steps  []string // as declared.Path has them
	events int      // that have it and not as null
	kinds  map[string]int
	texts  map[string]int // texts and ints by how often they came, the first maxTexts of them
	more   bool           // there are more than these
	last   int            // the last event that had it
}

// A shape is bounded, also where the names of members are data.
const (
	maxPaths = 2000
	maxTexts = 20_000
)

func newShape() *shape { return &shape{paths: map[string]*shapePath{}} }

// add looks at an event. One that is not a JSON object is only counted.
func (s *shape) add(data []byte) {
	s.events++
	if checkJSON(data) != nil || jsontext.Value(data).Kind() != '{' {
		return
	}
	s.objects++
	d := jsontext.NewDecoder(bytes.NewReader(data))
	s.value(d, nil)
}

// checkJSON tells what is wrong with a document, as strictly as folds read it.
func checkJSON(data []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(data))
	if err := d.SkipValue(); err != nil {
		return err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return cmp.Or(err, errors.New("there is more than one value"))
	}
	return nil
}

// value notes the next value, which stands at steps, and what is in it.
func (s *shape) value(d *jsontext.Decoder, steps []string) {
	token, err := d.ReadToken()
	if err != nil {
		return // it was checked: this can't be
	}
	switch token.Kind() {
	case 'n':
	case '{':
		s.note(steps, "map", "")
		for d.PeekKind() != '}' {
			name, _ := d.ReadToken()
			s.value(d, append(slices.Clip(steps), name.String()))
		}
		d.ReadToken()
	case '[':
		s.note(steps, "list", "")
		for d.PeekKind() != ']' {
			s.value(d, append(slices.Clip(steps), declared.Items))
		}
		d.ReadToken()
	case '"':
		s.note(steps, "text", token.String())
	case '0':
		kind := "int"
		if strings.ContainsAny(token.String(), ".eE") {
			kind = "float"
		}
		s.note(steps, kind, token.String())
	default:
		s.note(steps, "bool", "")
	}
}

func (s *shape) note(steps []string, kind, text string) {
	if len(steps) == 0 {
		return
	}
	id := strings.Join(steps, "\x00")
	p := s.paths[id]
	if p == nil {
		if len(s.paths) >= maxPaths {
			return
		}
		p = &shapePath{steps: slices.Clone(steps), kinds: map[string]int{}, texts: map[string]int{}}
		s.paths[id] = p
		s.order = append(s.order, p)
	}
	if p.last != s.events {
		p.last = s.events
		p.events++
	}
	p.kinds[kind]++
	if text != "" || kind == "text" {
		if _, ok := p.texts[text]; ok || len(p.texts) < maxTexts {
			p.texts[text]++
		} else {
			p.more = true
		}
	}
}

// count is how many events have a path.
func (s *shape) count(steps []string) int {
	if len(steps) == 0 {
		return s.events
	}
	if p := s.paths[strings.Join(steps, "\x00")]; p != nil {
		return p.events
	}
	return 0
}

// near is the path that was probably meant by one that no event has; nil if none is like it. It looks for a member of
// another name where the path leaves what there is, then for the same name elsewhere.
func (s *shape) near(steps []string) *shapePath {
	known := 0
	for known < len(steps) && s.count(steps[:known+1]) > 0 {
		known++
	}
	if known == len(steps) {
		return nil
	}
	names := map[string]*shapePath{}
	for _, p := range s.order {
		if len(p.steps) == known+1 && slices.Equal(p.steps[:known], steps[:known]) && p.steps[known] != declared.Items {
			names[p.steps[known]] = p
		}
	}
	if near := nearest(steps[known], sortedKeys(names)); near != "" {
		rest := append(slices.Clone(names[near].steps), steps[known+1:]...)
		if whole := s.paths[strings.Join(rest, "\x00")]; whole != nil {
			return whole
		}
		return names[near]
	}
	for _, p := range s.order {
		if p.steps[len(p.steps)-1] == steps[len(steps)-1] && steps[len(steps)-1] != declared.Items {
			return p
		}
	}
	return nil
}

// is tells whether all values at a path are of one of the kinds.
func (p *shapePath) is(kinds ...string) bool {
	n := 0
	for _, count := range p.kinds {
		n += count
	}
	for _, kind := range kinds {
		n -= p.kinds[kind]
	}
	return n == 0
}

func (p *shapePath) String() string { return declared.PathText(p.steps) }
