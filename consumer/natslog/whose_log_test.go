package natslog_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/logtest"
	"github.com/tailfold/tailfold/consumer/natslog"
	"github.com/tailfold/tailfold/consumer/natslog/natstest"
)

// evidence is what a log shows to a judge who holds a mark at seq 8 of a stream of ten events, with witnesses at 8, 5
// and 2.
type evidence struct {
	Open        string // how the reader could be opened after 8
	Created     string // "same" or "other"
	First, Last uint64
	Witnesses   [3]string // "equal", "differs" or "gone": of 8, 5 and 2
	Reads       string    // the first seq that the reader hands out, or how it ends
}

// What each row of the table "Whose log is it?" must be judged by, on a real server.
func TestWhoseLogIsIt(t *testing.T) {
	intact := evidence{"ok", "same", 1, 10, [3]string{"equal", "equal", "equal"}, "9"}
	with := func(change func(*evidence)) evidence {
		e := intact
		change(&e)
		return e
	}
	gone := [3]string{"gone", "gone", "gone"}
	again := func(e *evidence) { e.Created, e.Witnesses = "other", gone }

	for name, c := range map[string]struct {
		change func(w *world)
		want   evidence
	}{
		"nothing happened":          {func(*world) {}, intact},
		"the server was restarted":  {func(w *world) { w.server.Restart(); w.reconnected() }, intact},
		"a later event was deleted": {func(w *world) { w.delete(9) }, with(func(e *evidence) { e.Reads = "10" })},
		"the newest witness was deleted": {func(w *world) { w.delete(8) },
			with(func(e *evidence) { e.Witnesses[0] = "gone" })},
		"every witness was deleted": {func(w *world) { w.delete(8); w.delete(5); w.delete(2) },
			with(func(e *evidence) { e.Witnesses = gone })},

		"purged below the mark": {func(w *world) { w.purge(4) },
			with(func(e *evidence) { e.First, e.Witnesses[2] = 5, "gone" })},
		"purged up to the mark": {func(w *world) { w.purge(8) },
			with(func(e *evidence) { e.First, e.Witnesses = 9, gone })},
		"purged beyond the mark": {func(w *world) { w.purge(9) },
			with(func(e *evidence) { e.First, e.Witnesses, e.Reads = 10, gone, "10" })},
		"purged whole": {func(w *world) { w.purge(10) },
			with(func(e *evidence) { e.First, e.Witnesses, e.Reads = 11, gone, "nothing" })},
		"purged beyond its end": {func(w *world) { w.purge(20) },
			with(func(e *evidence) { e.First, e.Last, e.Witnesses, e.Reads = 21, 20, gone, "nothing" })},
		"purged by subject": {func(w *world) { w.purgeSubject("b.>") }, // 2, 5 and 8 are on b
			with(func(e *evidence) { e.Witnesses = gone })},

		"made again, empty": {func(w *world) { w.again(0) },
			with(func(e *evidence) { again(e); e.First, e.Last, e.Open, e.Reads = 1, 0, "beyond", "" })},
		"made again, shorter": {func(w *world) { w.again(5) },
			with(func(e *evidence) {
				again(e)
				e.Last, e.Open, e.Reads, e.Witnesses = 5, "beyond", "", [3]string{"gone", "differs", "differs"}
			})},
		"made again, up to the mark": {func(w *world) { w.again(8) },
			with(func(e *evidence) {
				again(e)
				e.Last, e.Reads, e.Witnesses = 8, "nothing", [3]string{"differs", "differs", "differs"}
			})},
		"made again, as long": {func(w *world) { w.again(10) },
			with(func(e *evidence) { again(e); e.Witnesses = [3]string{"differs", "differs", "differs"} })},
		"made again, longer": {func(w *world) { w.again(20) },
			with(func(e *evidence) { again(e); e.Last, e.Witnesses = 20, [3]string{"differs", "differs", "differs"} })},
		"made again, beginning after the mark": {func(w *world) {
			w.drop()
			w.create(jetstream.StreamConfig{FirstSeq: 9})
			w.append(w.others(3)...)
		}, with(func(e *evidence) { again(e); e.First, e.Last = 9, 11 })},

		// From server 2.15 on a restored stream has a new time of creation; before that it kept the old one, as a
		// directory that is copied back does.
		"restored to before the mark": {func(w *world) { w.restore(6, 0) },
			with(func(e *evidence) {
				e.Created, e.Last, e.Open, e.Reads, e.Witnesses[0] = "other", 6, "beyond", "", "gone"
			})},
		"restored to before the mark, then published to": {func(w *world) { w.restore(6, 6) },
			with(func(e *evidence) { e.Created, e.Last, e.Witnesses[0] = "other", 12, "differs" })},
		"restored to before the mark, then published to up to the mark": {func(w *world) { w.restore(6, 2) },
			with(func(e *evidence) { e.Created, e.Last, e.Witnesses[0], e.Reads = "other", 8, "differs", "nothing" })},
		"restored to after the mark": {func(w *world) { w.restore(9, 0) },
			with(func(e *evidence) { e.Created, e.Last = "other", 9 })},
		"its directory copied back": {func(w *world) { w.copyBack(9, 0) },
			with(func(e *evidence) { e.Last = 9 })},
		"its directory copied back, then published to": {func(w *world) { w.copyBack(6, 6) },
			with(func(e *evidence) { e.Last, e.Witnesses[0] = 12, "differs" })},
	} {
		t.Run(name, func(t *testing.T) {
			natslog.EachReader(t, func(t *testing.T, how ...nats.Option) {
				w := newWorld(t, how...)
				w.change = c.change
				for _, subjects := range [][]string{nil, {"c.>", "a.>", "b.>"}, {"*.*"}} {
					if diff := cmp.Diff(c.want, w.judge(subjects, c.want.Reads)); diff != "" {
						t.Errorf("read with %q (-want +got):\n%s", subjects, diff)
					}
				}
			})
		})
	}
}

// world is a stream of ten events on a server of its own, and what happens to it.
type world struct {
	*stream
	t      *testing.T
	conn   *nats.Conn
	log    consumer.Log
	change func(*world)

	created   time.Time
	witnesses map[uint64]consumer.Witness
}

func newWorld(t *testing.T, how ...nats.Option) *world {
	server := natstest.Start(t)
	conn := server.Connect(how...)
	s := newStream(t, server, conn)
	return &world{stream: s, t: t, conn: conn, log: s.log(conn)}
}

// judge makes the stream, marks it, lets happen what happens, and does what the engine does then. reads is what the
// reader is to hand out.
func (w *world) judge(subjects []string, reads string) (e evidence) {
	t := w.t
	t.Helper()
	w.drop()
	w.create(jetstream.StreamConfig{})
	w.append(events(10)...)
	w.created, w.witnesses = w.bounds().Created, map[uint64]consumer.Witness{}
	for _, seq := range []uint64{8, 5, 2} {
		witness, err := w.log.Witness(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		w.witnesses[seq] = witness
	}

	w.change(w)

	reader, err := w.log.Open(t.Context(), 8, subjects)
	switch {
	case errors.Is(err, consumer.ErrBeyondLast):
		e.Open = "beyond"
	case err != nil:
		t.Fatal(err)
	default:
		e.Open = "ok"
		defer func() {
			if err := reader.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}()
	}
	bounds := w.bounds()
	e.First, e.Last, e.Created = bounds.First, bounds.Last, "other"
	if bounds.Created.Equal(w.created) {
		e.Created = "same"
	}
	for i, seq := range []uint64{8, 5, 2} {
		witness, err := w.log.Witness(t.Context(), seq)
		switch {
		case errors.Is(err, consumer.ErrNoMessage):
			e.Witnesses[i] = "gone"
		case err != nil:
			t.Fatal(err)
		case cmp.Equal(witness, w.witnesses[seq]):
			e.Witnesses[i] = "equal"
		default:
			e.Witnesses[i] = "differs"
		}
	}
	if reader != nil {
		e.Reads = w.reads(reader, reads)
	}
	return e
}

// reads tells the first seq that a reader hands out, or "nothing" if its position stays where it was.
func (w *world) reads(reader consumer.Reader, want string) string {
	w.t.Helper()
	patience := 20 * time.Second
	if want == "nothing" { // as long as three heartbeats
		patience = 300 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for {
		batch, err := reader.Next(ctx)
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return "nothing"
		case err != nil:
			return err.Error()
		case len(batch.Events) > 0:
			return fmt.Sprint(batch.Events[0].Seq)
		}
	}
}

func (w *world) bounds() consumer.Bounds {
	w.t.Helper()
	bounds, err := w.log.Bounds(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return bounds
}

// events are n events on a, b and c in turn.
func events(n int) []logtest.Entry {
	entries := make([]logtest.Entry, n)
	for i := range entries {
		entries[i] = logtest.Entry{Subject: fmt.Sprintf("%c.x", "abc"[i%3]), Data: fmt.Appendf(nil, `{"n":%d}`, i+1)}
	}
	return entries
}

// others are n events that differ from those at the same place.
func (w *world) others(n int) []logtest.Entry {
	entries := events(n)
	for i := range entries {
		entries[i].Data = fmt.Appendf(nil, `{"other":%d}`, i+1)
	}
	return entries
}

// again makes a new stream of the same name.
func (w *world) again(n int) {
	w.drop()
	w.create(jetstream.StreamConfig{})
	if n > 0 {
		w.append(w.others(n)...)
	}
}

func (w *world) purgeSubject(subject string) {
	if err := w.stream.stream().Purge(w.t.Context(), jetstream.WithPurgeSubject(subject)); err != nil {
		w.t.Fatal(err)
	}
}

// restore makes the stream what it was when it had n events, by the server's backup and restore, and stores more.
func (w *world) restore(n, more int) {
	w.drop()
	w.create(jetstream.StreamConfig{})
	w.append(events(n)...)
	w.mark(n)
	backup := w.backup()
	w.append(events(10)[n:]...)
	w.mark(10)
	w.drop()
	backup.restore()
	if more > 0 {
		w.append(w.others(more)...)
	}
}

// mark takes the witnesses that there are so far, of the stream as it is now.
func (w *world) mark(n int) {
	w.created = w.bounds().Created
	for _, seq := range []uint64{8, 5, 2} {
		if seq > uint64(n) {
			continue
		}
		witness, err := w.log.Witness(w.t.Context(), seq)
		if err != nil {
			w.t.Fatal(err)
		}
		w.witnesses[seq] = witness
	}
}

// copyBack does the same with a copy of the server's directory.
func (w *world) copyBack(n, more int) {
	w.drop()
	w.create(jetstream.StreamConfig{})
	w.append(events(n)...)
	w.mark(n)
	store, copied := filepath.Join(w.server.Dir(), "store"), filepath.Join(w.t.TempDir(), "store")
	w.server.Restart() // in good order, so that all is on disk
	w.reconnected()
	if err := os.CopyFS(copied, os.DirFS(store)); err != nil {
		w.t.Fatal(err)
	}
	w.append(events(10)[n:]...)
	w.mark(10)
	w.server.Stop()
	if err := os.RemoveAll(store); err != nil {
		w.t.Fatal(err)
	}
	if err := os.CopyFS(store, os.DirFS(copied)); err != nil {
		w.t.Fatal(err)
	}
	w.server.Restart()
	w.reconnected()
	if more > 0 {
		w.append(w.others(more)...)
	}
}

// reconnected waits until the connection is there again.
func (w *world) reconnected() {
	w.t.Helper()
	changed := w.conn.StatusChanged(nats.CONNECTED)
	defer w.conn.RemoveStatusListener(changed)
	for w.conn.Flush() != nil {
		select {
		case <-changed:
		case <-time.After(20 * time.Second):
			w.t.Fatal("the connection does not come back")
		}
	}
}

// backup is a stream's backup, as the server sends it.
type backup struct {
	w       *world
	request json.RawMessage // of the restore
	chunks  [][]byte
}

func (w *world) backup() *backup {
	w.t.Helper()
	inbox := nats.NewInbox()
	sub, err := w.conn.SubscribeSync(inbox)
	if err != nil {
		w.t.Fatal(err)
	}
	request, _ := json.Marshal(map[string]any{"deliver_subject": inbox})
	answer := w.ask("$JS.API.STREAM.SNAPSHOT."+w.name, request)
	b := &backup{w: w}
	b.request, _ = json.Marshal(map[string]any{"config": answer["config"], "state": answer["state"]})
	for {
		msg, err := sub.NextMsg(10 * time.Second)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(msg.Data) == 0 {
			return b
		}
		b.chunks = append(b.chunks, msg.Data)
		if msg.Reply == "" {
			continue
		}
		if err := msg.Respond(nil); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (b *backup) restore() {
	b.w.t.Helper()
	answer := b.w.ask("$JS.API.STREAM.RESTORE."+b.w.name, b.request)
	var to string
	if err := json.Unmarshal(answer["deliver_subject"], &to); err != nil {
		b.w.t.Fatalf("restore: %v: %s", err, answer["error"])
	}
	for _, chunk := range append(b.chunks, nil) {
		msg, err := b.w.conn.Request(to, chunk, 10*time.Second)
		if err != nil {
			b.w.t.Fatal(err)
		}
		var failed struct{ Error any }
		if json.Unmarshal(msg.Data, &failed) == nil && failed.Error != nil {
			b.w.t.Fatalf("restore: %s", msg.Data)
		}
	}
}

func (w *world) ask(subject string, request []byte) map[string]json.RawMessage {
	w.t.Helper()
	msg, err := w.conn.Request(subject, request, 10*time.Second)
	if err != nil {
		w.t.Fatal(err)
	}
	var answer map[string]json.RawMessage
	if err := json.Unmarshal(msg.Data, &answer); err != nil || answer["error"] != nil {
		w.t.Fatalf("%s: %v: %s", subject, err, msg.Data)
	}
	return answer
}
