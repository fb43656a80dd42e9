package cmd

import (
	"fmt"
	"strings"

	"github.com/tailfold/tailfold/projections"
)

// transform is how the NATS server puts a stream's events into partitions: by the hash of a subject's token.
type transform struct{ source, destination, partitions string }

// transformOf makes one for events of a subject, which may have wildcards, and n partitions. The partition comes behind the
// first token, and is told by the first token that is not the same for all.
func transformOf(subject string, n int) transform {
	tokens := strings.Split(subject, ".")
	wild := 0
	var rest []string
	for i, token := range tokens[1:] {
		switch {
		case token == "*", token == ">" && wild == 0:
			wild++
			tokens[i+1] = "*"
			rest = append(rest, fmt.Sprintf("{{wildcard(%d)}}", wild))
			if token == ">" { // by its first token; whatever follows stays
				tokens = append(tokens, ">")
				rest = append(rest, ">")
			}
		default:
			rest = append(rest, token)
		}
	}
	if wild == 0 { // all events have one subject: there is nothing to tell them apart by, until they have one token more
		tokens = append(tokens, "*")
		rest = append(rest, "{{wildcard(1)}}")
	}
	return transform{source: strings.Join(tokens, "."),
		destination: fmt.Sprintf("%s.{{partition(%d,1)}}.%s", tokens[0], n, strings.Join(rest, ".")),
		partitions:  tokens[0] + ".{partition}.>"}
}

// streamEntry is the stream's entry, with what the server has to be told. Where the events have partitions in their
// subjects already, nothing has to.
func (d *draft) streamEntry() string {
	if d.partitions < 2 {
		return ""
	}
	subject := strings.ToLower(d.stream) + ".>" // a guess: the stream is not there to be asked
	switch {
	case len(d.subjects) > 0:
		subject = d.subjects[0]
	case len(d.events) > 0 && d.fromLog:
		subject = d.events[0].Subject
	}
	t := transformOf(subject, d.partitions)
	inPlace := len(d.events) > 0 && projections.MatchSubject(strings.ReplaceAll(t.partitions, "{partition}", "*"), d.events[0].Subject) &&
		d.inPartition(d.events[0].Subject)
	var b strings.Builder
	fmt.Fprintf(&b, "\n# The stream is divided into %d partitions, which the second token of each subject tells. Workers share them\n"+
		"# out among themselves (assign: leases). Another number is another definition: it needs new versions.\n", d.partitions)
	if !inPlace {
		fmt.Fprintf(&b, "# The NATS server puts events that are published to %s into partitions by itself, by the hash of the token at\n"+
			"# the first *, where the stream has this subject transform:\n"+
			"#   nats stream edit %s --transform-source='%s' --transform-destination='%s'\n"+
			"# Messages that the stream holds already keep their subjects: they are of no partition.\n"+
			"# docs/partitions.md has the recipe for publishers, in any language.\n", t.source, d.stream, t.source, t.destination)
	}
	fmt.Fprintf(&b, "assign: leases\nstreams:\n- name: %s\n  partitions: %d\n  partition_subjects: [%s]\n", yamlText(d.stream), d.partitions, yamlText(t.partitions))
	return b.String()
}

// inPartition tells whether a subject's second token is the number of a partition.
func (d *draft) inPartition(subject string) bool {
	tokens := strings.Split(subject, ".")
	if len(tokens) < 3 {
		return false
	}
	for p := range d.partitions {
		if tokens[1] == fmt.Sprint(p) {
			return true
		}
	}
	return false
}
