package cmd

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what the tests compare with anew")

const referenceFile = "../docs/configuration.md"

// referenceTables is the part of the reference that follows from the code.
func referenceTables() string {
	var b strings.Builder
	for _, k := range allKeys() {
		switch {
		case k.section() && !strings.Contains(k.Path, "."), k.items():
			fmt.Fprintf(&b, "\n### %s\n\n%s\n\n| key | default | meaning | environment | flag "+
				"|\n|---|---|---|---|---|\n", k.Path, k.Help)
		case k.section(), k.entries():
		default:
			if !strings.Contains(k.Path, ".") { // a scalar at the top has a heading of its own
				fmt.Fprintf(&b, "\n### %s\n\n| key | default | meaning | environment | flag "+
					"|\n|---|---|---|---|---|\n", k.Path)
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | `%s` | %s |\n", k.Path, code(k.Default), strings.ReplaceAll(k.Help,
				"|", "\\|"), k.Env(), flagText(k))
		}
	}
	return b.String()
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

func flagText(k key) string {
	if k.Flag == "" {
		return ""
	}
	return "`--" + k.Flag + "`"
}

var betweenMarks = regexp.MustCompile(`(?s)(<!-- keys:[^\n]*-->\n)(.*)(<!-- end of keys -->)`)

func TestReferenceHasEveryKeyAsTheCodeHasIt(t *testing.T) {
	text, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	found := betweenMarks.FindSubmatch(text)
	if found == nil {
		t.Fatalf("%s has lost the marks around its tables", referenceFile)
	}
	want := referenceTables()
	if *update {
		fresh := betweenMarks.ReplaceAll(text, []byte("${1}"+strings.ReplaceAll(want, "$", "$$")+"${3}"))
		if err := os.WriteFile(referenceFile, fresh, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(found[2])); diff != "" {
		t.Errorf("run go test ./cmd -run TestReference -update:\n%s", diff)
	}
}

func TestEveryKeyIsExplained(t *testing.T) {
	for _, k := range allKeys() {
		if k.Help == "" {
			t.Errorf("%s has no help", k.Path)
		}
	}
}

func TestEveryKeyOfAProjectionIsInTheReferenceAndTheSchema(t *testing.T) {
	text, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sortedKeys(projectionSchema()["properties"].(schema)) {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("%s does not name %s", referenceFile, name)
		}
	}
}

func TestTheSchemaHasEveryKey(t *testing.T) {
	var paths []string
	var walk func(s schema, path string)
	walk = func(s schema, path string) {
		properties, _ := s["properties"].(schema)
		for _, name := range sortedKeys(properties) {
			below := properties[name].(schema)
			paths = append(paths, join(path, name))
			if join(path, name) != "projections" && join(path, name) != "tests" {
				walk(below, join(path, name))
				if items, ok := below["items"].(schema); ok {
					walk(items, join(path, name)+".N")
				}
			}
		}
	}
	walk(configSchema(), "")
	var want []string
	for _, k := range allKeys() {
		want = append(want, k.Path)
	}
	slices.Sort(want)
	slices.Sort(paths)
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Error(diff)
	}
}
