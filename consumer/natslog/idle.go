package natslog

import (
	"context"
	"errors"
	"fmt"

	"github.com/tailfold/tailfold/consumer"
)

// advance moves an idle reader to the last message at or below seq, up to which the consumer has found nothing to
// deliver. It returns no batch if there is no such message.
func (r *reader) advance(ctx context.Context, seq uint64) (*consumer.Batch, error) {
	m, err := r.lastMessage(ctx, seq)
	if err != nil {
		return nil, err
	}
	if m == nil {
		r.tried = seq
		return nil, nil
	}
	info, err := r.untrimmed(ctx, r.to)
	if err != nil {
		return nil, err
	}
	if err := r.compare(ctx, info); err != nil {
		return nil, err
	}
	if _, err := r.alive(ctx); err != nil {
		return nil, err
	}
	r.in.passed(m.Seq)
	batch := &consumer.Batch{From: r.to, To: m.Seq, Last: m.witness(), Head: max(r.head, seq)}
	r.to, r.head = batch.To, batch.Head
	return batch, nil
}

// lastMessage reads the last message after r.to and at or below seq, nil if there is none. The server finds messages
// forwards only (its last message by the subject ">" is none where the last one was deleted: 2.15.2), so that it is
// searched for in steps that double, then halve.
func (r *reader) lastMessage(ctx context.Context, seq uint64) (*storedMessage, error) {
	m, err := r.log.message(ctx, "read", messageRequest{Seq: seq})
	if err == nil || !errors.Is(err, consumer.ErrNoMessage) {
		return m, err
	}
	from := func(first uint64) (*storedMessage, error) {
		m, err := r.log.message(ctx, "read", messageRequest{Seq: first, NextBySubject: ">"})
		if errors.Is(err, consumer.ErrNoMessage) || err == nil && m.Seq > seq {
			return nil, nil
		}
		return m, err
	}
	var found *storedMessage
	empty := seq // nothing from here to seq
	for step := uint64(1); found == nil; step *= 2 {
		if empty <= r.to+1 {
			return nil, nil
		}
		first := r.to + 1
		if step < seq-r.to {
			first = seq - step
		}
		if found, err = from(first); err != nil {
			return nil, err
		}
		if found == nil {
			empty = first
		}
	}
	for found.Seq+1 < empty {
		middle := found.Seq + 1 + (empty-found.Seq-1)/2
		m, err := from(middle)
		if err != nil {
			return nil, err
		}
		if m != nil {
			found = m
		} else {
			empty = middle
		}
	}
	return found, nil
}

// untrimmed returns what the stream is now, without an error if it still begins at most one after seq, so that nothing
// after it was removed by age, size or a purge before it was read.
func (r *reader) untrimmed(ctx context.Context, seq uint64) (*streamInfo, error) {
	info, err := r.log.info(ctx, "read")
	if err != nil {
		return nil, err
	}
	if !info.Created.Equal(r.created) {
		return nil, r.log.fail("read", errors.New("the stream was made again"), "")
	}
	r.head = max(r.head, info.State.LastSeq)
	if first := info.first(); first > seq+1 {
		return nil, r.log.fail("read", fmt.Errorf("seqs %d to %d were removed before they were read", seq+1, first-1), "")
	}
	return info, nil
}
