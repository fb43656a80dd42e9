package cmd

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/natslog"
	"github.com/tailfold/tailfold/projections"
)

// check validates what all sources say together.
func (d *decoder) check() {
	d.checkStore()
	d.checkNATS()
	d.checkHTTP()
	d.checkAssignment()
	d.checkBounds()
	d.checkStreams()
}

func (d *decoder) wrong(path, format string, args ...any) {
	d.add(d.config.where(path), path, format, args...)
}

var redisURL = regexp.MustCompile(`^rediss?(\+sentinel|\+cluster)?://`)

// checkStore settles which store it is: where both are named, the one that was named at the higher level.
func (d *decoder) checkStore() {
	c := d.config
	redis, file := c.level("store.redis"), c.level("store.file")
	switch {
	case c.Store.File == "" && c.Store.Redis == "":
		d.wrong("store.redis", "is empty: write the URL of a Redis, such as redis://127.0.0.1:6379/0, or name a "+
			"file under store.file")
		return
	case c.Store.File != "" && c.Store.Redis != "" && redis == file:
		d.wrong("store.file", "both redis and file are given: remove one of them")
		return
	case c.Store.File != "" && file > redis:
		c.Store.Redis = ""
	default:
		c.Store.File = ""
	}
	if c.Store.Redis != "" && !redisURL.MatchString(c.Store.Redis) {
		d.wrong("store.redis", "is not a URL of a Redis: write redis://host:port/db, rediss:// for TLS, or "+
			"redis+sentinel://, redis+cluster://")
	}
	if strings.ContainsAny(c.Store.Prefix, "{}\x00 \t\r\n") || c.Store.Prefix == "" || len(c.Store.Prefix) > 64 {
		d.wrong("store.prefix", "is %q: write 1 to 64 characters, without braces and white space", c.Store.Prefix)
	}
	d.checkReplicas()
}

// maxReplicas is more than anybody has behind one primary.
const maxReplicas = 16

func (d *decoder) checkReplicas() {
	s := d.config.Store
	if s.Replicas < 0 || s.Replicas > maxReplicas {
		d.wrong("store.replicas", "is %d: write 0 to %d", s.Replicas, maxReplicas)
	} else if s.Replicas > 0 && s.Redis == "" {
		d.wrong("store.replicas", "is for a Redis: a store in a file has no replicas")
	}
	if s.Replicas == 0 && d.config.level("store.replicas_timeout") > byDefault {
		d.wrong("store.replicas_timeout", "there is nothing to wait for: write store.replicas too")
	} else if s.ReplicasTimeout < time.Millisecond || s.ReplicasTimeout >= 10*time.Second {
		d.wrong("store.replicas_timeout", "is %v: write at least 1ms and less than 10s", s.ReplicasTimeout)
	}
}

func (d *decoder) checkNATS() {
	n := d.config.NATS
	for one := range strings.SplitSeq(n.URL, ",") {
		scheme, host, ok := strings.Cut(strings.TrimSpace(one), "://")
		switch {
		case !ok && scheme != "" && !strings.ContainsAny(scheme, "/ "): // host:port is fine
		case ok && host != "" && slices.Contains([]string{"nats", "tls", "ws", "wss"}, scheme):
		case one == "" && n.Context != "":
		default:
			d.wrong("nats.url", "%q is not the URL of a NATS server: write nats://host:4222 or tls://host:4222",
				withoutSecret(strings.TrimSpace(one)))
		}
	}
	ways := 0
	for _, set := range []string{n.Creds, n.NKey, n.User, n.Token} {
		if set != "" {
			ways++
		}
	}
	if ways > 1 {
		d.wrong(firstSet(d.config, "nats.creds", "nats.nkey", "nats.user", "nats.token"),
			"more than one of creds, nkey, user and token is given: keep one")
	}
	if n.Password != "" && n.User == "" {
		d.wrong("nats.password", "there is a password without a user: give nats.user too")
	}
	if (n.TLS.Cert == "") != (n.TLS.Key == "") {
		d.wrong(firstSet(d.config, "nats.tls.cert", "nats.tls.key"), "cert and key belong together: give both, or "+
			"neither")
	}
	if n.Domain != "" && n.API != "" {
		d.wrong("nats.api_prefix", "domain and api_prefix are both given: keep one")
	}
	for _, at := range []struct{ path, file string }{
		{"nats.creds", n.Creds}, {"nats.nkey", n.NKey}, {"nats.tls.ca", n.TLS.CA}, {"nats.tls.cert",
			n.TLS.Cert}, {"nats.tls.key", n.TLS.Key},
	} {
		if at.file == "" {
			continue
		}
		if _, err := os.Stat(at.file); err != nil {
			d.wrong(at.path, "the file %q can't be read: correct the path, or let this user read it", at.file)
		}
	}
	options, err := d.natsOptions()
	if err != nil {
		d.wrong("nats.context", "%v", err)
	}
	d.config.nats = options
}

// natsOptions puts together what the configuration, a context and the nats command line's variables say of NATS. The
// configuration goes first; the variables count only where it names no context.
func (d *decoder) natsOptions() (natslog.Options, error) {
	n := d.config.NATS
	o, err := natslog.OptionsFromEnv(d.env)
	if err != nil {
		return o, err
	}
	if n.Context != "" {
		o = natslog.Options{Context: n.Context, Timeout: o.Timeout}
	}
	if d.config.level("nats.url") > byDefault || o.URL == "" && o.Context == "" {
		o.URL = n.URL
	}
	if n.Creds != "" || n.NKey != "" || n.User != "" || n.Token != "" || strings.Contains(n.URL, "@") {
		o.Creds, o.NKey, o.User, o.Password, o.Token = n.Creds, n.NKey, n.User, n.Password, n.Token
	}
	if n.TLS.Cert != "" {
		o.Cert, o.Key = n.TLS.Cert, n.TLS.Key
	}
	o.CA = cmp.Or(n.TLS.CA, o.CA)
	o.TLSFirst = n.TLS.First
	o.Domain, o.APIPrefix, o.InboxPrefix = n.Domain, n.API, n.Inbox
	o.Reader = n.Reader
	return o.Resolve()
}

func firstSet(c *Config, paths ...string) string {
	for _, path := range paths {
		if c.level(path) > byDefault {
			return path
		}
	}
	return paths[0]
}

func (d *decoder) checkHTTP() {
	d.checkHTTPAccess()
	listen := d.config.HTTP.Listen
	if listen == "off" {
		return
	}
	host, port, err := net.SplitHostPort(listen)
	number, bad := strconv.Atoi(port)
	if err != nil || bad != nil || number < 0 || number > 65535 || strings.Contains(host, "/") {
		d.wrong("http.listen", "%q is no address: write host:port, such as 127.0.0.1:8321, :8321 for all "+
			"interfaces, or off", listen)
	}
}

func (d *decoder) checkAssignment() {
	c := d.config
	shard, err := parseShard(c.Shard)
	switch {
	case err != nil:
		d.wrong("shard", "%v", err)
	case c.Assign == "leases" && shard.Count > 1:
		d.wrong("shard", "is %q, but with assign: leases the workers share the partitions out among themselves: remove one of the two", c.Shard)
	case c.Assign == "leases" && c.Store.File != "":
		d.wrong("assign", "leases are for several workers, but a store in a file (%s) is for one: name a Redis, or write assign: static", c.Store.File)
	}
	if ttl := c.Leases.TTL; ttl != 0 && (ttl < minTTL || ttl > maxTTL) {
		d.wrong("leases.ttl", "is %v: write %v to %v", ttl, minTTL, maxTTL)
	}
	if bucket := c.Leases.Bucket; bucket != "" && !bucketName.MatchString(bucket) {
		d.wrong("leases.bucket", "%q is no name of a bucket: write letters, digits, '-' and '_'", bucket)
	}
	if name := c.Worker.Name; len(name) > 128 || strings.ContainsFunc(name, func(r rune) bool {
		return r < ' ' ||
			r == 0x7f
	}) {
		d.wrong("worker.name", "is too long or has control characters: write at most 128 printable ones")
	}
}

// A lease shorter than this is lost at any hiccup, a longer one is no use.
const (
	minTTL = 300 * time.Millisecond
	maxTTL = 10 * time.Minute
)

var bucketName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// parseShard reads i/n.
func parseShard(text string) (consumer.Shard, error) {
	first, second, _ := strings.Cut(text, "/")
	i, badI := strconv.ParseUint(first, 10, 16)
	n, badN := strconv.ParseUint(second, 10, 16)
	if badI != nil || badN != nil || i >= n {
		return consumer.Shard{}, fmt.Errorf("is %q: write i/n, share i of n, with i from 0 to n-1, such as 0/3, 1/3 and 2/3 for three workers", text)
	}
	return consumer.Shard{Index: int(i), Count: int(n)}, nil
}

// bucket is the key-value bucket of the workers' records. Deployments that share no store share no bucket, either.
func (c *Config) bucket() string {
	if c.Leases.Bucket != "" {
		return c.Leases.Bucket
	}
	return strings.Map(func(r rune) rune {
		if bucketName.MatchString(string(r)) {
			return r
		}
		return '-'
	}, c.Store.Prefix) + "-workers"
}

// most are the upper bounds of sizes.
var most = map[string]Size{
	"checkpoint.max_bytes": 256 << 20, "checkpoint.replay.max_bytes": 256 << 20,
	"limits.max_key": 64 << 10, "limits.max_value": 256 << 20,
}

func (d *decoder) checkBounds() {
	for _, s := range settings(d.config) {
		switch {
		case s.Type != typeDuration && s.Type != typeSize:
		case s.value.Int() == 0 && s.Path != "cache.max_bytes":
			d.wrong(s.Path, "is 0: write more than that, or remove it for the default, %s", s.Default)
		case most[s.Path] > 0 && Size(s.value.Int()) > most[s.Path]:
			d.wrong(s.Path, "is %v: write at most %v", Size(s.value.Int()), most[s.Path])
		}
	}
}

func (d *decoder) checkStreams() {
	seen := map[string]bool{}
	for i, s := range d.config.Streams {
		path := "streams." + strconv.Itoa(i)
		switch {
		case s.Name == "":
			d.add(d.config.where(path), path+".name", "the stream's name is missing: write - name: ORDERS")
		case strings.ContainsAny(s.Name, " \t\r\n.*>/\\\x00"):
			d.wrong(path+".name", "%q is no name of a stream: no white space, dots, '*', '>', '/' or '\\'", s.Name)
		case seen[s.Name]:
			d.wrong(path+".name", "the stream %q has an entry already: keep one", s.Name)
		}
		seen[s.Name] = true
		if s.Partitions < 1 || s.Partitions > maxPartitions {
			d.wrong(path+".partitions", "is %d: write 1 to %d", s.Partitions, maxPartitions)
		} else if s.Partitions > 1 && len(s.PartitionSubjects) == 0 {
			d.wrong(path+".partitions", "is %d, but nothing tells them apart: write partition_subjects, such as [\"orders.{partition}.>\"]", s.Partitions)
		}
		for _, subject := range s.PartitionSubjects {
			d.checkPartitionSubject(path+".partition_subjects", subject)
		}
	}
}

const maxPartitions = 4096

// checkPartitionSubject demands that no two partitions have an event in common.
func (d *decoder) checkPartitionSubject(path, subject string) {
	switch {
	case !slices.ContainsFunc(strings.Split(subject, "."), func(token string) bool { return token == "{partition}" }):
		d.wrong(path, "%q has no token {partition}: each partition would have all its events; write it in place of the number, as in orders.{partition}.>", subject)
	case projections.CheckSubject(strings.ReplaceAll(subject, "{partition}", "0")) != nil:
		d.wrong(path, "%q: %v", subject, projections.CheckSubject(strings.ReplaceAll(subject, "{partition}", "0")))
	}
}
