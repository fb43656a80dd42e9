package redistest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// slots is the number of hash slots of any cluster.
const slots = 16384

// StartCluster starts a cluster of that many primaries without replicas and waits until it serves all slots.
func StartCluster(t testing.TB, primaries int, settings ...string) []*Server {
	t.Helper()
	return startCluster(t, nil, primaries, settings)
}

// StartTLSCluster is StartCluster with TLS only.
func StartTLSCluster(t testing.TB, certificates *Certificates, primaries int, settings ...string) []*Server {
	t.Helper()
	return startCluster(t, certificates, primaries, settings)
}

func startCluster(t testing.TB, certificates *Certificates, primaries int, settings []string) []*Server {
	t.Helper()
	servers := make([]*Server, primaries)
	for i := range servers {
		bus := strconv.Itoa(FreePort(t))
		args := append([]string{"--cluster-enabled", "yes", "--cluster-port", bus}, settings...)
		servers[i] = start(t, &Server{args: args, tls: certificates})
		first, last := i*slots/primaries, (i+1)*slots/primaries-1
		servers[i].Do("CLUSTER", "ADDSLOTSRANGE", first, last)
		servers[i].Do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
		if i > 0 {
			busOfFirst := servers[0].Do("CONFIG", "GET", "cluster-port").([]any)[1]
			servers[i].Do("CLUSTER", "MEET", "127.0.0.1", servers[0].port, busOfFirst)
		}
	}
	for _, server := range servers {
		server.Await("cluster_state:ok and all nodes known", func(client *redis.Client) bool {
			text, err := client.ClusterInfo(context.Background()).Result()
			return err == nil && strings.Contains(text, "cluster_state:ok") && strings.Contains(text, fmt.Sprintf("cluster_known_nodes:%d", primaries))
		})
	}
	return servers
}

// StartSentinel starts a sentinel that watches the primary under the name given, alone deciding that it is down, after
// it has not answered for downAfter. It waits until the sentinel knows the primary and that many replicas. It speaks TLS
// if the primary does.
func StartSentinel(t testing.TB, name string, primary *Server, replicas int, downAfter time.Duration, settings ...string) *Server {
	t.Helper()
	sentinel := start(t, &Server{sentinel: true, tls: primary.tls, args: settings})
	sentinel.Do("SENTINEL", "MONITOR", name, "127.0.0.1", primary.port, 1)
	sentinel.Do("SENTINEL", "SET", name, "down-after-milliseconds", downAfter.Milliseconds())
	sentinel.Do("SENTINEL", "SET", name, "failover-timeout", 10*downAfter.Milliseconds())
	sentinel.Await("the sentinel knows the replicas", func(client *redis.Client) bool {
		text, err := client.Info(context.Background(), "sentinel").Result()
		return err == nil && strings.Contains(text, fmt.Sprintf("status=ok,address=%s,slaves=%d", primary.Addr(), replicas))
	})
	return sentinel
}

// StartReplica starts a server that follows the primary, and waits until it has all of its data.
func StartReplica(t testing.TB, primary *Server, settings ...string) *Server {
	t.Helper()
	replica := Start(t, append([]string{"--replicaof", "127.0.0.1 " + strconv.Itoa(primary.port)}, settings...)...)
	replica.Await("the replica follows", func(client *redis.Client) bool {
		text, err := client.Info(context.Background(), "replication").Result()
		return err == nil && strings.Contains(text, "master_link_status:up")
	})
	return replica
}

// Await waits until what is said of the server is so.
func (s *Server) Await(what string, so func(client *redis.Client) bool) {
	s.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !so(s.Client()) {
		select {
		case <-deadline.C:
			s.t.Fatalf("redistest: waited %v for: %s; redis-server on port %d said:\n%s", patience, what, s.port, s.log)
		case <-tick.C:
		}
	}
}
