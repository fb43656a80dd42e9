package faults

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAWorkerThatIsKilledForItsMemoryGetsOn folds a long log in workers that take more memory than they may and are killed
// for it, each time. The next one goes on with the last checkpoint, so that the end is reached in pieces. The first of them
// also stands still for seconds in its replay, as a machine that swaps has it.
func TestAWorkerThatIsKilledForItsMemoryGetsOn(t *testing.T) {
	const bound = 100 // MiB; without one a worker takes about twice as much
	s := newScene(t)
	s.environment = append(s.environment, "TAILFOLD_FAULTS_CACHE=0") // the default
	s.foldAndStop()
	last := s.published()
	for range 75 {
		last = s.publishTail(200_000)
	}
	bounded := s.boundMemory(bound)
	killed, before, stuck := 0, s.mustBeAPrefix("accounts"), 0
	for before < last && killed < 50 {
		w := s.startWorker("")
		bounded(w)
		if killed == 0 {
			w.says("that it replays", is("accounts", "replaying"))
			w.pause()
			time.Sleep(*zombieFor) // the time is what is tested
			w.continueOn()
		}
		for deadline := time.Now().Add(time.Minute); !w.ends(20 * time.Millisecond); {
			if s.mark("accounts").Seq >= last {
				w.terminate(13 * time.Second)
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("it neither ends nor gets to the log's end; it said:\n%s", w.output.end())
			}
		}
		s.worker = nil
		status, _ := w.cmd.ProcessState.Sys().(syscall.WaitStatus)
		if status.Signaled() && status.Signal() == syscall.SIGKILL {
			killed++
		} else if code := w.cmd.ProcessState.ExitCode(); code != 0 {
			t.Fatalf("it ended with code %d:\n%s", code, w.output.end())
		}
		w.mustNotHalt()
		seq := s.mustBeAPrefix("accounts")
		t.Logf("killed %d times: seq %d", killed, seq)
		if stuck++; seq > before {
			stuck = 0
		}
		if before = seq; stuck > 2 {
			t.Fatalf("three lives have got no further than seq %d of %d", seq, last)
		}
	}
	if killed < 2 {
		t.Errorf("the worker was killed for its memory %d times: the test shows nothing", killed)
	}
	s.finish()
}

// boundMemory has the kernel kill a process that takes more than so many MiB, by a memory group of its own. Where this
// process may not make one, the test itself watches, and kills as the kernel does.
func (s *scene) boundMemory(mib int) (apply func(*life)) {
	s.t.Helper()
	for _, limit := range []string{"/sys/fs/cgroup/memory/%s/memory.limit_in_bytes", "/sys/fs/cgroup/%s/memory.max"} {
		limit = fmt.Sprintf(limit, fmt.Sprintf("tailfold-test-%d", os.Getpid()))
		group := filepath.Dir(limit)
		if err := os.Mkdir(group, 0o755); err != nil {
			continue
		}
		if err := set(limit, mib<<20); err != nil { // no group of memory
			_ = os.Remove(group)
			continue
		}
		s.t.Cleanup(func() { s.killWorker(); _ = os.Remove(group) })
		_ = set(filepath.Join(group, "memory.swap.max"), 0) // where there is one
		s.t.Logf("bounded by the kernel: %s", filepath.Base(limit))
		return func(l *life) {
			err := set(filepath.Join(group, "cgroup.procs"), l.cmd.Process.Pid)
			if err != nil && !errors.Is(err, syscall.ESRCH) { // it may have ended
				s.t.Fatal(err)
			}
		}
	}
	s.t.Log("bounded by the test: no memory group can be made")
	return func(l *life) {
		s.helpers.Go(func() { // ends with the process
			for !l.ends(2 * time.Millisecond) {
				status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.cmd.Process.Pid))
				_, rest, _ := strings.Cut(string(status), "RssAnon:")
				if kib, _ := strconv.Atoi(strings.TrimSpace(strings.Split(rest, "kB")[0])); kib>>10 > mib {
					_ = l.cmd.Process.Kill()
				}
			}
		})
	}
}

// set writes a number to a file that is there.
func set(name string, n int) error {
	file, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(strconv.Itoa(n))
	return errors.Join(err, file.Close())
}
