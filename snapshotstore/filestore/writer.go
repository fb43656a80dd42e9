package filestore

import (
	"context"

	"go.etcd.io/bbolt"
)

// request is one change that a caller waits for.
type request struct {
	ctx    context.Context
	size   int // about, in bytes
	change func(tx *bbolt.Tx) error
	done   chan error // takes one without a reader
}

// A batch is bounded in requests and in bytes, so that none waits long for the others in it.
const (
	batchRequests = 64
	batchBytes    = 16 << 20
)

// update has the writer run change in a transaction and waits for its outcome or the end of ctx. Change returns an
// answer of the contract (isAnswer) only before it has changed anything. After the end of ctx it may still run.
func (s *Store) update(ctx context.Context, op string, size int, change func(tx *bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return s.explain(op, err)
	}
	r := &request{ctx: ctx, size: size, change: change, done: make(chan error, 1)}
	select {
	case s.requests <- r:
	case <-s.stop:
		return s.explain(op, errClosed)
	case <-ctx.Done():
		return s.explain(op, ctx.Err())
	}
	select {
	case err := <-r.done:
		return s.explain(op, err)
	case <-ctx.Done():
		return s.explain(op, ctx.Err())
	}
}

// write is the one writer of the file: requests that wait at the same time share a transaction and its syncs. What is
// left of dropped snapshots is given back bit by bit, beside requests or while there are none.
func (s *Store) write() {
	defer close(s.stopped)
	garbage := true // of an earlier process, perhaps
	for {
		var batch []*request
		if garbage {
			select {
			case <-s.stop:
				return
			case r := <-s.requests:
				batch = s.gather(r)
			default:
			}
		} else {
			select {
			case <-s.stop:
				return
			case r := <-s.requests:
				batch = s.gather(r)
			}
		}
		garbage = s.run(batch)
	}
}

// gather takes what waits beside first.
func (s *Store) gather(first *request) []*request {
	batch, size := []*request{first}, first.size
	for len(batch) < batchRequests && size < batchBytes {
		select {
		case r := <-s.requests:
			batch = append(batch, r)
			size += r.size
		default:
			return batch
		}
	}
	return batch
}

// run carries a batch out in one transaction, each request on its own if that fails, and tells whether there is more to
// be given back.
func (s *Store) run(batch []*request) (garbage bool) {
	outcomes, garbage, err := s.transact(batch, true)
	if err == nil {
		answer(batch, outcomes)
		return garbage
	}
	if len(batch) == 1 {
		answer(batch, []error{err})
		return false
	}
	for _, r := range batch {
		outcomes, _, err := s.transact([]*request{r}, false)
		if err != nil {
			outcomes = []error{err}
		}
		answer([]*request{r}, outcomes)
	}
	return false
}

func answer(batch []*request, outcomes []error) {
	for i, r := range batch {
		r.done <- outcomes[i]
	}
}

// transact runs the changes of a batch in one transaction. The outcomes hold only where err is nil: a conflict may be
// with a change that was itself undone.
func (s *Store) transact(batch []*request, tidy bool) (outcomes []error, garbage bool, err error) {
	if broken := s.broken.Load(); broken != nil {
		return nil, false, *broken
	}
	outcomes = make([]error, len(batch))
	err = guard(s.path, func() error {
		tx, err := s.db.Begin(true)
		if err != nil {
			return err
		}
		changed := false
		for i, r := range batch {
			if outcomes[i] = r.ctx.Err(); outcomes[i] != nil {
				continue
			}
			outcomes[i] = r.change(tx)
			if outcomes[i] != nil && !isAnswer(outcomes[i]) {
				tx.Rollback()
				return outcomes[i]
			}
			changed = changed || outcomes[i] == nil
		}
		if tidy {
			var swept bool
			if swept, garbage, err = sweep(tx); err != nil {
				tx.Rollback()
				return err
			}
			changed = changed || swept
		}
		if !changed {
			return tx.Rollback()
		}
		// Also for a checkpoint that was applied before: where the sync of that transaction failed, the file shows what
		// the disk may not have. This one puts it there before anybody is told so.
		return tx.Commit()
	})
	if isDamage(err) {
		s.broken.Store(&err)
	}
	return outcomes, garbage, err
}
