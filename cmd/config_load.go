package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Sources is where a configuration comes from. What stands further down in this struct overrides what stands above.
type Sources struct {
	// File is the configuration file's path; "" for none.
	File string
	// Environ has the environment as "NAME=value": for TAILFOLD_<PATH> and for ${VAR} in the file.
	Environ []string
	// Flags has what the command line says, by the flag's name without dashes: see Config's tags.
	Flags map[string]string
}

// DefaultFile is the configuration file that is read where none is named and this one exists.
const DefaultFile = "tailfold.yaml"

// Load reads a configuration and validates it. The error tells all that is wrong, each with its place and with what to
// write instead. No server is asked.
func Load(from Sources) (*Config, error) {
	config := &Config{File: from.File, origin: map[string]origin{}}
	fillDefaults(reflect.ValueOf(config).Elem())
	d := &decoder{config: config, env: lookup(from.Environ), file: from.File}
	if from.File != "" {
		d.main(from.File)
	}
	d.environment(from.Environ)
	d.flags(from.Flags)
	for _, pattern := range config.Include {
		d.include(from.File, pattern)
	}
	d.check()
	if err := d.err(); err != nil {
		return nil, err
	}
	return config, nil
}

func lookup(environ []string) func(string) (string, bool) {
	values := make(map[string]string, len(environ))
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		values[name] = value
	}
	return func(name string) (string, bool) {
		value, ok := values[name]
		return value, ok
	}
}

// main reads the configuration file.
func (d *decoder) main(path string) {
	text, ok := d.read(path)
	if !ok {
		return
	}
	body := d.parse(text)
	if body == nil {
		return
	}
	d.section(body, "", reflect.ValueOf(d.config).Elem())
	d.expandEntries()
}

func (d *decoder) read(path string) ([]byte, bool) {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.add(path, "", "there is no such file: name the configuration with --config FILE, or write one (tailfold init)")
	case err != nil:
		d.add(path, "", "can't be read: %v", errors.Unwrap(err))
	}
	return text, err == nil
}

// included are the files that a pattern names.
func (d *decoder) included(from, pattern string) []string {
	where := d.config.where("include")
	full := pattern
	if !filepath.IsAbs(full) {
		full = filepath.Join(filepath.Dir(from), pattern)
	}
	paths, err := filepath.Glob(full)
	switch {
	case err != nil:
		d.add(where, "include", "%q is no pattern: write a path, with * for any part of a name", pattern)
	case len(paths) == 0:
		d.add(where, "include", "no file matches %q: correct it, or remove it", full)
	}
	return paths
}

// include reads the projections and tests of the files that a pattern names.
func (d *decoder) include(from, pattern string) {
	for _, path := range d.included(from, pattern) {
		file, err := readEntries(path, d.env)
		if err != nil {
			d.list = append(d.list, err)
		}
		d.config.Projections = append(d.config.Projections, file.Projections...)
		d.config.Tests = append(d.config.Tests, file.Tests...)
	}
}

// entriesFile is a file that holds projections and tests, and nothing else.
type entriesFile struct {
	Projections []Entries `key:"projections"`
	Tests       []Entries `key:"tests"`
}

func readEntries(path string, env func(string) (string, bool)) (*Config, error) {
	d := &decoder{config: &Config{File: path, origin: map[string]origin{}}, env: env, file: path}
	text, ok := d.read(path)
	if !ok {
		return d.config, d.err()
	}
	var file entriesFile
	d.config.Include = nil
	if body := d.parse(text); body != nil {
		pairs, _ := d.pairs(body, "", "projections: or tests:")
		known := keysBelow(reflect.TypeFor[entriesFile](), "")
		for _, pair := range pairs {
			name, ok := d.name(pair, "")
			if !ok {
				continue
			}
			if i := indexKey(known, name); i >= 0 {
				d.value(pair.Value, known[i], fieldOf(reflect.ValueOf(&file).Elem(), name))
				continue
			}
			if indexKey(keysBelow(reflect.TypeFor[Config](), ""), name) >= 0 {
				d.add(d.at(pair.Key).String(), name, "an included file has projections and tests only: write it "+
					"into the file that includes this one")
				continue
			}
			d.add(d.at(pair.Key).String(), name, "there is no such key: %s", didYouMean(name, []string{"projections",
				"tests"}))
		}
	}
	d.config.Projections, d.config.Tests = file.Projections, file.Tests
	d.expandEntries()
	return d.config, d.err()
}

// expandable are the parts of a projection's entry in which variables are filled in. Expressions are not among them:
// what a fold computes must stand in the file.
var expandable = []string{"name", "stream", "subjects", "start", "on_poison"}

// expandEntries fills in variables in the projections that were read.
func (d *decoder) expandEntries() {
	for _, entries := range d.config.Projections {
		for _, node := range entries.Nodes {
			mapping, ok := node.(*ast.MappingNode)
			if !ok {
				continue
			}
			for _, pair := range mapping.Values {
				if name, ok := scalarText(pair.Key); ok && slices.Contains(expandable, name) {
					d.expandNode(pair.Value, "projections."+name)
				}
			}
		}
	}
}

func (d *decoder) expandNode(node ast.Node, path string) {
	switch n := node.(type) {
	case *ast.StringNode:
		text, err := expand(n.Value, d.env)
		if err != nil {
			d.add(d.at(node).String(), path, "%v", err)
			return
		}
		n.Value = text
	case *ast.SequenceNode:
		for _, item := range n.Values {
			d.expandNode(item, path)
		}
	}
}

// environment applies TAILFOLD_<PATH>.
func (d *decoder) environment(environ []string) {
	known := map[string]setting{}
	names := []string{}
	for _, s := range settings(d.config) {
		known[s.Env()] = s
		names = append(names, s.Env())
	}
	for _, pair := range environ {
		name, text, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "TAILFOLD_") || name == "TAILFOLD_CONFIG" {
			continue
		}
		s, ok := known[name]
		if !ok {
			// No error: Kubernetes sets variables such as TAILFOLD_PORT for a service of our name.
			if near := nearest(name, names); near != "" && distance(name, near) <= 2 {
				d.config.Warnings = append(d.config.Warnings, fmt.Sprintf("the environment variable %s is no "+
					"setting: did you mean %s?", name, near))
			}
			continue
		}
		d.override(s, text, origin{byEnvironment, name})
	}
}

// flags applies the command line.
func (d *decoder) flags(flags map[string]string) {
	for _, s := range settings(d.config) {
		text, ok := flags[s.Flag]
		if s.Flag == "" || !ok {
			continue
		}
		if s.Flag == "store" && storeIsURL(text) != (s.Path == "store.redis") {
			continue
		}
		d.override(s, text, origin{byFlag, "--" + s.Flag})
	}
}

func storeIsURL(text string) bool { return strings.Contains(text, "://") }

func (d *decoder) override(s setting, text string, by origin) {
	d.config.origin[s.Path] = by
	if err := s.set(text); err != nil {
		d.add(by.where, s.Path, "%v", err)
	}
}
