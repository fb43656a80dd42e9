package natslog

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/projections"
)

// MembersConfig is what a membership needs.
type MembersConfig struct {
	// Conn is the connection, made by Connect or otherwise. It may be down. It is not closed. Required.
	Conn *nats.Conn
	// Bucket is the name of the key-value bucket that the records are in. It is made where it does not exist. Required.
	Bucket string
	// Keep is how long the server keeps the record of a worker that died, in a bucket that is made. Default 1 min.
	Keep time.Duration
	// Domain and APIPrefix say where JetStream is, as in Config.
	Domain, APIPrefix string
	// Worker is named in the metadata of the consumer that watches.
	Worker string
	// Timeout bounds each request to the server. Default 5 s.
	Timeout time.Duration
}

// Members is a consumer.Membership on a key-value bucket of JetStream: a key per worker, with its record as the value. A
// bucket is a stream, and is read like one.
//
// It needs these permissions for a bucket B (with a domain D, $JS.D.API in place of $JS.API, and before $KV):
// publish to $KV.B.>, to $JS.API.STREAM.INFO.KV_B, $JS.API.CONSUMER.CREATE.KV_B.>, $JS.API.CONSUMER.MSG.NEXT.KV_B.> and
// $JS.API.CONSUMER.DELETE.KV_B.>; and, where the bucket does not exist yet, to $JS.API.STREAM.CREATE.KV_B.
type Members struct {
	log    *Log
	prefix string // of the subjects of keys, with the last dot
	keep   time.Duration
	bucket string
}

var _ consumer.Membership = (*Members)(nil)

// NewMembers makes a membership. It does no I/O.
func NewMembers(config MembersConfig) (*Members, error) {
	if config.Bucket == "" || strings.ContainsFunc(config.Bucket, notInABucket) {
		return nil, fmt.Errorf("members: Bucket: %q can't be the name of a bucket: letters, digits, '-' and '_'", config.Bucket)
	}
	log, err := New(Config{Conn: config.Conn, Stream: "KV_" + config.Bucket, Domain: config.Domain, APIPrefix: config.APIPrefix,
		Worker: config.Worker, Timeout: config.Timeout})
	if err != nil {
		return nil, fmt.Errorf("members: %w", err)
	}
	orDefault(&config.Keep, time.Minute)
	prefix := "$KV." + config.Bucket + "."
	if log.prefix != "$JS.API." {
		prefix = log.prefix + prefix
	}
	return &Members{log: log, prefix: prefix, keep: config.Keep, bucket: config.Bucket}, nil
}

func notInABucket(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

// Put keeps a worker's record in place of the last one.
func (m *Members) Put(ctx context.Context, worker string, record []byte) error {
	return m.publish(ctx, "renew the lease", &nats.Msg{Subject: m.prefix + keyOf(worker), Data: record})
}

// Remove takes a worker's record back, as the key-value tools do.
func (m *Members) Remove(ctx context.Context, worker string) error {
	return m.publish(ctx, "give the lease back", &nats.Msg{Subject: m.prefix + keyOf(worker),
		Header: nats.Header{operation: []string{"PURGE"}, "Nats-Rollup": []string{"sub"}}})
}

// operation is the header of a message that removes a key.
const operation = "KV-Operation"

// publish stores a message in the bucket, which is made where it does not exist.
func (m *Members) publish(ctx context.Context, op string, msg *nats.Msg) error {
	err := m.store(ctx, op, msg)
	if errors.Is(err, nats.ErrNoResponders) { // no stream takes the subject
		if err = m.create(ctx); err == nil {
			err = m.store(ctx, op, msg)
		}
	}
	return err
}

func (m *Members) store(ctx context.Context, op string, msg *nats.Msg) error {
	conn := m.log.config.Conn
	if !conn.IsConnected() {
		return m.log.notConnected(op)
	}
	patient, cancel := context.WithTimeout(ctx, m.log.config.Timeout)
	defer cancel()
	old := conn.LastError()
	reply, err := askWith(patient, conn, msg)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		if refused := refusal(conn, old, msg.Subject); refused != nil {
			return m.log.fail(op, refused, permissionFix(refused, m.prefix+">")+m.orStatic())
		}
		return m.log.fail(op, err, "")
	}
	var ack struct {
		answer
		Seq uint64 `json:"seq"`
	}
	if err := json.Unmarshal(reply.Data, &ack); err != nil {
		return m.log.fail(op, fmt.Errorf("the answer can't be read: %w", err), "")
	}
	if refused := ack.failure(); refused != nil {
		return m.log.refused(op, refused)
	}
	return nil
}

func (m *Members) orStatic() string {
	return ", or do without a bucket: assign: static, with a shard for each worker"
}

// bucketConfig is the stream of a key-value bucket, as the tools make it.
type bucketConfig struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Subjects    []string `json:"subjects"`
	Retention   string   `json:"retention"`
	Storage     string   `json:"storage"`
	Discard     string   `json:"discard"`
	Replicas    int      `json:"num_replicas"`
	PerSubject  int      `json:"max_msgs_per_subject"`
	MaxAge      int64    `json:"max_age"` // nanoseconds
	Rollup      bool     `json:"allow_rollup_hdrs"`
	DenyDelete  bool     `json:"deny_delete"`
	Direct      bool     `json:"allow_direct"`
}

const (
	codeStreamExists = 10058
	codeTooFewPeers  = 10005 // and 10074, of another version
	codeNoResources  = 10074
	codeNotClustered = 10052 // replicas on a server without a cluster
)

// create makes the bucket: on three servers where there are so many.
func (m *Members) create(ctx context.Context) error {
	config := bucketConfig{Name: "KV_" + m.bucket, Description: "Tailfold's workers: a record each, renewed while it lives",
		Subjects: []string{"$KV." + m.bucket + ".>"}, Retention: "limits", Storage: "file", Discard: "new", Replicas: 3, PerSubject: 1,
		MaxAge: int64(m.keep), Rollup: true, DenyDelete: true, Direct: true}
	for {
		var made answer
		err := m.log.request(ctx, "make the bucket", "STREAM.CREATE.KV_"+m.bucket, config, &made)
		switch {
		case err == nil, hasCode(err, codeStreamExists):
			return nil
		case config.Replicas > 1 && (hasCode(err, codeTooFewPeers) || hasCode(err, codeNoResources) || hasCode(err, codeNotClustered)):
			config.Replicas = 1
			continue
		}
		var failed *consumer.LogError
		if errors.As(err, &failed) && errors.Is(err, nats.ErrPermissionViolation) {
			failed.Fix += fmt.Sprintf(", or make the bucket once yourself (nats kv add %s --ttl=%v)", m.bucket, m.keep) + m.orStatic()
		}
		return err
	}
}

// Watch tells of the records that there are, and of each change.
func (m *Members) Watch(ctx context.Context, tell func(consumer.MemberChange)) error {
	bounds, err := m.log.Bounds(ctx)
	if err != nil {
		return err
	}
	reader, err := m.log.Open(ctx, max(1, bounds.First)-1, nil)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.log.config.Timeout)
		defer cancel()
		_ = reader.Close(ctx) // the server forgets it by itself if this fails
	}()
	all := false
	for {
		batch, err := reader.Next(ctx)
		if err != nil {
			return err
		}
		for i := range batch.Events {
			if change, ok := m.change(&batch.Events[i]); ok {
				tell(change)
			}
		}
		if !all && batch.To >= bounds.Last {
			all = true
			tell(consumer.MemberChange{All: true})
		}
	}
}

// change is what a message of the bucket means.
func (m *Members) change(event *projections.Event) (consumer.MemberChange, bool) {
	worker, ok := workerOf(strings.TrimPrefix(event.Subject, "$KV."+m.bucket+"."))
	_, removed := event.Header.Get(operation)
	if !removed {
		_, removed = event.Header.Get("Nats-Marker-Reason") // the server's own word, for one that ran out
	}
	return consumer.MemberChange{Worker: worker, Record: bytes.Clone(event.Data), Removed: removed, At: event.Time}, ok
}

// keyOf is the key of a worker's record: its name, or, where a key can't have it, the name encoded behind an "=".
func keyOf(worker string) string {
	if worker != "" && !strings.ContainsFunc(worker, notInABucket) {
		return worker
	}
	return "=" + base64.RawURLEncoding.EncodeToString([]byte(worker))
}

func workerOf(key string) (worker string, ok bool) {
	encoded, isEncoded := strings.CutPrefix(key, "=")
	if !isEncoded {
		return key, key != ""
	}
	name, err := base64.RawURLEncoding.DecodeString(encoded)
	return string(name), err == nil
}
