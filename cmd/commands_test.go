package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

var allCommands = []string{"run", "status", "get", "drop", "init", "check", "test", "schema", "version", "completion"}

func TestHelpIsAsItWas(t *testing.T) {
	var all bytes.Buffer
	for _, args := range append([][]string{{"--help"}}, each(allCommands)...) {
		code, out, errs := call(t, args...)
		if code != 0 || errs != "" {
			t.Errorf("%v: code %d, %s", args, code, errs)
		}
		all.WriteString("$ tailfold " + strings.Join(args, " ") + "\n" + out + "\n")
		if _, rest, _ := strings.Cut(out, "Examples:\n\n"); len(args) == 2 {
			examples, _, _ := strings.Cut(rest, "\n\n")
			if n := strings.Count(examples+"\n", "\n"); n != 2 || strings.Count(examples, "tailfold") < 2 {
				t.Errorf("%v has %d examples, want 2:\n%s", args, n, examples)
			}
		}
	}
	const golden = "testdata/help.txt"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, all.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(all.String(), "\n")); diff != "" {
		t.Errorf("go test ./cmd -run TestHelp -update writes it anew:\n%s", diff)
	}
}

func each(commands []string) (args [][]string) {
	for _, c := range commands {
		args = append(args, []string{c, "--help"})
	}
	return args
}

func TestWrongUsageIsExitCodeTwoWithTheWayOut(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"verify", "tailfold: verify comes in a later version; this one has run, status, get, drop, init, check, test, " +
			"schema, version, completion"},
		{"doctor --config x", "tailfold: doctor comes in a later version; this one has run, status, get, drop, " +
			"init, check, test, schema, version, completion"},
		{"stauts", `tailfold: there is no command "stauts": did you mean "status"? (tailfold --help explains them)`},
		{"get", `tailfold: get: expected "<projection>" (see tailfold get --help)`},
		{"drop x", `tailfold: drop: missing flags: --version=N (see tailfold drop --help)`},
		{"status --jsno", `tailfold: status: unknown flag --jsno, did you mean "--json"? (see tailfold status --help)`},
		{"--config x run", "tailfold: unknown flag --config: the command comes first, then its flags (see " +
			"tailfold --help)"},
		{"completion tcsh", `tailfold: completion: <shell> must be one of "bash","zsh","fish" but got "tcsh" (see tailfold completion --help)`},
		{"run", "tailfold: there are no projections: name a configuration that declares some with --config FILE, " +
			"or register some in Go"},
		{"drop x --version 0", "tailfold: --version is 0: versions count from 1"},
		{"test x.yaml --run (", "tailfold: --run is no regular expression: error parsing regexp: missing closing ): `(`"},
		{"check no.yaml", "tailfold: no.yaml: there is no such file: name the configuration with --config FILE, " +
			"or write one (tailfold init)"},
	} {
		code, out, errs := call(t, strings.Fields(c.args)...)
		if code != 2 || out != "" || errs != c.want+"\n" {
			t.Errorf("%s: code %d, printed %q and\n%swant\n%s", c.args, code, out, errs, c.want)
		}
	}
}

func TestVersionIsPrinted(t *testing.T) {
	code, out, _ := call(t, "version")
	if code != 0 || !regexp.MustCompile(`^tailfold v0-test \(go1\.\S+, \w+/\w+\)\n$`).MatchString(out) {
		t.Errorf("code %d, printed %q", code, out)
	}
}

func TestTheSchemaIsJSON(t *testing.T) {
	code, out, _ := call(t, "schema")
	var s map[string]any
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != 0 || s["$schema"] == nil {
		t.Errorf("code %d, %v: %s", code, err, out)
	}
	_, again, _ := call(t, "schema")
	if out != again {
		t.Error("it is another one each time")
	}
}

func TestCompletionScriptsNameAllCommandsAndFlags(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		code, out, _ := call(t, "completion", shell)
		for _, part := range append(allCommands, "log-format", "watch", "prefix") {
			if code != 0 || !strings.Contains(out, part) {
				t.Errorf("%s: code %d, no %s in it", shell, code, part)
			}
		}
	}
	_, script, _ := call(t, "completion", "bash")
	answer, err := exec.Command("bash", "-c", script+"\nCOMP_WORDS=(tailfold sta); COMP_CWORD=1; _tailfold; echo "+
		"${COMPREPLY[@]}\n"+
		"COMP_WORDS=(tailfold get --pre); COMP_CWORD=2; _tailfold; echo ${COMPREPLY[@]}").CombinedOutput()
	if want := "status\n--prefix\n"; err != nil || string(answer) != want {
		t.Errorf("bash completes to %q (%v), want %q", answer, err, want)
	}
}

type addedByTest struct {
	Loud bool `help:"Shout."`
}

func (addedByTest) Help() string { return "Examples:\n\n    tailfold hello --loud" }
func (c addedByTest) Run(app *App) error {
	text := "hello"
	if c.Loud {
		text = "HELLO"
	}
	_, err := app.Stdout.Write([]byte(text))
	return err
}

func TestAProgramCanAddCommands(t *testing.T) {
	var out, errs bytes.Buffer
	code := execute(t.Context(), App{Name: "tailfold", Stdout: &out, Stderr: &errs}, []string{"hello", "--loud"},
		[]Option{WithCommand("hello", "Say hello.", &addedByTest{})})
	if code != 0 || out.String() != "HELLO" || errs.String() != "" {
		t.Errorf("code %d, printed %q and %q", code, out.String(), errs.String())
	}
}

const totalsTests = `
tests:
- name: amounts are added
  projection: customer-totals
  given:
  - data: {customer: c, amount: 2}
  - data: {customer: c, amount: 3}
  expect: {c: {orders: 2, total: 5}}
- name: this one is wrong
  projection: customer-totals
  given: [{data: {customer: c, amount: 2}}]
  expect: {c: {orders: 2, total: 2}}
`

func TestDeclaredTestsAreRun(t *testing.T) {
	t.Chdir(writeFiles(t, map[string]string{
		"tailfold.yaml": "nats: {url: '${NOT_SET}'}\ninclude: ['p/*.yaml']\n", "p/totals.yaml": totals, "p/tests.yaml": totalsTests,
		"lonely.yaml": strings.ReplaceAll(totalsTests, "customer-totals", "customer-total"), "none.yaml": totals,
	}))
	code, out, errs := call(t, "test", "tailfold.yaml")
	if code != 1 || !strings.Contains(out, "ok    customer-totals: amounts are added\nFAIL  customer-totals: this "+
		"one is wrong (p/tests.yaml:9)") ||
		errs != "tailfold: 1 of 2 tests failed\n" {
		t.Errorf("all: code %d, printed %q and %q", code, out, errs)
	}
	code, out, errs = call(t, "test", "p/totals.yaml", "p/tests.yaml", "--run", "added")
	if code != 0 || out != "ok    customer-totals: amounts are added\n1 test passed\n" || errs != "" {
		t.Errorf("one: code %d, printed %q and %q", code, out, errs)
	}
	code, out, _ = call(t, "test", "tailfold.yaml", "--json", "--run", "added")
	if want := `{"projection":"customer-totals","name":"amounts are added","file":"p/tests.yaml","line":3,"passed":true,"differences":[]}` + "\n"; code != 0 || out != want {
		t.Errorf("JSON: code %d, printed %s", code, out)
	}
	code, _, errs = call(t, "test", "lonely.yaml", "p/totals.yaml")
	if code != 2 || !strings.HasPrefix(errs, `lonely.yaml:3: tests: there is no projection "customer-total" in these files: did you mean "customer-totals"?`) {
		t.Errorf("no projection: code %d, printed %q", code, errs)
	}
	code, _, errs = call(t, "test", "none.yaml")
	if code != 1 || errs != "tailfold: no test was run: there is none in these files, or none that --run matches\n" {
		t.Errorf("no tests: code %d, printed %q", code, errs)
	}
}

func TestCheckTellsWhatIsThereOrAllThatIsWrong(t *testing.T) {
	t.Chdir(writeFiles(t, map[string]string{
		"good.yaml": "store: {redis: 'redis://u:topsecret@h'}\n" + totals,
		"bad.yaml":  "shard: 3\nprojections: []\n",
		"expr.yaml": strings.ReplaceAll(totals, "event.amount", "event.amount +"),
		"none.yaml": "log: {level: warn}\n", "tests.yaml": totals + totalsTests,
		"badtest.yaml": totals + "tests:\n- {name: x, projection: customer-totals}\n",
	}))
	code, out, _ := call(t, "check", "tests.yaml")
	if code != 0 || !strings.HasSuffix(out, "\n2 tests, to be run by tailfold test tests.yaml\nok\n") {
		t.Errorf("tests: code %d, printed %q", code, out)
	}
	code, _, errs := call(t, "check", "badtest.yaml")
	if code != 2 || !strings.Contains(errs, "badtest.yaml:11:3: the test expects nothing") {
		t.Errorf("a bad test: code %d, printed %q", code, errs)
	}
	code, out, errs = call(t, "check", "good.yaml")
	if want := "store redis://***@h prefix tailfold\nprojection customer-totals version 1, keyed, on stream ORDERS, all subjects\nok\n"; code != 0 || out != want || errs != "" {
		t.Errorf("good: code %d, printed %q and %q", code, out, errs)
	}
	code, _, errs = call(t, "check", "bad.yaml")
	if want := "tailfold: bad.yaml:1:8: shard: is \"3\": write i/n, share i of n, with i from 0 to n-1, such as 0/3, 1/3 and 2/3 for three workers\n"; code != 2 || errs != want {
		t.Errorf("bad: code %d, printed %q", code, errs)
	}
	code, _, errs = call(t, "check", "expr.yaml")
	if code != 2 || !strings.HasPrefix(errs, "expr.yaml:") || !strings.Contains(errs, "^") {
		t.Errorf("expression: code %d, printed %q", code, errs)
	}
	code, _, errs = call(t, "check", "none.yaml")
	if code != 2 || errs != "tailfold: none.yaml: projections: there are no projections: declare one, include files that do, or register one in Go\n" {
		t.Errorf("none: code %d, printed %q", code, errs)
	}
}

func goProjection(name string, version int, onPoison projections.OnPoison) projections.Projection {
	return projections.Single[int]{Name: name, Version: version, Stream: "S", OnPoison: onPoison, Step: func(n int,
		_ projections.Event) (int, error) {
		return n + 1, nil
	}}
}

func TestProjectionsInGoAndDeclaredOnesAreMerged(t *testing.T) {
	for _, c := range []struct {
		name, file string
		want       []string // of each: name, version, on_poison, start
		err        string
	}{
		{name: "settings of one version, and a declared one beside",
			file: "projections:\n- {name: counter, version: 2, on_poison: skip, start: first-available}\n- {name: new, version: 1, stream: S, value: 1}\n",
			want: []string{"counter 1  ", "counter 2 skip first-available", "new 1  ", "strict 1 halt "}},
		{name: "settings of all versions", file: "projections:\n- {name: counter, on_poison: skip}\n- {name: " +
			"strict, on_poison: halt}\n",
			want: []string{"counter 1 skip ", "counter 2 skip ", "strict 1 halt "}},
		{name: "a contradiction", file: "projections:\n- {name: strict, on_poison: skip}\n",
			err: `f.yaml:2:3: projections: strict: on_poison is "skip" here and "halt" in the code: remove one`},
		{name: "settings twice", file: "projections:\n- {name: strict, start: beginning}\n- {name: strict, " +
			"version: 1, start: beginning}\n",
			err: `f.yaml:3:3: projections: strict: version 1 has settings already: keep one entry`},
		{name: "settings of nothing", file: "projections:\n- {name: countr, on_poison: skip}\n- {name: other, " +
			"version: 1}\n- {name: counter, version: 9, on_poison: skip}\n",
			err: "f.yaml:2:3: projections: the entry \"countr\" declares nothing (it has no value), and this program has no such projection in Go: did you mean \"counter\"?\n" +
				"f.yaml:3:3: projections: the entry \"other\" declares nothing (it has no value), and this program has no such projection in Go: correct it, remove it, or give it a value\n" +
				`f.yaml:4:3: projections: this program has the projection "counter" in Go, but not version 9 of it: correct it, remove it, or give it a value`},
		{name: "bad settings", file: "projections:\n- {name: counter, on_poison: ignore}\n- {version: 1}\n",
			err: "f.yaml:2:30: projections.N.on_poison: is \"ignore\": write halt or skip\nf.yaml:3:3: projections: the entry has no name: write - name: customer-totals"},
		{name: "declared and in Go", file: "projections:\n- {name: counter, version: 1, stream: S, value: 1}\n",
			err: `projection "counter" version 1: is registered already, with another definition ("codec: json" against "codec: canonical-json"): give the changed one a version of its own`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(writeFiles(t, map[string]string{"f.yaml": c.file}))
			var registry projections.Registry
			if err := registry.Add(goProjection("counter", 1, ""), goProjection("counter", 2, ""),
				goProjection("strict", 1, projections.Halt)); err != nil {
				t.Fatal(err)
			}
			l, err := (&App{Registry: &registry}).load(Sources{File: "f.yaml"})
			if err != nil {
				if diff := cmp.Diff(strings.Split(c.err, "\n"), strings.Split(err.Error(), "\n")); diff != "" {
					t.Error(diff)
				}
				return
			}
			var got []string
			for _, p := range l.registry.All() {
				d := p.Definition()
				got = append(got, strings.Join([]string{d.Name, string(rune('0' + d.Version)), string(d.OnPoison),
					string(d.Start)}, " "))
			}
			if diff := cmp.Diff(c.want, got); diff != "" || c.err != "" {
				t.Errorf("no error; %s", diff)
			}
		})
	}
}

func TestVariablesInProjectionsAreFilledInButNotInExpressions(t *testing.T) {
	t.Chdir(writeFiles(t, map[string]string{"f.yaml": "projections:\n- name: a-${STAGE}\n  version: 1\n  stream: " +
		"${STREAM:-ORDERS}\n  subjects: ['${STAGE}.>']\n  value: {x: '\"${STAGE}\"'}\n"}))
	l, err := (&App{}).load(Sources{File: "f.yaml", Environ: []string{"STAGE=prod"}})
	if err != nil {
		t.Fatal(err)
	}
	d := l.registry.All()[0].Definition()
	if d.Name != "a-prod" || d.Stream != "ORDERS" || d.Subjects[0] != "prod.>" || !strings.Contains(d.Rules, "${STAGE}") {
		t.Errorf("the definition is %+v", d)
	}
}

func TestNoSecretIsShownAnywhere(t *testing.T) {
	const natsSecret, redisSecret = "nats-Pa55word", "redis/Pa55+word"
	server := natstest.Start(t, natstest.Options{Config: "authorization {user: worker, password: " + natsSecret + "}"})
	redis := redistest.Start(t)
	orders(t, server.Connect(nats.UserInfo("worker", natsSecret)), 3)
	redis.Do("CONFIG", "SET", "requirepass", redisSecret)
	file := configFile(t, totals+"nats: {url: '"+server.URL()+"', user: worker, password: "+
		"'"+natsSecret+"'}\nstore: {redis: '"+
		strings.Replace(redis.URL(), "redis://", "redis://:redis%2FPa55+word@", 1)+"'}\nhttp: {token: "+httpToken+"}\n")
	worker := start(t, nil, "-c", file)
	worker.ready()
	var all []string
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"get", "customer-totals"}, {"get",
		"customer-totals", "c-1", "--json"}, {"check"},
		{"get", "nothing"}, {"drop", "customer-totals", "--version", "1"}} {
		_, out, errs := call(t, append(args, "-c", file)...)
		all = append(all, out, errs)
	}
	for _, path := range []string{"/api/v1/status", "/readyz", "/livez", "/metrics", "/api/v1/projections/x/keys/y",
		"/api/v1/projections/customer-totals/keys/c-1"} {
		for _, token := range []string{"", "Bearer " + httpToken} {
			_, body := askWith(t, nil, http.MethodGet, worker.base+path, token)
			all = append(all, body)
		}
	}
	redis.Do("CONFIG", "SET", "requirepass", "another")
	redis.Do("CLIENT", "KILL", "TYPE", "normal")
	await(t, "the worker to be refused", func() bool {
		return strings.Contains(worker.program.stderr.String(),
			"WRONGPASS")
	})
	_, body := get(t, worker.base+"/readyz")
	_, out, errs := call(t, "status", "-c", file)
	all = append(all, body, out, errs)
	server.Stop()
	await(t, "the worker to lose its log", func() bool {
		return strings.Contains(worker.program.stderr.String(),
			`"msg":"disconnected"`)
	})
	worker.stopped()
	all = append(all, worker.program.stderr.String())
	if joined := strings.Join(all, "\n"); !strings.Contains(joined, "WRONGPASS") || !strings.Contains(joined,
		`"customer-totals"`) {
		t.Error("the test has not seen what it should have")
	}
	for _, text := range all {
		for _, secret := range []string{natsSecret, redisSecret, httpToken, "redis%2FPa55+word"} {
			keepsSecret(t, text, secret)
		}
	}
}

func TestStatusWithTheLogAwayShowsTheStoreAndSaysSo(t *testing.T) {
	redis := redistest.Start(t)
	code, out, errs := call(t, "status", "-c", configFile(t, totals), "--store", redis.URL(), "--nats",
		"nats://"+nowhere(t))
	if code != 3 || !strings.Contains(out, "customer-totals/v1/0  unowned") || !strings.Contains(errs, "ORDERS") {
		t.Errorf("code %d, printed %q and %q", code, out, errs)
	}
}

func TestAFileThatIsNotThereIsNotMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	code, _, errs := call(t, "status", "-c", configFile(t, totals), "--store", path, "--listen", nowhere(t))
	if code != 3 || !strings.Contains(errs, "does not exist: no worker has run with this configuration") {
		t.Errorf("code %d, printed %q", code, errs)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Error("status has made the file")
	}
}

func TestAWorkerWithAnotherStoreIsNotAsked(t *testing.T) {
	server, folder := natstest.Start(t), t.TempDir()
	orders(t, server.Connect(), 1)
	file := configFile(t, totals)
	worker := start(t, nil, "-c", file, "--nats", server.URL(), "--store", filepath.Join(folder, "a.db"))
	worker.ready()
	code, _, errs := call(t, "drop", "customer-totals", "--version", "1", "--yes", "-c", file, "--store",
		filepath.Join(folder, "b.db"),
		"--listen", strings.TrimPrefix(worker.base, "http://"))
	if code != 3 || !strings.Contains(errs, "a.db, not ") {
		t.Errorf("code %d, printed %q", code, errs)
	}
}

func TestWatchPrintsAnewUntilItIsStopped(t *testing.T) {
	server, redis := natstest.Start(t), redistest.Start(t)
	orders(t, server.Connect(), 2)
	ctx, stop := context.WithCancel(t.Context())
	p := programRun{environ: []string{"TAILFOLD_CONFIG=" + configFile(t, totals), "TAILFOLD_STORE_REDIS=" + redis.URL(), "NATS_URL=" + server.URL()}}
	code := make(chan int)
	go func() { code <- p.run(ctx, "status", "--watch", "--json") }()
	await(t, "two lines", func() bool { return strings.Count(p.stdout.String(), "\n") >= 2 })
	stop()
	if got := <-code; got != 0 {
		t.Errorf("exit code %d, printed %s", got, p.stderr.String())
	}
	for line := range strings.Lines(p.stdout.String()) {
		if units := unitsIn(t, line); len(units) != 1 || units[0].State != consumer.Unowned || units[0].Head != 2 {
			t.Errorf("a line is %s", line)
		}
	}
}
