package dev_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// binary builds tailfold once for all tests of this package.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tailfold-dev-test")
	if err != nil {
		return "", err
	}
	builtIn = dir
	path := filepath.Join(dir, "tailfold")
	out, err := exec.Command("go", "build", "-o", path, "github.com/tailfold/tailfold/cmd/tailfold").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// builtIn is the folder of the binary, "" if no test wanted it.
var builtIn string

// patience is how long a test waits for what must come. It only passes where something is broken.
const patience = 90 * time.Second

// user is someone with tailfold in the PATH, in a folder of their own.
type user struct {
	t    *testing.T
	dir  string
	path string
}

func newUser(t *testing.T) *user {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return &user{t: t, dir: t.TempDir(), path: path}
}

func (u *user) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Dir = u.dir
	c.Env = append(os.Environ(), "PATH="+filepath.Dir(u.path)+":"+os.Getenv("PATH"))
	if name == "tailfold" {
		c.Path, c.Err = u.path, nil
	}
	return c
}

func (u *user) write(name, text string) {
	u.t.Helper()
	if err := os.WriteFile(filepath.Join(u.dir, name), []byte(text), 0o600); err != nil {
		u.t.Fatal(err)
	}
}

// runs a command to its end.
func (u *user) runs(name string, args ...string) (out, errs string, code int) {
	u.t.Helper()
	c := u.command(name, args...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		u.t.Fatal(err)
	}
	return stdout.String(), stderr.String(), c.ProcessState.ExitCode()
}

// running is a tailfold dev.
type running struct {
	t       *testing.T
	command *exec.Cmd
	lines   chan string
	said    []string // that was waited past
	ended   bool
}

func (u *user) starts(args ...string) *running {
	u.t.Helper()
	r := &running{t: u.t, command: u.command("tailfold", append([]string{"dev"}, args...)...), lines: make(chan string, 10_000)}
	r.command.Stderr = os.Stderr
	stdout, err := r.command.StdoutPipe()
	if err != nil {
		u.t.Fatal(err)
	}
	if err := r.command.Start(); err != nil {
		u.t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(r.lines)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			r.lines <- lines.Text()
		}
	}()
	u.t.Cleanup(func() {
		r.kill()
		<-read
		if u.t.Failed() {
			u.t.Logf("tailfold dev said:\n%s", strings.Join(r.said, "\n"))
		}
	})
	return r
}

// until waits for a line that matches, and returns its parts.
func (r *running) until(pattern string) []string {
	r.t.Helper()
	re := regexp.MustCompile(pattern)
	patient := time.NewTimer(patience)
	defer patient.Stop()
	for {
		select {
		case line, more := <-r.lines:
			if !more {
				r.t.Fatalf("tailfold dev ended before it said %q", pattern)
			}
			r.said = append(r.said, line)
			if parts := re.FindStringSubmatch(line); parts != nil {
				return parts
			}
		case <-patient.C:
			r.t.Fatalf("tailfold dev did not say %q within %v", pattern, patience)
		}
	}
}

func (r *running) kill() {
	if !r.ended {
		r.ended = true
		_ = r.command.Process.Kill()
		_ = r.command.Wait()
	}
}

func (r *running) stop() (code int) {
	r.t.Helper()
	if err := r.command.Process.Signal(os.Interrupt); err != nil {
		r.t.Fatal(err)
	}
	r.until("^stopped; ")
	r.ended = true
	_ = r.command.Wait()
	return r.command.ProcessState.ExitCode()
}

const valuesAt = `values http://(\S+)$`

// ask reads JSON from the worker.
// ask waits for the worker to listen: dev prints its address before that.
func ask(t *testing.T, url string, into any) {
	t.Helper()
	response, err := http.Get(url)
	for deadline := time.Now().Add(patience); errors.Is(err, syscall.ECONNREFUSED) && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
		response, err = http.Get(url)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatalf("%s: %s: %s: %v", url, response.Status, text, err)
	}
}

type totalAnswer struct {
	Seq   uint64 `json:"seq"`
	Value struct {
		Flights int `json:"flights"`
		Delay   int `json:"delay"`
		Miles   int `json:"miles"`
	} `json:"value"`
}

func TestKilledDevResumesAndCountsEveryFlightOnce(t *testing.T) {
	u := newUser(t)
	for kill := range 3 {
		dev := u.starts("--rate", "6000")
		at := dev.until(valuesAt)[1]
		if kill == 0 {
			dev.until("^started at seq 0")
		} else {
			resumed := dev.until(`^resumed at seq (\d+), replayed (\d+) events in (\d+) ms$`)
			if resumed[1] == "0" {
				t.Errorf("it resumed at the beginning: %s", resumed[0])
			}
		}
		var total totalAnswer
		for want := uint64(4000 * (kill + 1)); total.Seq < want; {
			ask(t, fmt.Sprintf("http://%s/api/v1/projections/total/value?min_seq=%d&timeout=30s", at, min(want, total.Seq+500)), &total)
		}
		dev.kill()
	}
	dev := u.starts("--rate", "0")
	at := dev.until(valuesAt)[1]
	dev.until(`^resumed at seq [1-9]\d*, replayed \d+ events in \d+ ms$`)
	dev.until("^all 20,000 flights are published; the log stays live")
	var total totalAnswer
	ask(t, "http://"+at+"/api/v1/projections/total/value", &total)
	if total.Seq != 20000 || total.Value.Flights != 20000 || total.Value.Delay != 154078 {
		t.Errorf("the total is %+v", total)
	}
	if code := dev.stop(); code != 0 {
		t.Errorf("exit code %d after an interrupt", code)
	}
}

func TestCommandsThatDevShowsWorkAsPrinted(t *testing.T) {
	u := newUser(t)
	dev := u.starts("--rate", "0", "--dir", "a folder")
	dev.until("^Try next")
	get, curl, again := dev.until("^  (.*)$")[1], dev.until("^  (.*)$")[1], dev.until("^  (.*)$")[1]
	dev.until("^all 20,000 flights are published")
	if out, errs, code := u.runs("sh", "-c", get); code != 0 || !strings.Contains(out, `"flights":846`) {
		t.Errorf("%s: exit code %d, %s%s", get, code, out, errs)
	}
	if out, errs, code := u.runs("sh", "-c", curl); code != 0 || !strings.Contains(out, `"flights":846`) {
		t.Errorf("%s: exit code %d, %s%s", curl, code, out, errs)
	}
	// The last one runs for ever: in the background of a shell, which tells its process id.
	shell := u.command("sh", "-c", strings.Replace(again, "&& ", "&& exec ", 1))
	stdout, err := shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	dev.ended = true
	_ = dev.command.Wait()
	lines := bufio.NewScanner(stdout)
	resumed := false
	for lines.Scan() && !resumed {
		resumed = strings.HasPrefix(lines.Text(), "resumed at seq 20000, replayed 0 events in ")
	}
	if !resumed {
		t.Errorf("%s did not resume", again)
	}
	_ = shell.Process.Kill()
	_ = shell.Wait()
}

func TestKillFindsNoDifference(t *testing.T) {
	u := newUser(t)
	out, errs, code := u.runs("tailfold", "dev", "--kill", "3", "--rate", "1500", "--seed", "7")
	if code != 0 || errs != "" || !strings.HasSuffix(out, "\ndifferences: 0\n") {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	for n := 1; n <= 3; n++ {
		if !strings.Contains(out, fmt.Sprintf("\nkill %d of 3: process id ", n)) {
			t.Errorf("kill %d is missing:\n%s", n, out)
		}
	}
	if !regexp.MustCompile(`compared [1-9]\d* keys of 4 projections with a full replay of [1-9]\d* events`).MatchString(out) {
		t.Errorf("it compared nothing:\n%s", out)
	}
}

const ordersYAML = `
nats: {url: nats://production:4222, creds: ./not-on-this-machine.creds}
store: {redis: redis://production:6379/0}
projections:
- name: customer-totals
  version: 1
  stream: ORDERS
  when: event.type == "OrderPlaced"
  key: event.customer
  seed: {orders: 0}
  value: {orders: value.orders + 1}
`

func TestOwnEventsGoThroughOwnProjections(t *testing.T) {
	u := newUser(t)
	u.write("orders.yaml", ordersYAML)
	u.write("orders.ndjson", `{"type":"OrderPlaced","customer":"a"}`+"\n{\n"+`{"type":"OrderPaid","customer":"a"}`+"\n\n"+
		`{"customer":"a"}`+"\n"+`{"type":"OrderPlaced","customer":"b"}`+"\n")
	args := []string{"--config", "orders.yaml", "--events", "orders.ndjson", "--subject", "shop.{type}"}
	dev := u.starts(args...)
	dev.until(`^orders.ndjson:2: not JSON: it ends before the object does: left out, going on with the next line$`)
	dev.until(`^orders.ndjson:5: the subject shop.\{type\}: member type is missing: left out, going on with the next line$`)
	dev.until(`^orders.ndjson is published to its end \(line 6\); the log stays live, bad lines left out: 2$`)
	expect := func(want string) {
		t.Helper()
		for key, orders := range map[string]byte{"a": want[0], "b": want[1]} {
			out, errs, code := u.runs("tailfold", "get", "customer-totals", key, "-c", "tailfold-dev/tailfold.yaml")
			if code != 0 || out != fmt.Sprintf("{\"orders\":%c}\n", orders) {
				t.Errorf("%s has %s%s, want %c", key, out, errs, orders)
			}
		}
	}
	expect("11")
	dev.kill()

	more, err := os.OpenFile(filepath.Join(u.dir, "orders.ndjson"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(more, `{"type":"OrderPlaced","customer":"b"}`)
	more.Close()
	dev = u.starts(args...)
	dev.until("^resumed at seq 3, ")
	dev.until(`^orders.ndjson is published to its end \(line 7\)`)
	expect("12")
	dev.stop()
	expect("12") // now from the store itself

	u.write("orders.ndjson", `{"type":"OrderPlaced","customer":"c"}`+"\n")
	_, errs, code := u.runs("tailfold", append([]string{"dev"}, args...)...)
	if code != 2 || !strings.Contains(errs, "orders.ndjson was published up to line 7, but it has only 1 lines now") || !strings.Contains(errs, "--fresh") {
		t.Errorf("a file that was changed: exit code %d, %s", code, errs)
	}
	dev = u.starts(append(args, "--fresh")...)
	dev.until("^started at seq 0")
	dev.until(`^orders.ndjson is published to its end \(line 1\)`)
	dev.stop()
	out, _, _ := u.runs("tailfold", "get", "customer-totals", "-c", "tailfold-dev/tailfold.yaml")
	if out != "c\n" {
		t.Errorf("after --fresh there are the keys %q", out)
	}
}

func TestEventsOfStandardInputGoOutAsTheyCome(t *testing.T) {
	u := newUser(t)
	u.write("orders.yaml", ordersYAML)
	in, out := io.Pipe()
	r := &running{t: t, command: u.command("tailfold", "dev", "--config", "orders.yaml", "--events", "-"), lines: make(chan string, 1000)}
	r.command.Stdin = in
	stdout, err := r.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.command.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			r.lines <- lines.Text()
		}
	}()
	at := r.until(valuesAt)[1]
	for n := 1; n <= 2; n++ { // the second one while the first has long been there
		fmt.Fprintln(out, `{"type":"OrderPlaced","customer":"a"}`)
		var answer struct {
			Value struct {
				Orders int `json:"orders"`
			} `json:"value"`
		}
		for deadline := time.Now().Add(patience); answer.Value.Orders < n && time.Now().Before(deadline); {
			ask(t, "http://"+at+"/api/v1/projections/customer-totals/keys/a", &answer)
		}
		if answer.Value.Orders != n {
			t.Fatalf("%d orders, want %d", answer.Value.Orders, n)
		}
	}
	_ = r.command.Process.Signal(os.Interrupt) // though standard input stays open
	out.Close()
	<-read
	_ = r.command.Wait()
	if code := r.command.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestSecondDevOnAFolderIsRefused(t *testing.T) {
	u := newUser(t)
	dev := u.starts()
	dev.until(valuesAt)
	_, errs, code := u.runs("tailfold", "dev", "--fresh")
	want := fmt.Sprintf("the folder tailfold-dev is in use by the tailfold dev with process id %d: stop that one (kill %[1]d), or give this one a folder of its own with --dir DIR", dev.command.Process.Pid)
	if code != 2 || !strings.Contains(errs, want) {
		t.Errorf("exit code %d, %s, want %s", code, errs, want)
	}
	other := u.starts("--dir", "other")
	if one, two := dev.until("^  curl -s (.*)$")[1], other.until("^  curl -s (.*)$")[1]; one == two {
		t.Errorf("two workers answer at %s", one)
	}
	other.until("^started at seq 0")
	dev.until("^started at seq 0") // the refused --fresh has not touched it
}

func TestFolderWithOtherThingsIsLeftAlone(t *testing.T) {
	u := newUser(t)
	u.write("tailfold.db", "precious")
	_, errs, code := u.runs("tailfold", "dev", "--fresh", "--dir", ".")
	if code != 2 || !strings.Contains(errs, "the folder . is not empty and was not made by tailfold dev") {
		t.Errorf("exit code %d, %s", code, errs)
	}
	if text, err := os.ReadFile(filepath.Join(u.dir, "tailfold.db")); err != nil || string(text) != "precious" {
		t.Errorf("the file has %q, %v", text, err)
	}
}

func TestLogThatIsGoneStopsTheFoldsAndFreshBeginsAnew(t *testing.T) {
	u := newUser(t)
	dev := u.starts("--rate", "0")
	dev.until("^all 20,000 flights are published")
	dev.kill()
	if err := os.RemoveAll(filepath.Join(u.dir, "tailfold-dev", "log")); err != nil {
		t.Fatal(err)
	}
	dev = u.starts("--rate", "0")
	at := dev.until(valuesAt)[1]
	dev.until("^airports, days, routes, total: DIVERGED: stream FLIGHTS is not the log of this snapshot: ")
	dev.until("To begin anew, with an empty log and no snapshots: tailfold dev --rate 0 --fresh$")
	var total totalAnswer
	ask(t, "http://"+at+"/api/v1/projections/total/value", &total)
	if total.Value.Flights != 20000 {
		t.Errorf("the last value is not readable: %+v", total)
	}
	dev.stop()
	dev = u.starts("--rate", "0", "--fresh")
	dev.until("^started at seq 0")
	dev.until("^all 20,000 flights are published")
}

func TestFlagsThatDoNotGoTogetherAreRefused(t *testing.T) {
	u := newUser(t)
	u.write("orders.yaml", ordersYAML)
	u.write("two.yaml", ordersYAML+"- {name: count, version: 1, stream: STOCK, value: {n: (value.n ?? 0) + 1}}\n")
	u.write("e.ndjson", "{}\n")
	for want, args := range map[string][]string{
		"--rate is -1":                         {"--rate=-1"},
		"--events needs projections":           {"--events", "e.ndjson"},
		"--subject is about the events":        {"--subject", "x"},
		"--seed is about --kill":               {"--seed", "1"},
		"--kill publishes the events again":    {"--kill", "1", "--config", "orders.yaml", "--events", "-"},
		"--kill needs events":                  {"--kill", "1", "--config", "orders.yaml"},
		"there is no such file":                {"--config", "nowhere.yaml"},
		"no such file or directory":            {"--config", "orders.yaml", "--events", "nowhere.ndjson"},
		"several streams (ORDERS, STOCK)":      {"--config", "two.yaml", "--events", "e.ndjson"},
		"no projection reads a stream ORDER:":  {"--config", "two.yaml", "--events", "e.ndjson", "--stream", "ORDER"},
		"has no good member in its braces":     {"--config", "orders.yaml", "--events", "e.ndjson", "--subject", "a.{b"},
		"--loop repeats a file, not standard ": {"--config", "orders.yaml", "--events", "-", "--loop"},
	} {
		if _, errs, code := u.runs("tailfold", append([]string{"dev"}, args...)...); code != 2 || !strings.Contains(errs, want) {
			t.Errorf("%v: exit code %d, %s, want %q", args, code, errs, want)
		}
	}
}

func TestWorkerProcessDoesNotOutliveItsParent(t *testing.T) {
	u := newUser(t)
	killing := u.starts("--kill", "1000", "--rate", "500")
	pid := killing.until(`^kill 2 of 1000: process id (\d+),`)[1]
	killing.kill()
	if err := exec.Command("kill", "-0", pid).Run(); err == nil {
		t.Errorf("process %s, which was killed, is there", pid)
	}
	// Whoever holds the store's file is gone when a new run, which makes everything anew, gets on.
	again := u.starts("--kill", "1", "--rate", "500")
	again.until("^differences: 0$")
	_ = again.command.Wait()
	again.ended = true
	if state := again.command.ProcessState.Sys().(syscall.WaitStatus); !state.Exited() || state.ExitStatus() != 0 {
		t.Errorf("it ended with %v", state)
	}
}
