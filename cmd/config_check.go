package cmd

import (
	"cmp"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tailfold/tailfold/consumer/natslog"
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
	if c.Assign == "leases" {
		d.wrong("assign", "leases are not in this version: write assign: static")
	}
	if c.Shard != "0/1" {
		d.wrong("shard", "is %q: shards are not in this version, write 0/1", c.Shard)
	}
	if name := c.Worker.Name; len(name) > 128 || strings.ContainsFunc(name, func(r rune) bool {
		return r < ' ' ||
			r == 0x7f
	}) {
		d.wrong("worker.name", "is too long or has control characters: write at most 128 printable ones")
	}
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
		switch {
		case s.Partitions < 1:
			d.wrong(path+".partitions", "is %d: write 1", s.Partitions)
		case s.Partitions > 1:
			d.wrong(path+".partitions", "is %d: partitions are not in this version, write 1", s.Partitions)
		case len(s.PartitionSubjects) > 0:
			d.wrong(path+".partition_subjects", "partitions are not in this version: remove it")
		}
	}
}
