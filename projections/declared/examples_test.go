package declared

import (
	"os"
	"path/filepath"
	"testing"
)

// Every example's tests pass, and every projection of an example has a test.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/*/projections.yaml")
	if err != nil || len(files) < 12 {
		t.Fatalf("found %d examples (%v), want at least twelve", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			runTests(t, filepath.Base(filepath.Dir(file)), data)
		})
	}
}

// runTests runs the tests of a file on its projections.
func runTests(t *testing.T, file string, data []byte) {
	t.Helper()
	all, err := Parse(file, data)
	if err != nil {
		t.Fatal(err)
	}
	tests, err := ParseTests(file, data)
	if err != nil {
		t.Fatal(err)
	}
	untested := map[string]*Projection{}
	byName := map[string]*Projection{}
	for _, p := range all {
		untested[p.Definition().Name], byName[p.Definition().Name] = p, p
	}
	for _, test := range tests {
		p := byName[test.Projection]
		if p == nil {
			t.Errorf("test %q is about %q, which is not there", test.Name, test.Projection)
			continue
		}
		delete(untested, test.Projection)
		if r := test.Run(p); !r.Passed() {
			t.Error(r)
		}
	}
	for name := range untested {
		t.Errorf("projection %q has no test", name)
	}
}
