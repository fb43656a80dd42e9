package natslog_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/natslog"
	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/projections"
)

// stuffed is a stream S of n events on three servers, with headers so large that the first of its blocks is full.
func stuffed(t *testing.T, servers []*natstest.Process, n int) *nats.Conn {
	t.Helper()
	conn := servers[0].Connect()
	var lost atomic.Int64
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(64),
		jetstream.WithPublishAsyncErrHandler(func(jetstream.JetStream, *nats.Msg, error) { lost.Add(1) }))
	if err != nil {
		t.Fatal(err)
	}
	natstest.CreateStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Replicas: len(servers)})
	awaitCopies(t, js, len(servers))
	large := nats.Header{"Pad": {strings.Repeat("x", 30_000)}}
	for i := 1; i <= n; i++ {
		_, err := js.PublishMsgAsync(&nats.Msg{Subject: fmt.Sprintf("s.%d", i%7), Data: fmt.Appendf(nil, "%d", i), Header: large},
			jetstream.WithStallWait(20*time.Second))
		if err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	if n := lost.Load(); n > 0 {
		t.Fatalf("%d events were not taken", n)
	}
	return conn
}

// awaitCopies waits until each server has and follows the stream, and names its leader.
func awaitCopies(t *testing.T, js jetstream.JetStream, n int) string {
	t.Helper()
	leader, ok := natstest.AwaitFollowing(t, js, "S", n, time.Minute)
	if !ok {
		t.Fatal("the copies are not all there after a minute")
	}
	return leader
}

// block is the file of a server with the stream's first messages.
func block(server *natstest.Process) string {
	return filepath.Join(server.Dir(), "store", "jetstream", "$G", "streams", "S", "msgs", "1.blk")
}

// damageOfCopy is what is done to the file of a server's first block while it is down.
type damageOfCopy struct {
	name    string
	inOrder bool // the server has stopped in good order, and with its index written
	do      func(file string) error
	says    []string
	filters bool // it can be told also where the server filters: by what the copy counts
}

// TestADamagedCopyIsFoundOutAndNotRead damages one server's copy of a stream while the server is down. The server takes
// what it has lost for deleted, or leaves it out without a word; readers are put on it as often as on the others.
func TestADamagedCopyIsFoundOutAndNotRead(t *testing.T) {
	cut := func(file string) error { return os.Truncate(file, 4<<20) }
	for _, damage := range []damageOfCopy{
		{"a byte changed, after a kill", false, natstest.ChangeByte, []string{"lacks", "not handed out"}, true},
		{"a byte changed, the index whole", true, natstest.ChangeByte, []string{"not handed out", "lacks"}, false},
		{"cut, the index whole", true, cut, []string{"not handed out", "lacks"}, false},
	} {
		t.Run(damage.name, func(t *testing.T) {
			for attempt := 1; !t.Failed(); attempt++ {
				found := damagedCopy(t, damage)
				for i, text := range found {
					if i == 0 {
						t.Log(text)
					}
					if !slices.ContainsFunc(damage.says, func(s string) bool { return strings.Contains(text, s) }) {
						t.Errorf("a reader ended: %s", text)
					}
				}
				if len(found) > 0 {
					return
				}
				if attempt == 3 { // its peers may have made it whole, or no reader was put on it
					t.Error("in three clusters no reader has found out that a copy is damaged")
				}
			}
		})
	}
}

// damagedCopy reads while one of a cluster's copies is damaged, and returns what readers found out.
func damagedCopy(t *testing.T, damage damageOfCopy) (found []string) {
	t.Helper()
	const n = 300
	servers := natstest.StartCluster(t, 3)
	conn := stuffed(t, servers, n)
	js := natstest.JetStream(t, conn)
	leader := natstest.Number(awaitCopies(t, js, len(servers)))
	victim := servers[(leader+1)%len(servers)]
	if damage.inOrder {
		victim.Stop()
	} else {
		victim.Kill()
	}
	if err := damage.do(block(victim)); err != nil {
		t.Fatal(err)
	}
	victim.Restart()
	awaitCopies(t, js, len(servers))

	read := func(subjects []string, matches func(int) bool) {
		t.Helper()
		enough := len(found) + 3
		for range 40 { // each is put on the damaged copy with a chance of a third
			if len(found) >= enough || t.Failed() {
				return
			}
			log := newLog(t, natslog.Config{Conn: conn}) // one that knows nothing of damage
			events, why := readAll(t, log, n, subjects)
			complete(t, bare(events), n, matches)
			found = append(found, slices.DeleteFunc(why, func(text string) bool { // others lose a server that just starts
				return !strings.Contains(text, "remove that server from the stream's peers")
			})...)
		}
	}
	for _, leads := range []bool{false, true} {
		if leads {
			lead(t, conn, js, victim, servers)
		}
		read(nil, func(int) bool { return true })
		if damage.filters {
			read([]string{"s.3"}, func(i int) bool { return i%7 == 3 })
		}
	}
	return found
}

// lead makes a server the stream's leader.
func lead(t *testing.T, conn *nats.Conn, js jetstream.JetStream, server *natstest.Process, servers []*natstest.Process) {
	t.Helper()
	name := fmt.Sprintf("node-%d", slices.Index(servers, server))
	request := fmt.Appendf(nil, `{"placement":{"preferred":%q}}`, name)
	for deadline := time.Now().Add(time.Minute); ; {
		if _, err := conn.Request("$JS.API.STREAM.LEADER.STEPDOWN.S", request, 5*time.Second); err != nil {
			t.Logf("step down: %v", err) // it may just be elected
		}
		if awaitCopies(t, js, len(servers)) == name {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not lead", name)
		}
	}
}

// readAll reads up to last, in as many readers as it takes, and returns why readers ended on the way.
func readAll(t *testing.T, log *natslog.Log, last uint64, subjects []string) (events []projections.Event, why []string) {
	t.Helper()
	var to uint64
	for tries := 0; to < last; tries++ {
		if tries == 20 {
			t.Fatalf("20 readers have come to %d of %d: %q", to, last, why)
		}
		reader, err := log.Open(t.Context(), to, subjects)
		if err != nil {
			why = append(why, err.Error())
			continue
		}
		var batch consumer.Batch
		for to < last && err == nil {
			if batch, err = reader.Next(t.Context()); err == nil {
				to = batch.To
				events = append(events, batch.Events...)
			}
		}
		if err != nil {
			why = append(why, err.Error())
		}
		if err := reader.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	return events, why
}

// bare are events without their headers.
func bare(events []projections.Event) []projections.Event {
	for i := range events {
		events[i].Header = projections.Header{}
	}
	return events
}

// TestHolesOfTheStreamsOwnAreNoDamage has readers come to holes that all copies have, while events come in, expire and are
// deleted.
func TestHolesOfTheStreamsOwnAreNoDamage(t *testing.T) {
	servers := natstest.StartCluster(t, 3)
	conn := servers[0].Connect()
	js := natstest.JetStream(t, conn)
	natstest.CreateStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Replicas: len(servers), MaxAge: 3 * time.Second})
	stream, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	ctx, halt := context.WithCancel(t.Context())
	published := make(chan error, 1)
	go func() { // ended by halt, and waited for by its last word
		var err error
		for i := 1; ctx.Err() == nil && err == nil; i++ {
			if _, err = js.PublishAsync(fmt.Sprintf("s.%d", i%7), fmt.Appendf(nil, "%d", i)); err == nil && i%9 == 0 {
				time.Sleep(time.Millisecond) // the pace of what is published
				if i%90 == 0 {
					_ = stream.DeleteMsg(ctx, uint64(i-80)) // it may have expired
				}
			}
		}
		<-js.PublishAsyncComplete()
		published <- err
	}()
	for info := stream.CachedInfo(); info.State.FirstSeq < 2; time.Sleep(10 * time.Millisecond) { // polls the server: until events expire
		if info, err = stream.Info(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	log := newLog(t, natslog.Config{Conn: conn})
	readers, ended := 0, 0
	for began := time.Now(); time.Since(began) < 4*time.Second; readers++ {
		info, err := stream.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var subjects []string
		if readers%2 == 1 {
			subjects = []string{"s.3"}
		}
		reader, err := log.Open(t.Context(), (info.State.FirstSeq+info.State.LastSeq)/2, subjects)
		if err != nil {
			t.Fatal(err)
		}
		var batch consumer.Batch
		for batch.To < info.State.LastSeq-10 && err == nil {
			batch, err = reader.Next(t.Context())
		}
		if errors.Is(err, consumer.ErrIncomplete) {
			t.Errorf("reader %d, of %q: %v", readers, subjects, err)
		} else if err != nil { // a busy cluster may not know the consumer yet
			t.Logf("reader %d, of %q: %v", readers, subjects, err)
			ended++
		}
		if err := reader.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	halt()
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	if readers-ended < 5 {
		t.Errorf("only %d of %d readers came to the end: the test shows little", readers-ended, readers)
	}
}

// TestManyDeletedMessagesAreNoDamage reads a stream from which another subject's messages were purged, one in two.
func TestManyDeletedMessagesAreNoDamage(t *testing.T) {
	const n = 100_000
	server := natstest.Start(t)
	conn := server.Connect()
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		t.Fatal(err)
	}
	natstest.CreateStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Storage: jetstream.MemoryStorage})
	for i := 1; i <= n; i++ {
		if _, err := js.PublishAsync(fmt.Sprintf("s.%d", i%2), nil, jetstream.WithStallWait(20*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	stream, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSubject("s.1")); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s.0", nil); err != nil {
		t.Fatal(err)
	}
	events, why := readAll(t, newLog(t, natslog.Config{Conn: conn}), n+1, nil)
	if len(events) != n/2+1 || len(why) > 0 {
		t.Errorf("%d events were read, want %d; readers ended: %q", len(events), n/2+1, why)
	}
}
