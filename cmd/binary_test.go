package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// ownBinary is the example of a team's own binary, built once per run of the tests: it has the whole command line, and
// links no server.
var ownBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binaryFolder, "tailfold")
	text, err := exec.Command("go", "build", "-o", path, "../examples/own-binary").CombinedOutput()
	if err != nil {
		return "", errors.New(string(text))
	}
	return path, nil
})

// process is a program in a process of its own.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr output
	stdout output
	exited chan int
}

func launch(t *testing.T, args ...string) *process {
	t.Helper()
	binary, err := ownBinary()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(binary, args...), exited: make(chan int, 1)}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	p.cmd.Dir = t.TempDir()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // its outcome is the exit code
		p.exited <- p.cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.exited <- <-p.exited
		if t.Failed() {
			t.Logf("the process printed:\n%s%s", p.stdout.String(), p.stderr.String())
		}
	})
	return p
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// code waits for the end.
func (p *process) code(within time.Duration) int {
	p.t.Helper()
	select {
	case code := <-p.exited:
		p.exited <- code
		return code
	case <-time.After(within):
		p.t.Fatalf("it has not ended within %v", within)
		return -1
	}
}

func (p *process) says(text string) {
	p.t.Helper()
	await(p.t, "the process to say "+text, func() bool { return strings.Contains(p.stderr.String(), text) })
}

// nowhere is an address that nothing listens on.
func nowhere(t *testing.T) string { return freeAddress(t) }

// silence accepts connections and never says a word, as a host behind a bad firewall does.
func silence(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String()
}

func TestSIGTERMEndsItFromTheFirstMomentWhileLogAndStoreAreAway(t *testing.T) {
	for _, c := range []struct{ name, nats, redis string }{
		{"refused", nowhere(t), nowhere(t)},
		{"silent", silence(t), silence(t)},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := launch(t, "run", "--nats", "nats://"+c.nats, "--store", "redis://"+c.redis, "--listen", "off")
			p.says(`"msg":"tailfold"`)
			p.signal(syscall.SIGTERM)
			if code := p.code(10 * time.Second); code != 0 {
				t.Errorf("exit code %d", code)
			}
			p.says(`"why":"stopped by terminated"`)
		})
	}
}

func TestASecondSignalEndsItAtOnce(t *testing.T) {
	server, redis := natstest.Start(t), redistest.Start(t)
	orders(t, server.Connect(), 10)
	p := launch(t, "run", "--nats", server.URL(), "--store", redis.URL(), "--listen", "off")
	p.says("resumed at seq 0")
	redis.Pause() // so that the last checkpoints hang
	defer redis.Continue()
	publish(t, natstest.JetStream(t, server.Connect()), 0, 1)
	p.signal(syscall.SIGTERM)
	p.says("a second signal ends it at once")
	p.signal(syscall.SIGINT)
	if code := p.code(3 * time.Second); code != 128+int(syscall.SIGINT) {
		t.Errorf("exit code %d", code)
	}
}

func TestAKilledWorkerResumesFromItsSnapshot(t *testing.T) {
	server, redis := natstest.Start(t), redistest.Start(t)
	js := orders(t, server.Connect(), 50)
	args := []string{"--nats", server.URL(), "--store", redis.URL(), "--listen", "off"}
	first := launch(t, append([]string{"run"}, args...)...)
	await(t, "the first worker to reach the head", func() bool {
		_, out, _ := call(t, append([]string{"status", "--json"}, args...)...)
		units := unitsIn(t, out)
		return len(units) == 1 && units[0].Seq == 50
	})
	first.cmd.Process.Kill()
	first.code(patience)
	publish(t, js, 50, 5)
	second := launch(t, append([]string{"run"}, args...)...)
	second.says("resumed at seq 50, replayed 5 events in ")
}

func TestTheOwnBinaryLinksNoServer(t *testing.T) {
	text, err := exec.Command("go", "list", "-deps", "../examples/own-binary").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "nats-server") {
			t.Errorf("it links %s", line)
		}
	}
	if !bytes.Contains(text, []byte("github.com/nats-io/nats.go\n")) {
		t.Error("go list has not listed what it links: this test can't tell anything")
	}
}

// Bad input: each has one clear message, with the cause, and leaves a worker that goes on when the cause is gone.
func TestWhatIsWrongWithLogOrStoreIsSaidAndWaitedFor(t *testing.T) {
	t.Run("the stream does not exist yet", func(t *testing.T) {
		server, redis := natstest.Start(t), redistest.Start(t)
		p := launch(t, "run", "--nats", server.URL(), "--store", redis.URL(), "--listen", "off")
		p.says("LOG_UNAVAILABLE")
		p.says("ORDERS")
		p.says("does not exist")
		orders(t, server.Connect(), 3)
		p.says("resumed at seq 0")
	})
	t.Run("NATS refuses the password", func(t *testing.T) {
		server := natstest.Start(t, natstest.Options{Config: "authorization {user: worker, password: right-password}"})
		redis := redistest.Start(t)
		p := launch(t, "run", "--nats", strings.Replace(server.URL(), "nats://", "nats://worker:wrong-password@", 1),
			"--store", redis.URL(), "--listen", "off")
		p.says("Authorization Violation")
		p.says("LOG_UNAVAILABLE")
		keepsSecret(t, p.stderr.String(), "wrong-password")
	})
	t.Run("Redis refuses the password", func(t *testing.T) {
		server, redis := natstest.Start(t), redistest.Start(t)
		redis.Do("CONFIG", "SET", "requirepass", "right-password")
		url := strings.Replace(redis.URL(), "redis://", "redis://:wrong-password@", 1)
		p := launch(t, "run", "--nats", server.URL(), "--store", url, "--listen", "off")
		p.says("WRONGPASS")
		p.says("STORE_UNAVAILABLE")
		code, _, errs := call(t, "status", "--nats", server.URL(), "--store", url)
		if code != 3 || !strings.Contains(errs, "WRONGPASS") {
			t.Errorf("status: code %d, printed %q", code, errs)
		}
		keepsSecret(t, p.stderr.String()+errs, "wrong-password")
	})
	t.Run("Redis has no scripting", func(t *testing.T) {
		server, redis := natstest.Start(t), redistest.Start(t)
		orders(t, server.Connect(), 3)
		redis.Do("ACL", "SETUSER", "default", "-@scripting")
		p := launch(t, "run", "--nats", server.URL(), "--store", redis.URL(), "--listen", "off")
		p.says("STORE_UNAVAILABLE")
		p.says("NOPERM")
		redis.Do("ACL", "SETUSER", "default", "+@all")
		p.says("resumed at seq 0")
	})
	t.Run("nothing answers", func(t *testing.T) {
		redis, log := nowhere(t), nowhere(t)
		code, out, errs := call(t, "status", "--store", "redis://:hidden-password@"+redis, "--nats", "nats://"+log)
		if code != 3 || out != "" || !strings.Contains(errs, "connection refused") || !strings.Contains(errs,
			"is it running, and is store.redis (--store: redis://***@"+redis) {
			t.Errorf("code %d, printed %q and %q", code, out, errs)
		}
		keepsSecret(t, errs, "hidden-password")
	})
	t.Run("the address is taken", func(t *testing.T) {
		taken := silence(t)
		p := launch(t, "run", "--listen", taken)
		if code := p.code(patience); code != 2 {
			t.Errorf("exit code %d", code)
		}
		p.says("--listen: http.listen: can't listen on " + taken)
	})
	t.Run("the file is held by another process", func(t *testing.T) {
		server := natstest.Start(t)
		orders(t, server.Connect(), 3)
		store := filepath.Join(t.TempDir(), "x.db")
		first := launch(t, "run", "--nats", server.URL(), "--store", store, "--listen", "off")
		first.says("resumed at seq 0")
		second := launch(t, "run", "--nats", server.URL(), "--store", store, "--listen", "off")
		if code := second.code(patience); code != 3 {
			t.Errorf("exit code %d", code)
		}
		second.says("is held by another process")
		code, _, errs := call(t, "get", "customer-totals", "c-1", "--nats", server.URL(), "--store", store,
			"--listen", nowhere(t))
		if code != 3 || !strings.Contains(errs, "no worker answers") {
			t.Errorf("get: code %d, printed %q", code, errs)
		}
	})
}

func keepsSecret(t *testing.T, text, secret string) {
	t.Helper()
	if strings.Contains(text, secret) {
		t.Errorf("%q is shown in:\n%s", secret, text)
	}
}

func TestAHaltedUnitIsExitCodeOneAndServedStale(t *testing.T) {
	server, redis := natstest.Start(t), redistest.Start(t)
	js := orders(t, server.Connect(), 3)
	file := configFile(t, totals)
	worker := start(t, nil, "-c", file, "--nats", server.URL(), "--store", redis.URL())
	worker.ready()
	if _, err := js.Publish(t.Context(), "orders.1", []byte(`{"customer":"c-1","amount":"much"}`)); err != nil {
		t.Fatal(err)
	}
	common := []string{"-c", file, "--nats", server.URL(), "--store", redis.URL()}
	var out string
	await(t, "the unit to halt", func() bool {
		var code int
		code, out, _ = call(t, append([]string{"status", "--json"}, common...)...)
		return code == 1
	})
	units := unitsIn(t, out)
	if len(units) != 1 || units[0].State != consumer.Halted || units[0].Verdict != "POISON" || units[0].Seq != 3 {
		t.Errorf("status is %s", out)
	}
	code, body := get(t, worker.base+"/api/v1/projections/customer-totals/keys/c-1")
	var answer valueAnswer
	if err := json.Unmarshal([]byte(body), &answer); err != nil || code != 200 || answer.Verdict != "POISON" ||
		answer.Seq != 3 {
		t.Errorf("code %d: %s (%v)", code, body, err)
	}
	code, body = get(t, worker.base+"/api/v1/projections/customer-totals/keys/c-1?min_seq=4&timeout=50ms")
	if code != 504 || !strings.Contains(body, `"seq":3`) || !strings.Contains(body, `"verdict":"POISON"`) {
		t.Errorf("code %d: %s", code, body)
	}
	code, body = get(t, worker.base+"/api/v1/projections/customer-totals/keys/c-1?min_seq=99")
	if code != 400 || !strings.Contains(body, `"head":4`) {
		t.Errorf("code %d: %s", code, body)
	}
	if code, body := get(t, worker.base+"/readyz"); code != 200 {
		t.Errorf("readyz: %d %s", code, body)
	}
	_, table, _ := call(t, append([]string{"status"}, common...)...)
	for line := range strings.Lines(table) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 100 {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}
	if !strings.Contains(table, "halted") || !strings.Contains(table, "POISON: ") {
		t.Errorf("the table is\n%s", table)
	}
}

func configFile(t *testing.T, text string) string {
	t.Helper()
	return filepath.Join(writeFiles(t, map[string]string{"tailfold.yaml": text}), "tailfold.yaml")
}

func TestADeletedAndRecreatedStreamIsNotFolded(t *testing.T) {
	server, redis := natstest.Start(t), redistest.Start(t)
	js := orders(t, server.Connect(), 5)
	file := configFile(t, totals)
	worker := start(t, nil, "-c", file, "--nats", server.URL(), "--store", redis.URL())
	worker.ready()
	worker.stopped()
	if err := js.DeleteStream(t.Context(), "ORDERS"); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS",
		Subjects: []string{"orders.>"}}); err != nil {
		t.Fatal(err)
	}
	publish(t, js, 1, 20)
	again := start(t, nil, "-c", file, "--nats", server.URL(), "--store", redis.URL())
	await(t, "the verdict", func() bool { return strings.Contains(again.program.stderr.String(), "DIVERGED") })
	code, out, _ := call(t, "get", "customer-totals", "c-1", "-c", file, "--store", redis.URL())
	if code != 0 || out != `{"orders":1,"total":5}`+"\n" {
		t.Errorf("code %d, printed %q", code, out)
	}
}
