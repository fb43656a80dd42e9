package cmd

import (
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/tailfold/tailfold/consumer/natslog"
)

// Config is what a configuration file, the environment and the flags say together, with all defaults filled in. The
// tags are its reference: docs/configuration.md, the JSON Schema and the names of the environment variables are made
// from them or held against them.
type Config struct {
	NATS        NATSConfig       `key:"nats" help:"How to reach NATS."`
	Store       StoreConfig      `key:"store" help:"Where snapshots are kept: redis or file, not both."`
	HTTP        HTTPConfig       `key:"http" help:"The worker's HTTP server."`
	Worker      WorkerConfig     `key:"worker" help:"This worker."`
	Assign      string           `key:"assign" default:"static" oneof:"static,leases" help:"Who runs which unit. static: this worker runs its shard, by default all units. leases: the workers share the partitions out among themselves, by records in a key-value bucket of NATS."`
	Shard       string           `key:"shard" default:"0/1" help:"With assign: static, which share of the partitions this worker runs: share i of n, as i/n with i from 0, such as the ordinal of a StatefulSet's pod."`
	Leases      LeasesConfig     `key:"leases" help:"With assign: leases, how workers know of each other."`
	Checkpoint  CheckpointConfig `key:"checkpoint" help:"When checkpoints are made. A unit that has drained its input commits at once; under load the first of these bounds counts."`
	StepTimeout time.Duration    `key:"step_timeout" default:"10s" help:"How long the fold of one event may take; beyond it the unit is STUCK."`
	Cache       CacheConfig      `key:"cache" help:"Memory for decoded values."`
	Limits      LimitsConfig     `key:"limits" help:"What is too large; beyond it the unit is TOO_LARGE."`
	Log         LogConfig        `key:"log" help:"What the program writes to standard error."`
	Streams     []StreamConfig   `key:"streams" help:"Settings of streams. One that is not named has the defaults."`
	Include     []string         `key:"include" help:"Further files with projections and tests, as patterns relative to the file that names them."`

	// Projections and Tests are the entries as written, by file: package declared reads them. Tests are read by the
	// command test, from the files themselves.
	Projections []Entries `key:"projections" help:"Declared projections, and settings of projections in Go."`
	Tests       []Entries `key:"tests" help:"Examples that declared projections must fulfil, run by tailfold test."`

	// File is the configuration file's path, "" if there is none.
	File string

	// Warnings are what is suspicious but can be run.
	Warnings []string

	nats   natslog.Options   // what NATS, the nats command line's variables and its context come to
	origin map[string]origin // who set what, by path; not there: the default
}

// NATSConfig says how to reach NATS. For what is not set here, the context counts; without one, the environment variables
// of the nats command line (NATS_URL, NATS_CREDS, …).
type NATSConfig struct {
	URL      string    `key:"url" default:"nats://127.0.0.1:4222" flag:"nats" secret:"url" help:"Server, or several with commas between."`
	Context  string    `key:"context" help:"A context of the nats command line, by name."`
	Creds    string    `key:"creds" path:"true" help:"Path of a credentials file."`
	NKey     string    `key:"nkey" path:"true" help:"Path of an nkey seed file."`
	User     string    `key:"user" help:"User name."`
	Password string    `key:"password" secret:"true" help:"The user's password."`
	Token    string    `key:"token" secret:"true" help:"Token, in place of user and password."`
	Domain   string    `key:"domain" help:"JetStream domain."`
	API      string    `key:"api_prefix" help:"In place of $JS.API, where another account exports JetStream. Not with domain."`
	Inbox    string    `key:"inbox_prefix" help:"Where answers are sent, for narrow permissions. Default: _INBOX."`
	Reader   string    `key:"reader" default:"auto" oneof:"auto,plain" help:"How events are read: auto takes them straight out of the server's stream, where that is not encrypted; plain leaves all reading to the NATS client, which takes more CPU."`
	TLS      TLSConfig `key:"tls" help:"Encryption to NATS. A url that begins with tls:// asks for it too."`
}

// TLSConfig has the files of an encrypted connection.
type TLSConfig struct {
	CA   string `key:"ca" path:"true" help:"Path of the certificates (PEM) to trust. Default: the system's."`
	Cert string `key:"cert" path:"true" help:"Path of the client's certificate (PEM)."`
	Key  string `key:"key" path:"true" help:"Path of the client's private key (PEM)."`

	First bool `key:"first" help:"Encrypt before the server's greeting, where the server has handshake_first."`
}

// StoreConfig names the store: exactly one of Redis and File is set.
type StoreConfig struct {
	Redis  string `key:"redis" default:"redis://127.0.0.1:6379/0" flag:"store" secret:"url" help:"URL of Redis or Valkey: redis://[user:password@]host[:port][/db], redis+sentinel://host,…/master[/db] or redis+cluster://host,…; rediss for TLS, with the parameters ca, cert, key and server_name."`
	File   string `key:"file" path:"true" flag:"store" help:"Path of an embedded store in one file, held by one process at a time; in place of redis."`
	Prefix string `key:"prefix" default:"tailfold" help:"First part of all names in Redis, so that two deployments can share one."`

	Replicas        int           `key:"replicas" default:"0" help:"How many replicas of Redis are to have each checkpoint. Where fewer have it in time, folding goes on, and status, log and metrics tell: it would be folded again after a fail-over. 0: they are not asked."`
	ReplicasTimeout time.Duration `key:"replicas_timeout" default:"100ms" help:"How long a checkpoint waits for these replicas, less than 10s."`
}

// HTTPConfig is the worker's HTTP server.
type HTTPConfig struct {
	Listen string        `key:"listen" default:"127.0.0.1:8321" flag:"listen" help:"Address of /livez, /readyz, /metrics and /api/v1, as host:port; off: none."`
	Token  string        `key:"token" secret:"true" help:"If set, all but /livez and /readyz wants it, as Authorization: Bearer TOKEN. 16 characters or more."`
	TLS    HTTPTLSConfig `key:"tls" help:"Encryption of the HTTP server, TLS 1.2 or newer."`
}

// HTTPTLSConfig has the files of the HTTP server's certificate.
type HTTPTLSConfig struct {
	Cert string `key:"cert" path:"true" help:"Path of the server's certificate (PEM), with those between it and its authority. Read again when it changes. Commands that ask the worker trust this certificate and no other."`
	Key  string `key:"key" path:"true" help:"Path of its private key (PEM)."`
}

// WorkerConfig is this worker.
type WorkerConfig struct {
	Name string `key:"name" flag:"name" help:"First part of the worker's name, by default the host's. A random part is added, so that no two process starts have one name."`
}

// LeasesConfig is for assign: leases.
type LeasesConfig struct {
	TTL    time.Duration `key:"ttl" default:"5s" help:"How long a worker may be silent before its units go to others; from 300ms to 10m."`
	Bucket string        `key:"bucket" help:"The key-value bucket with a record per worker, made where it does not exist. Default: store.prefix and -workers, tailfold-workers."`
}

// CheckpointConfig says when checkpoints are made.
type CheckpointConfig struct {
	Every    time.Duration `key:"every" default:"250ms" help:"Longest time between checkpoints under load."`
	MaxPause time.Duration `key:"max_pause" default:"10ms" help:"Longest time that one checkpoint may hold the store."`
	MaxBytes Size          `key:"max_bytes" default:"1MiB" help:"Largest checkpoint, about."`
	Replay   ReplayConfig  `key:"replay" help:"The bounds that hold while no unit of the worker is near the head."`
}

// ReplayConfig has the bounds of checkpoints while replaying.
type ReplayConfig struct {
	Every    time.Duration `key:"every" default:"1s" help:"Longest time between checkpoints; up to four times as long where several units replay together."`
	MaxPause time.Duration `key:"max_pause" default:"100ms" help:"Longest time that one checkpoint may hold the store."`
	MaxBytes Size          `key:"max_bytes" default:"16MiB" help:"Largest checkpoint, about."`
}

// CacheConfig bounds the memory for decoded values.
type CacheConfig struct {
	MaxBytes Size `key:"max_bytes" default:"256MiB" help:"Budget of all units together; 0: keep nothing."`
}

// LimitsConfig says what is too large.
type LimitsConfig struct {
	MaxKey   Size `key:"max_key" default:"64KiB" help:"Longest key; at most 64KiB."`
	MaxValue Size `key:"max_value" default:"1MiB" help:"Largest value as stored; at most 256MiB."`
}

// LogConfig says how the program logs.
type LogConfig struct {
	Format string `key:"format" default:"auto" oneof:"auto,console,json" flag:"log-format" help:"json, console (for people), or auto: console on a terminal, else json."`
	Level  string `key:"level" default:"info" oneof:"debug,info,warn,error" flag:"log-level" help:"The least important level to write."`

	Payloads bool `key:"payloads" default:"false" help:"Whether logs, verdicts, status and $skipped may quote data of events and values, where that is what could not be folded. Without it they have seq, subject, key and cause."`
}

// StreamConfig has the settings of one stream.
type StreamConfig struct {
	Name              string   `key:"name" help:"The stream's name. Required."`
	Partitions        int      `key:"partitions" default:"1" help:"Into how many partitions the stream is divided, which partition_subjects tell. To change it is to change the definition of all projections on the stream: they need a new version."`
	PartitionSubjects []string `key:"partition_subjects" help:"Subjects of one partition, with {partition} in place of its number, from 0, such as orders.{partition}.>. Required with more than one partition."`
	Holes             string   `key:"holes" default:"refuse" oneof:"refuse,accept" help:"accept: run on a stream whose limits remove events from the middle."`
}

// Entries are items of a list of one file, as written.
type Entries struct {
	File  string
	Nodes []ast.Node
}

// place is where an entry of a configuration stands.
type place struct {
	file         string
	line, column int
}

// level is who sets a value; a higher one overrides a lower one.
type level int

const (
	byDefault level = iota
	byFile
	byEnvironment
	byFlag
)

// origin is who set a value, and where.
type origin struct {
	level level
	where string // "tailfold.yaml:3:7", "TAILFOLD_NATS_URL", "--nats"
}

// where tells who set a path, for messages.
func (c *Config) where(path string) string {
	if o, ok := c.origin[path]; ok {
		return o.where
	}
	return "default"
}

// level tells how high the one stands who set a path.
func (c *Config) level(path string) level { return c.origin[path].level }
