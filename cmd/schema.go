package cmd

import (
	"fmt"
	"maps"
	"reflect"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

type schemaCommand struct{}

// Help completes --help.
func (schemaCommand) Help() string {
	return `Editors check and complete a configuration by it.

Examples:

    tailfold schema > tailfold.schema.json
    (echo '# yaml-language-server: $schema=tailfold.schema.json'; cat tailfold.yaml) > checked.yaml`
}

// Run prints the schema.
func (schemaCommand) Run(app *App) error {
	text, err := json.Marshal(configSchema(), json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(app.Stdout, "%s\n", text)
	return err
}

type schema = map[string]any

// variableText is a text with a variable in it, which may stand for any scalar.
var variableText = schema{"type": "string", "pattern": `\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}`}

// configSchema is the JSON Schema of a configuration file, made from the tags of Config.
func configSchema() schema {
	s := sectionSchema(reflect.TypeFor[Config](), "")
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Tailfold configuration"
	return s
}

func sectionSchema(section reflect.Type, path string) schema {
	properties := schema{}
	for _, k := range keysBelow(section, path) {
		properties[k.Name] = k.schema()
	}
	return schema{"type": []string{"object", "null"}, "additionalProperties": false, "properties": properties}
}

func (k key) schema() schema {
	var s schema
	switch {
	case k.section():
		s = sectionSchema(k.Type, k.Path)
	case k.items():
		s = schema{"type": "array", "items": sectionSchema(k.Type.Elem(), k.Path+".N")}
		s["items"].(schema)["required"] = []string{"name"}
	case k.Path == "projections":
		s = schema{"type": "array", "items": projectionSchema()}
	case k.entries():
		s = schema{"type": "array", "items": testSchema()}
	case len(k.OneOf) > 0:
		s = orVariable(schema{"enum": k.OneOf})
	case k.Type == typeDuration:
		s = orVariable(schema{"type": "string", "pattern": `^([0-9.]+(ns|us|µs|ms|s|m|h))+$|^0$`})
	case k.Type == typeSize:
		s = orVariable(schema{"type": []string{"string", "integer"}, "pattern": `^[0-9.]+ ?([KMGT]iB|[kKMGT]?B)?$`})
	case k.Type.Kind() == reflect.Int:
		s = orVariable(schema{"type": "integer"})
	case k.Type.Kind() == reflect.Slice:
		s = schema{"type": "array", "items": schema{"type": "string"}}
	default:
		s = schema{"type": []string{"string", "number", "boolean"}}
	}
	s["description"] = k.Help
	if k.Default != "" {
		s["default"] = k.Default
		if n, err := strconv.Atoi(k.Default); err == nil && k.Type.Kind() == reflect.Int {
			s["default"] = n
		}
	}
	return s
}

func orVariable(s schema) schema { return schema{"anyOf": []schema{s, variableText}} }

// expression is what evaluates: a text, or a bare number or truth value.
var expression = schema{"type": []string{"string", "number", "boolean"}}

// helped is a copy of a schema with what an editor shows of it.
func helped(s schema, help string) schema {
	d := maps.Clone(s)
	d["description"] = help
	return d
}

// projectionSchema knows the keys of a declared projection; package declared checks what is in them.
func projectionSchema() schema {
	fields := schema{"anyOf": []schema{expression, {"type": "object", "additionalProperties": expression, "minProperties": 1}}}
	keys := schema{"anyOf": []schema{expression, {"type": "array", "items": expression, "minItems": 1}}}
	when := helped(expression, "Which events count: an expression that gives a bool.")
	key := helped(keys, "The keys that an event touches: an expression or a list of them. Without key there is one value for all events.")
	value := helped(fields, "The fields to set, the others stay; or one expression that is the whole value.")
	rule := object(schema{"when": when, "key": key, "value": value}, "value")
	return object(schema{
		"name":     schema{"type": "string", "description": "The projection's name."},
		"version":  orVariable(schema{"type": "integer", "minimum": 1, "description": "Raise it whenever the values become others."}),
		"stream":   schema{"type": "string", "description": "The stream to read."},
		"subjects": schema{"type": "array", "items": schema{"type": "string"}, "description": "Default: the whole stream."},
		"when":     when, "key": key, "value": value,
		"gone": helped(expression, "Sees the new value; true deletes the key."),
		"seed": schema{"description": "A new key's value, plain data. Default: {}."},
		"let": schema{"type": "object", "additionalProperties": expression,
			"description": "Names for expressions, computed at first use."},
		"on": schema{"type": "array", "items": rule, "minItems": 1,
			"description": "Rules in place of value: for each key the first one counts whose when holds."},
		"event": schema{"description": "The shape of the events, for checking: {type: string, amount: int, items: [{qty: int}]}."},
		"on_poison": schema{"enum": []string{"halt", "skip"}, "default": "halt",
			"description": "What happens at an event that can't be folded."},
		"start": schema{"enum": []string{"beginning", "first-available"}, "default": "beginning",
			"description": "Where a projection without a snapshot begins."},
	}, "name")
}

// object is the schema of a mapping with these keys and no others.
func object(properties schema, required ...string) schema {
	return schema{"type": "object", "additionalProperties": false, "properties": properties, "required": required}
}

// testSchema knows the keys of a test.
func testSchema() schema {
	text := schema{"type": "string"}
	scalar := schema{"type": []string{"string", "number", "boolean"}}
	seq := schema{"type": "integer", "minimum": 1}
	given := object(schema{
		"data":    schema{"description": "The event as YAML; numbers keep their text."},
		"raw":     helped(text, "The event's bytes, in place of data."),
		"subject": helped(text, "Default: one that the projection reads."),
		"time":    helped(text, "When the log stored it, such as 2026-11-23T10:15:00Z."),
		"header": schema{"type": "object", "description": "Names, each with a value or a list of them.",
			"additionalProperties": schema{"anyOf": []schema{scalar, {"type": "array", "items": scalar}}}},
		"seq": helped(seq, "Default: 1, 2, 3, …"),
	})
	poison := object(schema{"seq": seq, "says": helped(text, "A part of the message.")}, "seq")
	return object(schema{
		"name":       helped(text, "What the test shows."),
		"projection": helped(text, "The projection that it is about."),
		"version":    helped(seq, "Its version; default: the highest."),
		"given":      schema{"type": "array", "items": given, "description": "The events."},
		"expect":     schema{"type": "object", "description": "All keys and their values; {}: none. Without key, the key is \"\"."},
		"poison": schema{"anyOf": []schema{poison, {"type": "array", "items": poison}},
			"description": "The events that can't be folded."},
	}, "projection")
}
