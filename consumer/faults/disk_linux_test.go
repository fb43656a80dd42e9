package faults

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// TestALogWhoseDiskIsFullIsReadOn fills the NATS server's disk, a small file system of its own, while a worker is live. The
// server takes nothing more, also when there is room again, until it is started anew. The worker stays live with what it
// has, one that comes meanwhile resumes, and when the server is back it goes on, without waiting for answers that the
// server took with it.
func TestALogWhoseDiskIsFullIsReadOn(t *testing.T) {
	disk := smallDisk(t)
	server := natstest.StartProcess(t, natstest.Options{Dir: disk})
	s := newSceneIn(t, redistest.Start(t), []*natstest.Process{server})
	s.startWorker("")
	s.awaitSeq(300, allModels...)
	filler := filepath.Join(disk, "filler")
	fillUp(t, filler)
	for deadline := time.Now().Add(40 * time.Second); !strings.Contains(server.Log(), "no space left on device"); {
		if time.Now().After(deadline) {
			t.Fatalf("at event %d the server has not noticed that its disk is full", s.published())
		}
		time.Sleep(20 * time.Millisecond) // polls another process
	}
	full := s.published() // the server freezes the stream at the first write that fails
	s.awaitSeq(full, allModels...)
	s.killWorker()
	w := s.startWorker("")
	w.says("that it is live", func(x line) bool { return x.Msg == "is live" && x.Projection == "accounts" })
	for _, model := range allModels {
		if seq := s.mustBeAPrefix(model); seq != full {
			t.Errorf("%s is at seq %d of a log that ends at %d", model, seq, full)
		}
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	server.Restart()
	back := time.Now()
	s.awaitEvents(50)
	s.awaitSeq(full+50, allModels...)
	if took := time.Since(back); took > 4*time.Second { // less than an answer is waited for
		t.Errorf("%v after the server was back the worker went on", took)
	}
	w.mustNotHalt()
	s.finish()
}

// smallDisk is a file system of 64 MiB, if the test may mount one.
func smallDisk(t *testing.T) string {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("this user may not mount a file system here (%v): TestALogThatIsFullIsReadOn stands in", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	return disk
}

// fillUp writes a file until the disk is full.
func fillUp(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for chunk := make([]byte, 64<<10); err == nil; {
		_, err = file.Write(chunk)
	}
	if !strings.Contains(err.Error(), "no space left") {
		t.Fatal(err)
	}
}
