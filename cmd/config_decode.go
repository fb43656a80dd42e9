package cmd

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// decoder puts what files say into a Config, and gathers all that is wrong with them.
type decoder struct {
	problems
	config *Config
	env    func(name string) (string, bool)
	file   string
}

// maxConfigFile bounds a file, and with it what a parser can be made to do.
const maxConfigFile = 1 << 20

// parse reads a file's one document; nil where it is empty.
func (d *decoder) parse(text []byte) ast.Node {
	if len(text) > maxConfigFile {
		d.add(d.file, "", "has %d bytes, more than %d: split it, and name the parts under include", len(text),
			maxConfigFile)
		return nil
	}
	if line := tooDeep(text); line > 0 {
		d.add(fmt.Sprintf("%s:%d", d.file, line), "", "is nested more than %d levels deep", maxDepth)
		return nil
	}
	file, err := parseYAML(text)
	if err != nil {
		d.add(d.wherePositioned(err), "", "is not YAML: %s%s", syntaxMessage(err), d.syntaxLine(text, err))
		return nil
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			d.add(d.at(doc.Body).String(), "", "begins a second document: write one document per file, and name "+
				"the files under include")
			return nil
		}
		body = doc.Body
	}
	return body
}

// parseYAML is the parser, which has met texts that it panics on.
func parseYAML(text []byte) (file *ast.File, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("the parser gave up on it (%v)", cause)
		}
	}()
	return parser.ParseBytes(text, 0)
}

const maxDepth = 100

// tooDeep finds the line at which brackets or indentation open more than maxDepth levels; 0 if none does. It errs
// toward too many (it counts brackets in text too), which is why the bound is generous.
func tooDeep(text []byte) int {
	line, depth, start := 1, 0, true
	column := 0
	for _, c := range text {
		column++
		switch c {
		case '\n':
			line, start, column = line+1, true, 0
			continue
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(0, depth-1)
		case ' ':
			continue
		case '-', '?', ':':
			if start { // "- - - -" opens a level each
				if column > 2*maxDepth {
					return line
				}
				continue
			}
		}
		start = false
		if depth > maxDepth {
			return line
		}
	}
	return 0
}

type positioned interface{ GetToken() *token.Token }

func (d *decoder) wherePositioned(err error) string {
	var p positioned
	if errors.As(err, &p) && p.GetToken() != nil && p.GetToken().Position != nil {
		pos := p.GetToken().Position
		return place{d.file, pos.Line, pos.Column}.String()
	}
	return d.file
}

// perhapsSecret tells a line that may hold a secret, which must not be shown.
var perhapsSecret = regexp.MustCompile(`(?i)password|token|secret|://`)

// syntaxLine is the cure for a syntax error, and its line with a caret below.
func (d *decoder) syntaxLine(text []byte, err error) string {
	var p positioned
	if !errors.As(err, &p) || p.GetToken() == nil || p.GetToken().Position == nil {
		return ""
	}
	lines, pos := strings.Split(string(text), "\n"), p.GetToken().Position
	if pos.Line < 1 || pos.Line > len(lines) || strings.Contains(syntaxMessage(err), "already defined") {
		return ""
	}
	line := []rune(strings.TrimRight(lines[pos.Line-1], "\r"))
	cure := "an expression that holds \": \" or begins with a quote, '[', '{', '!', '#', '@' or '%' needs quotes around the whole of it"
	if strings.Contains(string(line[:len(line)-len([]rune(strings.TrimLeft(string(line), " \t")))]), "\t") {
		cure = "YAML is indented by spaces: replace the tab"
	}
	if len(line) > 200 || perhapsSecret.MatchString(string(line)) {
		return "; " + cure
	}
	column := min(max(pos.Column-1, 0), len(line))
	return fmt.Sprintf("; %s\n  | %s\n  | %s^", cure, strings.ReplaceAll(string(line), "\t", " "), strings.Repeat(" ", column))
}

func syntaxMessage(err error) string {
	var m interface{ GetMessage() string }
	if errors.As(err, &m) {
		return m.GetMessage()
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

func (d *decoder) at(node ast.Node) place {
	if t := tokenOf(node); t != nil && t.Position != nil {
		return place{d.file, t.Position.Line, t.Position.Column}
	}
	return place{d.file, 1, 1}
}

// tokenOf is the first token of a node; the parser gives a block mapping the token of its first colon.
func tokenOf(node ast.Node) *token.Token {
	switch n := node.(type) {
	case nil:
		return nil
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return n.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	}
	return node.GetToken()
}

// plain takes away what is around a node, and refuses what has no place in a configuration.
func (d *decoder) plain(node ast.Node, path string) (ast.Node, bool) {
	switch n := node.(type) {
	case *ast.TagNode:
		d.add(d.at(n).String(), path, "the YAML tag %s is not allowed: take it away, or put quotes around the text",
			n.Start.Value)
		return nil, false
	case *ast.AnchorNode, *ast.AliasNode:
		d.add(d.at(n).String(), path, "YAML anchors and aliases are not allowed: write the value out")
		return nil, false
	}
	return node, true
}

// pairs are the entries of a mapping.
func (d *decoder) pairs(node ast.Node, path, want string) ([]*ast.MappingValueNode, bool) {
	node, ok := d.plain(node, path)
	if !ok {
		return nil, false
	}
	switch n := node.(type) {
	case nil, *ast.NullNode:
		return nil, true
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	d.add(d.at(node).String(), path, "is %s: write %s", kindOf(node), want)
	return nil, false
}

// name is the key of a pair.
func (d *decoder) name(pair *ast.MappingValueNode, path string) (string, bool) {
	if text, ok := scalarText(pair.Key); ok && !pair.Key.IsMergeKey() {
		return text, true
	}
	d.add(d.at(pair.Key).String(), path, "a key must be a plain word")
	return "", false
}

// later are keys that other versions have.
var later = map[string]string{
	"kafka": "logs on Kafka are not in this version: remove it, and read a NATS JetStream stream",
}

// section decodes a mapping into a struct with key tags.
func (d *decoder) section(node ast.Node, path string, into reflect.Value) {
	pairs, ok := d.pairs(node, path, "keys with values, such as \""+exampleOf(into.Type())+"\"")
	if !ok {
		return
	}
	known := keysBelow(into.Type(), path)
	for _, pair := range pairs {
		name, ok := d.name(pair, path)
		if !ok {
			continue
		}
		i := indexKey(known, name)
		if i < 0 {
			d.unknown(pair, join(path, name), name, known)
			continue
		}
		d.value(pair.Value, known[i], fieldOf(into, known[i].Name))
	}
}

func (d *decoder) unknown(pair *ast.MappingValueNode, path, name string, known []key) {
	where := d.at(pair.Key).String()
	if why, ok := later[path]; ok {
		d.add(where, path, "%s", why)
		return
	}
	names := make([]string, 0, len(known))
	for _, k := range known {
		names = append(names, k.Name)
	}
	if nearest(name, names) == "" { // perhaps it is at home elsewhere
		for _, k := range allKeys() {
			if k.Name == name {
				d.add(where, path, "there is no such key here: did you mean %q?", k.Path)
				return
			}
		}
	}
	d.add(where, path, "there is no such key: %s", didYouMean(name, names))
}

func indexKey(keys []key, name string) int {
	for i, k := range keys {
		if k.Name == name {
			return i
		}
	}
	return -1
}

func fieldOf(section reflect.Value, name string) reflect.Value {
	for i := range section.NumField() {
		if section.Type().Field(i).Tag.Get("key") == name {
			return section.Field(i)
		}
	}
	panic("no field has the key " + name)
}

// value decodes one key's value.
func (d *decoder) value(node ast.Node, k key, into reflect.Value) {
	node, ok := d.plain(node, k.Path)
	if !ok || node == nil || node.Type() == ast.NullType { // "nats:" with nothing behind it
		return
	}
	switch {
	case k.section():
		d.section(node, k.Path, into)
	case k.entries():
		if items, ok := d.sequence(node, k.Path); ok {
			into.Set(reflect.Append(into, reflect.ValueOf(Entries{File: d.file, Nodes: items})))
		}
	case k.items():
		items, _ := d.sequence(node, k.Path)
		list := reflect.MakeSlice(k.Type, len(items), len(items))
		for i, item := range items {
			path := join(k.Path, strconv.Itoa(i))
			fillDefaults(list.Index(i))
			d.config.origin[path] = origin{byFile, d.at(item).String()}
			d.section(item, path, list.Index(i))
		}
		into.Set(list)
	case into.Kind() == reflect.Slice:
		items, ok := d.sequence(node, k.Path)
		if !ok {
			return
		}
		list := make([]string, 0, len(items))
		for _, item := range items {
			if text, ok := d.scalar(item, k); ok {
				list = append(list, text)
			}
		}
		into.Set(reflect.ValueOf(list))
		d.config.origin[k.Path] = origin{byFile, d.at(node).String()}
	default:
		text, ok := d.scalar(node, k)
		if !ok {
			return
		}
		if k.File && text != "" && !filepath.IsAbs(text) {
			text = filepath.Join(filepath.Dir(d.file), text)
		}
		where := d.at(node).String()
		d.config.origin[k.Path] = origin{byFile, where}
		if err := (setting{k, into}).set(text); err != nil {
			d.add(where, k.Path, "%v", err)
		}
	}
}

func (d *decoder) sequence(node ast.Node, path string) ([]ast.Node, bool) {
	node, ok := d.plain(node, path)
	if !ok || node == nil || node.Type() == ast.NullType {
		return nil, ok
	}
	if list, ok := node.(*ast.SequenceNode); ok {
		return list.Values, true
	}
	d.add(d.at(node).String(), path, "is %s: write a list, each item on a line of its own after \"- \"", kindOf(node))
	return nil, false
}

// scalar is a value's text with its variables filled in.
func (d *decoder) scalar(node ast.Node, k key) (string, bool) {
	node, ok := d.plain(node, k.Path)
	if !ok {
		return "", false
	}
	text, ok := scalarText(node)
	if !ok {
		d.add(d.at(node).String(), k.Path, "is %s: write a single value", kindOf(node))
		return "", false
	}
	text, err := expand(text, d.env)
	if err != nil {
		d.add(d.at(node).String(), k.Path, "%v", err)
		return "", false
	}
	return text, true
}

// scalarText is a scalar as written, without quotes.
func scalarText(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return node.GetToken().Value, true
	}
	return "", false
}

func kindOf(node ast.Node) string {
	switch node.(type) {
	case nil, *ast.NullNode:
		return "empty"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.StringNode, *ast.LiteralNode:
		return "a text"
	case *ast.IntegerNode, *ast.FloatNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	}
	return "of another kind"
}

// exampleOf is a line that could stand in a section.
func exampleOf(section reflect.Type) string {
	for _, k := range keysBelow(section, "") {
		if k.Default != "" {
			return k.Name + ": " + k.Default
		}
	}
	return keysBelow(section, "")[0].Name + ": …"
}
