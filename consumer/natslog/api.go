package natslog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"

	"github.com/tailfold/tailfold/consumer"
)

// The parts of the JetStream API's JSON that we need.
type (
	streamInfo struct {
		answer
		Created time.Time `json:"created"`
		Config  struct {
			Name              string   `json:"name"`
			Subjects          []string `json:"subjects"`
			Retention         string   `json:"retention"`
			MaxMsgsPerSubject int64    `json:"max_msgs_per_subject"`
			FirstSeq          uint64   `json:"first_seq"`
			AllowMsgTTL       bool     `json:"allow_msg_ttl"`
			AllowRollup       bool     `json:"allow_rollup_hdrs"`

			Mirror    jsontext.Value `json:"mirror"`
			Sources   jsontext.Value `json:"sources"`
			Transform jsontext.Value `json:"subject_transform"`
		} `json:"config"`
		State struct {
			Messages    uint64   `json:"messages"`
			FirstSeq    uint64   `json:"first_seq"`
			LastSeq     uint64   `json:"last_seq"`
			Deleted     int      `json:"num_deleted"`
			DeletedSeqs []uint64 `json:"deleted"` // if they were asked for
		} `json:"state"`
		Cluster struct { // of a server in a cluster
			Name     string `json:"name"`
			Leader   string `json:"leader"`
			Replicas []struct {
				Name    string `json:"name"`
				Current bool   `json:"current"`
				Offline bool   `json:"offline"`
			} `json:"replicas"`
		} `json:"cluster"`
	}

	infoRequest struct {
		DeletedDetails bool `json:"deleted_details"`
	}

	messageRequest struct {
		Seq           uint64 `json:"seq,omitzero"`
		NextBySubject string `json:"next_by_subj,omitzero"` // the first from Seq on whose subject it matches
	}

	messageAnswer struct {
		answer
		Message storedMessage `json:"message"`
	}

	storedMessage struct {
		Subject string    `json:"subject"`
		Seq     uint64    `json:"seq"`
		Header  []byte    `json:"hdrs"`
		Data    []byte    `json:"data"`
		Time    time.Time `json:"time"`
	}

	createRequest struct {
		Stream string         `json:"stream_name"`
		Config consumerConfig `json:"config"`
		Action string         `json:"action"`
	}

	createAnswer struct {
		answer
		Config  consumerConfig `json:"config"`
		Pending int64          `json:"num_pending"` // messages
		Cluster struct {
			Leader string `json:"leader"` // the server that the consumer is on
		} `json:"cluster"`
	}

	// consumerConfig has times in nanoseconds.
	consumerConfig struct {
		Name              string            `json:"name"`
		Description       string            `json:"description,omitzero"`
		DeliverPolicy     string            `json:"deliver_policy"`
		StartSeq          uint64            `json:"opt_start_seq"`
		AckPolicy         string            `json:"ack_policy"`
		ReplayPolicy      string            `json:"replay_policy"`
		FilterSubject     string            `json:"filter_subject,omitzero"`
		InactiveThreshold int64             `json:"inactive_threshold"`
		Replicas          int               `json:"num_replicas"`
		Memory            bool              `json:"mem_storage"`
		Metadata          map[string]string `json:"metadata,omitzero"`

		// What the server, or the stream, allows in one pull; 0 for no limit.
		MaxBatch   int   `json:"max_batch,omitzero"`
		MaxExpires int64 `json:"max_expires,omitzero"`
		MaxBytes   int   `json:"max_bytes,omitzero"`
	}

	consumerInfo struct {
		answer
		Delivered struct {
			Place uint64 `json:"consumer_seq"`
		} `json:"delivered"`
		Waiting int `json:"num_waiting"` // pulls
	}

	pullRequest struct {
		Batch     int   `json:"batch"`
		MaxBytes  int   `json:"max_bytes,omitzero"`
		Expires   int64 `json:"expires"`
		Heartbeat int64 `json:"idle_heartbeat"`
	}
)

// answer is what all answers of the API have in common.
type answer struct {
	Failure *apiError `json:"error"`
}

func (a *answer) failure() *apiError { return a.Failure }

// apiError is how the JetStream API refuses a request.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string { return fmt.Sprintf("%s (%d)", e.Description, e.ErrCode) }

// Codes of the API's errors that mean something to us.
const (
	codeNoConsumer          = 10014
	codeTooManyConsumers    = 10026
	codeNoMessage           = 10037
	codeNotEnabledInAccount = 10039
	codeNoStream            = 10059
	codeNotEnabled          = 10076
	codeFilterNotInStream   = 10093
)

var errNotConnected = errors.New("not connected to NATS")

func (l *Log) info(ctx context.Context, op string) (*streamInfo, error) {
	return l.infoWith(ctx, op, nil)
}

// infoWith asks for more than the usual.
func (l *Log) infoWith(ctx context.Context, op string, body any) (*streamInfo, error) {
	var info streamInfo
	if err := l.request(ctx, op, "STREAM.INFO."+l.config.Stream, body, &info); err != nil {
		return nil, err
	}
	if info.Cluster.Name != "" && info.Cluster.Leader == "" { // a server that is cut off from the others answers all the same
		return nil, l.fail(op, errors.New("the stream has no leader; what one of its servers tells may be old"),
			"look whether its servers reach each other, and a majority of them is up")
	}
	return &info, nil
}

// message reads one message from the stream's leader; a replica or a mirror could be behind.
func (l *Log) message(ctx context.Context, op string, which messageRequest) (*storedMessage, error) {
	absent := fmt.Errorf("log %s: seq %d: %w", l.config.Stream, which.Seq, consumer.ErrNoMessage)
	if which == (messageRequest{}) {
		return nil, absent
	}
	var got messageAnswer
	err := l.request(ctx, op, "STREAM.MSG.GET."+l.config.Stream, which, &got)
	if hasCode(err, codeNoMessage) {
		return nil, absent
	}
	if err != nil {
		return nil, err
	}
	return &got.Message, nil
}

func hasCode(err error, code int) bool {
	var refused *apiError
	return errors.As(err, &refused) && refused.ErrCode == code
}

// request asks the JetStream API and decodes its answer. Any error but the context's is a *consumer.LogError.
func (l *Log) request(ctx context.Context, op, api string, body any, into interface{ failure() *apiError }) error {
	conn, subject := l.config.Conn, l.prefix+api
	if !conn.IsConnected() {
		return l.notConnected(op)
	}
	var payload []byte
	if body != nil {
		var err error
		if payload, err = json.Marshal(body, json.Deterministic(true)); err != nil {
			return l.fail(op, err, "")
		}
	}
	patient, cancel := context.WithTimeout(ctx, l.config.Timeout)
	defer cancel()
	old := conn.LastError()
	msg, err := ask(patient, conn, subject, payload)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return ctx.Err()
	case !conn.IsConnected():
		return l.notConnected(op)
	case errors.Is(err, errLost):
		return l.fail(op, fmt.Errorf("%s: %w", subject, err), "")
	case errors.Is(err, nats.ErrNoResponders):
		return l.fail(op, fmt.Errorf("nobody answers %s", subject),
			"enable JetStream on the server or for the account, or set the domain or API prefix under which it is reached")
	default:
		if refused := refusal(conn, old, subject); refused != nil {
			return l.fail(op, refused, permissionFix(refused, subject))
		}
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) {
			err = fmt.Errorf("no answer to %s within %v", subject, l.config.Timeout)
		}
		return l.fail(op, err, "if the server is up and has a leader for the stream, look whether the user may publish to "+
			subject+" and subscribe to its inbox")
	}
	if err := json.Unmarshal(msg.Data, into); err != nil {
		return l.fail(op, fmt.Errorf("the answer of %s can't be read: %w", subject, err), "")
	}
	if refused := into.failure(); refused != nil {
		return l.refused(op, refused)
	}
	return nil
}

// ask sends one request and waits for its answer. A server that refuses to pass the request on says so, on the
// connection, before it answers the ping of the flush: so a refusal is known at once, not after a timeout.
func ask(ctx context.Context, conn *nats.Conn, subject string, payload []byte) (*nats.Msg, error) {
	return askWith(ctx, conn, &nats.Msg{Subject: subject, Data: payload})
}

// askWith does the same with a header.
func askWith(ctx context.Context, conn *nats.Conn, msg *nats.Msg) (*nats.Msg, error) {
	inbox, subject := conn.NewInbox(), msg.Subject
	answers := make(chan *nats.Msg, 1) // SubscribeSync would reserve half a megabyte for 65,536 of them
	sub, err := conn.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only where the connection is closed, and the subscription with it
	lost := conn.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer conn.RemoveStatusListener(lost)
	old := conn.LastError()
	if err := conn.PublishMsg(&nats.Msg{Subject: subject, Reply: inbox, Header: msg.Header, Data: msg.Data}); err != nil {
		return nil, err
	}
	if err := conn.FlushWithContext(ctx); err != nil {
		return nil, err
	}
	if refused := refusal(conn, old, subject); refused != nil {
		return nil, refused
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-lost:
		return nil, errLost
	case answer, ok := <-answers:
		switch {
		case !ok:
			return nil, nats.ErrConnectionClosed
		case len(answer.Data) == 0 && answer.Header.Get("Status") == "503":
			return nil, nats.ErrNoResponders
		}
		return answer, nil
	}
}

// errLost is a request whose answer will not come: a server that shuts down takes requests to the last, and its answers go
// nowhere when the connection has gone.
var errLost = errors.New("the connection was lost before the answer")

// refusal is a permission violation that came after old and is about subject or about an inbox.
func refusal(conn *nats.Conn, old error, subject string) error {
	err := conn.LastError()
	if err == nil || err == old || !errors.Is(err, nats.ErrPermissionViolation) {
		return nil
	}
	if strings.Contains(err.Error(), `"`+subject+`"`) || isSubscription(err) {
		return err
	}
	return nil
}

func isSubscription(violation error) bool {
	return strings.Contains(strings.ToLower(violation.Error()), "for subscription to")
}

func permissionFix(violation error, subject string) string {
	if isSubscription(violation) {
		return "allow the user to subscribe to its inboxes: _INBOX.>, or set an inbox prefix that it may subscribe to"
	}
	return "allow the user to publish to " + generalize(subject)
}

// generalize makes the permission that covers a request, also for the next consumer's name.
func generalize(subject string) string {
	for _, api := range []string{"CONSUMER.CREATE.", "CONSUMER.INFO.", "CONSUMER.DELETE.", "CONSUMER.MSG.NEXT."} {
		if before, after, ok := strings.Cut(subject, api); ok {
			stream, _, _ := strings.Cut(after, ".")
			return before + api + stream + ".>"
		}
	}
	return subject
}

func (l *Log) refused(op string, refused *apiError) error {
	switch refused.ErrCode {
	case codeNoStream:
		return l.fail(op, fmt.Errorf("the stream %w", consumer.ErrNoLog),
			"it is waited for; create it, or correct its name, account or domain")
	case codeNotEnabled, codeNotEnabledInAccount:
		return l.fail(op, refused, "enable JetStream on the server and for the account")
	case codeTooManyConsumers:
		return l.fail(op, refused, "remove consumers that nobody uses, or raise max_consumers of the stream or the account")
	}
	return l.fail(op, refused, "")
}

func (l *Log) notConnected(op string) error {
	conn := l.config.Conn
	if conn.IsClosed() {
		return l.fail(op, fmt.Errorf("%w: the connection was closed", errNotConnected), "")
	}
	err := fmt.Errorf("%w at %s", errNotConnected, strings.Join(conn.Servers(), ", ")) // without user and password
	last := lastFailure(conn)
	if last == nil {
		return l.fail(op, err, "")
	}
	return l.fail(op, fmt.Errorf("%w: %w", err, last), tlsFix(last))
}

func (l *Log) fail(op string, err error, fix string) error {
	return &consumer.LogError{Op: op, Stream: l.config.Stream, Fix: fix, Err: err}
}
