package declared

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tailfold/tailfold/projections"
)

// aDefinition draws an entry: rules, keys, lets, a seed, with expressions over the event and the old value.
func aDefinition() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		var b strings.Builder
		line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
		event, old := writer{t: t}, writer{t: t, old: true}
		depth := func() int { return rapid.IntRange(0, 3).Draw(t, "depth") }
		quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
		line("projections:\n- name: p\n  version: 1\n  stream: S")
		keyed := rapid.IntRange(0, 5).Draw(t, "keyed") > 0
		keys := func(indent string) {
			switch {
			case !keyed:
			case rapid.Bool().Draw(t, "several keys"):
				line("%skey:\n%s- event.k\n%s- %s", indent, indent, indent, quote(`"t" + `+event.expr("text", depth())))
			case rapid.Bool().Draw(t, "list of keys"):
				line("%skey: %s", indent, quote(fmt.Sprintf(`map(%s, "i" + text(#))`, event.expr("ints", depth()))))
			default:
				line("%skey: event.k", indent)
			}
		}
		fields := func(indent string) {
			line("%svalue:", indent)
			for _, f := range []struct{ name, of string }{{"n", "int"}, {"f", "float"}, {"s", "text"}, {"b", "bool"}, {"xs", "ints"}} {
				if rapid.Bool().Draw(t, "set "+f.name) {
					x := old.expr(f.of, depth())
					if f.of == "text" || f.of == "ints" { // they would grow without bounds
						x += "[0:20]"
					}
					line("%s  %s: %s", indent, f.name, quote(x))
				}
			}
			line("%s  counts: %s", indent, quote("inc(value.counts, event.s + \"a\", "+old.expr("int", 1)+")"))
			line("%s  last: %s", indent, quote("keep_last(value.last, {x: event.f, y: event.none, z: "+old.expr("int", 1)+"}, 3)"))
			if rapid.Bool().Draw(t, "whole") {
				line("%s  before: %s", indent, quote("{n: value.n, rows: event.rows, names: keys(value)}"))
			}
			if rapid.Bool().Draw(t, "let") {
				line("%s  l: l + (value.l ?? 0)\n%s  o: o", indent, indent)
			}
			if rapid.Bool().Draw(t, "drop") {
				line("%s  n: nil", indent+"")
			}
		}
		if rapid.Bool().Draw(t, "seed") {
			line("  seed: {n: 3, f: 0.5, s: seed, xs: [1, 2], counts: {a: 1}}")
		}
		line("  let: {l: %s, o: %s}", quote(event.expr("int", depth())), quote(old.expr("ints", depth())+"[0:9]"))
		if rapid.IntRange(0, 3).Draw(t, "guard") == 0 {
			line("  when: %s", quote(old.expr("bool", depth())))
		}
		if !rapid.Bool().Draw(t, "rules") {
			keys("  ")
			fields("  ")
		} else {
			keys("  ")
			line("  on:")
			for i := range rapid.IntRange(1, 3).Draw(t, "number of rules") {
				line("  - when: %s", quote(rapid.SampledFrom([]writer{event, old}).Draw(t, "reads").expr("bool", depth())))
				if i > 0 && rapid.Bool().Draw(t, "own key") {
					keys("    ")
				}
				fields("    ")
			}
		}
		if keyed && rapid.Bool().Draw(t, "gone") {
			line("  gone: %s", quote(old.expr("bool", 1)+" and "+old.expr("bool", 1)))
		}
		return b.String()
	})
}

// Snapshot + tail == full replay, for random definitions and events, wherever the log is split, and whether values are
// kept in memory, read back for each event or for each batch. The fold of each event on its own is the full replay.
func TestSnapshotAndTailEqualFullReplay(t *testing.T) {
	folded, poisoned := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		definition := aDefinition().Draw(t, "definition")
		// Members that are set twice are a fault of the generator's, not of the fold.
		definition = withoutDoubles(definition)
		all, err := Parse("p.yaml", []byte(definition))
		if err != nil {
			if strings.Contains(err.Error(), "never equal") {
				return
			}
			t.Fatalf("%v\n%s", err, definition)
		}
		p := all[0]
		p.definition.OnPoison = projections.Skip
		var events []projections.Event
		for i, data := range rapid.SliceOfN(anOrder(), 0, 12).Draw(t, "events") {
			switch rapid.IntRange(0, 12).Draw(t, "fault") {
			case 0:
				data = strings.Replace(data, `"a":`, `"a":9223372036854775807,"a0":`, 1)
			case 1:
				data = strings.Replace(data, `"s":`, `"s0":`, 1)
			case 2:
				data = strings.Replace(data, `"k":`, `"k":"","k0":`, 1)
			case 3:
				data = data[:len(data)-1]
			}
			events = append(events, projections.Event{Seq: uint64(i + 1), Subject: "s." + strconv.Itoa(i%3), Data: []byte(data)})
		}
		want, poison := replayed(t, p, events, func(int) (int, bool) { return 1, true })
		folded, poisoned = folded+len(events), poisoned+len(poison)
		for _, mode := range []string{"whole", "split", "split cold"} {
			got, gotPoison := replayed(t, p, events, func(left int) (int, bool) {
				if mode == "whole" {
					return left, false
				}
				return rapid.IntRange(1, left).Draw(t, "batch"), mode == "split cold" || rapid.Bool().Draw(t, "cool")
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s differs from the replay of single events:\n%s\n%s", mode, diff, definition)
			}
			if diff := cmp.Diff(poison, gotPoison); diff != "" {
				t.Fatalf("%s: other events are poison:\n%s\n%s", mode, diff, definition)
			}
		}
	})
	t.Logf("%d events, %d of them poison", folded, poisoned)
	if poisoned*2 > folded {
		t.Errorf("%d of %d events were poison: the test says little", poisoned, folded)
	}
}

// withoutDoubles drops a second line that sets the same field in one value.
func withoutDoubles(definition string) string {
	var kept []string
	seen := map[string]bool{}
	for line := range strings.Lines(definition) {
		trimmed := strings.TrimSpace(line)
		if strings.HasSuffix(trimmed, "value:") || strings.HasPrefix(trimmed, "- ") {
			clear(seen)
		}
		if name, _, ok := strings.Cut(trimmed, ":"); ok && len(name) <= 6 && name != "key" && name != "when" {
			if seen[name] {
				continue
			}
			seen[name] = true
		}
		kept = append(kept, line)
	}
	return strings.Join(kept, "")
}

// replayed folds events in batches as next says (how many, and whether all values are read back before), passing over
// those that are poison as an engine does: what came before it in the batch is folded first.
func replayed(t *rapid.T, p *Projection, events []projections.Event, next func(left int) (int, bool)) (map[string]string, map[uint64]string) {
	s := newShelf(p)
	poison := map[uint64]string{}
	for len(events) > 0 {
		n, cool := next(len(events))
		if cool {
			s.cool()
		}
		batch := append([]projections.Event(nil), events[:n]...)
		events = events[n:]
		for len(batch) > 0 {
			err := s.fold(batch)
			if err == nil {
				break
			}
			var bad *projections.EventError
			if !errors.As(err, &bad) {
				t.Fatalf("%v is not about an event", err)
			}
			i := int(bad.Seq - batch[0].Seq)
			if err := s.fold(append([]projections.Event(nil), batch[:i]...)); err != nil {
				t.Fatalf("events before the poison %v did not fold again: %v", bad, err)
			}
			poison[bad.Seq] = bad.Error()
			batch = batch[i+1:]
		}
	}
	values := map[string]string{}
	for key, stored := range s.values {
		values[key] = string(stored)
	}
	return values, poison
}
