package projections

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Registry is the set of projections that a worker runs. The zero Registry is empty and ready. It is filled before a
// worker starts and only read afterwards.
type Registry struct {
	projections []Projection
}

// Add registers projections. The error names every one that can't be registered, and why; the others are registered.
func (r *Registry) Add(projections ...Projection) error {
	var errs []error
	for i, p := range projections {
		if p == nil {
			errs = append(errs, fmt.Errorf("projection %d of %d given to Add is nil", i+1, len(projections)))
			continue
		}
		d := p.Definition()
		if err := r.check(p, d); err != nil {
			who := fmt.Sprintf("projection %q version %d", d.Name, d.Version)
			if d.Name == "" {
				who = fmt.Sprintf("projection %d of %d given to Add (%T of stream %q)", i+1, len(projections), p, d.Stream)
			}
			errs = append(errs, fmt.Errorf("%s: %w", who, err))
			continue
		}
		r.projections = append(r.projections, p)
	}
	return errors.Join(errs...)
}

// All returns the projections by name, then version.
func (r *Registry) All() []Projection {
	all := slices.Clone(r.projections)
	slices.SortFunc(all, func(a, b Projection) int {
		x, y := a.Definition(), b.Definition()
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Version, y.Version))
	})
	return all
}

// Lookup finds one version of a projection.
func (r *Registry) Lookup(name string, version int) (Projection, bool) {
	for _, p := range r.projections {
		if d := p.Definition(); d.Name == name && d.Version == version {
			return p, true
		}
	}
	return nil, false
}

func (r *Registry) check(p Projection, d Definition) error {
	if err := d.Check(); err != nil {
		return err
	}
	if checker, ok := p.(interface{ Check() error }); ok {
		if err := checker.Check(); err != nil {
			return err
		}
	}
	other, ok := r.Lookup(d.Name, d.Version)
	if !ok {
		return nil
	}
	if was := other.Definition(); was.Text(0, 1) != d.Text(0, 1) {
		return fmt.Errorf("is registered already, with another definition (%s): give the changed one a version of its own",
			disagreement(was.Text(0, 1), d.Text(0, 1)))
	}
	return errors.New("is registered twice: remove one")
}

func disagreement(was, is string) string {
	a, b := strings.Split(was, "\n"), strings.Split(is, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("%q against %q", a[i], b[i])
		}
	}
	return "rules differ in length"
}

const legalNames = "letters, digits, '.', '_' and '-', at most 128, the first a letter or a digit"

var legalName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// Check tells what is wrong with a definition.
func (d Definition) Check() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case d.Name == "":
		add("the name is empty: give it one, such as \"customer-totals\"")
	case !legalName.MatchString(d.Name):
		add("the name %q is not legal: %s", d.Name, legalNames)
	}
	if d.Version < 1 {
		add("the version is %d: versions count from 1", d.Version)
	}
	switch {
	case d.Stream == "":
		add("the stream is missing: name the one whose events it folds")
	case strings.ContainsAny(d.Stream, " \t\r\n*>/\\\x00"):
		add("the stream's name %q is not legal: no white space, '*', '>', '/' or '\\'", d.Stream)
	}
	for i, subject := range d.Subjects {
		if err := CheckSubject(subject); err != nil {
			add("%w", err)
		} else if slices.Contains(d.Subjects[:i], subject) {
			add("subject %q is named twice", subject)
		}
	}
	if !legalName.MatchString(d.Codec) {
		add("the codec's name %q is not legal: %s", d.Codec, legalNames)
	}
	if d.Start != "" && d.Start != Beginning && d.Start != FirstAvailable {
		add("start is %q: it is %q or %q", d.Start, Beginning, FirstAvailable)
	}
	if d.OnPoison != "" && d.OnPoison != Halt && d.OnPoison != Skip {
		add("on_poison is %q: it is %q or %q", d.OnPoison, Halt, Skip)
	}
	return errors.Join(errs...)
}
