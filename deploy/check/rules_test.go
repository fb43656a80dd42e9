package check_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"sigs.k8s.io/yaml"
)

type rulesFile struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr, For    string
			Labels, Annotations map[string]string
		}
	}
}

func alerts(t *testing.T) rulesFile {
	t.Helper()
	var rules rulesFile
	if err := yaml.UnmarshalStrict([]byte(read(t, "../prometheus/alerts.yaml")), &rules); err != nil {
		t.Fatal(err)
	}
	return rules
}

// query is an expression of PromQL, and what asks it.
type query struct{ where, expr string }

// queries are those of the rules, the dashboard and the autoscaler.
func queries(t *testing.T) []query {
	t.Helper()
	var found []query
	for _, group := range alerts(t).Groups {
		for _, rule := range group.Rules {
			found = append(found, query{"the alert " + rule.Alert, rule.Expr})
		}
	}
	for _, panel := range dashboard(t).Panels {
		for _, target := range panel.Targets {
			found = append(found, query{"the panel " + panel.Title, target.Expr})
		}
	}
	for _, trigger := range kustomize(t, "keda").objects["ScaledObject"].(*keda.ScaledObject).Spec.Triggers {
		found = append(found, query{"the ScaledObject", trigger.Metadata["query"]})
	}
	return found
}

// queriedMetrics are our metrics that queries name, and who does.
func queriedMetrics(t *testing.T) map[string][]string {
	t.Helper()
	names := map[string][]string{}
	for _, q := range queries(t) {
		for _, name := range regexp.MustCompile(`[a-z]+_[a-z_]*[a-z]`).FindAllString(regexp.MustCompile(`"[^"]*"`).ReplaceAllString(q.expr, ""), -1) {
			if regexp.MustCompile(`^(tailfold|go|process)_`).MatchString(name) && !slices.Contains(names[name], q.where) {
				names[name] = append(names[name], q.where)
			}
		}
	}
	if len(names) < 10 {
		t.Fatalf("only these metrics were found in queries: %v", names)
	}
	return names
}

type dashboardFile struct {
	Title      string
	UID        string
	Panels     []panel
	Templating struct {
		List []struct {
			Name, Type string
			Query      any
		}
	}
}

type panel struct {
	ID          int
	Title, Type string
	Description string
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct{ Expr, LegendFormat string }
}

func dashboard(t *testing.T) dashboardFile {
	t.Helper()
	var d dashboardFile
	if err := json.Unmarshal([]byte(read(t, "../grafana/tailfold.json")), &d); err != nil {
		t.Fatalf("grafana/tailfold.json: %v", err)
	}
	return d
}

// Each panel has a place of its own, says what it shows, and asks something.
func TestTheDashboardIsWhole(t *testing.T) {
	d := dashboard(t)
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range d.Panels {
		if p.Title == "" || p.Description == "" || p.ID == 0 || ids[p.ID] || len(p.Targets) == 0 {
			t.Errorf("the panel %+v lacks something, or has another one's id", p)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("the panels %s and %q overlap, or are too wide", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
	variables := map[string]bool{"__rate_interval": true, "__interval": true}
	for _, v := range d.Templating.List {
		variables[v.Name] = true
	}
	for _, q := range queries(t) {
		for _, name := range regexp.MustCompile(`\$\{?([a-z_]+)`).FindAllStringSubmatch(q.expr, -1) {
			if !variables[name[1]] {
				t.Errorf("%s asks with $%s, which the dashboard does not have", q.where, name[1])
			}
		}
	}
	t.Logf("%d panels", len(d.Panels))
}

func promtool(t *testing.T, args ...string) string {
	t.Helper()
	command := exec.Command("promtool", args...)
	command.Dir = "../prometheus"
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("promtool %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestAlertsFireWhenTheyShould(t *testing.T) {
	t.Log(promtool(t, "check", "rules", "alerts.yaml"))
	t.Log(promtool(t, "test", "rules", "alerts_test.yaml"))

	// Of each alert there is a case that fires, and one that does not.
	var tests struct {
		Tests []struct {
			AlertRules []struct {
				Name string `json:"alertname"`
				Want []any  `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "../prometheus/alerts_test.yaml")), &tests); err != nil {
		t.Fatal(err)
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range tests.Tests {
		for _, rule := range test.AlertRules {
			if len(rule.Want) > 0 {
				fires[rule.Name] = true
			} else {
				silent[rule.Name] = true
			}
		}
	}
	for _, group := range alerts(t).Groups {
		for _, rule := range group.Rules {
			if !fires[rule.Alert] || !silent[rule.Alert] {
				t.Errorf("%s: a case that fires: %v, one that does not: %v", rule.Alert, fires[rule.Alert], silent[rule.Alert])
			}
		}
	}
}

// A rule that would never hold must fail, else promtool checks nothing.
func TestAlertsThatNeverFireAreFound(t *testing.T) {
	dir := t.TempDir()
	wrong := strings.Replace(read(t, "../prometheus/alerts.yaml"), "tailfold_fenced_total", "tailfold_fenced", 1)
	for name, text := range map[string]string{"alerts.yaml": wrong, "alerts_test.yaml": read(t, "../prometheus/alerts_test.yaml")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.Command("promtool", "test", "rules", "alerts_test.yaml")
	command.Dir = dir
	if out, err := command.CombinedOutput(); err == nil || !strings.Contains(string(out), "TailfoldFencedWriters") {
		t.Errorf("a rule with a wrong metric passes: %v\n%s", err, out)
	}
}

// promtool reads every query, those of the dashboard and of the autoscaler too.
func TestQueriesArePromQL(t *testing.T) {
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var rules []rule
	for i, q := range queries(t) {
		expr := strings.NewReplacer("$__rate_interval", "5m", "$__interval", "1m", "$datasource", "x").Replace(q.expr)
		rules = append(rules, rule{fmt.Sprintf("query_%d", i), expr})
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "all", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "queries.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Log(promtool(t, "check", "rules", file))
}

// Each alert leads to a heading that is there; those of verdicts by the verdict's own name.
func TestRunbooksAreThere(t *testing.T) {
	verdicts := []string{"gap", "diverged", "changed", "corrupt", "poison", "stuck", "too_large", "unsuitable", "log_unavailable", "store_unavailable"}
	links := 0
	for _, group := range alerts(t).Groups {
		for _, rule := range group.Rules {
			page, ok := strings.CutPrefix(rule.Annotations["runbook_url"], "https://github.com/tailfold/tailfold/blob/main/")
			name, anchor, _ := strings.Cut(page, "#")
			if !ok || anchor == "" || rule.Annotations["summary"] == "" || rule.Labels["severity"] == "" {
				t.Errorf("%s has the annotations %v and labels %v", rule.Alert, rule.Annotations, rule.Labels)
				continue
			}
			anchors := []string{anchor}
			if anchor == "{{ $labels.verdict | toLower }}" {
				anchors = verdicts
			}
			text := strings.ToLower(read(t, filepath.Join(root, name)))
			for _, anchor := range anchors {
				links++
				if !regexp.MustCompile(`(?m)^#+ ` + regexp.QuoteMeta(anchor) + `$`).MatchString(text) {
					t.Errorf("%s leads to %s#%s, which is not there", rule.Alert, name, anchor)
				}
			}
		}
	}
	t.Logf("%d links", links)
}
