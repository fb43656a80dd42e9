// Package compose_test checks the composition as far as that goes without a container engine: what docker-compose.yml
// and Dockerfile say is run here as plain processes.
package compose_test

import (
	"context"
	"debug/elf"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/goccy/go-yaml"
)

const root = "../.."

// patience is how long a process may take. It only passes where something is broken.
const patience = time.Minute

type composition struct {
	Name     string
	Services map[string]service
	Volumes  map[string]any
}

type service struct {
	Image string
	Build struct {
		Context, Target string
	}
	Command     []string
	Environment map[string]string
	Volumes     []string
	Ports       []string
	Healthcheck struct {
		Test              []string
		Interval, Timeout string
		Retries           int
	}
	DependsOn       map[string]struct{ Condition string } `yaml:"depends_on"`
	StopGracePeriod string                                `yaml:"stop_grace_period"`
	Restart         string
}

func readComposition(t *testing.T) composition {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var c composition
	if err := yaml.UnmarshalWithOptions(text, &c, yaml.Strict()); err != nil {
		t.Fatalf("docker-compose.yml: %v", err)
	}
	return c
}

func TestServersAreCheckedAndKeepTheirData(t *testing.T) {
	c := readComposition(t)
	var used []string
	for _, name := range []string{"nats", "redis"} {
		s := c.Services[name]
		if len(s.Healthcheck.Test) < 2 || s.Healthcheck.Test[0] != "CMD" || s.Healthcheck.Retries == 0 {
			t.Errorf("%s has no health check", name)
		}
		for _, volume := range s.Volumes {
			source, target, _ := strings.Cut(volume, ":")
			if !strings.HasPrefix(source, ".") && target == "/data" {
				used = append(used, source)
			}
		}
	}
	if want := []string{"log", "store"}; !slices.Equal(used, want) {
		t.Errorf("the servers keep their data in the volumes %v, want %v", used, want)
	}
	for _, volume := range used {
		if _, ok := c.Volumes[volume]; !ok {
			t.Errorf("the volume %s is not declared", volume)
		}
	}
	for name, s := range c.Services {
		for other := range s.DependsOn {
			if c.Services[other].Healthcheck.Test == nil {
				t.Errorf("%s waits for the health of %s, which has no check", name, other)
			}
		}
		for _, volume := range s.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if _, err := os.Stat(filepath.Join(root, source)); strings.HasPrefix(source, ".") && err != nil {
				t.Errorf("%s mounts what is not there: %v", name, err)
			}
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s is published on all interfaces: %s", name, port)
			}
		}
	}
}

// The Dockerfile's own build commands are run, and what they make is put together as docker-compose.yml says: servers
// with its commands and settings, the worker with its configuration, the publisher with its arguments. Only addresses
// and folders are other ones.
func TestTheCompositionFoldsFlights(t *testing.T) {
	c := readComposition(t)
	bin := buildImages(t)

	natsPort, redisPort, httpPort := freePort(t), freePort(t), freePort(t)
	natsServer, err := exec.Command("go", "tool", "-n", "nats-server").Output()
	if err != nil {
		t.Fatalf("building nats-server: %v", err)
	}
	nats := c.Services["nats"]
	if want := []string{"-c", mountPoint(t, nats, "./examples/compose/nats.conf"), "-sd", "/data"}; !slices.Equal(nats.Command, want) {
		t.Fatalf("nats is started with %v, want %v", nats.Command, want)
	}
	start(t, nil, strings.TrimSpace(string(natsServer)), "-c", "nats.conf", "-sd", t.TempDir(),
		"-a", "127.0.0.1", "-p", natsPort, "-m", freePort(t))
	redis := c.Services["redis"].Command
	start(t, nil, redis[0], append(slices.Clone(redis[1:]), "--port", redisPort, "--bind", "127.0.0.1", "--dir", t.TempDir())...)

	worker := c.Services["worker"]
	config := "examples/" + strings.TrimPrefix(worker.Environment["TAILFOLD_CONFIG"], mountPoint(t, worker, "./examples")+"/")
	environment := []string{"TAILFOLD_CONFIG=" + filepath.Join(root, config)}
	check := exec.Command(filepath.Join(bin, "tailfold"), "check")
	check.Env = append(os.Environ(), environment...)
	if out, err := check.CombinedOutput(); err != nil {
		t.Fatalf("tailfold check: %v\n%s", err, out)
	}
	if text, err := os.ReadFile(filepath.Join(root, config)); err != nil || !strings.Contains(string(text), `"nats://nats:4222"`) ||
		!strings.Contains(string(text), `"redis://redis:6379/0"`) || !strings.Contains(string(text), `":8321"`) {
		t.Errorf("%s does not name the services nats and redis and the port 8321: %v", config, err)
	}
	environment = append(environment, "TAILFOLD_NATS_URL=nats://127.0.0.1:"+natsPort,
		"TAILFOLD_STORE_REDIS=redis://127.0.0.1:"+redisPort+"/0", "TAILFOLD_HTTP_LISTEN=127.0.0.1:"+httpPort)
	start(t, environment, filepath.Join(bin, "tailfold"), dockerfileCommand(t)...)

	arguments := slices.Clone(c.Services["publisher"].Command)
	if url := slices.Index(arguments, "nats://nats:4222"); url < 0 {
		t.Fatalf("the publisher is not told of nats: %v", arguments)
	} else {
		arguments[url] = "nats://127.0.0.1:" + natsPort
	}
	// Twice: the second run goes on where the first one stopped.
	for _, count := range []string{"300", "500"} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		out, err := exec.CommandContext(ctx, filepath.Join(bin, "publish-flights"), append(arguments, "-count", count)...).CombinedOutput()
		cancel()
		if err != nil {
			t.Fatalf("publish-flights: %v\n%s", err, out)
		}
	}
	var total struct {
		Seq   uint64
		Value struct{ Flights int }
	}
	get(t, "http://127.0.0.1:"+httpPort+"/api/v1/projections/total/value?min_seq=500&timeout=20s", &total)
	if total.Seq != 500 || total.Value.Flights != 500 {
		t.Errorf("total says %+v, want 500 flights at seq 500", total)
	}
}

// buildImages runs the build commands of the Dockerfile and returns the folder with the programs.
func buildImages(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	commands := regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0 go build .*)$`).FindAllStringSubmatch(dockerfile(t), -1)
	if len(commands) != 2 {
		t.Fatalf("the Dockerfile has %d build commands, want 2", len(commands))
	}
	for _, command := range commands {
		build := exec.Command("sh", "-c", strings.ReplaceAll(command[1], "/out/", bin+"/"))
		build.Dir, build.Env = root, append(os.Environ(), "VERSION=v9.9.9")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command[1], err, out)
		}
	}
	out, err := exec.Command(filepath.Join(bin, "tailfold"), "version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "v9.9.9") {
		t.Errorf("the program says its version is %q (%v), built as v9.9.9", out, err)
	}
	if runtime.GOOS == "linux" {
		for _, name := range []string{"tailfold", "publish-flights"} {
			needsNoLoader(t, filepath.Join(bin, name))
		}
	}
	return bin
}

// needsNoLoader checks that a program is static: in an empty image there is no loader and no library.
func needsNoLoader(t *testing.T, name string) {
	t.Helper()
	program, err := elf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP {
			t.Errorf("%s is not static", name)
		}
	}
}

func dockerfile(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// dockerfileCommand is the default command of the worker's image, which is the last one.
func dockerfileCommand(t *testing.T) []string {
	t.Helper()
	lines := regexp.MustCompile(`(?m)^CMD (\[.*\])$`).FindAllStringSubmatch(dockerfile(t), -1)
	if len(lines) != 1 {
		t.Fatalf("the Dockerfile has %d CMD lines, want 1", len(lines))
	}
	var command []string
	if err := json.Unmarshal([]byte(lines[0][1]), &command); err != nil {
		t.Fatal(err)
	}
	return command
}

// mountPoint is where a service has a folder of the repository.
func mountPoint(t *testing.T, s service, folder string) string {
	t.Helper()
	for _, volume := range s.Volumes {
		if target, ok := strings.CutPrefix(volume, folder+":"); ok {
			return strings.TrimSuffix(target, ":ro")
		}
	}
	t.Fatalf("%s is not mounted: %v", folder, s.Volumes)
	return ""
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

// start runs a program until the test ends.
func start(t *testing.T, environment []string, name string, args ...string) {
	t.Helper()
	var output strings.Builder
	command := exec.Command(name, args...)
	command.Env = append(os.Environ(), environment...)
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Fatalf("%s (redis-server is installed by `apt-get install redis-server`): %v", name, err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait() // it was killed
		if t.Failed() {
			t.Logf("%s %s printed:\n%s", name, strings.Join(args, " "), output.String())
		}
	})
}

// get asks until there is an answer: servers and worker start side by side.
func get(t *testing.T, url string, into any) {
	t.Helper()
	patient := time.Now().Add(patience)
	for {
		answer, err := http.Get(url)
		if err == nil && answer.StatusCode == http.StatusOK {
			defer answer.Body.Close()
			if err := json.UnmarshalRead(answer.Body, into, json.MatchCaseInsensitiveNames(true)); err != nil {
				t.Fatalf("%s: %v", url, err)
			}
			return
		}
		said := fmt.Sprint(err)
		if err == nil {
			text, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			said = answer.Status + " " + string(text)
		}
		if time.Now().After(patient) {
			t.Fatalf("%s: %s", url, said)
		}
		select {
		case <-t.Context().Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}
