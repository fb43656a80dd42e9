package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore"
)

const (
	freshFor     = 5 * time.Second
	freshEvery   = time.Millisecond
	lookEvery    = 100 * time.Microsecond
	restartTimes = 5
	notYet       = 2 * time.Minute // what takes longer has failed
	many, few    = 1_000_000, 1000
)

// restartNames are the figures of restart_ms.
var restartNames = []string{"keys_1k", "keys_1m", "log_10k", "log_1m"}

// seqIn is the seq of the mark of a hash; 0 where there is none.
func (b *bench) seqIn(ctx context.Context, hash string) (uint64, error) {
	raw, err := b.servers.client.HMGet(ctx, hash, "$mark").Result()
	if err != nil || raw[0] == nil {
		return 0, err
	}
	var mark struct {
		Seq uint64 `json:"seq"`
	}
	err = json.Unmarshal([]byte(raw[0].(string)), &mark)
	return mark.Seq, err
}

// reach waits until a snapshot has come to seq.
func (b *bench) reach(ctx context.Context, hash string, seq int) error {
	for began := time.Now(); ; {
		at, err := b.seqIn(ctx, hash)
		if err != nil {
			return err
		}
		if at >= uint64(seq) {
			return nil
		}
		if time.Since(began) > notYet {
			return fmt.Errorf("a snapshot is at seq %d of %d after %v", at, seq, notYet)
		}
		time.Sleep(lookEvery) // polls another process
	}
}

// freshness publishes at 1,000 events a second, and looks at how soon a reader of Redis sees each of them.
func (b *bench) freshness(ctx context.Context) error {
	b.progress.show("freshness at 1,000 events a second")
	log, err := b.makeStream(ctx, "fresh", orders{keys: b.options.Keys, size: b.options.Size})
	if err != nil {
		return err
	}
	began := time.Now()
	b.report.freshness, err = b.fresh(ctx, log, "", func() (bool, error) { return time.Since(began) >= freshFor, nil })
	return err
}

// isolation looks at how fresh a live projection stays beside one that replays a million events in the same worker.
func (b *bench) isolation(ctx context.Context) error {
	flood, err := b.makeStream(ctx, "flood", orders{keys: b.options.Keys, size: b.options.Size})
	if err != nil {
		return err
	}
	b.progress.show("isolation: publishing %d events", many)
	if err := b.publish(ctx, flood, many); err != nil {
		return err
	}
	for round := range isolationRounds {
		b.progress.show("isolation: round %d of %d", round+1, isolationRounds)
		log, err := b.makeStream(ctx, fmt.Sprintf("calm%d", round), orders{keys: b.options.Keys, size: b.options.Size})
		if err != nil {
			return err
		}
		began := time.Now()
		alone, err := b.fresh(ctx, log, "", func() (bool, error) { return time.Since(began) >= isolationFor, nil })
		if err != nil {
			return err
		}
		log, err = b.makeStream(ctx, fmt.Sprintf("beside%d", round), orders{keys: b.options.Keys, size: b.options.Size})
		if err != nil {
			return err
		}
		beside, err := b.fresh(ctx, log, flood.name, nil)
		if err != nil {
			return err
		}
		b.report.isolation = append(b.report.isolation, [2]float64{quantile(alone, 0.99), quantile(beside, 0.99)})
	}
	return nil
}

const (
	isolationRounds = 3
	isolationFor    = 2 * time.Second
	askEvery        = 20 * time.Millisecond
)

// fresh publishes to a projection at 1,000 events a second until enough says so, and tells for each event how many
// milliseconds later it could be read. With the name of a stream beside, another projection of the same worker replays
// that meanwhile, and enough is when it has.
func (b *bench) fresh(ctx context.Context, log *stream, beside string, enough func() (bool, error)) (list []float64, err error) {
	if err := b.publish(ctx, log, 1); err != nil {
		return nil, err
	}
	s := b.task("go", log, 0)
	s.Stay, s.Beside = true, beside
	hash := s.hashOf("totals")
	if beside != "" {
		enough = func() (bool, error) {
			at, err := b.seqIn(ctx, s.hashOf("beside"))
			return at >= many, err
		}
	}
	worker, err := b.startChild(s)
	if err != nil {
		return nil, err
	}
	defer worker.kill()
	if err := b.reach(ctx, hash, 1); err != nil {
		return nil, err
	}
	var mu sync.Mutex // of what follows
	var sent []time.Time
	var failed error
	stop := make(chan struct{})
	var publishing sync.WaitGroup
	publishing.Go(func() {
		tick := time.NewTicker(freshEvery)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			mu.Lock()
			sent = append(sent, time.Now())
			n := len(sent)
			mu.Unlock()
			if _, err := b.js.PublishAsync(log.subject(), log.orders.append(nil, n+1)); err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
				return
			}
		}
	})
	began, asked, stopped := time.Now(), time.Now(), false
	for err == nil && ctx.Err() == nil && time.Since(began) < notYet {
		var at uint64
		at, err = b.seqIn(ctx, hash)
		now := time.Now()
		mu.Lock()
		for len(list) < int(at)-1 {
			list = append(list, float64(now.Sub(sent[len(list)]))/float64(time.Millisecond))
		}
		all, broken := len(list) == len(sent), failed
		mu.Unlock()
		if stopped && all || broken != nil {
			break
		}
		if !stopped && err == nil && now.Sub(asked) >= askEvery {
			asked = now
			if stopped, err = enough(); stopped {
				close(stop)
				publishing.Wait()
			}
		}
		time.Sleep(lookEvery) // polls another process
	}
	if !stopped {
		close(stop)
		publishing.Wait()
	}
	if err == nil && failed == nil && len(list) < len(sent) {
		failed = fmt.Errorf("only %d of %d events came to be seen", len(list), len(sent))
	}
	return list, errors.Join(err, failed, ctx.Err())
}

// checkpoints commits 1,000 changed keys into a small snapshot and into a large one, through the store that workers use.
func (b *bench) checkpoints(ctx context.Context) error {
	b.progress.show("checkpoints")
	b.hashes++
	store, err := redisstore.Open(redisstore.Options{URL: b.servers.redis, Prefix: fmt.Sprintf("%s-%d", b.name, b.hashes)})
	if err != nil {
		return err
	}
	defer store.Close()
	units := map[string]int{"keys_10k": 10_000, "keys_1m": many}
	marks := map[string]snapshotstore.Mark{}
	for name, keys := range units {
		if marks[name], err = fillUnit(ctx, store, name, keys); err != nil {
			return err
		}
	}
	took := map[string][]float64{}
	for round := range 30 {
		for name, keys := range units {
			began := time.Now()
			if marks[name], err = commit(ctx, store, name, marks[name], (round*7919)%keys, keys, 1000); err != nil {
				return err
			}
			took[name] = append(took[name], float64(time.Since(began))/float64(time.Millisecond))
		}
	}
	for name, list := range took {
		b.report.checkpoint[name] = median(list)
	}
	return b.unlink(ctx, b.name+"*")
}

func fillUnit(ctx context.Context, store *redisstore.Store, name string, keys int) (mark snapshotstore.Mark, err error) {
	for from := 0; from < keys; from += 10_000 {
		if mark, err = commit(ctx, store, name, mark, from, keys, 10_000); err != nil {
			return mark, err
		}
	}
	return mark, nil
}

// commit puts n keys, some distance from each other, and returns the new mark.
func commit(ctx context.Context, store *redisstore.Store, name string, from snapshotstore.Mark, first, keys, n int) (snapshotstore.Mark, error) {
	checkpoint := snapshotstore.Checkpoint{From: from}
	step := 1
	if n < 10_000 {
		step = keys / n
	}
	for i := range n {
		checkpoint.Put = append(checkpoint.Put, snapshotstore.Entry{Key: customerName((first + i*step) % keys), Data: []byte(fmt.Sprint(first + i))})
	}
	to := snapshotstore.Mark{Seq: from.Seq + 1, Since: 1, Stream: "bench", Epoch: 1, Writer: "bench"}
	checkpoint.To = to.Seal(rand.Text())
	return checkpoint.To, store.Commit(ctx, snapshotstore.Unit{Projection: name, Version: 1}, checkpoint)
}

// restarts kills workers and measures how soon the next one has folded an event that is new to it.
func (b *bench) restarts(ctx context.Context) error {
	for _, x := range []struct {
		name         string
		figures      []string
		keys, events int
		cache        string
	}{
		{"small", []string{"log_10k"}, few, 10_000, ""},
		{"long", []string{"keys_1k", "log_1m"}, few, many, ""},
		{"wide", []string{"keys_1m"}, many, many, "64MiB"},
	} {
		if !b.options.wants("restart") && x.name != "wide" {
			continue
		}
		b.progress.show("restart: a log of %d events, %d keys", x.events, x.keys)
		log, err := b.makeStream(ctx, x.name, orders{keys: x.keys, size: b.options.Size, each: true})
		if err != nil {
			return err
		}
		if err := b.publish(ctx, log, x.events); err != nil {
			return err
		}
		s := b.task("go", log, x.events)
		s.Cache = x.cache
		out, err := b.carryOut(ctx, s)
		if err != nil {
			return err
		}
		if x.name == "wide" && b.options.wants("rss") {
			if b.report.rss, err = b.again(ctx, log, s, out.RSS); err != nil {
				return err
			}
		}
		if !b.options.wants("restart") {
			continue
		}
		took, err := b.restart(ctx, log, s)
		if err != nil {
			return err
		}
		for _, figure := range x.figures {
			b.report.restart[figure] = took
		}
	}
	return nil
}

// again folds as many orders onto keys that the snapshot has, and returns the most memory that either worker took.
func (b *bench) again(ctx context.Context, log *stream, s spec, most int64) (int64, error) {
	b.progress.show("memory: folding onto %d keys", log.orders.keys)
	if err := b.publish(ctx, log, few*300); err != nil {
		return 0, err
	}
	s.Task.Events = log.last
	out, err := b.carryOut(ctx, s)
	return max(most, out.RSS), err
}

// restart is the median time from starting a process to the moment at which Redis has an event that was published after
// its predecessor was killed.
func (b *bench) restart(ctx context.Context, log *stream, s spec) (float64, error) {
	s.Stay = true
	hash := s.hashOf("totals")
	var took []float64
	for range restartTimes {
		before, err := b.startChild(s)
		if err != nil {
			return 0, err
		}
		err = b.publish(ctx, log, 1)
		if err == nil {
			err = b.reach(ctx, hash, log.last)
		}
		before.kill()
		if err == nil {
			err = b.publish(ctx, log, 1)
		}
		if err != nil {
			return 0, err
		}
		began := time.Now()
		after, err := b.startChild(s)
		if err != nil {
			return 0, err
		}
		err = b.reach(ctx, hash, log.last)
		took = append(took, float64(time.Since(began))/float64(time.Millisecond))
		after.kill()
		if err != nil {
			return 0, err
		}
	}
	slices.Sort(took)
	return median(took), nil
}
