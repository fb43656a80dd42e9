package bench_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tailfold/tailfold/cmd"
	"github.com/tailfold/tailfold/cmd/bench"
	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// TestMain is the program itself where it is started again as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "bench" {
		cmd.Main(nil, cmd.WithCommand("bench", bench.Summary, &bench.Command{}))
	}
	os.Exit(m.Run())
}

// program is the command as a process of its own, which ends before the test does.
func program(t *testing.T, words ...string) (command *exec.Cmd, stdout, stderr *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command = exec.CommandContext(t.Context(), self, append([]string{"bench"}, words...)...)
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	command.Stdout, command.Stderr = stdout, stderr
	return command, stdout, stderr
}

type printed struct {
	Events       int                 `json:"events"`
	Limit        *float64            `json:"limit_per_s"`
	Naive        *float64            `json:"naive_per_s"`
	Batched      *float64            `json:"batched_per_s"`
	Go           *float64            `json:"tailfold_go_per_s"`
	Declared     *float64            `json:"tailfold_declared_per_s"`
	Fanout       map[string]*int64   `json:"fanout"`
	Ratios       map[string]*float64 `json:"ratios"`
	Freshness    map[string]*float64 `json:"freshness_ms"`
	Wrong        []string            `json:"wrong"`
	CPU          map[string]any      `json:"cpu_us_per_event"`
	PeakRSS      *int64              `json:"peak_rss_bytes"`
	Restart      map[string]*float64 `json:"restart_ms"`
	CheckpointMS map[string]*float64 `json:"checkpoint_ms"`
	Scripts      map[string]struct {
		PerEvent *float64 `json:"us_per_event"`
		Share    *float64 `json:"share"`
		Longest  *float64 `json:"longest_ms"`
	} `json:"redis_scripts"`
	NaiveEvents int            `json:"naive_events"`
	Keys        int            `json:"keys"`
	Machine     map[string]any `json:"machine"`
}

// nothingLeft demands that neither server has anything of the command's.
func nothingLeft(t *testing.T, server *natstest.Process, store *redistest.Server) {
	t.Helper()
	names := natstest.JetStream(t, server.Connect()).StreamNames(context.Background())
	for name := range names.Name() {
		t.Errorf("the stream %s is left", name)
	}
	if err := names.Err(); err != nil {
		t.Fatal(err)
	}
	for _, name := range store.Do("KEYS", "*").([]any) {
		t.Errorf("the name %v is left in Redis", name)
	}
}

func TestEveryContenderIsRightAndNothingIsLeftBehind(t *testing.T) {
	server, store := natstest.StartProcess(t), redistest.Start(t)
	command, stdout, stderr := program(t, "--nats", server.URL(), "--redis", store.URL(), "--events", "4000", "--keys", "300",
		"--rounds", "2", "--json", "--only", "limit,naive,batched,go,declared,fanout")
	if err := command.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	var got printed
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatalf("%v\n%s", err, stdout)
	}
	for name, rate := range map[string]*float64{"limit": got.Limit, "naive": got.Naive, "batched": got.Batched, "go": got.Go, "declared": got.Declared} {
		if rate == nil || *rate <= 0 {
			t.Errorf("%s has no rate", name)
		}
	}
	for _, name := range []string{"go_to_limit", "declared_to_limit", "go_to_naive", "go_to_batched", "fanout_16_to_1"} {
		if got.Ratios[name] == nil {
			t.Errorf("there is no ratio %s", name)
		}
	}
	if len(got.Wrong) > 0 || got.Events != 4000 || got.NaiveEvents != 2000 || got.Fanout["16"] == nil {
		t.Errorf("it prints %s", stdout)
	}
	for _, name := range []string{"go", "declared"} {
		x, ok := got.Scripts[name]
		if !ok || x.PerEvent == nil || *x.PerEvent <= 0 || x.Share == nil || x.Longest != nil { // the slow log of this Redis is not the command's to empty
			t.Errorf("the scripts of %s took %+v", name, x)
		}
	}
	if _, ok := got.Scripts["naive"]; ok {
		t.Error("naive is said to have run scripts")
	}
	if got.PeakRSS != nil || got.Restart["keys_1m"] != nil {
		t.Errorf("what was not measured has figures: %s", stdout)
	}
	nothingLeft(t, server, store)
}

func TestFreshnessIsMeasuredOnServersOfItsOwn(t *testing.T) {
	command, stdout, stderr := program(t, "--only", "freshness", "--keys", "100")
	if err := command.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	if !strings.Contains(stdout.String(), "freshness at 1,000 events/s") || !strings.Contains(stderr.String(), "redis-server (process") {
		t.Errorf("it prints %s and says %s", stdout, stderr)
	}
}

func TestInterruptedItLeavesNothingBehind(t *testing.T) {
	server, store := natstest.StartProcess(t), redistest.Start(t)
	command, _, stderr := program(t, "--nats", server.URL(), "--redis", store.URL(), "--events", "20000", "--rounds", "1000", "--only", "batched,go")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	js := natstest.JetStream(t, server.Connect())
	for deadline := time.Now().Add(time.Minute); ; {
		count := 0
		for range js.StreamNames(t.Context()).Name() {
			count++
		}
		if count > 0 && len(store.Do("KEYS", "*").([]any)) > 0 { // it is in the midst of a round
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it has not begun within a minute:\n%s", stderr)
		}
		time.Sleep(time.Millisecond) // polls another process
	}
	if err := command.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err == nil {
		t.Errorf("it ended as if it were done:\n%s", stderr)
	}
	nothingLeft(t, server, store)
}

// TestAWrongResultIsNoRate has somebody else write into the hash that a contender leaves.
func TestAWrongResultIsNoRate(t *testing.T) {
	server, store := natstest.StartProcess(t), redistest.Start(t)
	command, stdout, stderr := program(t, "--nats", server.URL(), "--redis", store.URL(), "--events", "30000", "--keys", "50",
		"--rounds", "1", "--only", "naive")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		names := store.Do("KEYS", "tailfold-bench-*").([]any)
		if len(names) > 0 {
			store.Do("HINCRBY", names[0], "c-0000001", 1)
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it has not begun within a minute:\n%s", stderr)
		}
		time.Sleep(time.Millisecond) // polls another process
	}
	err := command.Wait()
	if command.ProcessState.ExitCode() != 1 || !strings.Contains(stdout.String(), "WRONG") || !strings.Contains(stderr.String(), "c-0000001 is") {
		t.Errorf("%v; it prints\n%s\nand says\n%s", err, stdout, stderr)
	}
}

// A command that Redis refuses makes one contender fail, not the whole run.
func TestAContenderThatFailsDoesNotEndTheRun(t *testing.T) {
	server, store := natstest.StartProcess(t), redistest.Start(t)
	store.Do("ACL", "SETUSER", "default", "-hincrby") // what naive and batched need, and Tailfold does not
	command, stdout, stderr := program(t, "--nats", server.URL(), "--redis", store.URL(), "--events", "3000", "--keys", "50",
		"--rounds", "1", "--only", "naive,limit,go")
	err := command.Run()
	if command.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), "naive failed: ") {
		t.Errorf("%v; it says\n%s", err, stderr)
	}
	for line := range strings.Lines(stdout.String()) {
		switch {
		case strings.HasPrefix(line, "naive") && !strings.Contains(line, "FAILED"), strings.HasPrefix(line, "Tailfold, Go") && strings.Contains(line, "FAILED"):
			t.Errorf("it prints %s", line)
		}
	}
	if !strings.Contains(stdout.String(), "Tailfold, Go") || !strings.Contains(stdout.String(), "limit") {
		t.Errorf("it prints\n%s", stdout)
	}
}

func TestPlotsAreDrawings(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "plots")
	command, _, stderr := program(t, "--only", "limit", "--rounds", "1", "--events", "600", "--keys", "50", "--plot", dir)
	if err := command.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	for name, points := range map[string]int{"keys": 5, "events": 4, "projections": 5, "value-size": 4} {
		text, err := os.ReadFile(filepath.Join(dir, name+".csv"))
		if lines := strings.Count(string(text), "\n"); err != nil || lines != points+1 {
			t.Errorf("%s.csv has %d lines, want %d (%v)\n%s", name, lines, points+1, err, text)
		}
		text, err = os.ReadFile(filepath.Join(dir, name+".svg"))
		if err != nil {
			t.Fatal(err)
		}
		if err := xml.Unmarshal(text, new(struct{})); err != nil {
			t.Errorf("%s.svg: %v", name, err)
		}
		if n := strings.Count(string(text), "<circle"); n != 3*points || strings.Contains(string(text), "NaN") || strings.Contains(string(text), "Inf") {
			t.Errorf("%s.svg has %d points, want %d\n%s", name, n, 3*points, text)
		}
	}
}

func TestBadUsageIsToldAtOnce(t *testing.T) {
	command, _, stderr := program(t, "--only", "limits", "--events", "0", "--size=-1")
	_ = command.Run()
	if command.ProcessState.ExitCode() != 2 {
		t.Errorf("exit code %d", command.ProcessState.ExitCode())
	}
	for _, text := range []string{`there is no "limits"`, "--events is 0", "--size is -1"} {
		if !strings.Contains(stderr.String(), text) {
			t.Errorf("it does not say %q:\n%s", text, stderr)
		}
	}
}
