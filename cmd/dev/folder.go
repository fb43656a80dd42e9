package dev

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// folder holds all that dev keeps: log and store together, because a store is worth nothing beside another log. One
// process holds it: nats-server has no lock of its own on its store.
type folder struct {
	path string
	lock *os.File
}

// What is in the folder. Nothing else in it is ever removed.
const (
	lockFile   = "dev.lock"
	logFolder  = "log"           // of the NATS server
	storeFile  = "tailfold.db"   // snapshots
	configFile = "tailfold.yaml" // written at each start, for the other commands
	linesFile  = "dev.log"       // what worker and NATS server log
	killFolder = "kill"          // log and store of --kill
)

var contents = []string{logFolder, storeFile, storeFile + ".compact", configFile, linesFile, killFolder}

// lockPatience is how long a folder is waited for: a process that was killed a moment ago may still hold it.
const lockPatience = 2 * time.Second

// openFolder makes the folder, or takes the one that is there, and holds it until close.
func openFolder(path string) (*folder, error) {
	if err := checkFolder(path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("the folder %s can't be made: %w: name another one with --dir DIR", path, err)
	}
	lock, err := os.OpenFile(filepath.Join(path, lockFile), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("the folder %s can't be used: %w: name another one with --dir DIR", path, err)
	}
	f := &folder{path: path, lock: lock}
	if err := f.take(); err != nil {
		lock.Close()
		return nil, err
	}
	return f, nil
}

// checkFolder refuses a folder that has other things in it.
func checkFolder(path string) error {
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("the folder %s can't be used: %w: name another one with --dir DIR", path, err)
	}
	if _, err := os.Stat(filepath.Join(path, lockFile)); err != nil && len(entries) > 0 {
		return fmt.Errorf("the folder %s is not empty and was not made by tailfold dev: name another one with --dir DIR", path)
	}
	return nil
}

func (f *folder) take() error {
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		err := syscall.Flock(int(f.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			if err := f.lock.Truncate(0); err != nil {
				return fmt.Errorf("the folder %s can't be used: %w", f.path, err)
			}
			_, err := f.lock.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
			return err
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return fmt.Errorf("the folder %s can't be locked: %w: name one on a local disk with --dir DIR", f.path, err)
		case time.Since(began) > lockPatience:
			return &heldError{folder: f.path, pid: f.holder()}
		}
	}
}

// holder is the process id that the one who has the folder left there; "" if it can't be told.
func (f *folder) holder() string {
	text := make([]byte, 16)
	n, _ := f.lock.ReadAt(text, 0)
	return strings.TrimSpace(string(text[:n]))
}

// heldError is a folder that another process has.
type heldError struct{ folder, pid string }

func (e *heldError) Error() string {
	who, stop := "another process", "stop that one"
	if e.pid != "" {
		who, stop = "the tailfold dev with process id "+e.pid, "stop that one (kill "+e.pid+")"
	}
	return fmt.Sprintf("the folder %s is in use by %s: %s, or give this one a folder of its own with --dir DIR", e.folder, who, stop)
}

// fresh removes all that dev keeps in the folder.
func (f *folder) fresh() error {
	for _, name := range contents {
		if err := os.RemoveAll(f.file(name)); err != nil {
			return fmt.Errorf("%s can't be removed to begin anew: %w", f.file(name), err)
		}
	}
	return nil
}

func (f *folder) file(name string) string { return filepath.Join(f.path, name) }

// within is a folder inside of this one, which goes with it.
func (f *folder) within(name string) (*folder, error) {
	inner := &folder{path: f.file(name)}
	return inner, os.MkdirAll(inner.path, 0o755)
}

// maxLines is how large the log lines may be at a start before they are begun anew.
const maxLines = 8 << 20

// lines opens the file for log lines. What is appended is whole also when several processes do.
func (f *folder) lines() (*logLines, error) {
	path := f.file(linesFile)
	if stat, err := os.Stat(path); err == nil && stat.Size() > maxLines {
		if err := os.Truncate(path, 0); err != nil {
			return nil, err
		}
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	return &logLines{file: file}, err
}

// logLines is a file of log lines. What comes after close is dropped: client libraries tell late that they are closed.
type logLines struct {
	mu   sync.Mutex
	file *os.File
	done bool
}

// Write implements io.Writer.
func (l *logLines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		return len(line), nil
	}
	return l.file.Write(line)
}

func (l *logLines) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = true
	l.file.Close()
}

// close lets go of the folder.
func (f *folder) close() { f.lock.Close() }
