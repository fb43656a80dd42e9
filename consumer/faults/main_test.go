package faults

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/tailfold/tailfold/cmd"
	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/natslog"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore/redisstore"

	"github.com/nats-io/nats.go"
)

var (
	kills     = flag.Int("kills", 12, "how many kills each test makes")
	away      = flag.Duration("away", 6*time.Second, "how long Redis is away under load; other tests take a share of it")
	keys      = flag.Int("keys", 1_000_000, "how many keys the large snapshot has that a worker is restarted on")
	zombieFor = flag.Duration("stopped", 3*time.Second, "how long a worker is stopped while its rival goes on")
	seedFlag  = flag.Uint64("seed", 0, "seed of the kills; 0: a random one, which is printed")
)

// TestMain runs the tests, or, in a child process, the worker that they kill.
func TestMain(m *testing.M) {
	if os.Getenv("TAILFOLD_FAULTS_NATS") != "" {
		if err := work(); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv("TAILFOLD_FAULTS_COMMAND") != "" { // the whole program, with the models
		registry := &projections.Registry{}
		if err := registry.Add(models()...); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(1)
		}
		cmd.Main(registry)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// work is the worker process: three projections over the stream EVENTS. At a failpoint it kills itself.
func work() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	fmt.Println(`{"msg":"listening to signals"}`)
	config := zap.NewProductionConfig()
	config.Sampling = nil
	logger, err := config.Build()
	if err != nil {
		return err
	}
	conn, err := nats.Connect(os.Getenv("TAILFOLD_FAULTS_NATS"), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(100*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.SetCustomDialer(natslog.NewTap(&net.Dialer{Timeout: 2 * time.Second})))
	if err != nil {
		return err
	}
	defer conn.Close()
	timeout, err := time.ParseDuration(cmp.Or(os.Getenv("TAILFOLD_FAULTS_TIMEOUT"), "2s"))
	if err != nil {
		return err
	}
	store, err := redisstore.Open(redisstore.Options{URL: os.Getenv("TAILFOLD_FAULTS_REDIS"), Timeout: timeout})
	if err != nil {
		return err
	}
	defer store.Close()
	registry := &projections.Registry{}
	if err := registry.Add(models()...); err != nil {
		return err
	}
	name := os.Getenv("TAILFOLD_FAULTS_NAME")
	cache, err := strconv.Atoi(os.Getenv("TAILFOLD_FAULTS_CACHE"))
	if err != nil {
		return err
	}
	maxValue, _ := strconv.Atoi(os.Getenv("TAILFOLD_FAULTS_MAX_VALUE"))      // "": the default
	inactive, _ := time.ParseDuration(os.Getenv("TAILFOLD_FAULTS_INACTIVE")) // "": the default
	leave, _ := time.ParseDuration(os.Getenv("TAILFOLD_FAULTS_GRACE"))       // "": the default
	w, err := consumer.New(consumer.Config{Name: name, Registry: registry, Store: store, Logger: logger, Cache: cache,
		MaxValue: maxValue, Grace: leave, Failpoint: failpoint(os.Getenv("TAILFOLD_FAULTS_AT")),
		Logs: func(s consumer.Stream, _ int) (consumer.Log, error) {
			return natslog.New(natslog.Config{Conn: conn, Stream: s.Name, Worker: name, Heartbeat: 300 * time.Millisecond,
				InactiveThreshold: inactive})
		}})
	if err != nil {
		return err
	}
	return w.Run(ctx)
}

// failpoint kills the process by SIGKILL when it comes to the point for the n-th time: "name:n".
func failpoint(at string) func(string) {
	name, count, _ := strings.Cut(at, ":")
	n, _ := strconv.ParseInt(count, 10, 64) // "": never
	var hits atomic.Int64
	return func(point string) {
		if point == name && hits.Add(1) == n {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}
