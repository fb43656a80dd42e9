package redistest_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inner is a test within a test: it keeps how it failed, and runs its clean-up when told.
type inner struct {
	testing.TB
	failed  string
	cleanup []func()
}

func (i *inner) Cleanup(f func()) { i.cleanup = append(i.cleanup, f) }
func (i *inner) Fatalf(format string, args ...any) {
	i.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// run runs f as a test of its own and returns how it failed, "" if it did not.
func run(t *testing.T, f func(t testing.TB)) string {
	i := &inner{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(i)
	}()
	<-done
	for n := len(i.cleanup) - 1; n >= 0; n-- {
		i.cleanup[n]()
	}
	return i.failed
}

func TestMissingServerSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", "")
	failed := run(t, func(t testing.TB) { redistest.Start(t) })
	if !strings.Contains(failed, "apt-get install redis-server") || !strings.Contains(failed, "brew install redis") {
		t.Errorf("the test failed with %q", failed)
	}
}

func TestSettingThatRedisDoesNotKnowFailsWithWhatRedisSaid(t *testing.T) {
	failed := run(t, func(t testing.TB) { redistest.Start(t, "--no-such-setting", "1") })
	if !strings.Contains(failed, "no-such-setting") || !strings.Contains(failed, "Bad directive") {
		t.Errorf("the test failed with %q", failed)
	}
}

func TestServerIsGoneWithItsTest(t *testing.T) {
	var addr string
	failed := run(t, func(t testing.TB) {
		server := redistest.Start(t)
		addr = server.Addr()
		server.Do("SET", "a", "1")
		server.Pause() // also then
	})
	if failed != "" {
		t.Fatal(failed)
	}
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Errorf("something still listens on %s", addr)
	}
}

func TestRestartKeepsWhatTheSettingsSay(t *testing.T) {
	lossy, durable := redistest.Start(t), redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	for server, want := range map[*redistest.Server]int64{lossy: 0, durable: 1} {
		server.Do("SET", "a", "1")
		addr := server.Addr()
		server.Kill()
		server.Restart()
		if server.Addr() != addr {
			t.Errorf("restarted on %s, it was on %s", server.Addr(), addr)
		}
		if n := server.Client().Exists(context.Background(), "a").Val(); n != want {
			t.Errorf("%d keys are left after a crash, want %d", n, want)
		}
	}
}
