package faults

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
)

// TestALogWhoseLastBlockIsCutIsDiverged kills the server and cuts the end off its last block, as a disk does that had
// not written all of it. What is published then takes the seqs that were folded already.
func TestALogWhoseLastBlockIsCutIsDiverged(t *testing.T) {
	for _, live := range []bool{false, true} {
		for _, refilled := range []bool{false, true} {
			name := map[bool]string{false: "down", true: "live"}[live] + map[bool]string{false: "", true: ", written to again"}[refilled]
			t.Run(name, func(t *testing.T) {
				s := newScene(t)
				w := s.startWorker("")
				s.awaitSeq(500, allModels...)
				last := s.stopPublishing()
				s.awaitSeq(last, allModels...)
				if !live {
					s.killWorker()
				}
				s.nats.Kill()
				s.cutLastBlock(3000) // some twenty events
				s.nats.Restart()
				stream := s.stream()
				left := stream.CachedInfo().State.LastSeq
				if left >= last || left == 0 {
					t.Fatalf("the log ends at %d after the cut, it ended at %d: the test shows nothing", left, last)
				}
				if refilled {
					s.publishForeign(200)
				}
				if !live {
					w = s.startWorker("")
				}
				for _, model := range allModels {
					w.says("DIVERGED", halts(model, "DIVERGED"))
					if seq := s.mustBeAPrefix(model); seq != last {
						t.Errorf("%s is at seq %d, it was left at %d", model, seq, last)
					}
				}
				t.Logf("the log lost events %d to %d", left+1, last)
			})
		}
	}
}

// cutLastBlock cuts bytes off the stream's last block of messages. The server, which is down, has its index no longer.
func (s *scene) cutLastBlock(bytes int64) {
	s.t.Helper()
	var blocks []string
	err := filepath.WalkDir(filepath.Join(s.nats.Dir(), "store"), func(path string, entry os.DirEntry, err error) error {
		if err == nil && strings.Contains(path, "EVENTS") && strings.HasSuffix(path, ".blk") {
			blocks = append(blocks, path)
		}
		if err == nil && strings.Contains(path, "EVENTS") && entry.Name() == "index.db" {
			err = os.Remove(path)
		}
		return err
	})
	if err != nil || len(blocks) == 0 {
		s.t.Fatalf("no block of the stream: %v", err)
	}
	slices.SortFunc(blocks, func(a, b string) int { // 9.blk is before 10.blk
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	block := blocks[len(blocks)-1]
	info, err := os.Stat(block)
	if err == nil && info.Size() <= bytes {
		s.t.Fatalf("the last block has %d bytes only", info.Size())
	}
	if err == nil {
		err = os.Truncate(block, info.Size()-bytes)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// publishForeign publishes events that no model may fold.
func (s *scene) publishForeign(n int) {
	s.t.Helper()
	js := natstest.JetStream(s.t, s.nats.Connect())
	for i := range n {
		if _, err := js.Publish(s.t.Context(), "events.foreign", []byte(text(event{ID: i, From: "foreign", To: "foreign", Amount: 1}))); err != nil {
			s.t.Fatal(err)
		}
	}
}
