package consumer

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tailfold/tailfold/snapshotstore"
)

// keepTrying calls op until it succeeds, ctx is done, or the error is one that trying again does not mend. While log or
// store are away the unit shows a passing verdict.
func keepTrying[T any](ctx context.Context, u *unit, away Reason, op func(context.Context) (T, error)) (T, error) {
	for try := 0; ; try++ {
		attempt, cancel := context.WithTimeout(ctx, opTimeout)
		result, err := op(attempt)
		cancel()
		if err == nil {
			if try > 0 {
				u.back(away)
			}
			return result, nil
		}
		if ctx.Err() != nil {
			return result, ctx.Err()
		}
		if final(err) {
			return result, err
		}
		u.passing(unavailable(away, u.stream.Name, err))
		wait := u.backoff(try)
		if snapshotstore.ClassOf(err) == snapshotstore.Wait {
			wait = max(wait, time.Second)
		}
		if err := sleep(ctx, wait); err != nil {
			return result, err
		}
	}
}

// final tells an error that trying again does not mend.
func final(err error) bool {
	if _, ok := errors.AsType[*snapshotstore.ConflictError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*snapshotstore.CorruptError](err); ok {
		return true
	}
	return snapshotstore.ClassOf(err) == snapshotstore.Stop
}

func unavailable(away Reason, stream string, err error) *Verdict {
	if errors.Is(err, ErrNoLog) {
		return &Verdict{Reason: away, Evidence: fmt.Sprintf("stream %s does not exist", stream),
			WayOut: "It is waited for: create it, or correct `stream` in the projection's entry"}
	}
	if cause, fix := partsOf(err); fix != "" {
		return &Verdict{Reason: away, Evidence: cause, WayOut: mend(fix)}
	}
	return &Verdict{Reason: away, Evidence: err.Error(), WayOut: "It is tried again until it is back"}
}

// mend is the way out of what an operator can mend while it is tried again.
func mend(fix string) string { return "It is tried again by itself: " + fix }

// partsOf parts what a store or a log could not do from what an operator can do about it, "" if nothing but wait.
func partsOf(err error) (cause, fix string) {
	if e, ok := errors.AsType[*snapshotstore.Error](err); ok {
		bare := *e
		bare.Fix = ""
		return bare.Error(), e.Fix
	}
	if e, ok := errors.AsType[*LogError](err); ok {
		bare := *e
		bare.Fix = ""
		return bare.Error(), e.Fix
	}
	return err.Error(), ""
}

// backoff is how long to wait before try number n+1: doubling, with a random half.
func (u *unit) backoff(n int) time.Duration {
	d := min(backoffTo, backoffFrom<<min(n, 10))
	return d/2 + u.chance.duration(d/2+1)
}

// chance is a unit's source of random waits. Its goroutine and the one that sends a checkpoint both draw from it.
type chance struct {
	mu  sync.Mutex
	rng *rand.Rand
}

// newChance makes a source of its own for each of a worker's units: how one of them draws must not depend on when
// another one does.
func newChance(seed uint64, of string) *chance {
	if seed == 0 {
		return &chance{rng: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
	}
	h := fnv.New64a()
	h.Write([]byte(of))
	return &chance{rng: rand.New(rand.NewPCG(seed, h.Sum64()))}
}

// duration is one of [0, below).
func (c *chance) duration(below time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Duration(c.rng.Int64N(int64(below)))
}
