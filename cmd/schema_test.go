package cmd

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/projections/declared"
)

const schemaFile = "../docs/tailfold.schema.json"

func TestThePublishedSchemaIsTheOneThatIsPrinted(t *testing.T) {
	code, out, errs := call(t, "schema")
	if code != 0 || errs != "" {
		t.Fatalf("code %d, %s", code, errs)
	}
	if *update {
		if err := os.WriteFile(schemaFile, []byte(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(strings.Split(readFile(t, schemaFile), "\n"), strings.Split(out, "\n")); diff != "" {
		t.Errorf("go test ./cmd -run TestThePublishedSchema -update writes it anew:\n%s", diff)
	}
}

// What the strict readers of projections and tests accept is in the schema, and nothing else is.
func TestTheSchemaKnowsTheKeysOfProjectionsAndTests(t *testing.T) {
	below := func(s any, steps ...string) schema {
		for _, step := range steps {
			s = s.(schema)[step]
		}
		return s.(schema)
	}
	projection, test := projectionSchema(), testSchema()
	got := map[string][]string{
		"projection": sortedKeys(below(projection, "properties")),
		"on":         sortedKeys(below(projection, "properties", "on", "items", "properties")),
		"test":       sortedKeys(below(test, "properties")),
		"given":      sortedKeys(below(test, "properties", "given", "items", "properties")),
		"poison":     sortedKeys(below(below(test, "properties", "poison")["anyOf"].([]schema)[0], "properties")),
	}
	want := declared.Keys()
	for _, keys := range want {
		slices.Sort(keys)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// validate holds a value against the parts of JSON Schema that the schema uses.
func validate(s map[string]any, value any, path string) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, path+": "+fmt.Sprintf(format, args...)) }
	if list, ok := s["anyOf"].([]any); ok {
		var all []string
		for _, one := range list {
			found := validate(one.(map[string]any), value, path)
			if found == nil {
				all = nil
				break
			}
			all = append(all, found...)
		}
		faults = append(faults, all...)
	}
	if types := typesOf(s["type"]); types != nil && !slices.ContainsFunc(typesOfValue(value), func(t string) bool { return slices.Contains(types, t) }) {
		fault("%v is none of %v", value, types)
		return faults
	}
	if list, ok := s["enum"].([]any); ok && !slices.Contains(list, value) {
		fault("%v is none of %v", value, list)
	}
	if text, ok := value.(string); ok && s["pattern"] != nil && !regexp.MustCompile(s["pattern"].(string)).MatchString(text) {
		fault("%q does not match %v", text, s["pattern"])
	}
	if least, ok := s["minimum"].(float64); ok {
		if n, is := value.(float64); is && n < least {
			fault("%v is less than %v", n, least)
		}
	}
	switch value := value.(type) {
	case []any:
		if items, ok := s["items"].(map[string]any); ok {
			for i, item := range value {
				faults = append(faults, validate(items, item, fmt.Sprintf("%s[%d]", path, i))...)
			}
		}
		if least, ok := s["minItems"].(float64); ok && float64(len(value)) < least {
			fault("has %d items", len(value))
		}
	case map[string]any:
		if least, ok := s["minProperties"].(float64); ok && float64(len(value)) < least {
			fault("has %d members", len(value))
		}
		required, _ := s["required"].([]any)
		for _, name := range required {
			if _, ok := value[name.(string)]; !ok {
				fault("%v is missing", name)
			}
		}
		properties, _ := s["properties"].(map[string]any)
		for _, name := range sortedKeys(value) {
			below := path + "." + name
			if known, ok := properties[name].(map[string]any); ok {
				faults = append(faults, validate(known, value[name], below)...)
			} else if more, ok := s["additionalProperties"].(map[string]any); ok {
				faults = append(faults, validate(more, value[name], below)...)
			} else if s["additionalProperties"] == false {
				fault("%s is not known", name)
			}
		}
	}
	return faults
}

func typesOf(v any) (types []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, one := range v {
			types = append(types, one.(string))
		}
	}
	return types
}

func typesOfValue(v any) []string {
	switch v := v.(type) {
	case nil:
		return []string{"null"}
	case bool:
		return []string{"boolean"}
	case float64:
		if v == float64(int64(v)) {
			return []string{"number", "integer"}
		}
		return []string{"number"}
	case string:
		return []string{"string"}
	case []any:
		return []string{"array"}
	}
	return []string{"object"}
}

func validateYAML(t *testing.T, text string) []string {
	t.Helper()
	var s map[string]any
	if err := json.Unmarshal([]byte(readFile(t, schemaFile)), &s); err != nil {
		t.Fatal(err)
	}
	asJSON, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal(asJSON, &value); err != nil {
		t.Fatal(err)
	}
	return validate(s, value, "")
}

func TestTheExamplesAreValidByTheSchema(t *testing.T) {
	files, err := filepath.Glob("../examples/*/*.yaml")
	if err != nil || len(files) < 13 {
		t.Fatalf("found %d files (%v)", len(files), err)
	}
	for _, file := range files {
		if faults := validateYAML(t, readFile(t, file)); faults != nil {
			t.Errorf("%s: %s", file, strings.Join(faults, "\n"))
		}
	}
}

func TestTheSchemaFindsWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"asign: static":                      ": asign is not known",
		"assign: both":                       ".assign: both is none of",
		"checkpoint: {every: soon}":          ".checkpoint.every: ",
		"projections: [{name: a, valeu: 1}]": ".projections[0]: valeu is not known",
		"projections: [{name: a, version: 0, value: {n: [1]}}]": ".projections[0].version: 0 is less than 1",
		"tests: [{projection: a, given: [{date: 1}]}]":          ".tests[0].given[0]: date is not known",
	} {
		if faults := strings.Join(validateYAML(t, text), "\n"); !strings.Contains(faults, want) {
			t.Errorf("%s: found %q, want %q", text, faults, want)
		}
	}
}
