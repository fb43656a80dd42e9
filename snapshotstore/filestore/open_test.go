package filestore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/filestore"
	"go.etcd.io/bbolt"
)

// These tell this program, started anew by a test, what to do instead of testing: commit to the file of this path until it
// is killed, or only open it.
const (
	commitTo = "FILESTORE_TEST_COMMIT_TO"
	openOnly = "FILESTORE_TEST_OPEN"
)

// commitUntilKilled prints the seq of each commit that succeeded. Every value is the seq of its mark.
func commitUntilKilled(path string) error {
	store, err := filestore.Open(filestore.Options{Path: path})
	if err != nil {
		return err
	}
	for {
		from, err := store.Head(context.Background(), totals)
		if err != nil {
			return err
		}
		c := snapshotstore.Checkpoint{From: from, To: snapshotstore.Mark{Seq: from.Seq + 1}.Seal(strconv.Itoa(os.Getpid()))}
		for i := range 300 {
			key := fmt.Sprintf("k%d", i)
			c.Put = append(c.Put, snapshotstore.Entry{Key: key, Data: strconv.AppendUint(nil, c.To.Seq, 10)})
		}
		c.Skipped = []snapshotstore.Skipped{{Seq: c.To.Seq}}
		if err := store.Commit(context.Background(), totals, c); err != nil {
			return err
		}
		fmt.Println(c.To.Seq)
	}
}

func TestSIGKILLAtAnyMomentLeavesAWholeCheckpoint(t *testing.T) {
	options := filestore.Options{Path: filepath.Join(t.TempDir(), "tailfold.db"), Wait: 10 * time.Second}
	for range 20 {
		told := runAndKill(t, options.Path)
		store := open(t, options)
		var keys []string
		for i := range 300 {
			keys = append(keys, fmt.Sprintf("k%d", i))
		}
		mark, got, err := store.Get(t.Context(), totals, keys)
		if err != nil {
			t.Fatal(err)
		}
		if mark.Seq < told {
			t.Fatalf("seq %d was committed, after a SIGKILL the store holds seq %d", told, mark.Seq)
		}
		for i, value := range got {
			if string(value.Data) != strconv.FormatUint(mark.Seq, 10) {
				t.Fatalf("after a SIGKILL key %s is of seq %q, the mark of seq %d", keys[i], value.Data, mark.Seq)
			}
		}
		if _, skipped, err := store.Skipped(t.Context(), totals); err != nil || uint64(len(skipped)) != mark.Seq {
			t.Fatalf("after a SIGKILL %d events are told skipped beside seq %d, %v", len(skipped), mark.Seq, err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// runAndKill has a process commit, kills it after a random number of commits, somewhere in the next, and returns the last
// seq that it told.
func runAndKill(t *testing.T, path string) (told uint64) {
	t.Helper()
	cmd, lines := startChild(t, commitTo, path)
	var err error
	for left := 1 + rand.N(5); lines.Scan(); left-- {
		if told, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
			t.Errorf("the process printed %q", lines.Text())
		}
		if left == 0 {
			spin(rand.N(5 * time.Millisecond)) // somewhere in the next commit
			cmd.Process.Kill()
		}
	}
	cmd.Wait()
	if told == 0 || t.Failed() {
		t.Fatal("the process committed nothing")
	}
	return told
}

// startChild starts this program with an order, and what it prints.
func startChild(t *testing.T, order, path string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), order+"="+path)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// spin passes a time too short to be slept, to come to another moment of what goes on meanwhile. Nothing depends on it.
func spin(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
		continue
	}
}

// openAndTell prints when it begins to open a store and when it has, and holds it until it is killed.
func openAndTell(path string) error {
	fmt.Println("begin")
	if _, err := filestore.Open(filestore.Options{Path: path}); err != nil {
		return err
	}
	fmt.Println("open")
	_, err := io.Copy(io.Discard, os.Stdin) // which ends with the test at the latest
	return err
}

func TestSIGKILLWhileItCompactsLeavesAWholeFile(t *testing.T) {
	options := filestore.Options{Path: filepath.Join(t.TempDir(), "tailfold.db"), NoSync: true, Wait: 10 * time.Second}
	store := open(t, options)
	all := values(12_000, 500)
	mark := commit(t, store, totals, first("a", all...))
	c := snapshotstore.Checkpoint{From: mark, To: snapshotstore.Mark{Seq: 2}.Seal("b")}
	for _, entry := range all[1_000:] {
		c.Delete = append(c.Delete, entry.Key)
	}
	commit(t, store, totals, c)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	wasteful, err := os.ReadFile(options.Path)
	if err != nil {
		t.Fatal(err)
	}
	compacted, took := 0, 100*time.Millisecond
	for round := range 12 {
		if err := os.WriteFile(options.Path, wasteful, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd, lines := startChild(t, openOnly, options.Path)
		lines.Scan()
		if began := time.Now(); round == 0 {
			lines.Scan() // to the end, to know how long it takes
			took = time.Since(began)
		} else {
			spin(rand.N(took))
		}
		cmd.Process.Kill()
		cmd.Wait()
		if sizeOf(t, options.Path) < int64(len(wasteful)) {
			compacted++
		}
		store := open(t, options)
		found := 0
		for _, err := range store.Scan(t.Context(), totals) {
			if err != nil {
				t.Fatal(err)
			}
			found++
		}
		got, err := store.Head(t.Context(), totals)
		if err != nil || got.ID != "b" || found != 1_000 {
			t.Fatalf("after a SIGKILL while it compacted: mark %q, %d keys, %v; want b and 1000", got.ID, found, err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if compacted == 0 {
		t.Error("the file was never compacted: this test shows nothing")
	}
}

func TestASecondOpenSaysWhoHoldsTheFile(t *testing.T) {
	options := filestore.Options{Path: filepath.Join(t.TempDir(), "tailfold.db"), Wait: 50 * time.Millisecond}
	store := open(t, options)
	_, err := filestore.Open(options)
	if err == nil {
		t.Fatal("two hold one file")
	}
	for _, part := range []string{options.Path, "is held by another process", "is a tailfold already running?", "another file"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error says %q; want it to say %q", err, part)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	commit(t, open(t, options), totals, first("a"))
}

// Who waited for a file that its holder replaced by a compacted one must not go on with the one that has lost its name.
func TestOpenFollowsAFileThatWasReplacedWhileItWaited(t *testing.T) {
	folder := t.TempDir()
	options := filestore.Options{Path: filepath.Join(folder, "tailfold.db"), Wait: 20 * time.Second}
	fresh := filestore.Options{Path: filepath.Join(folder, "fresh.db")}
	other := open(t, fresh)
	commit(t, other, totals, first("of the new file"))
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}

	holder := open(t, options)
	commit(t, holder, totals, first("of the old file"))
	waiter := make(chan *filestore.Store)
	go func() {
		store, err := filestore.Open(options)
		if err != nil {
			t.Error(err)
		}
		waiter <- store
	}()
	for openFiles(t, options.Path) < 2 { // until it waits for the old one
		if t.Failed() {
			t.FailNow()
		}
	}
	if err := os.Rename(fresh.Path, options.Path); err != nil {
		t.Fatal(err)
	}
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	store := <-waiter
	defer store.Close()
	if mark, err := store.Head(t.Context(), totals); err != nil || mark.ID != "of the new file" {
		t.Errorf("the store holds %q, %v", mark.ID, err)
	}
}

// openFiles is how many descriptors this process has on a path.
func openFiles(t testing.TB, path string) (n int) {
	t.Helper()
	want, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	descriptors, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, descriptor := range descriptors {
		if got, err := os.Stat("/dev/fd/" + descriptor.Name()); err == nil && os.SameFile(want, got) {
			n++
		}
	}
	return n
}

func TestTheFileIsItsOwnersAlone(t *testing.T) {
	options := filestore.Options{Path: filepath.Join(t.TempDir(), "tailfold.db"), NoSync: true}
	open(t, options)
	if mode := modeOf(t, options.Path); mode != 0o600 {
		t.Errorf("the file has mode %o, want 600", mode)
	}
}

func TestOpenRefusesWhatIsNoStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tailfold.db")
	bolt := func(bucket, format string) func() error {
		return func() error {
			db, err := bbolt.Open(path, 0o600, nil)
			if err != nil {
				return err
			}
			defer db.Close()
			return db.Update(func(tx *bbolt.Tx) error {
				b, err := tx.CreateBucket([]byte(bucket))
				if err != nil {
					return err
				}
				return b.Put([]byte("format"), []byte(format))
			})
		}
	}
	store := func(damage func() error) func() error {
		return func() error {
			store, err := filestore.Open(filestore.Options{Path: path, NoSync: true})
			if err != nil {
				return err
			}
			if err := store.Commit(t.Context(), totals, first("a", values(1_000, 1_000)...)); err != nil {
				return err
			}
			return errors.Join(store.Close(), damage())
		}
	}
	write := func(text string) func() error {
		return func() error { return os.WriteFile(path, []byte(text), 0o600) }
	}
	cutTo := func(size int64) func() error {
		return func() error { return os.Truncate(path, size) }
	}
	for name, test := range map[string]struct {
		make    func() error
		says    []string
		damaged bool
	}{
		"text":            {write(strings.Repeat("text ", 9_000)), []string{"damaged"}, true},
		"a few bytes":     {write("x"), []string{"damaged"}, true},
		"another program": {bolt("theirs", "1"), []string{"another program", "a file of its own"}, false},
		"the future":      {bolt("tailfold", "2"), []string{`format "2"`, "reads format 1"}, false},
		"cut short":       {store(cutTo(64 << 10)), []string{"damaged", "it has 65536 bytes"}, true},
		"only headers":    {store(cutTo(8 << 10)), []string{"damaged", "it has 8192 bytes"}, true},
		"a folder":        {func() error { return os.Mkdir(path, 0o700) }, []string{"is a directory"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := test.make(); err != nil {
				t.Fatal(err)
			}
			got, err := filestore.Open(filestore.Options{Path: path, Wait: time.Second})
			if err == nil {
				got.Close()
				t.Fatal("it was opened")
			}
			for _, part := range append(test.says, path, "the store can't be opened") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error says %q; want it to say %q", err, part)
				}
			}
			if _, damaged := errors.AsType[*filestore.DamagedError](err); damaged != test.damaged {
				t.Errorf("the error %v is a *DamagedError: %t, want %t", err, damaged, test.damaged)
			}
			if test.damaged && !strings.Contains(err.Error(), "keep the file") {
				t.Errorf("the error says no way out: %v", err)
			}
		})
	}
	if _, err := filestore.Open(filestore.Options{}); err == nil {
		t.Error("a store without a path was opened")
	}
}
