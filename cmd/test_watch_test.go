package cmd

import (
	"context"
	"os"
	"strings"
	"testing"
)

func TestWatchRunsAgainOnChangeOfAFileOrAnInclude(t *testing.T) {
	t.Chdir(writeFiles(t, map[string]string{"tailfold.yaml": "include: ['p/*.yaml']\n", "p/totals.yaml": totals + totalsTests}))
	ctx, cancel := context.WithCancel(t.Context())
	var p programRun
	code := make(chan int, 1)
	go func() { code <- p.run(ctx, "test", "tailfold.yaml", "--watch") }()
	rewrite := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said := func(text string, times int) {
		t.Helper()
		await(t, text, func() bool { return strings.Count(p.stdout.String()+p.stderr.String(), text) >= times })
	}
	said("1 of 2 tests failed", 1)
	said("watching 2 files", 1)
	rewrite("p/totals.yaml", totals+strings.Replace(totalsTests, "total: 2}", "total:  2 }", 1)) // still wrong
	said("1 of 2 tests failed", 2)
	said("watching 2 files", 2)
	rewrite("p/totals.yaml", totals+strings.Replace(totalsTests, "expect: {c: {orders: 2, total: 2}}", "expect: {c: {orders: 1, total: 2}}", 1))
	said("2 tests passed", 1)
	said("watching 2 files", 3)
	rewrite("p/more.yaml", "tests: [{name: more, projection: customer-totals, given: [], expect: {}}]\n") // a new file of the pattern
	said("3 tests passed", 1)
	said("watching 3 files", 1)
	rewrite("p/more.yaml", "tests: [") // and one that can't be read
	said("p/more.yaml:1:", 1)
	said("watching 3 files", 2)
	cancel()
	if got := <-code; got != 0 {
		t.Errorf("code %d", got)
	}
}
