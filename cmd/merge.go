package cmd

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/projections/declared"
)

// settingsEntry is a projections entry that has settings for a projection in Go.
type settingsEntry struct {
	Name     string `key:"name" help:"The projection's name."`
	Version  int    `key:"version" help:"Its version; without it all versions are meant."`
	OnPoison string `key:"on_poison" oneof:"halt,skip" help:"What happens at an event that can't be folded."`
	Start    string `key:"start" oneof:"beginning,first-available" help:"Where a projection without a snapshot begins."`
}

// configured is a projection in Go with the settings of the configuration.
type configured struct {
	projections.Projection
	definition projections.Definition
}

// Definition is the projection's own with the settings applied.
func (c configured) Definition() projections.Definition { return c.definition }

// Check passes on what the projection says of itself.
func (c configured) Check() error {
	if checker, ok := c.Projection.(interface{ Check() error }); ok {
		return checker.Check()
	}
	return nil
}

// mergeProjections makes one registry of the program's projections, with their settings, and the declared ones.
func mergeProjections(own *projections.Registry, config *Config) (*projections.Registry, error) {
	var all []projections.Projection
	if own != nil {
		all = own.All()
	}
	m := &merger{own: all}
	for _, entries := range config.Projections {
		for _, node := range entries.Nodes {
			if declared.IsSettings(node) {
				m.settings(entries.File, node)
			}
		}
		found, err := declared.ParseEntries(entries.File, declarations(entries.Nodes))
		if err != nil {
			m.list = append(m.list, err)
		}
		for _, p := range found {
			m.declared = append(m.declared, p)
		}
	}
	registry := &projections.Registry{}
	if err := registry.Add(m.own...); err != nil {
		m.list = append(m.list, err)
	}
	if err := registry.Add(m.declared...); err != nil {
		m.list = append(m.list, err)
	}
	return registry, m.err()
}

// declarations are the entries that are more than settings.
func declarations(entries []ast.Node) []ast.Node {
	var declaring []ast.Node
	for _, node := range entries {
		if !declared.IsSettings(node) {
			declaring = append(declaring, node)
		}
	}
	return declaring
}

type merger struct {
	problems
	own      []projections.Projection
	declared []projections.Projection
}

// settings applies one entry.
func (m *merger) settings(file string, node ast.Node) {
	var entry settingsEntry
	d := &decoder{config: &Config{origin: map[string]origin{}}, env: lookup(nil), file: file}
	d.section(node, "projections.N", reflect.ValueOf(&entry).Elem())
	m.list = append(m.list, d.list...)
	where := d.at(node).String()
	if d.err() != nil {
		return
	}
	if entry.Name == "" {
		m.add(where, "projections", "the entry has no name: write - name: customer-totals")
		return
	}
	found := false
	var names []string
	for i, p := range m.own {
		definition := p.Definition()
		names = append(names, definition.Name)
		if definition.Name != entry.Name || entry.Version != 0 && definition.Version != entry.Version {
			continue
		}
		found = true
		changed, err := entry.apply(definition)
		if _, again := p.(configured); again {
			err = fmt.Errorf("version %d has settings already: keep one entry", definition.Version)
		}
		if err != nil {
			m.add(where, "projections", "%s: %v", entry.Name, err)
			continue
		}
		m.own[i] = configured{p, changed}
	}
	if found {
		return
	}
	about := fmt.Sprintf("the entry %q declares nothing (it has no value), and this program has no such "+
		"projection in Go", entry.Name)
	if entry.Version != 0 && slices.Contains(names, entry.Name) {
		about = fmt.Sprintf("this program has the projection %q in Go, but not version %d of it", entry.Name,
			entry.Version)
	}
	slices.Sort(names)
	if near := nearest(entry.Name, slices.Compact(names)); near != "" && near != entry.Name {
		m.add(where, "projections", "%s: did you mean %q?", about, near)
		return
	}
	m.add(where, "projections", "%s: correct it, remove it, or give it a value", about)
}

// apply changes what the code leaves open; what it says must not be contradicted.
func (e settingsEntry) apply(d projections.Definition) (projections.Definition, error) {
	if e.OnPoison != "" {
		if d.OnPoison != "" && string(d.OnPoison) != e.OnPoison {
			return d, fmt.Errorf("on_poison is %q here and %q in the code: remove one", e.OnPoison, d.OnPoison)
		}
		d.OnPoison = projections.OnPoison(e.OnPoison)
	}
	if e.Start != "" {
		if d.Start != "" && string(d.Start) != e.Start {
			return d, fmt.Errorf("start is %q here and %q in the code: remove one", e.Start, d.Start)
		}
		d.Start = projections.Start(e.Start)
	}
	return d, nil
}
