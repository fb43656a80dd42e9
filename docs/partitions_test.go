package docs_test

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/snapshotstore/read"
)

// The vectors of the page are what a real server answers, and what the recipe gives.
func TestPartitionVectorsAreTheServers(t *testing.T) {
	text := named(t, "docs/partitions.md").text
	_, table, _ := strings.Cut(text, "<!-- vectors -->")
	table, _, _ = strings.Cut(table, "<!-- end of vectors -->")
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (\\d+) \\| (\\d+) \\|$").FindAllStringSubmatch(table, -1)
	if len(rows) < 8 {
		t.Fatalf("the page has %d vectors", len(rows))
	}
	js := natstest.JetStream(t, natstest.Start(t).Connect())
	partition := func(token string, n int) int {
		t.Helper()
		stream, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: fmt.Sprint("P", n), Subjects: []string{fmt.Sprintf("p%d.*", n)},
			SubjectTransform: &jetstream.SubjectTransformConfig{Source: fmt.Sprintf("p%d.*", n), Destination: fmt.Sprintf("p%d.{{partition(%d,1)}}.{{wildcard(1)}}", n, n)}})
		if err != nil {
			t.Fatal(err)
		}
		ack, err := js.Publish(t.Context(), fmt.Sprintf("p%d.%s", n, token), nil)
		if err != nil {
			t.Fatal(err)
		}
		msg, err := stream.GetMsg(t.Context(), ack.Sequence)
		if err != nil {
			t.Fatal(err)
		}
		var p int
		if _, err := fmt.Sscanf(strings.Split(msg.Subject, ".")[1], "%d", &p); err != nil {
			t.Fatalf("subject %s: %v", msg.Subject, err)
		}
		return p
	}
	for _, row := range rows {
		token := row[1]
		if want := fmt.Sprintf("| `%s` | %d | %d |", token, partition(token, 8), partition(token, 1000)); row[0] != want {
			t.Errorf("the page says %s, the server %s", row[0], want)
		}
		for _, n := range []int{8, 1000} {
			if got, want := read.Partition(token, n), partition(token, n); got != want {
				t.Errorf("read.Partition(%q, %d) is %d, the server says %d", token, n, got, want)
			}
		}
	}
}

// The recipe in Python gives the same as the one in Go, where there is a Python to ask.
func TestPartitionRecipeInPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Log("there is no python3 here: the recipe is checked in Go alone")
		return
	}
	recipe := named(t, "docs/partitions.md").snippets("python")
	if len(recipe) != 1 {
		t.Fatalf("the page has %d snippets in Python", len(recipe))
	}
	for _, token := range []string{"a", "Zürich", "customer-1"} {
		out, err := exec.Command(python, "-c", recipe[0]+fmt.Sprintf("\nprint(partition(%q, 1000))", token)).CombinedOutput()
		if got, want := strings.TrimSpace(string(out)), fmt.Sprint(read.Partition(token, 1000)); err != nil || got != want {
			t.Errorf("Python says %s for %q, want %s (%v)", got, token, want, err)
		}
	}
}
