package natstest

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// StartCluster runs a cluster of n server processes with JetStream until the test ends, and waits until it has a leader.
// Each can be killed, paused and started again by itself.
func StartCluster(t testing.TB, n int, options ...Options) []*Process {
	t.Helper()
	ports, listeners := make([]int, n), make([]net.Listener, n)
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatalf("natstest: %v", err)
		}
		listeners[i], ports[i] = listener, listener.Addr().(*net.TCPAddr).Port
	}
	for _, listener := range listeners { // only now, so that no port is chosen twice
		_ = listener.Close()
	}
	servers := make([]*Process, n)
	for i := range servers {
		o := one(options)
		o.name = fmt.Sprintf("node-%d", i)
		o.Dir = t.TempDir()
		advertise := ""
		if o.Route != nil {
			advertise = "  cluster_advertise: \"127.0.0.1:1\"\n" // where nobody listens
		}
		var routes []string
		for to, port := range ports {
			address := fmt.Sprintf("127.0.0.1:%d", port)
			if o.Route != nil && to != i {
				address = o.Route(i, to, address)
			}
			routes = append(routes, fmt.Sprintf("%q", "nats://"+address))
		}
		o.Config += fmt.Sprintf("\ncluster {\n  name: natstest\n  listen: \"127.0.0.1:%d\"\n%s  routes: [%s]\n}", ports[i], advertise, strings.Join(routes, ", "))
		servers[i] = StartProcess(t, o)
	}
	js := JetStream(t, servers[0].Connect())
	for deadline := time.Now().Add(2 * patience); ; {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := js.AccountInfo(ctx)
		cancel()
		if err == nil {
			return servers
		}
		if time.Now().After(deadline) {
			t.Fatalf("natstest: the cluster has no leader after %v: %v", 2*patience, err)
		}
		time.Sleep(20 * time.Millisecond) // polls other processes
	}
}

// URLs are the addresses of all servers, as a client takes them.
func URLs(servers []*Process) string {
	urls := make([]string, len(servers))
	for i, server := range servers {
		urls[i] = server.URL()
	}
	return strings.Join(urls, ",")
}

// Following names the server that leads a stream, "" if none does, and how many servers have all that it has.
func Following(t testing.TB, js jetstream.JetStream, stream string) (leader string, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return "", 0
	}
	info := s.CachedInfo().Cluster
	if info == nil || info.Leader == "" {
		return "", 0
	}
	n = 1
	for _, peer := range info.Replicas {
		if peer.Current && !peer.Offline {
			n++
		}
	}
	return info.Leader, n
}

// AwaitFollowing waits until n servers have all that a stream's leader has, and names the leader. False: they do not within
// that time.
func AwaitFollowing(t testing.TB, js jetstream.JetStream, stream string, n int, within time.Duration) (leader string, ok bool) {
	t.Helper()
	for deadline := time.Now().Add(within); ; {
		leader, current := Following(t, js, stream)
		if current == n || time.Now().After(deadline) {
			return leader, current == n
		}
		time.Sleep(20 * time.Millisecond) // polls other processes
	}
}

// Number is that of a server in the list that StartCluster returned, by its name.
func Number(name string) int { return int(name[len("node-")] - '0') }

// ChangeByte changes one byte in the middle of a file that is not empty.
func ChangeByte(file string) error {
	data, err := os.ReadFile(file)
	if err != nil || len(data) == 0 {
		return err
	}
	data[len(data)/2] ^= 0x10
	return os.WriteFile(file, data, 0o600)
}
