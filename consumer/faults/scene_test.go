package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// scene is real servers, a publisher, a reader that looks on, and worker processes: mostly one at a time.
type scene struct {
	t    *testing.T
	rng  *rand.Rand
	seed uint64
	nats *natstest.Process // the first of them, where they are a cluster

	serversURL        string   // where the publisher goes
	natsURL, redisURL string   // what workers use: the servers', or a proxy's
	environment       []string // of all workers, further variables

	lives   int
	all     []*life
	worker  *life // the one that startWorker started, nil if there is none
	helpers sync.WaitGroup
	stop    context.CancelFunc

	history *history // what the reader saw

	publisher sync.WaitGroup
	halt      context.CancelFunc // ends publishing

	mu     sync.Mutex
	redis  *redistest.Server // the one that has the truth
	events []event           // acknowledged, by seq - 1
	seen   uint64            // highest seq that the reader saw
	rolls  bool              // the store may go back: a reader then sees an older prefix
	next   func(*event)      // changes the next event to be published
	each   func(*event)      // changes all events to be published
}

func newScene(t *testing.T, redisSettings ...string) *scene {
	return newSceneOn(t, redistest.Start(t, redisSettings...))
}

func newSceneOn(t *testing.T, store *redistest.Server) *scene {
	return newSceneIn(t, store, []*natstest.Process{natstest.StartProcess(t)})
}

// newSceneIn keeps the stream on all of the NATS servers.
func newSceneIn(t *testing.T, store *redistest.Server, servers []*natstest.Process) *scene {
	seed := seedOf(t)
	s := &scene{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), nats: servers[0], redis: store, history: newHistory()}
	s.serversURL = natstest.URLs(servers)
	s.natsURL, s.redisURL = s.serversURL, store.URL()
	js := natstest.JetStream(t, s.nats.Connect())
	natstest.CreateStream(t, js, jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}, Replicas: len(servers)})
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.helpers.Go(func() { s.watch(ctx) })
	s.startPublishing()
	t.Cleanup(func() {
		stop()
		for _, l := range s.all {
			l.kill()
		}
		s.halt()
		s.publisher.Wait()
		s.helpers.Wait()
		s.mustHaveSeenPrefixes()
	})
	return s
}

// seedOf is the seed of a test's chances, which it prints.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	return seed
}

// connect makes a connection to any of the servers, which lasts until the test ends.
func (s *scene) connect() *nats.Conn {
	s.t.Helper()
	conn, err := nats.Connect(s.serversURL, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(conn.Close)
	return conn
}

// foldAndStop has a worker fold the first events, ends publishing, and kills it.
func (s *scene) foldAndStop() {
	s.t.Helper()
	s.startWorker("")
	s.awaitSeq(100, allModels...)
	s.stopPublishing()
	s.killWorker()
}

// startPublishing publishes until stopPublishing.
func (s *scene) startPublishing() {
	ctx, halt := context.WithCancel(context.Background())
	s.halt = halt
	s.mu.Lock()
	from := len(s.events)
	s.mu.Unlock()
	s.publisher.Go(func() { s.publish(ctx, rand.New(rand.NewPCG(s.seed, uint64(1+from))), from+1) })
}

// stopPublishing ends publishing and returns how many events there are.
func (s *scene) stopPublishing() uint64 {
	s.halt()
	s.publisher.Wait()
	return s.published()
}

// published is how many events have been acknowledged: the log's last seq.
func (s *scene) published() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(len(s.events))
}

// awaitEvents waits until so many more events are published.
func (s *scene) awaitEvents(n uint64) {
	s.t.Helper()
	for until, deadline := s.published()+n, time.Now().Add(30*time.Second); s.published() < until; {
		if time.Now().After(deadline) {
			s.t.Fatalf("the publisher is at event %d of %d after half a minute", s.published(), until)
		}
		time.Sleep(2 * time.Millisecond) // polls another goroutine
	}
}

// publish publishes events one by one, so that their order is known, and notes what was acknowledged. An event whose
// acknowledgement is lost is sent again under the same message id.
func (s *scene) publish(ctx context.Context, rng *rand.Rand, first int) {
	conn, err := nats.Connect(s.serversURL, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.ReconnectJitter(0, 0))
	if err != nil {
		s.t.Error(err)
		return
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		s.t.Error(err)
		return
	}
	for id := first; ctx.Err() == nil; id++ {
		x := event{ID: id, From: "a" + strconv.Itoa(rng.IntN(40)), To: "b" + strconv.Itoa(rng.IntN(40)), Amount: rng.IntN(1000), Close: rng.IntN(25) == 0}
		s.mu.Lock()
		if s.next != nil {
			s.next(&x)
			s.next = nil
		}
		if s.each != nil {
			s.each(&x)
		}
		s.mu.Unlock()
		data := []byte(text(x))
		for {
			call, cancel := context.WithTimeout(context.Background(), time.Second)
			ack, err := js.Publish(call, "events."+x.From, data, jetstream.WithMsgID(strconv.Itoa(id)))
			cancel()
			if err != nil { // it may be stored all the same: only an acknowledgement tells, also when we are to stop
				time.Sleep(20 * time.Millisecond)
				continue
			}
			s.mu.Lock()
			if ack.Sequence == uint64(len(s.events)+1) {
				s.events = append(s.events, x)
			} else if !ack.Duplicate || ack.Sequence != uint64(len(s.events)) {
				s.t.Errorf("event %d was acknowledged with seq %d after %d (duplicate: %v)", id, ack.Sequence, len(s.events), ack.Duplicate)
			}
			s.mu.Unlock()
			break
		}
		if id%8 == 0 && pause(ctx, time.Millisecond) != nil {
			return
		}
	}
}

// publishAs changes all events to be published from now on; nil: no more.
func (s *scene) publishAs(change func(*event)) {
	s.mu.Lock()
	s.each = change
	s.mu.Unlock()
}

// publishOne changes the next event to be published, and returns its seq once it is in the log.
func (s *scene) publishOne(change func(*event)) uint64 {
	s.t.Helper()
	var id int
	s.mu.Lock()
	s.next = func(x *event) { change(x); id = x.ID }
	s.mu.Unlock()
	for deadline := time.Now().Add(30 * time.Second); ; {
		s.mu.Lock()
		done := id > 0 && len(s.events) >= id
		s.mu.Unlock()
		if done {
			return uint64(id)
		}
		if time.Now().After(deadline) {
			s.t.Fatal("the publisher does not get an event into the log")
		}
		time.Sleep(time.Millisecond) // polls another goroutine
	}
}

// mayGoBack says that from now on the store may lose checkpoints: a reader may see an older prefix than before.
func (s *scene) mayGoBack() {
	s.mu.Lock()
	s.rolls = true
	s.mu.Unlock()
}

// mustNotGoBack says that from now on marks only go forward.
func (s *scene) mustNotGoBack() {
	s.mu.Lock()
	s.rolls, s.seen = false, 0
	s.mu.Unlock()
}

// moveTo says which Redis has the truth from now on.
func (s *scene) moveTo(server *redistest.Server) {
	s.mu.Lock()
	s.redis = server
	s.mu.Unlock()
}

func (s *scene) server() *redistest.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.redis
}

// watch polls one atomic read of mark and count: the count is that of the mark, and marks do not go back.
func (s *scene) watch(ctx context.Context) {
	addr := ""
	var client *redis.Client
	for pause(ctx, 2*time.Millisecond) == nil {
		if now := s.server().Addr(); now != addr {
			if client != nil {
				_ = client.Close()
			}
			addr, client = now, redis.NewClient(&redis.Options{Addr: now, MaxRetries: -1})
		}
		s.look(ctx, client, addr)
	}
	if client != nil {
		_ = client.Close()
	}
}

func (s *scene) look(ctx context.Context, client *redis.Client, addr string) {
	if seq, value, ok := readOne(ctx, client, keyOf("total"), "", valueOf[total]); ok {
		s.history.saw(read{reader: "redis", seq: seq, value: value})
		s.mu.Lock()
		if s.redis.Addr() == addr { // else the truth has moved meanwhile
			if seq < s.seen && !s.rolls {
				s.t.Errorf("a reader saw seq %d after %d", seq, s.seen)
			}
			s.seen = seq
		}
		s.mu.Unlock()
	}
	key := accountToLookAt()
	if seq, value, ok := readOne(ctx, client, keyOf("accounts"), key, valueOf[account]); ok {
		s.history.saw(read{reader: "redis", seq: seq, key: key, value: value})
	}
}

// readOne reads a mark and a value at once. False: the store is away, has nothing yet, or a test has damaged it.
func readOne(ctx context.Context, client *redis.Client, hash, key string, decode func(any) (string, bool)) (seq uint64, value string, ok bool) {
	got, err := client.HMGet(ctx, hash, "$mark", key).Result()
	if err != nil || got[0] == nil {
		return 0, "", false
	}
	if seq, err = seqOf(got[0].(string)); err != nil {
		return 0, "", false
	}
	value, ok = decode(got[1])
	return seq, value, ok
}

// accountToLookAt draws one of the accounts that events are of.
func accountToLookAt() string { return []string{"a", "b"}[rand.IntN(2)] + strconv.Itoa(rand.IntN(12)) }

// mustHaveSeenPrefixes holds all that the reader saw against the log. Whether its seqs went back was seen at once, as it
// is allowed at times.
func (s *scene) mustHaveSeenPrefixes() {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := map[int][]logged{}
	for i, x := range s.events {
		log[0] = append(log[0], logged{uint64(i + 1), x})
	}
	s.history.mustBeSound(s.t, log, true)
}

func seqOf(raw string) (uint64, error) {
	var mark struct {
		Format int
		Seq    uint64
	}
	err := json.Unmarshal([]byte(raw), &mark)
	if err == nil && mark.Format != 1 { // a test has written another one
		err = fmt.Errorf("format %d", mark.Format)
	}
	return mark.Seq, err
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func nameOf(life int) string { return "worker-" + strconv.Itoa(life) }

func cacheOf(rng *rand.Rand) string { return []string{"-1", "2000", "0"}[rng.IntN(3)] }

// startWorker starts a worker process that kills itself at a failpoint, "" for none.
func (s *scene) startWorker(failpoint string) *life {
	s.t.Helper()
	s.worker = s.live("TAILFOLD_FAULTS_AT=" + failpoint)
	return s.worker
}

// killWorker kills the worker process, if it still lives, and waits until it is gone.
func (s *scene) killWorker() {
	if s.worker != nil {
		s.worker.kill()
		s.worker = nil
	}
}

// await waits for the worker's own end at a failpoint, for d at most.
func (s *scene) await(d time.Duration) (died bool) { return s.worker.ends(d) }

var allModels = []string{"total", "accounts", "ids"}

func keyOf(model string) string { return fmt.Sprintf("tailfold:{%s/v1/0}", model) }

// stored is a model as Redis has it, all of one moment: its seq and its values.
func (s *scene) stored(model string) (seq uint64, values map[string]string, err error) {
	values, err = s.server().Client().HGetAll(context.Background(), keyOf(model)).Result()
	if err != nil {
		return 0, nil, err
	}
	if seq, err = seqOf(values["$mark"]); err != nil {
		return 0, nil, fmt.Errorf("mark %q: %w", values["$mark"], err)
	}
	maps.DeleteFunc(values, func(field, _ string) bool { return strings.HasPrefix(field, "$") })
	return seq, values, nil
}

// awaitSeq waits until models have come to a seq. None may stand still for a minute.
func (s *scene) awaitSeq(last uint64, models ...string) {
	s.t.Helper()
	for _, model := range models {
		deadline, before := time.Now().Add(60*time.Second), uint64(0)
		for {
			raw, err := s.server().Client().HGet(context.Background(), keyOf(model), "$mark").Result()
			var seq uint64
			if err == nil {
				seq, err = seqOf(raw)
			}
			if err == nil && seq >= last {
				break
			}
			if seq > before {
				deadline, before = time.Now().Add(60*time.Second), seq
			}
			if time.Now().After(deadline) {
				s.t.Fatalf("%s stands at seq %d of %d for a minute (%v); the worker said:\n%s", model, seq, last, err, s.said())
			}
			time.Sleep(20 * time.Millisecond) // polls another process
		}
	}
}

// mustBeAPrefix demands that a model is that of the events up to its own seq, and returns the seq.
func (s *scene) mustBeAPrefix(model string) uint64 {
	s.t.Helper()
	seq, got, err := s.stored(model)
	if err != nil {
		s.t.Fatalf("%s: %v", model, err)
	}
	for deadline := time.Now().Add(5 * time.Second); s.published() < seq; { // acknowledgements may be on their way
		if time.Now().After(deadline) {
			s.t.Fatalf("%s is at seq %d, only %d events were published", model, seq, s.published())
		}
		time.Sleep(time.Millisecond) // polls another goroutine
	}
	s.mu.Lock()
	events := slices.Clone(s.events)
	s.mu.Unlock()
	if diff := differences(replay(events[:seq])[model], got); diff != "" {
		s.t.Errorf("%s at seq %d differs from a full replay:\n%s", model, seq, diff)
	}
	return seq
}

// finish stops publishing, waits until all models have come to the log's end, and compares them.
func (s *scene) finish() { s.t.Helper(); s.finishAll(allModels...) }

// finishAll does the same for some models, the others being halted.
func (s *scene) finishAll(models ...string) {
	s.t.Helper()
	last := s.stopPublishing()
	if s.worker == nil {
		s.startWorker("")
	}
	s.awaitSeq(last, models...)
	for _, model := range models {
		if seq := s.mustBeAPrefix(model); seq != last {
			s.t.Errorf("%s is at seq %d, the log ends at %d", model, seq, last)
		}
	}
	if !s.t.Failed() {
		s.t.Logf("%d lives, %d events: equal to a full replay", s.lives, last)
	}
}

// said is the end of what the last worker printed.
func (s *scene) said() string {
	if len(s.all) == 0 {
		return ""
	}
	return s.all[len(s.all)-1].output.end()
}
