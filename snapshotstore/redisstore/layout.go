package redisstore

import (
	"fmt"
	"strings"

	"github.com/tailfold/tailfold/snapshotstore"
)

// Layout tells where in Redis things are. It is public: any language reads it.
//
//	<prefix>:{<projection>/v<version>/<partition>}   hash: a field per key, and the fields below
//	<prefix>:served:<projection>                     string: the version that readers should use
//	<prefix>:workers                                 hash: worker's name -> JSON
//
// The braces are Redis's hash tag: all of a unit is in one slot of a cluster.
type Layout struct {
	Prefix string // without the colon
}

// Fields of a unit's hash that are not keys. All of them begin with one "$", and no key's field does (see Field).
const (
	MarkField       = "$mark"       // the mark, as JSON
	DefinitionField = "$definition" // the definition's canonical text
	SkippedField    = "$skipped"    // JSON array of the events that were skipped
)

// Unit is the name of the hash that holds a unit's snapshot.
func (l Layout) Unit(unit snapshotstore.Unit) string { return l.Prefix + ":{" + unit.String() + "}" }

// Served is the name of the string that holds the version of a projection that readers should use.
func (l Layout) Served(projection string) string { return l.Prefix + ":served:" + projection }

// Workers is the name of the hash that holds what the workers last said of themselves.
func (l Layout) Workers() string { return l.Prefix + ":workers" }

func (l Layout) check() error {
	if strings.ContainsAny(l.Prefix, "{} \t\r\n*?[]\\") {
		return fmt.Errorf("the prefix %q has a brace, white space or one of *?[]\\ in it: "+
			"braces would change the slot of a cluster, the others mean something in ACL rules", l.Prefix)
	}
	return nil
}

// Field is the field that holds a key's value: the key, with a second "$" before one that begins with "$".
func Field(key string) string {
	if strings.HasPrefix(key, "$") {
		return "$" + key
	}
	return key
}

// Key is the key that a field holds the value of, and false for a field that is not a key's: one of Tailfold's own.
func Key(field string) (string, bool) {
	if !strings.HasPrefix(field, "$") {
		return field, true
	}
	if strings.HasPrefix(field, "$$") {
		return field[1:], true
	}
	return "", false
}
