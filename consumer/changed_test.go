package consumer_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/projections/declared"
)

const asWritten = `
projections:
- name: totals
  version: 1
  stream: DEEDS
  when: event.do == nil
  key: event.keys
  seed: {n: 0, sum: 0}
  let: {twice: event.n * 2}
  value:
    n: value.n + 1
    sum: value.sum + twice
    most: max(value.most ?? event.n, event.n)
`

// The same, otherwise written.
const asRewritten = `
# comments do not count
projections:
- stream: "DEEDS"
  version: 1
  let:
    twice: (event.n*2)   # nor spacing
  value:
    most: >-
      max( value.most ?? event.n,
           event["n"] )
    sum: 'value.sum+twice'
    n: value.n + 1
  key: event.keys
  on_poison: skip
  seed: {sum: 0, n: 0}
  name: totals
  when: event.do==nil
`

func declaredOf(t *testing.T, text string) []projections.Projection {
	t.Helper()
	all, err := declared.Parse("totals.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var list []projections.Projection
	for _, p := range all {
		list = append(list, p)
	}
	return list
}

// startedWith folds some deeds by one text of a declared projection, then starts a worker with another one.
func startedWith(t *testing.T, first, second string) consumer.UnitStatus {
	t.Helper()
	h := newHouse(t)
	h.add(2, "a")
	h.add(5, "a", "b")
	r := h.start(declaredOf(t, first)...)
	settle(3 * time.Second)
	r.stop()
	h.add(7, "b")
	r = h.start(declaredOf(t, second)...)
	settle(3 * time.Second)
	status := r.Status()
	r.stop()
	if len(status) != 1 {
		t.Fatalf("the units are %+v", status)
	}
	return status[0]
}

func TestADeclaredProjectionWrittenAnewGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := startedWith(t, asWritten, asRewritten)
		if got.State != consumer.Live || got.Verdict != "" || got.Seq != 3 {
			t.Errorf("the unit is %+v", got)
		}
	})
}

func TestAChangedDeclarationIsChangedNamingOldAndNew(t *testing.T) {
	for _, c := range []struct{ name, from, to, was, is string }{
		{"an expression", "value.sum + twice", "value.sum - twice", "[value.sum: (value.sum + twice)]", "[value.sum: (value.sum - twice)]"},
		{"a let", "event.n * 2", "event.n * 3", "[let twice: (event.n * 2)]", "[let twice: (event.n * 3)]"},
		{"a seed", "sum: 0}", "sum: 1}", `seed: {"n":0,"sum":0}`, `seed: {"n":0,"sum":1}`},
		{"a condition", "event.do == nil", "event.do != nil", "[when: (event.do == nil)]", "[when: (event.do != nil)]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := startedWith(t, asWritten, strings.Replace(asWritten, c.from, c.to, 1))
				if got.State != consumer.Halted || got.Verdict != string(consumer.Changed) || got.Seq != 2 {
					t.Errorf("the unit is %+v", got)
				}
				for _, part := range []string{c.was, c.is, "version: 2", "tailfold drop totals --version 1"} {
					if !strings.Contains(got.Detail, part) {
						t.Errorf("it does not say %q:\n%s", part, got.Detail)
					}
				}
				if strings.Contains(got.Detail, "most") {
					t.Errorf("it names what did not change:\n%s", got.Detail)
				}
			})
		})
	}
}

func TestALongRuleIsCutToWhatChangedInIt(t *testing.T) {
	long := "value.sum + twice" + strings.Repeat(" + event.n", 60)
	first := strings.Replace(asWritten, "value.sum + twice", long+" + 1"+strings.Repeat(" + event.n", 60), 1)
	synctest.Test(t, func(t *testing.T) {
		got := startedWith(t, first, strings.Replace(first, "+ 1 +", "+ 2 +", 1))
		i := strings.Index(got.Detail, "was [")
		if i < 0 || !strings.Contains(got.Detail, "event.n) + 1) + event.n") || !strings.Contains(got.Detail, "event.n) + 2) + event.n") {
			t.Fatalf("it does not say what changed:\n%s", got.Detail)
		}
		if evidence, _, _ := strings.Cut(got.Detail[i:], "]."); len(evidence) > 600 {
			t.Errorf("it says too much:\n%s", got.Detail)
		}
	})
}
