package check_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// patience is how long a test waits for a process. It only passes where something is broken.
const patience = time.Minute

var programs string // where tailfold and nats-server are, built by TestMain

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tailfold-deploy-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // the pods' user reads it
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	programs = dir
	for name, from := range map[string]string{"tailfold": "./cmd/tailfold", "nats-server": "github.com/nats-io/nats-server/v2"} {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, name), from)
		build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v: %v\n%s", build, err, out)
			return 1
		}
	}
	return m.Run()
}

// process is a program that runs until the test ends it.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	mu   sync.Mutex
	text strings.Builder
	done chan error
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, done: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = p, p
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	go func() { p.done <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		p.done <- <-p.done
		if t.Failed() {
			t.Logf("%v said:\n%s", cmd.Args, p.said())
		}
	})
	return p
}

// stop ends it as Kubernetes does, and tells how.
func (p *process) stop(grace time.Duration) error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case err := <-p.done:
		p.done <- err
		return err
	case <-time.After(grace):
		return fmt.Errorf("it has not ended after %v", grace)
	}
}

func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-deadline:
			t.Fatalf("waited %v in vain: %s", patience, what)
		case <-tick.C:
		}
	}
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

func get(t *testing.T, url string) (code int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(text)
}

var reference = regexp.MustCompile(`\$\(([A-Za-z_][A-Za-z0-9_]*)\)`)

// environment is that of a container of the pod with an index, as the kubelet makes it: a variable may name earlier ones.
func environment(t *testing.T, c corev1.Container, index int) map[string]string {
	t.Helper()
	values := map[string]string{}
	for _, v := range c.Env {
		value := v.Value
		if v.ValueFrom != nil {
			if v.ValueFrom.FieldRef == nil || v.ValueFrom.FieldRef.FieldPath != "metadata.labels['apps.kubernetes.io/pod-index']" {
				t.Fatalf("%s comes from %v", v.Name, v.ValueFrom)
			}
			value = strconv.Itoa(index)
		}
		values[v.Name] = reference.ReplaceAllStringFunc(value, func(text string) string {
			name := reference.FindStringSubmatch(text)[1]
			known, ok := values[name]
			if !ok {
				t.Fatalf("%s names %s, which is not set before it", v.Name, name)
			}
			return known
		})
	}
	return values
}

// pod is a worker, run as the manifests say.
type pod struct {
	*process
	base      string
	container corev1.Container
}

// pod starts one with the container's arguments and environment, its configuration, and the variables of a Secret. It has
// the pod's user and may write no file at all. Only its address is another, and shown to be the one thing changed.
func (m manifests) pod(t *testing.T, index int, secret map[string]string) pod {
	t.Helper()
	_, _, template := m.workers(t)
	container := template.Spec.Containers[0]
	dir, err := os.MkdirTemp(programs, "pod-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range m.objects["ConfigMap"].(*corev1.ConfigMap).Data {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	env := environment(t, container, index)
	mount := container.VolumeMounts[0].MountPath
	within, ok := strings.CutPrefix(env["TAILFOLD_CONFIG"], mount+"/")
	if !ok {
		t.Fatalf("%s: the configuration %s is not below %s", m.name, env["TAILFOLD_CONFIG"], mount)
	}
	env["TAILFOLD_CONFIG"] = filepath.Join(dir, within)

	address := "127.0.0.1:" + freePort(t)
	args := append([]string{"-c", `ulimit -f 0; exec "$@"`, "sh", filepath.Join(programs, "tailfold")}, container.Args...)
	command := exec.Command("sh", append(args, "--listen", address)...)
	command.Dir = "/"
	for name, value := range secret {
		if _, set := env[name]; !set { // as in Kubernetes: env goes before envFrom
			command.Env = append(command.Env, name+"="+value)
		}
	}
	for name, value := range env {
		command.Env = append(command.Env, name+"="+value)
	}
	if os.Getuid() == 0 {
		user := template.Spec.SecurityContext
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(*user.RunAsUser), Gid: uint32(*user.RunAsGroup)}}
	}
	return pod{start(t, command), "http://" + address, container}
}

// ask is what a probe is answered.
func (p pod) ask(probe *corev1.Probe) (code int, body string) {
	return get(p.t, p.base+probe.HTTPGet.Path)
}
