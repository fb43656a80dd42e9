package natslog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nuid"

	"github.com/tailfold/tailfold/consumer"
)

// A stream with replicas has several copies, and a consumer reads one of them: that of the server that it was put on,
// which need not be the leader. A server whose files were damaged can have lost messages from the middle of its copy, and
// neither it nor its peers mind (nats-server 2.15.2). To a reader that looks like messages that were deleted: they are
// left out without a word. So where a reader comes to a hole it finds out whose hole it is before it hands out what comes
// after: the other copies must not count more messages from there on than its own does, and what the stream itself does
// not take for deleted must have come.
// Without replicas, and where nothing is left out, it costs nothing; a reader of a replicated stream with a filter meets
// others' messages as holes, and compares once.
//
// The same is seen for a moment where a copy has removed by age what the others still have: the next reader is told that
// the stream begins later.
//
// What this can't tell: a message that can't be read, though its copy counts it, where the server filters by subject; a
// message that a stream without replicas has lost, and counts as deleted; anything where limits remove messages from the
// middle all the time (holes).

const (
	// maxDeleted is how many deleted messages a stream may have for them to be asked for one by one.
	maxDeleted = 100_000
	// shunFor is how long no reader is put on a server whose copy was found to lack messages.
	shunFor = time.Minute
	// comparisons are made before a copy that lacks messages is not taken any more for one that is a moment behind.
	comparisons = 5
	// probeFor is how long a server may take to count. One that hangs is no reason not to read another.
	probeFor = time.Second
	// probes are how many requests to count are made at most; which server answers is drawn by lot.
	probes = 60
	// mayHang is after how many requests without an answer a copy that has not been heard is left out.
	mayHang = 3
	// placements are how often a consumer is made anew to be put on another server, which is drawn by lot.
	placements = 20
)

// shunned are servers on which no reader is to be.
type shunned struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func (s *shunned) add(server string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until == nil {
		s.until = map[string]time.Time{}
	}
	s.until[server] = time.Now().Add(shunFor)
}

func (s *shunned) has(server string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.until[server])
}

// others are the servers, besides one, that have a copy of the stream and follow it.
func (i *streamInfo) others(than string) []string {
	if i.Cluster.Leader == "" {
		return nil
	}
	names := []string{i.Cluster.Leader}
	for _, peer := range i.Cluster.Replicas {
		if peer.Current && !peer.Offline {
			names = append(names, peer.Name)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == than })
}

// whole is nil if a chunk whose seqs jump has all that the stream has there. info is of the stream as it is now.
func (r *reader) whole(ctx context.Context, c *chunk, info *streamInfo) error {
	if err := r.compare(ctx, info); err != nil {
		return err
	}
	if r.filtered() || info.holes() != "" {
		return nil
	}
	from := max(r.to, r.start)
	missing := func() int { // what has meanwhile expired at the stream's beginning can't be told from what was deleted before
		expired := max(0, int(info.first())-1-int(from))
		return int(c.last.seq-from) - c.read - between(r.deleted, from, c.last.seq) - expired
	}
	if missing() > 0 && info.State.Deleted > 0 && info.State.Deleted <= maxDeleted {
		detailed, err := r.log.infoWith(ctx, "read", infoRequest{DeletedDetails: true})
		if err != nil {
			return err
		}
		r.deleted, info = detailed.State.DeletedSeqs, detailed
	}
	if n := missing(); n > 0 && info.State.Deleted <= maxDeleted {
		return r.broken(info, fmt.Errorf("%d messages after seq %d and up to seq %d, which the stream does not take for deleted, are not handed out%s",
			n, from, c.last.seq, r.server()))
	}
	return nil
}

// between counts the seqs in (from, to] of a list in order.
func between(seqs []uint64, from, to uint64) int {
	first, _ := slices.BinarySearch(seqs, from+1)
	last, _ := slices.BinarySearch(seqs, to+1)
	return last - first
}

// server names the server on which the reader's consumer is, where that is known.
func (r *reader) server() string {
	if r.peer == "" {
		return ""
	}
	return " by the copy on server " + r.peer
}

// broken makes the error of a copy that lacks messages. The next reader is put on another server, if there is one.
func (r *reader) broken(info *streamInfo, err error) error {
	fix := "the server's files may be damaged: restore the stream, or, if the messages are lost for good, delete them from it"
	if len(info.others(r.peer)) > 0 {
		r.log.shunned.add(r.peer)
		fix = "its files may be damaged: remove that server from the stream's peers, so that the stream is copied anew; until " +
			"then other copies are read"
	}
	return r.log.fail("read", fmt.Errorf("%w: %w", consumer.ErrIncomplete, err), fix)
}

// compare is nil if no other copy of the stream counts more messages from here on, that the reader wants, than its own.
// One comparison is enough: a copy is damaged while its server is down, and with the server goes the consumer.
func (r *reader) compare(ctx context.Context, info *streamInfo) error {
	others := info.others(r.peer)
	if r.compared || r.peer == "" || len(others) == 0 || info.holes() != "" {
		return nil
	}
	after := max(r.to, r.start)
	for try := 1; ; try++ {
		lacks, than, err := r.lacks(ctx, after, others)
		if err == nil && lacks == 0 {
			r.compared = true
		}
		if err != nil || lacks == 0 {
			return err
		}
		if try == comparisons {
			return r.broken(info, fmt.Errorf("the copy on server %s lacks %d messages after seq %d that the copy on server %s has",
				r.peer, lacks, after, than))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.closed:
			return r.ended(errors.New("the reader was closed"))
		case <-time.After(time.Duration(try) * 50 * time.Millisecond): // it may be a moment behind
		}
	}
}

// lacks counts the messages by which another copy has more than the reader's own. Messages that come in meanwhile do not
// count, as its own is asked last, nor do those that the stream removed meanwhile. A server that hangs is left out, but at
// least one other must answer.
func (r *reader) lacks(ctx context.Context, after uint64, others []string) (n int64, than string, err error) {
	l := r.log
	before, err := l.info(ctx, "read")
	if err != nil {
		return 0, "", err
	}
	counts, hung := map[string]int64{}, 0
	for range probes {
		server, count, err := r.probe(ctx, after)
		switch {
		case ctx.Err() != nil:
			return 0, "", ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			hung++
			continue
		case err != nil:
			return 0, "", err
		case server != r.peer:
			counts[server] = count
			continue
		case len(counts) == 0, len(counts) < len(others) && hung < mayHang:
			continue // its own is asked last
		}
		now, err := l.info(ctx, "read")
		if err != nil {
			return 0, "", err
		}
		removed := max(0, int64(now.first())-int64(max(before.first(), after+1))) + max(0, int64(now.State.Deleted-before.State.Deleted))
		for name, other := range counts {
			if more := other - count - removed; more > n {
				n, than = more, name
			}
		}
		return n, than, nil
	}
	return 0, "", l.fail("read", fmt.Errorf("after seq %d there is a hole, and the copies of the stream can't be compared: of %d requests to count, %d had no answer, and others than %v were not heard before %s",
		after, probes, hung, slices.Sorted(maps.Keys(counts)), r.peer), "")
}

// probe has some server with a copy of the stream, drawn by lot, count the messages after a seq that the reader wants.
func (r *reader) probe(ctx context.Context, after uint64) (server string, count int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, min(probeFor, r.log.config.Timeout))
	defer cancel()
	name := r.name + "-" + nuid.Next()[:6]
	created, err := r.create(ctx, name, after)
	if err != nil {
		return "", 0, err
	}
	return created.Cluster.Leader, created.Pending, r.log.deleteConsumer(ctx, "read", name)
}

// deleteConsumer gives back a consumer. One that is not there any more is no error.
func (l *Log) deleteConsumer(ctx context.Context, op, name string) error {
	var deleted answer
	err := l.request(ctx, op, "CONSUMER.DELETE."+l.config.Stream+"."+name, nil, &deleted)
	if hasCode(err, codeNoConsumer) || errors.Is(err, consumer.ErrNoLog) {
		return nil
	}
	return err
}
