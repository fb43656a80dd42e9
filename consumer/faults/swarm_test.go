package faults

import (
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

var swarmKills = flag.Int("swarm", 6, "how many workers of a swarm are killed")

const swarmPartitions = 8

// swarm is several real workers, each the whole program with its configuration, that share the partitions of a stream by
// leases, with readers over Redis and HTTP. The server itself puts events into partitions.
type swarm struct {
	t      *testing.T
	rng    *rand.Rand
	nats   *natstest.Process
	redis  *redistest.Server
	config string
	began  time.Time
	lives  int
	all    []*life

	work    sync.WaitGroup
	stop    context.CancelFunc
	history *history

	mu      sync.Mutex
	events  []event                    // acknowledged, by seq - 1
	ports   map[*life]string           // addresses of the HTTP servers
	owners  [swarmPartitions]ownership // of total, as last read
	waiting []takeover                 // partitions whose owner was killed
	took    []time.Duration            // until another one had them
	slowest time.Duration              // of these, counted from the last kill before: the next owner may have been killed, too
}

// ownership is who has a partition.
type ownership struct {
	writer string
	epoch  uint64
}

// takeover is a partition whose owner was killed.
type takeover struct {
	partition int
	writer    string
	killed    time.Time
	last      time.Time // when a worker was last killed, this one or another
}

// partitionOfToken is FNV-1a by the book, not the one under test.
func partitionOfToken(token string) int {
	h := fnv.New32a()
	_, _ = io.WriteString(h, token)
	return int(h.Sum32() % swarmPartitions)
}

func newSwarm(t *testing.T, ttl time.Duration) *swarm {
	seed := seedOf(t)
	s := &swarm{t: t, rng: rand.New(rand.NewPCG(seed, 4)), nats: natstest.StartProcess(t), redis: redistest.Start(t),
		ports: map[*life]string{}, history: newHistory(), began: time.Now()}
	js := natstest.JetStream(t, s.nats.Connect())
	createPartitioned(t, js, swarmPartitions)
	s.config = configFor(t, s.nats.URL(), s.redis.URL(), swarmPartitions, fmt.Sprintf("assign: leases\nleases: {ttl: %v}\n", ttl))
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.work.Go(func() { s.watchMarks(ctx) })
	for i := range 2 {
		s.work.Go(func() { s.readRedis(ctx, fmt.Sprint("redis-", i)) })
		s.work.Go(func() { s.readHTTP(ctx, fmt.Sprint("http-", i), i) })
	}
	t.Cleanup(func() {
		stop()
		for _, l := range s.all {
			l.kill()
		}
		s.work.Wait()
	})
	return s
}

// start starts one more worker.
func (s *swarm) start() *life {
	s.t.Helper()
	s.lives++
	l, port := startProgram(s.t, fmt.Sprintf("w%d", s.lives), s.config)
	s.all = append(s.all, l)
	s.mu.Lock()
	s.ports[l] = port
	s.mu.Unlock()
	return l
}

// kill kills a worker, and notes which partitions it had.
func (s *swarm) kill(l *life) {
	s.mu.Lock()
	delete(s.ports, l)
	for i := range s.waiting {
		s.waiting[i].last = time.Now()
	}
	for p, owner := range s.owners {
		if strings.HasPrefix(owner.writer, l.name+"-") {
			s.waiting = append(s.waiting, takeover{p, owner.writer, time.Now(), time.Now()})
		}
	}
	s.mu.Unlock()
	l.kill()
}

// publish publishes until ctx is done. The order of events is that of their acknowledgements.
func (s *swarm) publish(ctx context.Context) {
	conn, err := nats.Connect(s.nats.URL(), nats.MaxReconnects(-1))
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
	rng := rand.New(rand.NewPCG(s.rng.Uint64(), 5))
	for id := 1; ctx.Err() == nil; id++ {
		x := event{ID: id, From: "a" + strconv.Itoa(rng.IntN(60)), To: "b" + strconv.Itoa(rng.IntN(40)), Amount: rng.IntN(1000), Close: rng.IntN(25) == 0}
		ack, err := js.Publish(context.Background(), "events."+x.From, []byte(text(x)))
		if err != nil {
			s.t.Errorf("publish: %v", err)
			return
		}
		s.mu.Lock()
		s.events = append(s.events, x)
		if ack.Sequence != uint64(len(s.events)) {
			s.t.Errorf("event %d was acknowledged with seq %d", id, ack.Sequence)
		}
		s.mu.Unlock()
		if id%4 == 0 && pause(ctx, time.Millisecond) != nil {
			return
		}
	}
}

// watchMarks follows who owns what, to tell how long takeovers take.
func (s *swarm) watchMarks(ctx context.Context) {
	client := redis.NewClient(&redis.Options{Addr: s.redis.Addr()})
	defer client.Close()
	for pause(ctx, 3*time.Millisecond) == nil {
		for p := range swarmPartitions {
			raw, err := client.HGet(ctx, swarmKey("total", p), "$mark").Result()
			if err != nil {
				continue // nothing yet
			}
			var mark struct {
				Writer string `json:"writer"`
				Epoch  uint64 `json:"epoch"`
			}
			if err := json.Unmarshal([]byte(raw), &mark); err != nil {
				s.t.Errorf("mark %q: %v", raw, err)
				return
			}
			s.mu.Lock()
			if mark.Epoch < s.owners[p].epoch {
				s.t.Errorf("the epoch of partition %d went from %d to %d", p, s.owners[p].epoch, mark.Epoch)
			}
			s.owners[p] = ownership{mark.Writer, mark.Epoch}
			s.waiting = slices.DeleteFunc(s.waiting, func(w takeover) bool {
				if w.partition != p || w.writer == mark.Writer {
					return false
				}
				s.took = append(s.took, time.Since(w.killed))
				s.slowest = max(s.slowest, time.Since(w.last))
				return true
			})
			s.mu.Unlock()
		}
	}
}

func swarmKey(model string, partition int) string {
	return fmt.Sprintf("tailfold:{%s/v1/%d}", model, partition)
}

// readRedis reads all partitions again and again, mark and value at once.
func (s *swarm) readRedis(ctx context.Context, name string) {
	client := redis.NewClient(&redis.Options{Addr: s.redis.Addr()})
	defer client.Close()
	for pause(ctx, 5*time.Millisecond) == nil {
		for p := range swarmPartitions {
			if seq, value, ok := readOne(ctx, client, swarmKey("total", p), "", valueOf[total]); ok {
				s.history.saw(read{reader: name, partition: p, seq: seq, value: value})
			}
			key := accountToLookAt()
			if seq, value, ok := readOne(ctx, client, swarmKey("accounts", p), key, valueOf[account]); ok {
				s.history.saw(read{reader: name, partition: p, seq: seq, key: key, value: value})
			}
		}
	}
}

// readHTTP asks any worker that is there, for the total and for an account in turns.
func (s *swarm) readHTTP(ctx context.Context, name string, nth int) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for i := nth; pause(ctx, 10*time.Millisecond) == nil; i++ {
		s.mu.Lock()
		ports := slices.Sorted(maps.Values(s.ports))
		s.mu.Unlock()
		if len(ports) == 0 {
			continue
		}
		key, path, decode := "", "total/value", valueOf[total]
		if i/2%2 == 1 {
			key = accountToLookAt()
			path, decode = "accounts/keys/"+key, valueOf[account]
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ports[i%len(ports)]+"/api/v1/projections/"+path, nil)
		if err != nil {
			s.t.Error(err)
			return
		}
		response, err := client.Do(request)
		if err != nil {
			continue // killed, or not there yet
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK {
			continue
		}
		type result struct {
			Partition int            `json:"partition"`
			Seq       uint64         `json:"seq"`
			Exists    bool           `json:"exists"`
			Value     jsontext.Value `json:"value"`
		}
		var answer struct {
			result
			Results []result `json:"results"` // where several partitions have it
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			s.t.Errorf("%s: %v", body, err)
			return
		}
		if answer.Results == nil {
			answer.Results = []result{answer.result}
		}
		for _, r := range answer.Results {
			var stored any
			if r.Exists {
				stored = string(r.Value)
			}
			if value, ok := decode(stored); ok {
				s.history.saw(read{reader: name, partition: r.Partition, seq: r.Seq, key: key, value: value})
			} else {
				s.t.Errorf("%s can't be read", body)
			}
		}
	}
}

// awaitSeq waits until each partition of each model has come to a seq.
func (s *swarm) awaitSeq(last uint64, patience time.Duration) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for _, model := range allModels {
		for p := range swarmPartitions {
			for {
				raw, err := s.redis.Client().HGet(context.Background(), swarmKey(model, p), "$mark").Result()
				var seq uint64
				if err == nil {
					seq, err = seqOf(raw)
				}
				if err == nil && seq >= last {
					break
				}
				if time.Now().After(deadline) {
					s.t.Fatalf("%s/%d is at seq %d of %d (%v); the last worker said:\n%s", model, p, seq, last, err, s.all[len(s.all)-1].output.end())
				}
				time.Sleep(10 * time.Millisecond) // polls another process
			}
		}
	}
}

// mustBeRight compares all that is stored with an independent full replay, and what readers saw with the log's prefixes.
func (s *swarm) mustBeRight() {
	s.t.Helper()
	s.mu.Lock()
	events := slices.Clone(s.events)
	s.mu.Unlock()
	parts := map[int][]event{}
	log := map[int][]logged{}
	for i, x := range events {
		p := partitionOfToken(x.From)
		parts[p] = append(parts[p], x)
		log[p] = append(log[p], logged{uint64(i + 1), x})
	}
	different := 0
	for p := range swarmPartitions {
		want := replay(parts[p])
		for _, model := range allModels {
			values, err := s.redis.Client().HGetAll(context.Background(), swarmKey(model, p)).Result()
			if err != nil {
				s.t.Fatal(err)
			}
			maps.DeleteFunc(values, func(field, _ string) bool { return strings.HasPrefix(field, "$") })
			if diff := differences(want[model], values); diff != "" {
				different++
				s.t.Errorf("%s/%d differs from a full replay:\n%s", model, p, diff)
			}
		}
	}
	s.t.Logf("%d lives, %d events: %d of %d units differ from an independent full replay", s.lives, len(events), different, len(allModels)*swarmPartitions)
	s.history.mustBeSound(s.t, log, false)
}

// underLoad publishes until finish, which waits until all is folded, and compares.
func (s *swarm) underLoad() (publishing context.Context, finish func()) {
	publishing, halt := context.WithCancel(context.Background())
	var publisher sync.WaitGroup
	publisher.Go(func() { s.publish(publishing) })
	stop := func() { halt(); publisher.Wait() }
	s.t.Cleanup(stop) // of a test that has failed
	return publishing, func() {
		s.t.Helper()
		stop()
		s.mu.Lock()
		last := uint64(len(s.events))
		s.mu.Unlock()
		s.awaitSeq(last, time.Minute)
		s.mustBeRight()
	}
}

// histogram prints how long takeovers took.
func (s *swarm) histogram() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.took) == 0 {
		s.t.Error("no partition was taken over")
		return
	}
	slices.Sort(s.took)
	bounds := []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, 800 * time.Millisecond,
		1000 * time.Millisecond, 1200 * time.Millisecond, 1500 * time.Millisecond, 2 * time.Second, 3 * time.Second, 5 * time.Second, time.Hour}
	counts := make([]int, len(bounds))
	for _, d := range s.took {
		i, _ := slices.BinarySearch(bounds, d)
		counts[i]++
	}
	for i, n := range counts {
		if n > 0 {
			s.t.Logf("taken over within %6v: %5d %s", bounds[i], n, strings.Repeat("#", 1+n*60/len(s.took)))
		}
	}
	at := func(q float64) time.Duration { return s.took[int(q*float64(len(s.took)-1))].Round(time.Millisecond) }
	s.t.Logf("%d partitions taken over: median %v, 99th percentile %v, longest %v", len(s.took), at(0.5), at(0.99), at(1))
}

// TestWorkersUnderLeasesAreKilled kills workers of a swarm, mostly one at a time, and starts another for each.
func TestWorkersUnderLeasesAreKilled(t *testing.T) {
	const ttl = time.Second
	s := newSwarm(t, ttl)
	publishing, finish := s.underLoad()
	workers := []*life{s.start(), s.start(), s.start()}
	s.awaitSeq(1, time.Minute)
	for range *swarmKills {
		i := s.rng.IntN(len(workers))
		s.kill(workers[i])
		workers[i] = s.start()
		if err := pause(publishing, 200*time.Millisecond+time.Duration(s.rng.IntN(1600))*time.Millisecond); err != nil {
			break
		}
	}
	finish()
	s.histogram()
	t.Logf("longest from the last kill before: %v", s.slowest.Round(time.Millisecond))
	if s.slowest > ttl+2*time.Second {
		t.Errorf("a killed worker's unit was taken over after %v, with leases of %v", s.slowest, ttl)
	}
}

// TestAWorkerUnderLeasesThatIsTerminatedHandsOverAtOnce measures from SIGTERM to the next owner's first checkpoint.
func TestAWorkerUnderLeasesThatIsTerminatedHandsOverAtOnce(t *testing.T) {
	s := newSwarm(t, 5*time.Second)
	_, finish := s.underLoad()
	workers := []*life{s.start(), s.start()}
	s.awaitSeq(1, time.Minute)
	var all []time.Duration
	for range 5 {
		s.awaitShared(workers)
		leaving := workers[0]
		s.mu.Lock()
		for p, owner := range s.owners {
			if strings.HasPrefix(owner.writer, leaving.name+"-") {
				s.waiting = append(s.waiting, takeover{p, owner.writer, time.Now(), time.Now()})
			}
		}
		had := len(s.waiting)
		s.took = nil
		s.mu.Unlock()
		if had == 0 {
			t.Fatalf("%s has no partition", leaving.name)
		}
		leaving.signal(15)
		deadline := time.Now().Add(20 * time.Second)
		for {
			s.mu.Lock()
			took := slices.Clone(s.took)
			s.mu.Unlock()
			if len(took) == had {
				all = append(all, took...)
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d of %d partitions were taken over", len(took), had)
			}
			time.Sleep(time.Millisecond) // polls another goroutine
		}
		<-leaving.exited
		s.mu.Lock()
		delete(s.ports, leaving)
		s.mu.Unlock()
		workers = []*life{workers[1], s.start()}
	}
	finish()
	slices.Sort(all)
	t.Logf("from SIGTERM to the next owner's claim: median %v, longest %v of %d", all[len(all)/2].Round(time.Millisecond), all[len(all)-1].Round(time.Millisecond), len(all))
	if median := all[len(all)/2]; median > time.Second {
		t.Errorf("handing over takes %v in the middle: it waits for leases to run out", median)
	}
}

// awaitShared waits until each of the workers has a share.
func (s *swarm) awaitShared(workers []*life) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		s.mu.Lock()
		owners := s.owners
		s.mu.Unlock()
		shares := 0
		for _, w := range workers {
			if slices.ContainsFunc(owners[:], func(o ownership) bool { return strings.HasPrefix(o.writer, w.name+"-") }) {
				shares++
			}
		}
		if shares == len(workers) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the partitions are not shared: %v", owners)
		}
		time.Sleep(5 * time.Millisecond) // polls another goroutine
	}
}
