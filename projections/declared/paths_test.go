package declared

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/projections"
)

func TestPathsAreAllPlacesThatExpressionsName(t *testing.T) {
	p := one(t, head+`  when: event.type == "A" or "B" == event.type
  let: {lines: 'event.order?.lines', big: 'filter(lines, .qty > 1)'}
  on:
  - when: event["the kind"] != nil
    key: map(event.lines, .sku)
    value:
      a: sum(big, .price) + event.lines[0].qty
      b: 'find(event.tags, # == "x") ?? event[event.which]'
      c: 'filter(event.lines, .gone == nil)[0].sku'
      d: map(event.rows, map(#.cells, .v))
  gone: value.n == event.end
`)
	type path struct {
		Path  string
		Texts []string
	}
	var got []path
	for _, found := range p.Paths() {
		got = append(got, path{found.String(), found.Texts})
	}
	want := []path{{"event.type", []string{"A", "B"}}, {"event.order.lines[].qty", nil}, {"event.order.lines", nil},
		{`event["the kind"]`, nil}, {"event.lines", nil}, {"event.lines[].sku", nil}, {"event.order.lines[].price", nil},
		{"event.lines[].qty", nil}, {"event.tags", nil}, {"event.tags[]", []string{"x"}}, {"event.which", nil},
		{"event.lines[].gone", nil}, {"event.rows", nil}, {"event.rows[].cells", nil}, {"event.rows[].cells[].v", nil}, {"event.end", nil}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	fault := p.Paths()[0].Fault("is never there")
	if want := "test.yaml:5:9: is never there\n  | event.type == \"A\" or \"B\" == event.type\n  | ^"; fault.Error() != want {
		t.Errorf("the fault is\n%v\nwant\n%s", fault, want)
	}
}

func TestMismatchesAreToldByPath(t *testing.T) {
	p := one(t, head+"  event: {n: int, s: string, l: [{q: number}], m: {x: bool}, any: any}\n  value: seq\n")
	got := p.Mismatches(projections.Event{Data: []byte(`{"n":1.0,"s":null,"l":[{"q":1},{"q":"1"},{"q":"2"},7],"m":{"x":"yes"},"any":[],"more":1}`)})
	want := []Mismatch{{"event.l[].q", "a number", "a text"}, {"event.l[]", "a map", "an int"}, {"event.m.x", "a bool", "a text"}, {"event.n", "an int", "a float"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, fine := range []string{`{}`, `{"n":1,"l":[]}`, `not JSON`} {
		if got := p.Mismatches(projections.Event{Data: []byte(fine)}); got != nil {
			t.Errorf("%s: %v", fine, got)
		}
	}
	if got := p.Mismatches(projections.Event{Data: []byte(`[]`)}); len(got) != 1 || got[0].String() != "event is declared as a map, but is a list" {
		t.Errorf("a list: %v", got)
	}
	if got := one(t, head+"  value: seq\n").Mismatches(projections.Event{Data: []byte(`[]`)}); got != nil {
		t.Errorf("without a shape: %v", got)
	}
}
