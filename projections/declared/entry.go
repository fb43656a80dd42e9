package declared

import (
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/tailfold/tailfold/projections"
)

var entryKeys = []string{"name", "version", "stream", "subjects", "event", "when", "key", "seed", "let", "value", "on", "gone", "on_poison", "start"}
var ruleKeys = []string{"when", "key", "value"}
var languageNames = []string{"event", "value", "key", "seq", "subject", "time"}

// Parse reads the list under the top-level key `projections:` of a YAML document; other top-level keys belong to the
// configuration and are passed over. The error joins all faults, each an *Error with file, line and column.
func Parse(file string, data []byte) ([]*Projection, error) {
	x := &faults{file: file}
	doc := x.document(data)
	if doc == nil {
		return nil, x.err()
	}
	list := doc.get("projections")
	if list == nil {
		return nil, x.err()
	}
	nodes := x.sequence(list, "projections")
	if err := x.err(); err != nil {
		return nil, err
	}
	return ParseEntries(file, nodes)
}

// ParseEntries reads entries of a list of projections. Those of one stream share the decoding of its events.
func ParseEntries(file string, nodes []ast.Node) ([]*Projection, error) {
	x := &faults{file: file}
	shapes := map[string]*shape{}
	var all []*Projection
	for _, n := range nodes {
		if p := x.projection(n, shapes); p != nil {
			all = append(all, p)
		}
	}
	for _, s := range shapes {
		s.seal()
	}
	return all, x.err()
}

// IsSettings tells an entry that has only settings for a projection written in Go (name, version, on_poison, start)
// from a declared projection.
func IsSettings(n ast.Node) bool {
	m := (&faults{}).mapping(n, "the entry", nil)
	return m != nil && !slices.ContainsFunc(m.entries, func(e entry) bool {
		return !slices.Contains([]string{"name", "version", "on_poison", "start"}, e.name)
	})
}

// projection reads one entry, nil where it has faults.
func (x *faults) projection(n ast.Node, shapes map[string]*shape) *Projection {
	before := len(x.list)
	m := x.mapping(n, "the projection", entryKeys)
	if m == nil {
		return nil
	}
	p := &Projection{seed: ofFields(nil)}
	x.definition(p, m)
	shape := shapes[p.definition.Stream]
	if shape == nil {
		shape = newShape()
		shapes[p.definition.Stream] = shape
	}
	p.program = &program{shape: shape, event: unknown, lets: map[string]*let{}}
	if declared := m.get("event"); declared != nil {
		p.program.event = x.schema(declared)
	}
	if seed := m.get("seed"); seed != nil {
		p.seed = x.data(seed)
	}
	x.lets(p.program, m.get("let"))
	when, _ := x.compile(p.program, m.get("when"), "when", usageAny, aBool)
	x.rules(p, m, when)
	p.gone, _ = x.compile(p.program, m.get("gone"), "gone", usageAny, aBool)
	if p.gone != nil && !p.definition.Keyed {
		x.add(m.get("gone"), "gone deletes a key, but this projection has no key")
	}
	if len(x.list) > before {
		return nil
	}
	p.inPlace = !p.readsWhole() && slices.ContainsFunc(p.rules, func(r *rule) bool { return r.whole == nil })
	p.decided = p.definition.Keyed && len(p.rules) == 1 && (p.rules[0].when == nil || !p.rules[0].when.reads.perKey())
	p.definition.Rules = p.canonical()
	return p
}

// definition reads all that is not an expression.
func (x *faults) definition(p *Projection, m *mapping) {
	d := &p.definition
	d.Name = x.plain(m.get("name"), "name")
	d.Stream = x.plain(m.get("stream"), "stream")
	d.Start = projections.Start(x.plain(m.get("start"), "start"))
	d.OnPoison = projections.OnPoison(x.plain(m.get("on_poison"), "on_poison"))
	d.Codec = codecName
	d.Version = 1
	if n := m.get("version"); n != nil {
		text := x.plain(n, "version")
		version, err := strconv.Atoi(text)
		if err != nil {
			x.add(n, "the version %q is not a number: versions count from 1", text)
			version = 1
		}
		d.Version = version
	} else {
		x.add(m.node, "the version is missing: write version: 1, and raise it when the projection's rules change")
	}
	if n := m.get("subjects"); n != nil {
		for _, item := range x.sequence(n, "subjects") {
			d.Subjects = append(d.Subjects, x.plain(item, "a subject"))
		}
	}
	x.check(d, m)
}

// check words what is wrong with a definition at the key that it is about.
func (x *faults) check(d *projections.Definition, m *mapping) {
	err := d.Check()
	if err == nil {
		return
	}
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	for _, err := range list {
		at := m.node
		for _, name := range []string{"name", "version", "stream", "subjects", "start", "on_poison"} {
			words := strings.TrimSuffix(name, "s")
			if n := m.get(name); n != nil && (strings.HasPrefix(err.Error(), words) || strings.HasPrefix(err.Error(), "the "+words)) {
				at = n
			}
		}
		x.add(at, "%v", err)
	}
}

// lets reads and compiles the named expressions.
func (x *faults) lets(p *program, n ast.Node) {
	if n == nil {
		return
	}
	m := x.mapping(n, "let", nil)
	if m == nil {
		return
	}
	for _, e := range m.entries {
		if !isName(e.name) || slices.Contains(languageNames, e.name) {
			x.add(e.key, "let %s: a name has letters, digits and '_', does not begin with a digit, and is none of the language (event, value, key, seq, subject, time, and, or, not, in, let, if, …)", e.name)
			continue
		}
		if src := x.expression(e.value, "let "+e.name); src != nil {
			p.lets[e.name] = &let{source: src}
		}
	}
	p.names = sortedNames(p.lets)
	for i, name := range p.names {
		p.lets[name].slot = i
	}
	for _, name := range p.names {
		p.finish(p.lets[name])
		if err := p.lets[name].err; err != nil {
			x.list = append(x.list, err)
		}
	}
}

var keywords = []string{"true", "false", "nil", "and", "or", "not", "in", "let", "if", "else", "matches", "contains", "startsWith", "endsWith"}

func isName(s string) bool {
	for i, r := range []byte(s) {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != "" && !slices.Contains(keywords, s)
}

// compile reads and compiles the expression at a node, which may be nil; false where it has a fault.
func (x *faults) compile(p *program, n ast.Node, what string, where usage, need kinds) (*compiled, bool) {
	if n == nil {
		return nil, true
	}
	src := x.expression(n, what)
	if src == nil {
		return nil, false
	}
	c, err := p.compile(src, where)
	if err != nil {
		x.list = append(x.list, err)
		return nil, false
	}
	if c.schema.kinds&need == 0 {
		x.list = append(x.list, c.at.fault("mismatched types: %s needs %v, but this is %v", what, need, c.schema.kinds))
		return nil, false
	}
	return c, true
}

// rules reads value, or on with its rules.
func (x *faults) rules(p *Projection, m *mapping, when *compiled) {
	topKey, value, on := m.get("key"), m.get("value"), m.get("on")
	switch {
	case value == nil && on == nil:
		if slices.ContainsFunc(m.entries, func(e entry) bool { return e.value.Type() == ast.TagType }) {
			return // the tag has swallowed what follows it
		}
		x.add(m.node, "value is missing: write value: with the fields to set (or on: with rules); without stream, when and key an entry is settings for a projection written in Go")
		return
	case value != nil && on != nil:
		x.add(on, "both value and on are here: put value into the rules of on")
		return
	case value != nil:
		p.definition.Keyed = topKey != nil
		x.rule(p, when, topKey, value)
		return
	}
	p.when = when
	type parts struct{ node, when, key, value ast.Node }
	var all []parts
	keyed, bare := 0, 0
	for _, n := range x.sequence(on, "on") {
		r := x.mapping(n, "the rule", ruleKeys)
		if r == nil {
			continue
		}
		rule := parts{n, r.get("when"), r.get("key"), r.get("value")}
		if rule.key == nil {
			rule.key = topKey
		}
		if rule.key == nil {
			bare++
		} else {
			keyed++
		}
		if rule.value == nil {
			x.add(n, "value is missing in this rule")
			continue
		}
		all = append(all, rule)
	}
	if keyed+bare == 0 {
		x.add(on, "on has no rules: write at least one, - {when: …, value: …}")
		return
	}
	p.definition.Keyed = keyed > 0
	for _, rule := range all {
		if keyed > 0 && rule.key == nil {
			x.add(rule.node, "this rule has no key, but others have: write key here, or once for all rules beside on")
			continue
		}
		when, ok := x.compile(p.program, rule.when, "when", usageAny, aBool)
		if ok {
			x.rule(p, when, rule.key, rule.value)
		}
	}
}

// rule reads one rule.
func (x *faults) rule(p *Projection, when *compiled, key, value ast.Node) {
	r := &rule{when: when}
	group := x.keys(p.program, key)
	r.group = slices.IndexFunc(p.groups, func(k *keys) bool { return k.text == group.text })
	if r.group < 0 {
		p.groups = append(p.groups, group)
		r.group = len(p.groups) - 1
	}
	switch value.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		x.fields(p, r, value)
	default:
		if c, ok := x.compile(p.program, value, "value", usageAny, anything); ok {
			r.whole, r.at = c, c.at
		}
	}
	p.rules = append(p.rules, r)
}

// keys reads one key expression, or a list of them.
func (x *faults) keys(p *program, n ast.Node) *keys {
	k := &keys{}
	if n == nil {
		return k
	}
	nodes := []ast.Node{n}
	if s, ok := n.(*ast.SequenceNode); ok {
		if nodes = s.Values; len(nodes) == 0 {
			x.add(n, "key is an empty list: no event would touch any key")
		}
	}
	var texts []string
	for _, n := range nodes {
		if c, ok := x.compile(p, n, "key", usageKey, aText|anInt|aList|aNil); ok {
			k.of, k.at, texts = append(k.of, c), append(k.at, c.at), append(texts, c.text)
		}
	}
	k.text = strings.Join(texts, ", ")
	return k
}

// fields reads the fields that a rule sets.
func (x *faults) fields(p *Projection, r *rule, n ast.Node) {
	m := x.mapping(n, "value", nil)
	if len(m.entries) == 0 {
		x.add(n, "value sets no field: write the fields, or '{}' in quotes for an empty map")
		return
	}
	if k := p.seed.kind(); k != dict {
		x.add(n, "value sets fields, but seed is %v: seed a map, or write one expression for the whole value", k)
	}
	at := startOf(n)
	r.at = spot{source: &source{file: x.file, line: at.Line, column: at.Column, indent: -1}}
	for _, e := range m.entries {
		if c, ok := x.compile(p.program, e.value, "value."+e.name, usageAny, anything); ok {
			r.fields = append(r.fields, assignment{e.name, c})
		}
	}
	slices.SortFunc(r.fields, func(a, b assignment) int { return strings.Compare(a.name, b.name) })
}

// readsWhole tells whether an expression hands out value itself, not only members of it.
func (p *Projection) readsWhole() bool {
	if p.when != nil && p.when.reads.whole {
		return true
	}
	for _, r := range p.rules {
		if r.when != nil && r.when.reads.whole || r.whole != nil && r.whole.reads.whole {
			return true
		}
		if slices.ContainsFunc(r.fields, func(a assignment) bool { return a.compiled.reads.whole }) {
			return true
		}
	}
	return false
}
