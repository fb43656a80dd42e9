package dev

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tailfold/tailfold/projections"
)

// template makes an event's subject: orders.{type}.{customer.id} has two members of the event, by their paths.
type template struct {
	text  string
	parts []templatePart
}

type templatePart struct {
	text string
	path []string // of a member, in place of text
}

func parseTemplate(text string) (*template, error) {
	t := &template{text: text}
	for rest := text; rest != ""; {
		before, after, found := strings.Cut(rest, "{")
		if before != "" {
			t.parts = append(t.parts, templatePart{text: before})
		}
		if !found {
			break
		}
		path, behind, closed := strings.Cut(after, "}")
		if !closed || strings.Trim(path, ".") != path || path == "" || strings.Contains(path, "..") || strings.Contains(path, "{") {
			return nil, fmt.Errorf("the subject %q has no good member in its braces: write, for instance, orders.{type} or orders.{customer.id}", text)
		}
		t.parts, rest = append(t.parts, templatePart{path: strings.Split(path, ".")}), behind
	}
	pattern := t.pattern()
	if strings.ContainsAny(t.fixed(), "*>") || projections.CheckSubject(pattern) != nil {
		return nil, fmt.Errorf("%q can't be a subject: write tokens with dots between, such as orders.placed or orders.{type}", text)
	}
	return t, nil
}

func (t *template) fixed() string {
	var b strings.Builder
	for _, p := range t.parts {
		b.WriteString(p.text)
	}
	return b.String()
}

// pattern is a filter that all subjects of the template match.
func (t *template) pattern() string {
	var b strings.Builder
	for _, p := range t.parts {
		if p.path != nil {
			b.WriteByte('{') // can't be in the text
		}
		b.WriteString(p.text)
	}
	tokens := strings.Split(b.String(), ".")
	for i, token := range tokens {
		if strings.Contains(token, "{") {
			tokens[i] = "*"
		}
	}
	return strings.Join(tokens, ".")
}

// of makes the subject of an event, which is a JSON object.
func (t *template) of(event []byte) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		if p.path == nil {
			b.WriteString(p.text)
			continue
		}
		token, err := member(event, p.path)
		if err != nil {
			return "", fmt.Errorf("the subject %s: member %s %w", t.text, strings.Join(p.path, "."), err)
		}
		b.WriteString(token)
	}
	return b.String(), nil
}

// member is the value at a path, as a part of a subject's token.
func member(event []byte, path []string) (string, error) {
	value := jsontext.Value(event)
	for _, name := range path {
		if value.Kind() != '{' {
			return "", errors.New("is missing")
		}
		var members map[string]jsontext.Value
		if err := json.Unmarshal(value, &members); err != nil {
			return "", err
		}
		if value = members[name]; value == nil {
			return "", errors.New("is missing")
		}
	}
	token := string(value)
	switch value.Kind() {
	case '"':
		if err := json.Unmarshal(value, &token); err != nil {
			return "", err
		}
	case '0', 't', 'f':
	case 'n':
		return "", errors.New("is null")
	default:
		return "", errors.New("is neither a text nor a number")
	}
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(".*>", r) }) {
		return "", fmt.Errorf("is %q: a subject's token has no white space, dot, '*' or '>', and is not empty", token)
	}
	return token, nil
}
