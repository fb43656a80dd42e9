package cmd

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// writeFiles puts files into a folder of the test; the names are relative to it.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// load reads one configuration file named tailfold.yaml; places in errors are relative to its folder.
func load(t *testing.T, text string, environ []string, flags map[string]string) (*Config, error) {
	t.Helper()
	t.Chdir(writeFiles(t, map[string]string{"tailfold.yaml": text}))
	return Load(Sources{File: "tailfold.yaml", Environ: environ, Flags: flags})
}

var onlyValues = cmp.Options{cmpopts.IgnoreUnexported(Config{}), cmpopts.IgnoreFields(Config{}, "Projections", "Tests")}

func defaults() Config {
	return Config{
		NATS:   NATSConfig{URL: "nats://127.0.0.1:4222", Reader: "auto"},
		Store:  StoreConfig{Redis: "redis://127.0.0.1:6379/0", Prefix: "tailfold", ReplicasTimeout: 100 * time.Millisecond},
		HTTP:   HTTPConfig{Listen: "127.0.0.1:8321"},
		Assign: "static", Shard: "0/1", Leases: LeasesConfig{TTL: 5 * time.Second},
		Checkpoint: CheckpointConfig{Every: 250 * time.Millisecond, MaxPause: 10 * time.Millisecond, MaxBytes: 1 << 20,
			Replay: ReplayConfig{Every: time.Second, MaxPause: 100 * time.Millisecond, MaxBytes: 16 << 20}},
		StepTimeout: 10 * time.Second,
		Cache:       CacheConfig{MaxBytes: 256 << 20},
		Limits:      LimitsConfig{MaxKey: 64 << 10, MaxValue: 1 << 20},
		Log:         LogConfig{Format: "auto", Level: "info"},
	}
}

func TestNothingGivenIsAllDefaults(t *testing.T) {
	got, err := Load(Sources{})
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	if diff := cmp.Diff(&want, got, onlyValues); diff != "" {
		t.Error(diff)
	}
}

func TestEveryKeyIsRead(t *testing.T) {
	_, err := load(t, `
nats: {url: "tls://a:4222,tls://b:4222", user: worker, password: "${NATS_PW}", domain: hub, context: "", reader: plain,
  tls: {ca: ca.pem, cert: ca.pem, key: ca.pem}}
store: {file: ./tailfold.db, prefix: shop}
http: {listen: ":9000", token: "${HTTP_TOKEN}", tls: {cert: ca.pem, key: ca.pem}}
worker: {name: w-1}
assign: static
shard: 0/1
leases: {ttl: 1m}
checkpoint:
  every: 1s
  max_pause: 20ms
  max_bytes: 2MiB
  replay: {every: 3s, max_pause: 200ms, max_bytes: 500kB}
step_timeout: 1m30s
cache: {max_bytes: 0}
limits: {max_key: 1KiB, max_value: 2097152}
log: {format: json, level: debug, payloads: true}
streams:
- name: ORDERS
  partitions: 1
  holes: accept
- {name: "${PREFIX:-SHOP}"}
`, []string{"NATS_PW=s3cr3t", "HTTP_TOKEN=0123456789abcdef"}, nil)
	if err == nil {
		t.Fatal("ca.pem does not exist: that should be said")
	}
	if err := os.WriteFile("ca.pem", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(Sources{File: "tailfold.yaml", Environ: []string{"NATS_PW=s3cr3t", "HTTP_TOKEN=0123456789abcdef"}})
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		File: "tailfold.yaml",
		NATS: NATSConfig{URL: "tls://a:4222,tls://b:4222", User: "worker", Password: "s3cr3t", Domain: "hub", Reader: "plain",
			TLS: TLSConfig{CA: "ca.pem", Cert: "ca.pem", Key: "ca.pem"}},
		Store: StoreConfig{File: "tailfold.db", Prefix: "shop", ReplicasTimeout: 100 * time.Millisecond}, HTTP: HTTPConfig{Listen: ":9000", Token: "0123456789abcdef",
			TLS: HTTPTLSConfig{Cert: "ca.pem", Key: "ca.pem"}}, Worker: WorkerConfig{Name: "w-1"},
		Assign: "static", Shard: "0/1", Leases: LeasesConfig{TTL: time.Minute},
		Checkpoint: CheckpointConfig{Every: time.Second, MaxPause: 20 * time.Millisecond, MaxBytes: 2 << 20,
			Replay: ReplayConfig{Every: 3 * time.Second, MaxPause: 200 * time.Millisecond, MaxBytes: 500_000}},
		StepTimeout: 90 * time.Second, Limits: LimitsConfig{MaxKey: 1024,
			MaxValue: 2 << 20}, Log: LogConfig{Format: "json", Level: "debug", Payloads: true},
		Streams: []StreamConfig{{Name: "ORDERS", Partitions: 1, Holes: "accept"}, {Name: "SHOP", Partitions: 1,
			Holes: "refuse"}},
	}
	if diff := cmp.Diff(want, got, onlyValues); diff != "" {
		t.Error(diff)
	}
}

func TestFlagsOverrideEnvironmentOverridesFile(t *testing.T) {
	file := "nats: {url: 'nats://file:4222'}\nhttp: {listen: 'file:1'}\nlog: {level: warn}\nstreams: [{name: A}]\n"
	environ := []string{"TAILFOLD_NATS_URL=nats://env:4222", "TAILFOLD_HTTP_LISTEN=127.0.0.1:1",
		"TAILFOLD_CHECKPOINT_REPLAY_EVERY=7s",
		"TAILFOLD_STREAMS_0_HOLES=accept", "TAILFOLD_STORE_FILE=x.db", "UNRELATED=1"}
	got, err := load(t, file, environ, map[string]string{"nats": "nats://flag:4222", "store": "redis://flag:6379"})
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.File = "tailfold.yaml"
	want.NATS.URL, want.HTTP.Listen, want.Log.Level = "nats://flag:4222", "127.0.0.1:1", "warn"
	want.Checkpoint.Replay.Every = 7 * time.Second
	want.Streams = []StreamConfig{{Name: "A", Partitions: 1, Holes: "accept"}}
	want.Store.Redis = "redis://flag:6379"
	if diff := cmp.Diff(&want, got, onlyValues); diff != "" {
		t.Error(diff)
	}
}

func TestTheHigherLevelDecidesWhichStoreItIs(t *testing.T) {
	for _, c := range []struct {
		name, file string
		environ    []string
		flags      map[string]string
		want       StoreConfig
	}{
		{"file under the default", "store: {file: a.db}", nil, nil, StoreConfig{File: "a.db"}},
		{"environment over file", "store: {file: a.db}", []string{"TAILFOLD_STORE_REDIS=redis://r"}, nil,
			StoreConfig{Redis: "redis://r"}},
		{"flag over environment", "", []string{"TAILFOLD_STORE_REDIS=redis://r"}, map[string]string{"store": "b.db"},
			StoreConfig{File: "b.db"}},
		{"flag with URL over file", "store: {file: a.db}", nil, map[string]string{"store": "rediss://r"},
			StoreConfig{Redis: "rediss://r"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := load(t, c.file, c.environ, c.flags)
			if err != nil {
				t.Fatal(err)
			}
			c.want.Prefix, c.want.ReplicasTimeout = "tailfold", 100*time.Millisecond
			if diff := cmp.Diff(c.want, got.Store); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Each line of want is one error, whole.
func TestWhatIsWrongIsSaidWithPlaceAndCure(t *testing.T) {
	for _, c := range []struct {
		name, file string
		environ    []string
		flags      map[string]string
		want       string
	}{
		{name: "unknown key with a near one", file: "checkpoint:\n  evry: 250ms\n",
			want: `tailfold.yaml:2:3: checkpoint.evry: there is no such key: did you mean "every"?`},
		{name: "a key at the wrong place", file: "max_pause: 10ms\n",
			want: `tailfold.yaml:1:1: max_pause: there is no such key here: did you mean "checkpoint.max_pause"?`},
		{name: "a key like none", file: "log: {colour: red}",
			want: `tailfold.yaml:1:7: log.colour: there is no such key: known here: format, level, payloads`},
		{name: "kafka", file: "kafka: {brokers: [a]}",
			want: `tailfold.yaml:1:1: kafka: logs on Kafka are not in this version: remove it, and read a NATS JetStream stream`},
		{name: "tag", file: "nats:\n  url: !secret x\n",
			want: `tailfold.yaml:2:8: nats.url: the YAML tag !secret is not allowed: take it away, or put quotes around the text`},
		{name: "anchor and alias", file: "nats: &n {url: x}\nstore: *n\n",
			want: "tailfold.yaml:1:7: nats: YAML anchors and aliases are not allowed: write the value out\n" +
				"tailfold.yaml:2:8: store: YAML anchors and aliases are not allowed: write the value out"},
		{name: "all in one run", file: "step_timeout: 10\ncache: {max_bytes: lots}\nassign: leases\nshard: " +
			"1/2\nlog: {level: loud}\n",
			want: `tailfold.yaml:1:15: step_timeout: "10" has no unit: write 10ms, 10s or 10m` + "\n" +
				`tailfold.yaml:2:20: cache.max_bytes: "lots" is no size: write a number and a unit, such as 1MiB` + "\n" +
				`tailfold.yaml:5:14: log.level: is "loud": write debug or info or warn or error` + "\n" +
				`tailfold.yaml:4:8: shard: is "1/2", but with assign: leases the workers share the partitions out among themselves: remove one of the two`},
		{name: "replicas of a file", file: "store: {file: x.db, replicas: 1}\n",
			want: `tailfold.yaml:1:31: store.replicas: is for a Redis: a store in a file has no replicas`},
		{name: "replicas", file: "store: {replicas: -1, replicas_timeout: 10s}\n",
			want: `tailfold.yaml:1:19: store.replicas: is -1: write 0 to 16` + "\n" +
				`tailfold.yaml:1:41: store.replicas_timeout: is 10s: write at least 1ms and less than 10s`},
		{name: "a timeout for no replicas", file: "store: {replicas_timeout: 1s}\n",
			want: `tailfold.yaml:1:27: store.replicas_timeout: there is nothing to wait for: write store.replicas too`},
		{name: "leases with a file", file: "assign: leases\nleases: {bucket: a.b}\nstore: {file: x.db}\n",
			want: `tailfold.yaml:1:9: assign: leases are for several workers, but a store in a file (x.db) is for one: name a Redis, or write assign: static` + "\n" +
				`tailfold.yaml:2:18: leases.bucket: "a.b" is no name of a bucket: write letters, digits, '-' and '_'`},
		{name: "partitions", file: "streams:\n- name: A\n  partitions: 4\n- {name: B, partitions: 0}\n- name: C\n  partitions: 2\n" +
			"  partition_subjects: ['orders.>', 'a..{partition}', 'c.{partition}.>']\n",
			want: `tailfold.yaml:3:15: streams.0.partitions: is 4, but nothing tells them apart: write partition_subjects, such as ["orders.{partition}.>"]` + "\n" +
				`tailfold.yaml:4:25: streams.1.partitions: is 0: write 1 to 4096` + "\n" +
				`tailfold.yaml:7:23: streams.2.partition_subjects: "orders.>" has no token {partition}: each partition would have all its events; write it in place of the number, as in orders.{partition}.>` + "\n" +
				`tailfold.yaml:7:23: streams.2.partition_subjects: "a..{partition}": subject "a..0" has an empty token`},
		{name: "streams", file: "streams:\n- holes: accept\n- name: A\n- name: A\n- name: a b\n- {name: B, " +
			"partitions: many, holes: maybe}\n",
			want: `tailfold.yaml:6:25: streams.4.partitions: is "many": write a whole number` + "\n" +
				`tailfold.yaml:6:38: streams.4.holes: is "maybe": write refuse or accept` + "\n" +
				`tailfold.yaml:2:3: streams.0.name: the stream's name is missing: write - name: ORDERS` + "\n" +
				`tailfold.yaml:4:9: streams.2.name: the stream "A" has an entry already: keep one` + "\n" +
				`tailfold.yaml:5:9: streams.3.name: "a b" is no name of a stream: no white space, dots, '*', '>', '/' or '\'`},
		{name: "wrong kinds", file: "nats: [a]\nstore: redis\nstreams: {name: A}\nhttp: {listen: [1]}\n",
			want: `tailfold.yaml:1:7: nats: is a list: write keys with values, such as "url: nats://127.0.0.1:4222"` + "\n" +
				`tailfold.yaml:2:8: store: is a text: write keys with values, such as "redis: redis://127.0.0.1:6379/0"` + "\n" +
				`tailfold.yaml:3:10: streams: is a mapping: write a list, each item on a line of its own after "- "` + "\n" +
				`tailfold.yaml:4:16: http.listen: is a list: write a single value`},
		{name: "unset variable", file: "store:\n  redis: ${REDIS_URL}\n",
			want: `tailfold.yaml:2:10: store.redis: the environment variable REDIS_URL is not set: set it, or write ${REDIS_URL:-default}`},
		{name: "bad variable", file: "worker: {name: '${A-b}'}\nnats: {user: 'a${B'}\n",
			want: `tailfold.yaml:1:16: worker.name: ${A-b} is no variable: write ${VAR} or ${VAR:-default}, or $${ for the two characters themselves` + "\n" +
				`tailfold.yaml:2:14: nats.user: a ${ has no }: write ${VAR} or ${VAR:-default}, or $${ for the two characters themselves`},
		{name: "bad value in the environment", environ: []string{"TAILFOLD_CHECKPOINT_EVERY=fast"},
			want: `TAILFOLD_CHECKPOINT_EVERY: checkpoint.every: "fast" is no time: write a number and a unit, such as 250ms, 5s or 1m`},
		{name: "bad flag", flags: map[string]string{"listen": "8321"},
			want: `--listen: http.listen: "8321" is no address: write host:port, such as 127.0.0.1:8321, :8321 for all interfaces, or off`},
		{name: "two stores", file: "store: {redis: 'redis://a', file: b}",
			want: `tailfold.yaml:1:35: store.file: both redis and file are given: remove one of them`},
		{name: "no redis URL", file: "store: {redis: 'http://:secret@a'}",
			want: `tailfold.yaml:1:16: store.redis: is not a URL of a Redis: write redis://host:port/db, rediss:// for TLS, or redis+sentinel://, redis+cluster://`},
		{name: "no NATS URL", file: "nats: {url: 'http://u:hunter22@h:1'}",
			want: `tailfold.yaml:1:13: nats.url: "http://***@h:1" is not the URL of a NATS server: write nats://host:4222 or tls://host:4222`},
		{name: "two ways to sign in", file: "nats: {token: abc, user: u}",
			want: `tailfold.yaml:1:26: nats.user: more than one of creds, nkey, user and token is given: keep one`},
		{name: "zero and too much", file: "checkpoint: {every: 0s, max_bytes: 1GiB}\nlimits: {max_key: 1MiB}",
			want: `tailfold.yaml:1:21: checkpoint.every: is 0: write more than that, or remove it for the default, 250ms` + "\n" +
				`tailfold.yaml:1:36: checkpoint.max_bytes: is 1GiB: write at most 256MiB` + "\n" +
				`tailfold.yaml:2:19: limits.max_key: is 1MiB: write at most 64KiB`},
		{name: "not YAML", file: "nats:\n  url: [a\nstore: b\n",
			want: `tailfold.yaml:3:1: is not YAML: `},
		{name: "key twice", file: "assign: static\nassign: static\n",
			want: `tailfold.yaml:2:1: is not YAML: mapping key "assign" already defined at [1:1]`},
		{name: "two documents", file: "assign: static\n---\nassign: static\n",
			want: `tailfold.yaml:3:1: begins a second document: write one document per file, and name the files under include`},
		{name: "include without a match", file: "include: ['projections/*.yaml']",
			want: `tailfold.yaml:1:10: include: no file matches "projections/*.yaml": correct it, or remove it`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(t, c.file, c.environ, c.flags)
			if err == nil {
				t.Fatal("no error")
			}
			if strings.HasSuffix(c.want, "is not YAML: ") && strings.HasPrefix(err.Error(), c.want) {
				return // the parser's own words
			}
			if diff := cmp.Diff(strings.Split(c.want, "\n"), strings.Split(err.Error(), "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAMissingFileSaysWhatToDo(t *testing.T) {
	_, err := Load(Sources{File: "no/such.yaml"})
	want := "no/such.yaml: there is no such file: name the configuration with --config FILE, or write one (tailfold init)"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestVariablesAreFilledIn(t *testing.T) {
	env := lookup([]string{"A=1", "EMPTY="})
	for text, want := range map[string]string{
		"": "", "a": "a", "${A}": "1", "x${A}y${A}": "x1y1", "${B:-2}": "2", "${EMPTY:-3}": "3", "${EMPTY}": "", "${B:-}": "",
		"$${A}": "${A}", "$A $": "$A $", "${B:-a:-b}": "a:-b", "a$${A}${A}": "a${A}1",
	} {
		if got, err := expand(text, env); got != want || err != nil {
			t.Errorf("%q became %q (%v), want %q", text, got, err, want)
		}
	}
}

func TestSizesAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "1": 1, "64KiB": 64 << 10, "1.5MiB": 3 << 19, "2 GiB": 2 << 30,
		"5kB": 5000, "7B": 7, "1TB": 1e12} {
		got, err := ParseSize(text)
		if got != want || err != nil {
			t.Errorf("%q became %d (%v), want %d", text, got, err, want)
		}
		if again, err := ParseSize(got.String()); again != got || err != nil {
			t.Errorf("%d was written as %q and read as %d (%v)", got, got.String(), again, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.0000000001KiB", "1XB", "NaN", "0x10", "1e99", "1 0MiB", "Inf"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q became %d", text, got)
		}
	}
}

func TestAMistypedVariableIsWarnedOf(t *testing.T) {
	got, err := Load(Sources{Environ: []string{"TAILFOLD_NATS_ULR=x", "TAILFOLD_PORT=tcp://10.0.0.1:8321",
		"TAILFOLD_CONFIG=y"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"the environment variable TAILFOLD_NATS_ULR is no setting: did you mean TAILFOLD_NATS_URL?"}
	if diff := cmp.Diff(want, got.Warnings); diff != "" {
		t.Error(diff)
	}
}

// Texts that make a parser work hard end soon, with a message.
func TestHostileTextsEnd(t *testing.T) {
	for name, text := range map[string]string{
		"brackets": strings.Repeat("[", 1<<20-1), "braces": strings.Repeat("{a: ", 1<<17), "dashes": strings.Repeat("- ", 1<<18),
		"colons": strings.Repeat("a: ", 1<<18), "questions": strings.Repeat("? ", 1<<18), "quotes": strings.Repeat("'", 1<<19),
		"stairs": stairs(1000), "too large": strings.Repeat("#", 1<<20+1), "lines": strings.Repeat("a:\n", 1<<17),
		"many keys": "log: {" + strings.Repeat("x: 1, ", 1<<16) + "}", "bangs": strings.Repeat("!a ", 1<<17), "stars": strings.Repeat("*a ", 1<<17),
	} {
		began := time.Now()
		if _, err := load(t, text, nil, nil); err == nil || err.Error() == "" {
			t.Errorf("%s: no error", name)
		} else if len(err.Error()) > 1<<16 {
			t.Errorf("%s: a message of %d bytes", name, len(err.Error()))
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
}

// stairs are lines that are each indented deeper.
func stairs(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestSecretsAreTakenOutOfTexts(t *testing.T) {
	c := &Config{
		NATS: NATSConfig{URL: "nats://u:pa,ss%40w@h:4222,nats://tokentoken@i", Password: "hunter2hunter2",
			Token: "abcdef"},
		Store: StoreConfig{Redis: "redis+sentinel://:p/a@ss@h/m?sentinel_password=s3ntinel"},
	}
	text := c.redact(strings.Join([]string{c.NATS.URL, c.Store.Redis, "dial hunter2hunter2 failed for abcdef",
		`parse "redis://:p/a@ss@h": pa,ss@w or s3ntinel`}, " | "))
	for _, secret := range []string{"pa,ss", "tokentoken", "hunter2", "abcdef", "p/a@ss", "s3ntinel"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is still in %q", secret, text)
		}
	}
	if want := "nats://***@h:4222,nats://***@i"; !strings.HasPrefix(text, want) {
		t.Errorf("got %q, want it to begin with %q", text, want)
	}
}

// FuzzConfiguration feeds texts to the whole of reading: whatever they are, there is a configuration or an error with a
// message.
func FuzzConfiguration(f *testing.F) {
	for _, seed := range []string{"", "nats: {url: x}", "a: !b c", "&a [*a]", "streams:\n- {name: ${X:-y}}\n",
		"? [a]\n: b\n", "- - -", "<<: {a: b}",
		"projections:\n- name: ${X}\n  subjects: [${Y:-z}]\n", "\t", "a:\n\t- b", "nats:\n url: |\n  x\n  y\n", "{", "'", "checkpoint: {every: 1e9h}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		began := time.Now()
		defer func() {
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		}()
		d := &decoder{config: &Config{origin: map[string]origin{}}, env: lookup(nil), file: "f"}
		if body := d.parse([]byte(text)); body != nil {
			d.section(body, "", reflectOf(d.config))
			d.expandEntries()
		}
		d.check()
		if err := d.err(); err != nil && err.Error() == "" {
			t.Error("an error without a message")
		}
	})
}

func reflectOf(c *Config) reflect.Value { return reflect.ValueOf(c).Elem() }
