// Package natslog is the log on NATS JetStream: a stream that keeps its messages by limits.
//
// A Log reads a stream by consumers of its own, which live in the server's memory and acknowledge nothing: positions
// are kept with the state that they describe, never in a consumer. Each message's place in the consumer's own numbering
// is checked, so that a lost delivery ends the reader instead of passing unseen. A reader never goes on by itself
// after anything that could have come between it and the stream (a reconnect, a missed heartbeat, a deleted consumer):
// its caller opens a new one and looks first whether the stream is still the same.
//
// The worker needs these permissions for a stream S (with a domain D, $JS.D.API in place of $JS.API):
//
//	publish    $JS.API.STREAM.INFO.S, $JS.API.STREAM.MSG.GET.S, $JS.API.CONSUMER.CREATE.S.>,
//	           $JS.API.CONSUMER.INFO.S.>, $JS.API.CONSUMER.MSG.NEXT.S.>, $JS.API.CONSUMER.DELETE.S.>
//	subscribe  _INBOX.>, or the inbox prefix of Options with ".>"
package natslog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/projections"
)

// Config says which stream to read, and how. It is validated once, by New.
type Config struct {
	// Conn is the connection, made by Connect or otherwise. It may be down. It is not closed by the log. Required.
	Conn *nats.Conn
	// Stream is the stream's name. Required.
	Stream string
	// Domain is the JetStream domain, where the stream is in another than the server that we connect to.
	Domain string
	// APIPrefix replaces $JS.API, where the stream's account exports JetStream under another subject. Not with Domain.
	APIPrefix string
	// Worker is named in each consumer's metadata, so that an operator can tell whose it is.
	Worker string
	// PullBytes bounds what is asked for at a time; two such requests are under way. It is raised to the server's largest
	// message, without which a pull would never be served. Default 4 MiB.
	PullBytes int
	// Heartbeat is how often the server shows on an idle stream that it is there. A reader that has missed three asks
	// what is wrong, and ends unless the server is only slow. Default 1 s.
	Heartbeat time.Duration
	// InactiveThreshold is how long the server keeps the consumer of a worker that died. A reader that is not asked
	// for so long, and the 30 s that its last pull lasts, ends with an error. Default 30 s.
	InactiveThreshold time.Duration
	// Timeout bounds each request to the server, and how long one event may be on its way. Default 5 s.
	Timeout time.Duration
}

// Log is a JetStream stream. It implements consumer.Log; its methods may be called from any goroutine.
type Log struct {
	config Config
	prefix string // of API subjects, with the last dot

	shunned shunned
}

var _ consumer.Log = (*Log)(nil)

// New validates the configuration and makes a log. It does no I/O.
func New(config Config) (*Log, error) {
	var errs []error
	if config.Conn == nil {
		errs = append(errs, errors.New("Conn is missing"))
	}
	if config.Stream == "" || strings.ContainsAny(config.Stream, ".*> \t\r\n\f/\\\x00") {
		errs = append(errs, fmt.Errorf("Stream: %q can't be the name of a stream", config.Stream))
	}
	if config.Domain != "" && config.APIPrefix != "" {
		errs = append(errs, errors.New("Domain and APIPrefix are both set: one of them says where the stream is"))
	}
	if strings.ContainsAny(config.Domain, ".*> \t\r\n") {
		errs = append(errs, fmt.Errorf("Domain: %q can't be the name of a domain", config.Domain))
	}
	for name, d := range map[string]*time.Duration{
		"Heartbeat": &config.Heartbeat, "InactiveThreshold": &config.InactiveThreshold, "Timeout": &config.Timeout,
	} {
		if *d < 0 {
			errs = append(errs, fmt.Errorf("%s is negative: %v", name, *d))
		}
	}
	if config.Heartbeat > pullExpires/2 {
		errs = append(errs, fmt.Errorf("Heartbeat is %v: %v is the longest", config.Heartbeat, pullExpires/2))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	if config.PullBytes <= 0 {
		config.PullBytes = pullBytes
	}
	orDefault(&config.Heartbeat, time.Second)
	orDefault(&config.InactiveThreshold, 30*time.Second)
	orDefault(&config.Timeout, 5*time.Second)
	prefix := "$JS.API."
	switch {
	case config.Domain != "":
		prefix = "$JS." + config.Domain + ".API."
	case config.APIPrefix != "":
		prefix = strings.TrimSuffix(config.APIPrefix, ".") + "."
	}
	return &Log{config: config, prefix: prefix}, nil
}

func orDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// Bounds implements consumer.Log.
func (l *Log) Bounds(ctx context.Context) (consumer.Bounds, error) {
	info, err := l.info(ctx, "bounds")
	if err != nil {
		return consumer.Bounds{}, err
	}
	return info.bounds(l.config.Stream), nil
}

func (i *streamInfo) bounds(stream string) consumer.Bounds {
	return consumer.Bounds{
		Stream:     stream,
		Created:    i.Created.UTC(),
		First:      i.first(),
		Last:       i.State.LastSeq,
		Subjects:   i.subjects(),
		Configured: i.Config.FirstSeq,
		Unsuitable: i.unsuitable(),
		Holes:      i.holes(),
	}
}

// subjects are those that stored messages can have: what is published is stored under it, and nothing else comes in.
func (i *streamInfo) subjects() []string {
	if i.Config.Mirror != nil || i.Config.Sources != nil || i.Config.Transform != nil {
		return nil
	}
	return i.Config.Subjects
}

func (i *streamInfo) first() uint64 {
	if i.State.Messages == 0 {
		return i.State.LastSeq + 1 // a stream that never had a message tells 0
	}
	return i.State.FirstSeq
}

// unsuitable refuses streams from which consumers remove what they have read: even one that acknowledges nothing counts
// as a reader there.
func (i *streamInfo) unsuitable() string {
	switch i.Config.Retention {
	case "workqueue", "interest":
		return fmt.Sprintf("stream %s has %s retention: its messages go away as others read them, so that nothing can be "+
			"folded again; publish to a stream with limits retention, and let the others read a stream that sources it",
			i.Config.Name, i.Config.Retention)
	}
	return ""
}

// holes names the limits that remove messages from the middle of a stream.
func (i *streamInfo) holes() string {
	var limits []string
	if i.Config.MaxMsgsPerSubject > 0 {
		limits = append(limits, fmt.Sprintf("max_msgs_per_subject is %d", i.Config.MaxMsgsPerSubject))
	}
	if i.Config.AllowMsgTTL {
		limits = append(limits, "allow_msg_ttl is on")
	}
	if i.Config.AllowRollup {
		limits = append(limits, "allow_rollup_hdrs is on")
	}
	return strings.Join(limits, ", ")
}

// Witness implements consumer.Log.
func (l *Log) Witness(ctx context.Context, seq uint64) (consumer.Witness, error) {
	m, err := l.message(ctx, "witness", messageRequest{Seq: seq})
	if err != nil {
		return consumer.Witness{}, err
	}
	return m.witness(), nil
}

// Subject reads the subject of the message at seq. consumer.ErrNoMessage: the stream has none there.
func (l *Log) Subject(ctx context.Context, seq uint64) (string, error) {
	m, err := l.message(ctx, "subject", messageRequest{Seq: seq})
	if err != nil {
		return "", err
	}
	return m.Subject, nil
}

func (m *storedMessage) witness() consumer.Witness {
	return consumer.Witness{Seq: m.Seq, Time: m.Time.UTC(), Hash: consumer.WitnessHash(m.Subject, m.Header, m.Data)}
}

// selection says how a reader leaves out events of other subjects.
type selection struct {
	filter string   // on the server; "" for none
	drop   []string // in the client: hands out only what matches one of them; nil for all
}

// choose uses a filter on the server only where it is one subject that the stream does not consist of: several filters
// had bugs that skip messages up to server 2.15.2 (nats-server #8571, #6932, #6076), and one that lets everything pass
// makes the server index what it need not (6 to 14 ms for a million events, growing).
func choose(subjects, streamSubjects []string) selection {
	subjects = reduce(subjects)
	if len(subjects) == 0 || len(subjects) == 1 && subjects[0] == ">" {
		return selection{}
	}
	all := len(streamSubjects) > 0
	for _, subject := range streamSubjects {
		all = all && covers(subjects, subject)
	}
	if len(subjects) > 1 || all {
		// Also where the stream's subjects say that all match: it may hold messages from before these were changed.
		return selection{drop: subjects}
	}
	return selection{filter: subjects[0]}
}

// reduce leaves out subjects that another one covers.
func reduce(subjects []string) []string {
	var kept []string
	for i, subject := range subjects {
		others := append(append([]string{}, kept...), subjects[i+1:]...)
		if !covers(others, subject) {
			kept = append(kept, subject)
		}
	}
	return kept
}

// covers tells whether one of filters matches all that subject matches.
func covers(filters []string, subject string) bool {
	for _, filter := range filters {
		if both, ok := projections.IntersectSubjects(filter, subject); ok && both == subject {
			return true
		}
	}
	return false
}
