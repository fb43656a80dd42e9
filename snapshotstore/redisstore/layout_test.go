package redisstore_test

import (
	"strings"
	"testing"

	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore"
)

func TestNamesAreThoseOfTheLayout(t *testing.T) {
	layout := redisstore.Layout{Prefix: "tailfold"}
	unit := snapshotstore.Unit{Projection: "customer-totals", Version: 12, Partition: 3}
	for _, c := range []struct{ got, want string }{
		{layout.Unit(unit), "tailfold:{customer-totals/v12/3}"},
		{layout.Served("customer-totals"), "tailfold:served:customer-totals"},
		{layout.Workers(), "tailfold:workers"},
		{redisstore.Field(""), ""},
		{redisstore.Field("c-77"), "c-77"},
		{redisstore.Field("a$b"), "a$b"},
		{redisstore.Field("$"), "$$"},
		{redisstore.Field("$mark"), "$$mark"},
		{redisstore.Field("$$mark"), "$$$mark"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestOwnFieldsAreNoKeys(t *testing.T) {
	for _, field := range []string{redisstore.MarkField, redisstore.DefinitionField, redisstore.SkippedField, "$", "$later"} {
		if key, ok := redisstore.Key(field); ok {
			t.Errorf("field %q is taken for the key %q", field, key)
		}
	}
}

// FuzzEscape shows that each key has one field, which no other key has, and that none of them is a field of Tailfold's.
func FuzzEscape(f *testing.F) {
	for _, seed := range []string{"", "$", "$$", "$mark", "$$mark", "c-77", "\xff$", "a\x00b"} {
		f.Add(seed, seed+"$")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		field := redisstore.Field(a)
		if key, ok := redisstore.Key(field); !ok || key != a {
			t.Errorf("key %q is stored as %q, which reads as %q, %v", a, field, key, ok)
		}
		if strings.HasPrefix(field, "$") && !strings.HasPrefix(field, "$$") {
			t.Errorf("key %q is stored as %q, a name of Tailfold's own", a, field)
		}
		if a != b && field == redisstore.Field(b) {
			t.Errorf("keys %q and %q are both stored as %q", a, b, field)
		}
		if key, ok := redisstore.Key(b); ok && redisstore.Field(key) != b {
			t.Errorf("field %q reads as key %q, which is stored as %q", b, key, redisstore.Field(key))
		}
	})
}
