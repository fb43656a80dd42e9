package check_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// place has servers with the users of deploy/nats and deploy/redis, and with no others that a worker could be.
type place struct {
	nats, redis string // ports
	js          jetstream.JetStream
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{nats: freePort(t), redis: freePort(t)}
	dir := t.TempDir()
	permissions, err := os.ReadFile("../nats/permissions.conf")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("listen: \"127.0.0.1:%s\"\njetstream {store_dir: %q}\n%s", p.nats, dir, permissions)
	if err := os.WriteFile(filepath.Join(dir, "nats.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, exec.Command(filepath.Join(programs, "nats-server"), "-c", filepath.Join(dir, "nats.conf")))
	acl, err := filepath.Abs("../redis/users.acl")
	if err != nil {
		t.Fatal(err)
	}
	start(t, exec.Command("redis-server", "--port", p.redis, "--bind", "127.0.0.1", "--save", "", "--dir", dir, "--aclfile", acl))
	for _, port := range []string{p.nats, p.redis} {
		await(t, "a server on port "+port, func() bool {
			conn, err := net.Dial("tcp", "127.0.0.1:"+port)
			if err == nil {
				conn.Close()
			}
			return err == nil
		})
	}
	conn, err := nats.Connect("nats://127.0.0.1:"+p.nats, nats.UserInfo("app", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	p.js, err = jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// secret is what the Secret has: where the servers are, and the passwords.
func (p *place) secret(natsUser string) map[string]string {
	return map[string]string{
		"TAILFOLD_NATS_URL": "nats://127.0.0.1:" + p.nats, "TAILFOLD_NATS_USER": natsUser, "TAILFOLD_NATS_PASSWORD": "secret",
		"TAILFOLD_STORE_REDIS": "redis://tailfold:secret@127.0.0.1:" + p.redis + "/0",
	}
}

var series = regexp.MustCompile(`(?m)^([a-z_]+)(\{[^}]*\})? `)

// As many pods as the manifests say are started, as far as that goes without a cluster: the container's arguments,
// environment, configuration and user, no file that can be written, real NATS and Redis with least privilege. Every unit
// comes to run once, all probes are answered, and all metrics that rules, dashboard and autoscaler ask for are there.
func TestPodsRunAsRendered(t *testing.T) {
	for _, m := range []manifests{
		kustomize(t, "base"), kustomize(t, "static"), helm(t, "leases", nil),
		helm(t, "static", map[string]any{"assign": "static", "replicas": 2}),
	} {
		t.Run(m.name, func(t *testing.T) {
			p := newPlace(t)
			user := "tailfold"
			if m.static() {
				user = "tailfold-static"
			}
			replicas, _, template := m.workers(t)
			var pods []pod
			for i := range int(*replicas) {
				pods = append(pods, m.pod(t, i, p.secret(user)))
			}
			first, exported := pods[0], map[string]bool{}
			read := func() string {
				_, text := get(t, first.base+"/metrics")
				for _, found := range series.FindAllStringSubmatch(text, -1) {
					exported[found[1]] = true
				}
				return text
			}
			// The stream is not there yet: alive, not ready, with a verdict.
			await(t, "a verdict in the metrics", func() bool { return strings.Contains(read(), `verdict="LOG_UNAVAILABLE"`) })
			for what, probe := range probes(first.container) {
				code, body := first.ask(probe)
				if want := map[bool]int{true: 503, false: 200}[what == "readiness"]; code != want {
					t.Errorf("before the stream is there the %s probe is answered %d %s", what, code, body)
				}
			}

			if _, err := p.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}}); err != nil {
				t.Fatal(err)
			}
			var last uint64
			for i := range 40 {
				ack, err := p.js.Publish(t.Context(), fmt.Sprintf("orders.%d.placed", i%4), []byte(fmt.Sprintf(`{"type":"OrderPlaced","customer":"c-%d","amount":"1.50"}`, i%4)))
				if err != nil {
					t.Fatal(err)
				}
				last = ack.Sequence
			}
			for _, one := range pods {
				for what, probe := range probes(one.container) {
					await(t, "the "+what+" probe to succeed", func() bool {
						code, _ := one.ask(probe)
						return code == 200
					})
				}
			}
			// Any worker answers for all units.
			for i := range 4 {
				await(t, "the value of a partition", func() bool {
					_, body := get(t, fmt.Sprintf("%s/api/v1/projections/customer-totals/keys/c-%d?min_seq=%d", first.base, i, last-3))
					return strings.Contains(body, `{"cents":1500,"orders":10}`)
				})
			}
			var status struct {
				Units []struct {
					State, Owner string
					Partition    int
				}
			}
			var body string
			owners := map[string]int{}
			await(t, "all units to be live", func() bool { // others' as they last reported them
				_, body = get(t, first.base+"/api/v1/status")
				if err := json.Unmarshal([]byte(body), &status); err != nil {
					t.Fatalf("%v: %s", err, body)
				}
				clear(owners)
				live := 0
				for _, unit := range status.Units {
					owners[unit.Owner]++
					if unit.State == "live" {
						live++
					}
				}
				return live == 4
			})
			if len(status.Units) != 4 || !m.static() && len(owners) != len(pods) {
				t.Errorf("%d units, of %d owners; want 4 of %d: %s", len(status.Units), len(owners), len(pods), body)
			}
			for _, one := range pods {
				_, text := get(t, one.base+"/metrics")
				for _, found := range series.FindAllStringSubmatch(text, -1) {
					exported[found[1]] = true
				}
			}
			asked := queriedMetrics(t)
			for name, where := range asked {
				if !exported[name] {
					t.Errorf("%s asks for %s, which no worker exports", strings.Join(where, ", "), name)
				}
			}
			for name := range exported {
				if strings.HasPrefix(name, "tailfold_") && asked[name] == nil && m.name == "kustomize base" {
					t.Logf("no rule and no panel shows %s", name)
				}
			}
			grace := time.Duration(*template.Spec.TerminationGracePeriodSeconds) * time.Second
			if grace <= 10*time.Second {
				t.Errorf("pods get %v to stop: the last checkpoints may take 10 s", grace)
			}
			for _, one := range pods {
				if err := one.stop(grace); err != nil {
					t.Errorf("SIGTERM: %v", err)
				}
			}
			t.Logf("%d pods ran %d units of %d owners; %d metrics asked for are exported", len(pods), len(status.Units), len(owners), len(asked))
		})
	}
}

// With a token in the Secret the probes are answered as before, and the metrics only to who has it.
func TestATokenIsNoConcernOfTheProbes(t *testing.T) {
	const token = "0123456789abcdef0123456789abcdef"
	one := kustomize(t, "base").pod(t, 0, map[string]string{"TAILFOLD_HTTP_TOKEN": token, "TAILFOLD_NATS_URL": "nats://127.0.0.1:" + freePort(t)})
	for what, want := range map[string]int{"startup": 200, "liveness": 200, "readiness": 503} {
		await(t, "the "+what+" probe", func() bool {
			code, _ := one.ask(probes(one.container)[what])
			return code == want
		})
	}
	if code, body := get(t, one.base+"/metrics"); code != 401 {
		t.Errorf("the metrics are answered %d without the token: %.200s", code, body)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, one.base+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil || response.StatusCode != 200 {
		t.Fatalf("with the token: %v, %v", response, err)
	}
	response.Body.Close()
}

// Every setting that is named anywhere here is one of the program's.
func TestSettingsExist(t *testing.T) {
	out, err := exec.Command(filepath.Join(programs, "tailfold"), "schema").Output()
	if err != nil {
		t.Fatal(err)
	}
	var schema node
	if err := json.Unmarshal(out, &schema); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"TAILFOLD_CONFIG": true, "TAILFOLD_": true} // the latter in prose: what they begin with
	schema.settings("TAILFOLD", known)
	if len(known) < 30 || !known["TAILFOLD_CHECKPOINT_REPLAY_EVERY"] {
		t.Fatalf("the schema has the settings %v", known)
	}
	named := regexp.MustCompile(`TAILFOLD_[A-Z_]*`)
	found := map[string]bool{}
	for _, pattern := range []string{"../kustomize/*/*", "../helm/tailfold/*.yaml", "../helm/tailfold/templates/*", "../../docs/kubernetes.md"} {
		for _, name := range files(t, pattern) {
			for _, setting := range named.FindAllString(read(t, name), -1) {
				found[setting] = true
				if !known[setting] {
					t.Errorf("%s names %s, which is no setting", name, setting)
				}
			}
		}
	}
	for _, m := range all(t) {
		_, _, template := m.workers(t)
		for name := range environment(t, template.Spec.Containers[0], 0) {
			found[name] = true
			if name != "POD_INDEX" && !known[name] {
				t.Errorf("%s sets %s, which is no setting", m.name, name)
			}
		}
	}
	t.Logf("%d settings named, %d known", len(found), len(known))
}

// node is a part of a JSON Schema.
type node struct {
	Type       any
	Properties map[string]node
	Items      *node
}

func (n node) settings(path string, into map[string]bool) {
	for name, below := range n.Properties {
		at := path + "_" + strings.ToUpper(name)
		if len(below.Properties) > 0 {
			below.settings(at, into)
		} else {
			into[at] = true
		}
	}
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: no file (%v)", pattern, err)
	}
	return slices.DeleteFunc(names, func(name string) bool {
		info, err := os.Stat(name)
		return err != nil || info.IsDir()
	})
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
