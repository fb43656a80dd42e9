package cmd

import (
	"reflect"
	"strconv"
	"strings"
	"time"
)

// key is one key of the configuration, as the tags of Config describe it.
type key struct {
	Path    string // "checkpoint.every"; a stream's are "streams.N.name"
	Name    string // its last part
	Type    reflect.Type
	Default string
	Help    string
	OneOf   []string
	Flag    string // without dashes; "" if it has none
	Secret  string // "true": never shown; "url": shown without its password
	File    bool   // a path: what a file says is relative to that file's folder
}

var (
	typeDuration = reflect.TypeFor[time.Duration]()
	typeSize     = reflect.TypeFor[Size]()
	typeEntries  = reflect.TypeFor[[]Entries]()
)

// keyOf reads a field's tags; ok is false for a field that is no key.
func keyOf(field reflect.StructField, path string) (k key, ok bool) {
	name, ok := field.Tag.Lookup("key")
	if !ok {
		return key{}, false
	}
	k = key{Path: join(path, name), Name: name, Type: field.Type, Default: field.Tag.Get("default"),
		Help: field.Tag.Get("help"),
		Flag: field.Tag.Get("flag"), Secret: field.Tag.Get("secret"), File: field.Tag.Get("path") == "true"}
	if values := field.Tag.Get("oneof"); values != "" {
		k.OneOf = strings.Split(values, ",")
	}
	return k, true
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// section tells a key that has keys below it.
func (k key) section() bool { return k.Type.Kind() == reflect.Struct }

// items tells a list whose items have keys of their own.
func (k key) items() bool {
	return k.Type.Kind() == reflect.Slice && k.Type.Elem().Kind() == reflect.Struct && k.Type != typeEntries
}

// entries tells a list that is passed on as written.
func (k key) entries() bool { return k.Type == typeEntries }

// Env is the environment variable that overrides a key; "" where none does.
func (k key) Env() string {
	if k.section() || k.items() || k.entries() {
		return ""
	}
	return "TAILFOLD_" + strings.ToUpper(strings.ReplaceAll(k.Path, ".", "_"))
}

// keysBelow are the keys of a section, in the order of its fields.
func keysBelow(section reflect.Type, path string) []key {
	var keys []key
	for i := range section.NumField() {
		if k, ok := keyOf(section.Field(i), path); ok {
			keys = append(keys, k)
		}
	}
	return keys
}

// allKeys are all keys of the configuration, sections before what is in them.
func allKeys() []key {
	var walk func(section reflect.Type, path string) []key
	walk = func(section reflect.Type, path string) (keys []key) {
		for _, k := range keysBelow(section, path) {
			keys = append(keys, k)
			switch {
			case k.section():
				keys = append(keys, walk(k.Type, k.Path)...)
			case k.items():
				keys = append(keys, walk(k.Type.Elem(), k.Path+".N")...)
			}
		}
		return keys
	}
	return walk(reflect.TypeFor[Config](), "")
}

// setting is a key of a given Config that holds a value: a scalar or a list of scalars.
type setting struct {
	key
	value reflect.Value
}

// settings are all that a Config can have set by one text, the items of lists by their number.
func settings(c *Config) []setting { return settingsIn(reflect.ValueOf(c).Elem(), "") }

func settingsIn(section reflect.Value, path string) (found []setting) {
	for i := range section.NumField() {
		k, ok := keyOf(section.Type().Field(i), path)
		if !ok {
			continue
		}
		value := section.Field(i)
		switch {
		case k.section():
			found = append(found, settingsIn(value, k.Path)...)
		case k.items():
			for n := range value.Len() {
				found = append(found, settingsIn(value.Index(n), join(k.Path, strconv.Itoa(n)))...)
			}
		case !k.entries():
			found = append(found, setting{k, value})
		}
	}
	return found
}

// fillDefaults gives all scalars of a section their defaults; lists stay empty.
func fillDefaults(section reflect.Value) {
	for _, s := range settingsIn(section, "") {
		if s.Default == "" {
			continue
		}
		if err := s.set(s.Default); err != nil {
			panic("the default of " + s.Path + " is not valid: " + err.Error())
		}
	}
}
