// Package deploy_test holds the users of NATS and Redis that are given here against real servers: with exactly these rights a
// worker runs, and without any one of them it says which is missing. What is rendered is held in check, a module of its own.
package deploy_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/snapshotstore/read"
	"github.com/tailfold/tailfold/snapshotstore/redisstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// patience is how long a test waits for what must come. It only passes where something is broken.
const patience = 30 * time.Second

var binary string // built once, by TestMain

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tailfold-deploy-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "tailfold")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/tailfold").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build ./cmd/tailfold: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func contents(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// user is one of NATS, and what it may publish and subscribe to.
type user struct {
	name   string
	rights []string
}

// natsUsers are those of the file that are limited.
func natsUsers(t *testing.T) []user {
	t.Helper()
	var users []user
	for line := range strings.Lines(contents(t, "nats/permissions.conf")) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "user: "); ok {
			users = append(users, user{name: name[:strings.Index(name, ",")]})
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		for _, quoted := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(line, -1) {
			last := &users[len(users)-1]
			last.rights = append(last.rights, quoted[1])
		}
	}
	return users
}

// redisUsers are the lines of the file.
func redisUsers(t *testing.T) map[string][]string {
	t.Helper()
	users := map[string][]string{}
	for line := range strings.Lines(contents(t, "redis/users.acl")) {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "user" {
			t.Fatalf("users.acl has the line %q", line)
		}
		users[words[1]] = words[2:]
	}
	return users
}

// text is written by processes and read by the test.
type text struct {
	mu  sync.Mutex
	all strings.Builder
}

func (x *text) Write(b []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.all.Write(b)
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.all.String()
}

// trial is a worker with some rights, on servers of its own.
type trial struct {
	t       *testing.T
	environ []string
	said    text // by the worker and by all commands
	js      jetstream.JetStream
	redis   *redistest.Server
}

// newTrial starts the servers. Of the NATS user and of the Redis user one right may be left out.
func newTrial(t *testing.T, natsUser, withoutNATS, withoutRedis string) *trial {
	t.Helper()
	config := contents(t, "nats/permissions.conf")
	if withoutNATS != "" { // replaced, because an empty list allows all
		at := strings.Index(config, "user: "+natsUser+",")
		config = config[:at] + strings.Replace(config[at:], `"`+withoutNATS+`"`, `"nothing"`, 1)
	}
	server, store := natstest.Start(t, natstest.Options{Config: config}), redistest.Start(t)
	rules := []any{"ACL", "SETUSER", "tailfold"}
	for _, word := range redisUsers(t)["tailfold"] {
		if word != withoutRedis {
			rules = append(rules, word)
		}
	}
	store.Do(rules...)
	x := &trial{t: t, redis: store, js: natstest.JetStream(t, server.Connect(nats.UserInfo("app", "secret")))}
	for _, setting := range os.Environ() {
		if !strings.HasPrefix(setting, "TAILFOLD_") && !strings.HasPrefix(setting, "NATS_") {
			x.environ = append(x.environ, setting)
		}
	}
	assign := map[bool]string{true: "static", false: "leases"}[natsUser == "tailfold-static"]
	x.environ = append(x.environ, "TAILFOLD_CONFIG=kustomize/base/tailfold.yaml", "TAILFOLD_HTTP_LISTEN=off", "TAILFOLD_ASSIGN="+assign,
		"TAILFOLD_NATS_URL="+server.URL(), "TAILFOLD_NATS_USER="+natsUser, "TAILFOLD_NATS_PASSWORD=secret",
		"TAILFOLD_STORE_REDIS="+strings.Replace(store.URL(), "://", "://tailfold:secret@", 1))
	if _, err := x.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}}); err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *trial) publish() {
	x.t.Helper()
	for i := range 8 {
		event := fmt.Sprintf(`{"type":"OrderPlaced","customer":"c-%d","amount":"1.50"}`, i%4)
		if _, err := x.js.Publish(x.t.Context(), fmt.Sprintf("orders.%d.placed", i%4), []byte(event)); err != nil {
			x.t.Fatal(err)
		}
	}
}

// command runs one to its end. What it says is kept.
func (x *trial) command(args ...string) (out string, ok bool) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, binary, args...)
	command.Env, command.Stderr = x.environ, &x.said
	answer, err := command.Output()
	_, _ = x.said.Write(answer)
	return string(answer), err == nil
}

// run runs a worker until the value of the last key is as expected, or enough was said; it tells which.
func (x *trial) run(value string, enough func(said string) bool) (folded bool) {
	x.t.Helper()
	worker := exec.Command(binary, "run")
	worker.Env, worker.Stderr = x.environ, &x.said
	if err := worker.Start(); err != nil {
		x.t.Fatal(err)
	}
	defer func() {
		_ = worker.Process.Signal(syscall.SIGTERM)
		if err := worker.Wait(); err != nil {
			x.t.Errorf("tailfold run: %v\n%s", err, x.said.String())
		}
	}()
	for deadline := time.Now().Add(patience); ; {
		values, live := 0, false
		for i := range 4 {
			if out, _ := x.command("get", "customer-totals", fmt.Sprintf("c-%d", i)); strings.TrimSpace(out) == value {
				values++
			}
		}
		status, ok := x.command("status")
		live = ok && strings.Count(status, " live ") == 4
		switch {
		case enough(x.said.String()):
			return false
		case values == 4 && live:
			return true
		case time.Now().After(deadline):
			x.t.Fatalf("no value, and nothing is said of a missing right:\n%s", x.said.String())
		}
	}
}

// all does all that a worker and its operator do: fold, look, read, list, stop, resume by the witnesses, drop.
func (x *trial) all(enough func(said string) bool) (done bool) {
	x.t.Helper()
	x.publish()
	if !x.run(`{"cents":300,"orders":2}`, enough) {
		return false
	}
	x.publish()
	if !x.run(`{"cents":600,"orders":4}`, enough) {
		return false
	}
	keys, listed := x.command("get", "customer-totals")
	_, dropped := x.command("drop", "customer-totals", "--version", "1", "--yes")
	return listed && strings.Count(keys, "c-") == 4 && dropped && !enough(x.said.String())
}

func never(string) bool { return false }

// complaint is what is said where any right is missing.
var complaint = regexp.MustCompile(`(?i)NOPERM|no permission|permissions violation|allow the user|can't run this command`)

func TestAWorkerRunsWithExactlyTheseRights(t *testing.T) {
	for _, u := range natsUsers(t) {
		if u.name == "app" {
			continue
		}
		t.Run(u.name, func(t *testing.T) {
			x := newTrial(t, u.name, "", "")
			if !x.all(never) || complaint.MatchString(x.said.String()) {
				t.Errorf("it does not do all, or complains:\n%s", x.said.String())
			}
			t.Logf("folded, resumed, listed and dropped with %d rights of NATS and %d of Redis", len(u.rights), len(redisUsers(t)["tailfold"]))
		})
	}
}

// done does without a right what nobody needs it for, or says which one is missing.
func (x *trial) done(right string, named func(said string) bool, spare bool) {
	x.t.Helper()
	switch done := x.all(named); {
	case spare && !done:
		x.t.Errorf("without %s it does not do all, but is said to:\n%s", right, x.said.String())
	case !spare && !named(x.said.String()):
		x.t.Errorf("without %s it does all, or does not name it: is the right needed?\n%s", right, x.said.String())
	}
}

func TestEachMissingRightOfNATSIsNamed(t *testing.T) {
	for _, u := range natsUsers(t) {
		for _, right := range u.rights {
			t.Run(u.name+" "+right, func(t *testing.T) {
				t.Parallel()
				want := "allow the user to publish to " + right
				if strings.HasPrefix(right, "_INBOX") {
					want = "allow the user to subscribe to its inboxes"
				}
				// The server removes a reader's consumer by itself, 30 s later.
				spare := strings.Contains(right, ".CONSUMER.DELETE.")
				newTrial(t, u.name, right, "").done(right, func(said string) bool { return strings.Contains(said, want) }, spare)
			})
		}
	}
}

func TestABucketThatIsThereNeedNotBeMade(t *testing.T) {
	const right = "$JS.API.STREAM.CREATE.KV_tailfold-workers"
	x := newTrial(t, "tailfold", right, "")
	if _, err := x.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "tailfold-workers", TTL: time.Minute}); err != nil {
		t.Fatal(err)
	}
	x.done(right, complaint.MatchString, true)
}

// Redis names the command that it refuses, unless a script asks for it: then the worker tells all that is needed.
func TestEachMissingRightOfRedisIsNamed(t *testing.T) {
	tried := 0
	for _, right := range redisUsers(t)["tailfold"] {
		if right[0] != '+' && right[0] != '~' {
			continue // on, the password, and what takes rights away
		}
		tried++
		t.Run(right, func(t *testing.T) {
			t.Parallel()
			named := func(said string) bool {
				refused := strings.Contains(said, "run the '"+right[1:]+"' command") ||
					strings.Contains(said, "can't run this command or subcommand") && strings.Contains(said, " "+right+" ")
				return refused || right[0] == '~' && strings.Contains(said, "access one of the keys") && strings.Contains(said, right)
			}
			// Without them large checkpoints are scripts, too, which takes Redis twice as long.
			spare := right == "+watch" || right == "+unwatch"
			newTrial(t, "tailfold-static", "", right).done(right, named, spare)
		})
	}
	if tried < 15 {
		t.Errorf("only %d rights were tried", tried)
	}
}

// Whoever only reads needs less.
func TestAReaderReadsAndCannotWrite(t *testing.T) {
	x := newTrial(t, "tailfold-static", "", "")
	x.publish()
	x.run(`{"cents":300,"orders":2}`, never)
	rules := []any{"ACL", "SETUSER", "tailfold-reader"}
	for _, word := range redisUsers(t)["tailfold-reader"] {
		rules = append(rules, word)
	}
	x.redis.Do(rules...)
	url := strings.Replace(x.redis.URL(), "://", "://tailfold-reader:secret@", 1)
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	defer client.Close()
	ctx, hash := t.Context(), "tailfold:{customer-totals/v1/1}"
	for command, args := range map[string][]any{
		"HMGET": {hash, "$mark", "c-1"}, "HGET": {hash, "c-1"}, "HGETALL": {hash}, "HLEN": {hash}, "HSCAN": {hash, 0},
		"GET": {"tailfold:served:customer-totals"}, "PING": nil,
	} {
		if answer, err := client.Do(ctx, append([]any{command}, args...)...).Result(); err != nil || fmt.Sprint(answer) == "[]" {
			t.Errorf("%s: %v, %v", command, answer, err)
		}
	}
	for command, args := range map[string][]any{"HSET": {hash, "c-1", "0"}, "DEL": {hash}, "GET": {"other"}, "EVAL": {"return 1", 0}} {
		if err := client.Do(ctx, append([]any{command}, args...)...).Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("%s %v: %v", command, args, err)
		}
	}
	reader, err := redisstore.Open(redisstore.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	model, err := read.New(reader, read.Options{Projection: "customer-totals", Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	if result, err := model.Get(ctx, "c-1"); err != nil || string(result.Value) != `{"cents":300,"orders":2}` {
		t.Errorf("package read reads %s, %v", result.Value, err)
	}
}
