package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/redis/go-redis/v9"
)

// patience is how long a server of our own may take to start.
const patience = 30 * time.Second

// servers are the NATS and the Redis that everything runs on.
type servers struct {
	nats, redis         string // URLs
	natsText, redisText string // what they are, for people
	natsPID, redisPID   int    // 0: not ours, or not a process of its own
	client              *redis.Client
	ends                []func()
}

// end stops what start started.
func (s *servers) end() {
	for i := len(s.ends) - 1; i >= 0; i-- {
		s.ends[i]()
	}
}

// start starts the servers that the user has not named, in dir.
func start(ctx context.Context, dir, natsURL, redisURL string, embedded bool) (_ *servers, err error) {
	s := &servers{nats: natsURL, redis: redisURL}
	defer func() {
		if err != nil {
			s.end()
		}
	}()
	switch {
	case natsURL != "":
		s.natsText = "NATS at " + hostOf(natsURL)
	case embedded:
		err = s.embed(filepath.Join(dir, "nats"))
	default:
		err = s.startNATS(ctx, filepath.Join(dir, "nats"))
	}
	if err != nil {
		return nil, err
	}
	if redisURL == "" {
		if err := s.startRedis(ctx, filepath.Join(dir, "redis")); err != nil {
			return nil, err
		}
	} else {
		s.redisText = "Redis at " + hostOf(redisURL)
	}
	options, err := redis.ParseURL(s.redis)
	if err != nil {
		return nil, fmt.Errorf("--redis: %w", err)
	}
	s.client = redis.NewClient(options)
	s.ends = append(s.ends, func() { _ = s.client.Close() })
	info, err := s.client.InfoMap(ctx, "server").Result()
	if err != nil {
		return nil, fmt.Errorf("Redis at %s does not answer: %w", options.Addr, err)
	}
	s.redisText += " " + info["Server"]["redis_version"]
	return s, nil
}

func hostOf(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return u.Host
	}
	return "the address given"
}

func natsOptions(dir string) *server.Options {
	return &server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true}
}

// embed runs a NATS server in this process.
func (s *servers) embed(dir string) error {
	node, err := serveNATS(dir)
	if err != nil {
		return err
	}
	s.nats, s.natsText = node.ClientURL(), "nats-server "+server.VERSION+" inside this process"
	s.ends = append(s.ends, func() { node.Shutdown(); node.WaitForShutdown() })
	return nil
}

func serveNATS(dir string) (*server.Server, error) {
	node, err := server.NewServer(natsOptions(dir))
	if err != nil {
		return nil, fmt.Errorf("nats-server: %w", err)
	}
	node.Start()
	if !node.ReadyForConnections(patience) {
		node.Shutdown()
		return nil, fmt.Errorf("nats-server is not ready after %v", patience)
	}
	return node, nil
}

// startNATS runs a NATS server as a process of its own: this program has one inside.
func (s *servers) startNATS(ctx context.Context, dir string) error {
	command, stdout, err := again(flagServe, dir)
	if err != nil {
		return err
	}
	s.ends = append(s.ends, func() { stop(command) })
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() {
		return errors.New("the nats-server process ended before it was ready")
	}
	s.nats, s.natsPID = lines.Text(), command.Process.Pid
	s.natsText = fmt.Sprintf("nats-server %s (process %d, store in a temporary folder)", server.VERSION, s.natsPID)
	return ctx.Err()
}

// again starts this program once more, in a hidden mode. It ends when its standard input does, so that it does not outlive
// this one.
func again(words ...string) (*exec.Cmd, *bufio.Reader, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("this program's own file can't be found: %w", err)
	}
	command := exec.Command(program, append([]string{"bench"}, words...)...)
	command.Stderr = os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is this process's business
	if _, err := command.StdinPipe(); err != nil {            // closed by Wait
		return nil, nil, err
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := command.Start(); err != nil {
		return nil, nil, fmt.Errorf("%s can't be started again: %w", program, err)
	}
	return command, bufio.NewReader(stdout), nil
}

func stop(command *exec.Cmd) {
	_ = command.Process.Kill()
	_ = command.Wait()
}

func (s *servers) startRedis(ctx context.Context, dir string) error {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return errors.New("there is no redis-server here: install it (on Debian: apt-get install redis-server), or name one " +
			"that runs with --redis redis://host:6379/15")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	command := exec.Command(program, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir,
		"--slowlog-log-slower-than", strconv.FormatInt(slowFrom.Microseconds(), 10), "--slowlog-max-len", "10000")
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		return fmt.Errorf("redis-server: %w", err)
	}
	s.ends = append(s.ends, func() { stop(command) })
	s.redis, s.redisPID = fmt.Sprintf("redis://127.0.0.1:%d/0", port), command.Process.Pid
	s.redisText = fmt.Sprintf("redis-server (process %d, nothing on disk)", s.redisPID)
	client := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", port), MaxRetries: -1})
	defer client.Close()
	for began := time.Now(); client.Ping(ctx).Err() != nil; {
		if time.Since(began) > patience || ctx.Err() != nil {
			return fmt.Errorf("redis-server on port %d is not ready after %v", port, time.Since(began).Round(time.Second))
		}
		time.Sleep(5 * time.Millisecond) // nothing tells when it is
	}
	return nil
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// cpu is what the processes have used so far; negative where it is not known.
type cpu struct{ nats, redis time.Duration }

func (s *servers) cpu(ctx context.Context) cpu {
	c := cpu{nats: -1, redis: -1}
	if s.natsPID > 0 {
		c.nats = processCPU(s.natsPID)
	}
	info, err := s.client.InfoMap(ctx, "cpu").Result()
	if err == nil {
		user, err1 := strconv.ParseFloat(info["CPU"]["used_cpu_user"], 64)
		system, err2 := strconv.ParseFloat(info["CPU"]["used_cpu_sys"], 64)
		if err1 == nil && err2 == nil {
			c.redis = time.Duration((user + system) * float64(time.Second))
		}
	}
	return c
}

// processCPU reads what a process has used from /proc, in ticks of 10 ms; -1 where there is none.
func processCPU(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return -1
	}
	_, after, _ := strings.Cut(string(text), ") ") // the name before it may hold blanks
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return -1
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return -1
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}
