package faults

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// memoryOf is the most (on Linux; elsewhere the present) and the present resident memory of a process, in MiB.
func memoryOf(t *testing.T, process *os.Process) (most, now int) {
	t.Helper()
	out, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(process.Pid)).Output()
	if err != nil {
		t.Fatalf("resident memory of process %d by ps: %v", process.Pid, err)
	}
	kib, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatalf("resident memory of process %d: ps says %q", process.Pid, out)
	}
	most, now = kib, kib
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", process.Pid)) // there is none on macOS
	for text := range strings.SplitSeq(string(status), "\n") {
		if peak, ok := strings.CutPrefix(text, "VmHWM:"); ok {
			if n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(peak), "kB"))); err == nil {
				most = n
			}
		}
	}
	return most >> 10, now >> 10
}
