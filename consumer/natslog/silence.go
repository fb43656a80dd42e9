package natslog

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// silent finds out why nothing has come since arrived was told, and ends the reader unless the server is only slow: a
// large event that is still on its way, or a busy server's late heartbeat, is no loss.
func (r *reader) silent(ctx context.Context, arrived uint64, silence time.Duration) error {
	conn := r.log.config.Conn
	patient, cancel := context.WithTimeout(ctx, r.log.config.Timeout)
	defer cancel()
	err := conn.FlushWithContext(patient) // what the server sent before it answers a ping comes before the answer
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case r.in.count() != arrived:
		return nil
	case err != nil:
		return r.ended(fmt.Errorf("the server is silent: %w", err))
	}
	if err := refusal(conn, r.violation, r.next); err != nil {
		return r.log.fail("read", err, permissionFix(err, r.next))
	}
	info, err := r.alive(ctx)
	switch {
	case err != nil:
		return err
	case r.in.count() != arrived:
	case info.Waiting == 0:
		return r.ended(fmt.Errorf("neither events nor heartbeats for %v, and the server has lost the pulls", silence))
	case info.Delivered.Place > r.in.last() && r.quiet == arrived:
		return r.ended(errors.New("the server has made deliveries that do not come: they were lost on the way"))
	case info.Delivered.Place > r.in.last():
		r.quiet = arrived // it may be on its way
	}
	return nil
}

// alive returns what the server tells of the consumer, or an error if it is not there. It goes with its stream, and with
// its server's memory, so that what was asked of the stream before was asked of the one that the consumer reads.
func (r *reader) alive(ctx context.Context) (*consumerInfo, error) {
	var info consumerInfo
	err := r.log.request(ctx, "read", "CONSUMER.INFO."+r.log.config.Stream+"."+r.name, nil, &info)
	return &info, err
}
