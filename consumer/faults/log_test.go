package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/natslog"
	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/storetest"
)

// logScene is a real nats-server, a store, and a worker in this process that counts the events of one subject.
type logScene struct {
	t      *testing.T
	server *natstest.Server
	conn   *nats.Conn
	js     jetstream.JetStream
	store  *storetest.Memory
	config jetstream.StreamConfig
	accept bool
	lives  int
	refuse atomic.Bool
}

var counts = projections.Single[int]{Name: "counts", Version: 1, Stream: "S", Subjects: []string{"s.mine"},
	Step: func(n int, _ projections.Event) (int, error) { return n + 1, nil }}

func newLogScene(t *testing.T) *logScene {
	s := &logScene{t: t, server: natstest.Start(t), store: storetest.NewMemory(), config: jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}}
	s.conn = s.server.Connect(nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	s.js = natstest.JetStream(t, s.conn)
	natstest.CreateStream(t, s.js, s.config)
	return s
}

func (s *logScene) remake() {
	s.t.Helper()
	if err := s.js.DeleteStream(s.t.Context(), "S"); err != nil {
		s.t.Fatal(err)
	}
	natstest.CreateStream(s.t, s.js, s.config)
}

func (s *logScene) publish(n int, subject, text string) {
	s.t.Helper()
	for i := range n {
		if _, err := s.js.Publish(s.t.Context(), subject, fmt.Appendf(nil, "%s %d", text, i)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// restart starts the server again and waits until it answers for the stream: a message that is published before that can
// stay without an acknowledgement.
func (s *logScene) restart() {
	s.t.Helper()
	s.server.Restart()
	deadline := time.Now().Add(15 * time.Second)
	for {
		call, cancel := context.WithTimeout(s.t.Context(), 300*time.Millisecond)
		_, err := s.js.Stream(call, "S")
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the stream is not back: %v", err)
		}
		time.Sleep(5 * time.Millisecond) // polls a server that starts
	}
}

func (s *logScene) stream() jetstream.Stream {
	s.t.Helper()
	stream, err := s.js.Stream(s.t.Context(), "S")
	if err != nil {
		s.t.Fatal(err)
	}
	return stream
}

// start runs a worker that counts until stop is called.
func (s *logScene) start() (w *consumer.Worker, stop func()) {
	s.t.Helper()
	return s.startOn(s.conn, counts)
}

// startOn does the same with another connection and another projection.
func (s *logScene) startOn(conn *nats.Conn, p projections.Projection) (w *consumer.Worker, stop func()) {
	s.t.Helper()
	s.lives++
	name := fmt.Sprintf("worker-%d", s.lives)
	registry := &projections.Registry{}
	if err := registry.Add(p); err != nil {
		s.t.Fatal(err)
	}
	w, err := consumer.New(consumer.Config{Name: name, Registry: registry, Store: refusing{s.store.Handle(), &s.refuse},
		Streams: []consumer.Stream{{Name: "S", AcceptHoles: s.accept}},
		Logs: func(consumer.Stream, int) (consumer.Log, error) {
			return natslog.New(natslog.Config{Conn: conn, Stream: "S", Worker: name, Heartbeat: 100 * time.Millisecond})
		}})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.Run(ctx); err != nil {
			s.t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	s.t.Cleanup(stop)
	return w, stop
}

// await waits until the worker's row is as wanted.
func (s *logScene) await(w *consumer.Worker, what string, wanted func(consumer.UnitStatus) bool) consumer.UnitStatus {
	s.t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for {
		row := w.Status()[0]
		if wanted(row) {
			return row
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("it does not come to %s: %+v", what, row)
		}
		time.Sleep(5 * time.Millisecond) // polls what another goroutine does
	}
}

// mustStand demands that the snapshot is at seq with a count.
func (s *logScene) mustStand(seq uint64, count string) {
	s.t.Helper()
	mark, values, err := s.store.Get(context.Background(), snapshotstore.Unit{Projection: "counts", Version: 1}, []string{""})
	if err != nil {
		s.t.Fatal(err)
	}
	if mark.Seq != seq || string(values[0].Data) != count {
		s.t.Errorf("the snapshot is <%s, %d>, want <%s, %d>", values[0].Data, mark.Seq, count, seq)
	}
}

func liveAt(seq uint64) func(consumer.UnitStatus) bool {
	return func(r consumer.UnitStatus) bool { return r.State == consumer.Live && r.Seq == seq }
}

func haltedBy(reason consumer.Reason) func(consumer.UnitStatus) bool {
	return func(r consumer.UnitStatus) bool {
		return r.State == consumer.Halted && r.Verdict == string(reason)
	}
}

// TestAStreamThatIsNotTheSnapshotsIsDiverged remakes the stream, with fewer, as many and more messages, while the
// worker is down and while it is live. Not one foreign event is folded.
func TestAStreamThatIsNotTheSnapshotsIsDiverged(t *testing.T) {
	for _, live := range []bool{false, true} {
		for name, n := range map[string]int{"empty": 0, "shorter": 4, "as long": 10, "longer": 30} {
			t.Run(fmt.Sprintf("%s, live %v", name, live), func(t *testing.T) {
				s := newLogScene(t)
				s.publish(10, "s.mine", "ours")
				w, stop := s.start()
				s.await(w, "the head", liveAt(10))
				if !live {
					stop()
				}
				s.remake()
				s.publish(n, "s.mine", "foreign")
				if !live {
					w, _ = s.start()
				}
				row := s.await(w, "DIVERGED", haltedBy(consumer.Diverged))
				if !strings.Contains(row.Detail, "tailfold drop counts --version 1") {
					t.Errorf("the detail names no way out: %s", row.Detail)
				}
				s.mustStand(10, "10")
			})
		}
	}
}

// TestARestoredBackupIsDiverged restores the server's files of an earlier time, with the stream's time of creation as
// it was, and publishes other messages under the seqs that were folded.
func TestARestoredBackupIsDiverged(t *testing.T) {
	for name, subject := range map[string]string{"of the projection": "s.mine", "of others, behind the projection's last event": "s.other"} {
		t.Run(name, func(t *testing.T) {
			s := newLogScene(t)
			s.publish(5, "s.mine", "ours")
			s.publish(5, "s.other", "ours")
			s.server.Stop()
			backup := t.TempDir()
			store := filepath.Join(s.server.Dir(), "store")
			copyTree(t, store, backup)
			s.restart()
			s.publish(10, subject, "lost by the restore")
			w, stop := s.start()
			at := s.await(w, "the head", liveAt(20))
			stop()
			s.server.Stop()
			if err := os.RemoveAll(store); err != nil {
				t.Fatal(err)
			}
			copyTree(t, backup, store)
			s.restart()
			s.publish(20, subject, "after the restore")
			w, _ = s.start()
			row := s.await(w, "DIVERGED", haltedBy(consumer.Diverged))
			// Which witnesses there are beside the newest depends on when the worker had checkpointed: the one that is
			// named is any that was published after the backup.
			var named uint64
			if _, cut, found := strings.Cut(row.Detail, ": message "); found {
				_, _ = fmt.Sscanf(cut, "%d is not the one that was folded", &named)
			}
			if named <= 10 || named > 20 {
				t.Errorf("the detail names message %d, want one after the backup, of 11 to 20: %s", named, row.Detail)
			}
			if row.Seq != at.Seq {
				t.Errorf("the snapshot moved to seq %d", row.Seq)
			}
		})
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func TestAPurgedStreamResumesWhereTheSnapshotIsAtItsEnd(t *testing.T) {
	s := newLogScene(t)
	s.publish(10, "s.mine", "ours")
	w, stop := s.start()
	s.await(w, "the head", liveAt(10))
	stop()
	if err := s.stream().Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	w, _ = s.start()
	row := s.await(w, "the head", liveAt(10))
	if row.Proof != "created" {
		t.Errorf("proof is %q, want created: no witness is left", row.Proof)
	}
	s.publish(3, "s.mine", "ours")
	s.await(w, "the head", liveAt(13))
	s.mustStand(13, "13")
}

func TestAStreamPurgedBeyondTheSnapshotIsAGap(t *testing.T) {
	s := newLogScene(t)
	s.publish(10, "s.mine", "ours")
	w, stop := s.start()
	s.await(w, "the head", liveAt(10))
	stop()
	s.publish(10, "s.mine", "never folded")
	if err := s.stream().Purge(t.Context(), jetstream.WithPurgeSequence(16)); err != nil {
		t.Fatal(err)
	}
	w, _ = s.start()
	row := s.await(w, "GAP", haltedBy(consumer.Gap))
	if !strings.Contains(row.Detail, "events 11 to 15 are gone") {
		t.Errorf("the detail is %s", row.Detail)
	}
	s.mustStand(10, "10")
}

func TestAFirstStartOnAStreamThatHasLostItsBeginning(t *testing.T) {
	s := newLogScene(t)
	s.publish(10, "s.mine", "ours")
	if err := s.stream().Purge(t.Context(), jetstream.WithPurgeSequence(6)); err != nil {
		t.Fatal(err)
	}
	w, stop := s.start()
	row := s.await(w, "GAP", haltedBy(consumer.Gap))
	if !strings.Contains(row.Detail, "first-available") {
		t.Errorf("the detail names no way out: %s", row.Detail)
	}
	stop()
}

func TestDeletedWitnessesLessenTheProofButAreNoFalseAlarm(t *testing.T) {
	s := newLogScene(t)
	var marks []uint64
	for _, n := range []int{5, 50, 500} { // checkpoints at growing distance
		s.publish(n, "s.mine", "ours")
		w, stop := s.start()
		at := uint64(n)
		for _, m := range marks {
			at += m
		}
		s.await(w, "the head", liveAt(at))
		marks = append(marks, uint64(n))
		stop()
	}
	mark, err := s.store.Head(t.Context(), snapshotstore.Unit{Projection: "counts", Version: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(mark.Witnesses) < 3 {
		t.Fatalf("the mark has only the witnesses %v", mark.Witnesses)
	}
	for i, witness := range mark.Witnesses {
		if err := s.stream().DeleteMsg(t.Context(), witness.Seq); err != nil {
			t.Fatal(err)
		}
		w, stop := s.start()
		row := s.await(w, "the head", liveAt(555))
		want := "partial"
		if i == len(mark.Witnesses)-1 {
			want = "created"
		}
		if row.Proof != want {
			t.Errorf("with %d witnesses gone the proof is %q, want %q", i+1, row.Proof, want)
		}
		stop()
	}
	s.mustStand(555, "555")
}

func TestOrdinaryHolesAreNoFalseAlarm(t *testing.T) {
	s := newLogScene(t)
	s.publish(100, "s.mine", "ours")
	for _, seq := range []uint64{1, 2, 50, 51, 52, 99} {
		if err := s.stream().DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	s.config.Name = "S"
	s.accept = false
	w, stop := s.start()
	// The stream begins at 3 now, and was made to begin at 1.
	s.await(w, "GAP", haltedBy(consumer.Gap))
	stop()

	s = newLogScene(t)
	s.publish(100, "s.mine", "ours")
	for _, seq := range []uint64{2, 50, 51, 52, 99, 100} {
		if err := s.stream().DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	w, _ = s.start()
	s.await(w, "the head", liveAt(98))
	s.mustStand(98, "94")
	s.publish(1, "s.mine", "ours")
	s.await(w, "the head", liveAt(101))
	s.mustStand(101, "95")
}

func TestStreamsThatRemoveEventsFromTheMiddleAreRefusedUnlessAccepted(t *testing.T) {
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"max messages per subject": func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 },
		"message TTL":              func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true },
		"roll-up":                  func(c *jetstream.StreamConfig) { c.AllowRollup = true },
	} {
		t.Run(name, func(t *testing.T) {
			s := newLogScene(t)
			change(&s.config)
			s.remake()
			s.publish(3, "s.mine", "ours")
			w, stop := s.start()
			row := s.await(w, "UNSUITABLE", haltedBy(consumer.Unsuitable))
			if !strings.Contains(row.Detail, "holes: accept") {
				t.Errorf("the detail names no way out: %s", row.Detail)
			}
			stop()
			s.accept = true
			w, _ = s.start()
			s.await(w, "the head", liveAt(3))
			s.mustStand(3, "3")
		})
	}
}

func TestAWorkQueueIsUnsuitable(t *testing.T) {
	for _, retention := range []jetstream.RetentionPolicy{jetstream.WorkQueuePolicy, jetstream.InterestPolicy} {
		s := newLogScene(t)
		s.config.Retention = retention
		s.remake()
		w, _ := s.start()
		s.await(w, "UNSUITABLE", haltedBy(consumer.Unsuitable))
	}
}

// TestAQuietUnitFollowsTheLogByProofAlone has many events of others pass by, with and without a filter on the reader.
func TestAQuietUnitFollowsTheLogByProofAlone(t *testing.T) {
	s := newLogScene(t)
	s.publish(1, "s.mine", "ours")
	s.publish(200, "s.other", "of others")
	w, stop := s.start()
	s.await(w, "the head", liveAt(201))
	s.publish(20, "s.other", "of others")
	s.await(w, "the head", liveAt(221))
	stop()
	s.mustStand(221, "1")
	for i := range 12_000 { // enough to have the reader filtered
		if _, err := s.js.PublishAsync("s.other", fmt.Appendf(nil, "%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	<-s.js.PublishAsyncComplete()
	w, _ = s.start()
	s.await(w, "the head", liveAt(12_221))
	s.publish(20, "s.other", "of others")
	s.await(w, "the head", liveAt(12_241))
	s.publish(1, "s.mine", "ours")
	s.await(w, "the head", liveAt(12_242))
	s.mustStand(12_242, "2")
}

// TestRetentionThatPassesAQuietUnitIsNoFalseGap has retention remove the unit's last event and all that its witnesses
// were, while others publish: as long as it has not passed what the unit has proven to be none of its own, nothing is
// missing. Beyond that nobody can tell.
func TestRetentionThatPassesAQuietUnitIsNoFalseGap(t *testing.T) {
	for _, filtered := range []bool{false, true} {
		t.Run(fmt.Sprint("filtered ", filtered), func(t *testing.T) {
			s := newLogScene(t)
			s.publish(1, "s.mine", "ours")
			last := uint64(1)
			others := func(n int) {
				t.Helper()
				for i := range n {
					if _, err := s.js.PublishAsync("s.other", fmt.Appendf(nil, "%d", i)); err != nil {
						t.Fatal(err)
					}
				}
				<-s.js.PublishAsyncComplete()
				last += uint64(n)
			}
			if others(200); filtered {
				others(12_000) // enough to have the reader filtered
			}
			w, stop := s.start()
			s.await(w, "the head", liveAt(last))
			s.config.MaxMsgs = 10
			if _, err := s.js.UpdateStream(t.Context(), s.config); err != nil {
				t.Fatal(err)
			}
			for range 20 { // live
				others(9)
				s.await(w, "the head", liveAt(last))
			}
			stop()
			s.mustStand(last, "1")
			others(9) // while it is away: the stream begins before what was proven
			w, stop = s.start()
			s.await(w, "the head", liveAt(last))
			stop()
			others(10) // it begins with the very next
			w, stop = s.start()
			s.await(w, "the head", liveAt(last))
			s.publish(1, "s.mine", "ours")
			last++
			s.await(w, "the head", liveAt(last))
			s.mustStand(last, "2")
			stop()
			others(11) // one is gone that may have been ours
			w, _ = s.start()
			s.await(w, "GAP", func(r consumer.UnitStatus) bool { return r.Verdict == "GAP" })
			s.mustStand(last-11, "2")
		})
	}
}

// TestEventsThatLookLikeTheServersOwnWordsAreFolded publishes what has stopped or split other readers.
func TestEventsThatLookLikeTheServersOwnWordsAreFolded(t *testing.T) {
	s := newLogScene(t)
	for _, header := range []nats.Header{
		{"Status": {"100"}}, {"Status": {"409"}, "Description": {"Consumer Deleted"}}, {"Status": {"503"}}, {"A": {}}, {"A": {"1", "2"}}, {"A": {""}}, nil,
	} {
		if _, err := s.js.PublishMsg(t.Context(), &nats.Msg{Subject: "s.mine", Header: header}); err != nil {
			t.Fatal(err)
		}
	}
	w, stop := s.start()
	s.await(w, "the head", liveAt(7))
	stop()
	s.mustStand(7, "7")
	w, _ = s.start()
	if row := s.await(w, "the head", liveAt(7)); row.Proof != "full" {
		t.Errorf("proof is %q, want full, though the last message but one has a header", row.Proof)
	}
}

// TestWhatWasFoldedOfALostTailIsGivenUp has the log lose its end, which the worker has folded but not yet committed. The
// snapshot is of the log that is left: it goes on from there.
func TestWhatWasFoldedOfALostTailIsGivenUp(t *testing.T) {
	s := newLogScene(t)
	s.publish(10, "s.mine", "ours")
	w, stop := s.start()
	s.await(w, "the head", liveAt(10))
	stop()
	s.server.Stop()
	backup := t.TempDir()
	store := filepath.Join(s.server.Dir(), "store")
	copyTree(t, store, backup)
	s.restart()
	s.publish(5, "s.mine", "to be lost")
	s.refuse.Store(true)
	w, _ = s.start()
	s.await(w, "folding what it can't commit", func(r consumer.UnitStatus) bool { return r.Folded == 5 })
	s.server.Stop()
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	copyTree(t, backup, store)
	s.restart()
	s.publish(3, "s.mine", "after the loss")
	s.await(w, "beginning again", func(r consumer.UnitStatus) bool { return r.State != consumer.Live })
	s.refuse.Store(false)
	s.await(w, "the head", liveAt(13))
	s.mustStand(13, "13")
}

// refusing is a store that takes no checkpoint while it is told so, but for claims.
type refusing struct {
	snapshotstore.Store
	now *atomic.Bool
}

func (r refusing) Commit(ctx context.Context, unit snapshotstore.Unit, c snapshotstore.Checkpoint) error {
	if r.now.Load() && c.To.Seq > c.From.Seq {
		return &snapshotstore.Error{Op: "commit", Err: errors.New("refused by the test")}
	}
	return r.Store.Commit(ctx, unit, c)
}
