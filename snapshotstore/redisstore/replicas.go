package redisstore

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tailfold/tailfold/snapshotstore"
)

// WAIT tells how many replicas have what was written on the connection that it is sent on. On another one of the pool it
// would tell of something older and say that all is well. So where replicas are asked for, a checkpoint and its WAIT get a
// connection that nobody else has meanwhile; it can't break and be made anew in between without an error.

// runPinned runs a script as run does, and then waits for the replicas that are to have what it wrote.
func (s *Store) runPinned(ctx context.Context, script *redis.Script, key string, args ...any) ([]string, pinned, error) {
	var answer []string
	var p pinned
	var watched []string
	if _, isCluster := s.client.(*redis.ClusterClient); isCluster {
		watched = []string{key} // it tells the node; elsewhere there is nothing to watch
	}
	err := s.watch(ctx, func(tx *redis.Tx) error {
		var err error
		if answer, err = script.Run(ctx, tx, []string{key}, args...).StringSlice(); err == nil {
			p = s.await(ctx, tx, answer)
		}
		return err
	}, watched...)
	if isMoving(err) { // a single connection can't follow
		answer, err = s.run(ctx, script, []string{key}, args...).StringSlice()
		p = pinned{replicas: s.unknown(errMoving.Error())}
	}
	return answer, p, err
}

func isMoving(err error) bool {
	return errors.Is(err, errMoving) || redis.HasErrorPrefix(err, "MOVED ") || redis.HasErrorPrefix(err, "ASK ")
}

// pinned is what is known of replicas.
type pinned struct {
	replicas snapshotstore.Replicas
	waited   time.Duration
}

func (p pinned) receipt(held time.Duration) snapshotstore.Receipt {
	return snapshotstore.Receipt{Held: held, Waited: p.waited, Replicas: p.replicas}
}

// await waits for replicas, if the script's answer is that this connection has written.
func (s *Store) await(ctx context.Context, tx *redis.Tx, answer []string) pinned {
	switch {
	case len(answer) == 0 || answer[0] != "applied":
		return pinned{}
	case len(answer) < 2:
		return pinned{replicas: s.unknown("the answer to the checkpoint was lost: it was made on a connection that is gone")}
	}
	return s.awaitReplicas(ctx, tx)
}

// awaitReplicas waits, for a bounded time, until replicas have what tx has written. The checkpoint is made, whatever comes
// of this: nothing here is an error.
func (s *Store) awaitReplicas(ctx context.Context, tx *redis.Tx) pinned {
	if s.replicas == 0 {
		return pinned{}
	}
	began := time.Now()
	have, err := tx.Wait(ctx, s.replicas, s.replicasTimeout).Result()
	p := pinned{replicas: snapshotstore.Replicas{Asked: s.replicas, Have: int(have)}, waited: time.Since(began)}
	if err != nil {
		p.replicas = s.unknown(err.Error())
		if _, fix := classify(err, s.target, s.layout.Prefix); fix != "" {
			p.replicas.Why += ": " + fix
		}
	}
	return p
}

func (s *Store) unknown(why string) snapshotstore.Replicas {
	return snapshotstore.Replicas{Asked: s.replicas, Why: why}
}
