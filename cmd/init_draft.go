package cmd

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/projections/declared"
)

// draft becomes a configuration with a first projection.
type draft struct {
	config     *Config
	program    string
	out        string
	stream     string
	source     string   // what was looked at, for people
	subjects   []string // of the stream
	partitions int
	fromLog    bool
	events     []projections.Event

	guess    *guess
	name     string
	skip     int // events of the sample that can't be folded
	notJSON  int
	tests    []string // their names
	testText string
}

// testTime is the time that the n-th event of a test has.
func testTime(n int) time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(n-1) * time.Second)
}

// write makes the file's text, and sees that all of it holds: that it is accepted, folds the sample, and passes its
// own tests. Where the first guess does not, a plainer one is taken.
func (d *draft) write() ([]byte, error) {
	d.guess = guessOf(d.events)
	d.notJSON = len(d.events) - d.jsonEvents()
	var p *declared.Projection
	for _, plainer := range []func(){func() {}, func() { d.guess.sums = nil }, func() { d.guess.latest, d.guess.at = nil, nil },
		func() { d.guess.key = nil }, func() { d.guess.kind, d.guess.token = nil, 0 }} {
		plainer()
		d.name = d.projectionName()
		all, err := declared.Parse(d.out, []byte("projections:\n"+d.entry()))
		if err != nil {
			return nil, fmt.Errorf("a fault of Tailfold, please report it: %w", err)
		}
		p = all[0]
		t := d.config.try(p, d.events)
		if d.skip = len(t.poison); d.skip == d.notJSON || d.skip == 0 {
			break
		}
	}
	d.writeTests(p)
	text := d.head() + d.streamEntry() + d.entryExplained() + d.testText
	tests, err := declared.ParseTests(d.out, []byte(text))
	if err != nil {
		return nil, fmt.Errorf("a fault of Tailfold, please report it: %w", err)
	}
	all, err := declared.Parse(d.out, []byte(text))
	if err != nil {
		return nil, fmt.Errorf("a fault of Tailfold, please report it: %w", err)
	}
	for _, test := range tests {
		if result := test.Run(all[0]); !result.Passed() {
			return nil, fmt.Errorf("a fault of Tailfold, please report it: %v", result)
		}
	}
	return []byte(text), nil
}

func (d *draft) jsonEvents() (n int) {
	for _, e := range d.events {
		if checkJSON(e.Data) == nil {
			n++
		}
	}
	return n
}

var lowerThenUpper = regexp.MustCompile(`([a-z0-9])([A-Z])`)

// projectionName is what the values are about: customer-totals.
func (d *draft) projectionName() string {
	about := d.stream
	if d.guess.key != nil {
		about = d.guess.key.name()
		if len(d.guess.key.steps) > 1 && regexp.MustCompile(`(?i)^(id|key|uuid|code|name)$`).MatchString(about) {
			about = d.guess.key.steps[len(d.guess.key.steps)-2]
		}
	}
	about = strings.ToLower(lowerThenUpper.ReplaceAllString(about, "$1-$2"))
	about = strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(about, "-"), "-")
	about = cmp.Or(strings.TrimSuffix(strings.TrimSuffix(about, "-id"), "-uuid"), "first")
	if len(d.guess.sums) > 0 || len(d.guess.latest) == 0 {
		return about + "-totals"
	}
	return about + "-latest"
}

// line is a line of the projection's entry, and why it is there.
type line struct{ text, why string }

// entry is the projection without explanations.
func (d *draft) entry() string {
	var b strings.Builder
	for _, l := range d.lines() {
		b.WriteString(l.text + "\n")
	}
	return b.String()
}

func (d *draft) entryExplained() string {
	var b strings.Builder
	b.WriteString("\n# Each projection folds the events of one stream into values. Another service reads them by\n" +
		"#   " + d.program + " get " + d.name + "\n# or from the store. docs/expressions.md explains the language.\nprojections:\n")
	for _, l := range d.lines() {
		if l.why != "" {
			indent := l.text[:len(l.text)-len(strings.TrimLeft(l.text, " "))]
			for why := range strings.SplitSeq(l.why, "\n") {
				b.WriteString(indent + "# " + why + "\n")
			}
		}
		b.WriteString(l.text + "\n")
	}
	return b.String()
}

func (d *draft) lines() []line {
	g := d.guess
	lines := []line{
		{"- name: " + d.name, ""},
		{"  version: 1", "Raise it whenever a rule below changes: the new version is folded beside the old one."},
		{"  stream: " + yamlText(d.stream), d.aboutStream()},
	}
	switch {
	case g.is != "" && g.kind != nil:
		lines = append(lines, line{"  when: " + yamlExpression(g.kind.String()+" == "+jsonText(g.is)),
			"Only events for which this holds." + others(g)})
	case g.is != "" && g.token > 0:
		lines = append(lines, line{"  when: " + yamlExpression(fmt.Sprintf("token(%d) == %s", g.token, jsonText(g.is))),
			fmt.Sprintf("Only events whose subject has this as its token number %d.", g.token) + others(g)})
	}
	if g.key != nil {
		lines = append(lines, line{"  key: " + yamlExpression(g.key.String()),
			fmt.Sprintf("One value for each of these: there are %s in the %s events looked at. An event without it is left out.\nA list of expressions gives several keys; without key there is one value for the whole stream.",
				thousands(len(g.key.texts)), thousands(g.of.events))})
	}
	lines = append(lines, line{"  seed: " + d.seed(), "What a new value begins with."})
	why := "The fields that an event sets, computed from the value before it. All fields not named stay as they are."
	if slices.ContainsFunc(g.sums, func(s sum) bool { return s.digits > 0 && !s.float }) {
		why += "\nscaled(x, 2) reads a decimal number exactly, as an int: 19.99 is 1999. An event with more decimals can't be folded."
	}
	lines = append(lines, line{"  value:", why}, line{"    count: value.count + 1", ""})
	for _, s := range g.sums {
		lines = append(lines, line{fmt.Sprintf("    %s: %s", s.name, yamlExpression(fmt.Sprintf("value.%s + %s", s.name, s.added(g.of)))), ""})
	}
	taken := []string{"count", "last"}
	for _, p := range g.latest {
		name := freeName(fieldName(p.name()), taken)
		taken = append(taken, name)
		lines = append(lines, line{fmt.Sprintf("    %s: %s", name, yamlExpression(p.orOld(g.of, name))), ""})
	}
	if g.at != nil {
		lines = append(lines, line{"    last: " + yamlExpression(g.at.orOld(g.of, "last")), ""})
	}
	if d.skip > 0 {
		lines = append(lines, line{"  on_poison: skip", fmt.Sprintf("Of the %s events looked at, %s can't be read by these expressions%s. They are left out and recorded.\nThe default, halt, stops at the first of them until someone decides.",
			thousands(len(d.events)), thousands(d.skip), notJSONText(d.notJSON))})
	}
	return lines
}

func notJSONText(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s not JSON)", plural(n, "is", "are"))
}

func (d *draft) aboutStream() string {
	if !d.fromLog {
		return "The JetStream stream that these events are published to: it must exist, or come to be."
	}
	if len(d.subjects) > 0 && len(d.subjects) <= 4 {
		return "All of its subjects (" + strings.Join(d.subjects, ", ") + "); subjects: [\"…\"] narrows them."
	}
	return ""
}

// others names the other types.
func others(g *guess) string {
	var rest []string
	for _, is := range g.types {
		if is != g.is {
			rest = append(rest, is)
		}
	}
	if len(rest) == 0 {
		return ""
	}
	more := ""
	if len(rest) > 6 {
		rest, more = rest[:6], " …"
	}
	return " There are also " + strings.Join(rest, ", ") + more + ":\nrules for these go under on: (see docs/expressions.md)."
}

func (d *draft) seed() string {
	fields := []string{"count: 0"}
	for _, s := range d.guess.sums {
		zero := "0"
		if s.float {
			zero = "0.0"
		}
		fields = append(fields, s.name+": "+zero)
	}
	return "{" + strings.Join(fields, ", ") + "}"
}

// added is what an event adds.
func (s sum) added(of *shape) string {
	text := s.path.String()
	missing := s.path.events < of.objects
	switch {
	case s.digits > 0 && !s.float && missing:
		return fmt.Sprintf("scaled(%s ?? 0, %d)", text, s.digits)
	case s.digits > 0 && !s.float:
		return fmt.Sprintf("scaled(%s, %d)", text, s.digits)
	case missing:
		return "(" + text + " ?? 0)"
	}
	return text
}

// orOld is a field's value, or the one before where an event has none.
func (p *shapePath) orOld(of *shape, field string) string {
	if p.events < of.objects {
		return p.String() + " ?? value." + field
	}
	return p.String()
}

func jsonText(s string) string {
	quoted, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		return `""`
	}
	return string(quoted)
}

var plainYAML = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*$`)

// yamlText writes a text so that YAML takes it as it is.
func yamlText(s string) string {
	if plainYAML.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// yamlExpression quotes an expression where YAML would take it for something else.
func yamlExpression(s string) string {
	if strings.Contains(s, ": ") || strings.Contains(s, " #") || !regexp.MustCompile(`^[A-Za-z(]`).MatchString(s) || strings.HasSuffix(s, ":") {
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	return s
}

// head is the configuration around the projections.
func (d *draft) head() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Tailfold, written by `%s init` from %s events of %s. Read it, and make it yours.\n", d.program, thousands(len(d.events)), d.source)
	fmt.Fprintf(&b, "#   %[1]s test %[2]s                  runs the tests below\n#   %[1]s check %[2]s --sample 1000   holds it against real events\n#   %[1]s run --config %[2]s          keeps the values up to date\n\n", d.program, d.out)
	b.WriteString("# Where the events are. Credentials: creds, nkey, user and password, or a context of the nats command line.\n")
	b.WriteString(d.natsLine())
	b.WriteString("# Where the values are kept: Redis, which any service can read; or one file, for one worker.\n")
	b.WriteString(d.storeLine())
	return b.String()
}

func (d *draft) natsLine() string {
	if c := d.config.nats.Context; c != "" {
		return "nats: {context: " + yamlText(c) + "}\n"
	}
	var plain []string
	hidden := ""
	for one := range strings.SplitSeq(d.config.nats.URL, ",") {
		if u, err := url.Parse(one); err == nil && u.User != nil {
			u.User = nil
			one = u.String()
			hidden = "# The URL's user and password are not written here: set TAILFOLD_NATS_USER and TAILFOLD_NATS_PASSWORD.\n"
		}
		plain = append(plain, one)
	}
	return hidden + "nats: {url: '" + strings.Join(plain, ",") + "'}\n"
}

func (d *draft) storeLine() string {
	if d.config.Store.File != "" {
		return "store: {file: " + yamlText(d.config.Store.File) + "}   # or {redis: 'redis://127.0.0.1:6379/0'}\n"
	}
	if u, err := url.Parse(d.config.Store.Redis); err == nil && u.User != nil {
		return "# The URL has a password, which is not written here.\nstore: {redis: '${REDIS_URL:-redis://127.0.0.1:6379/0}'}   # or {file: ./tailfold.db}\n"
	}
	return "store: {redis: '" + d.config.Store.Redis + "'}   # or {file: ./tailfold.db}\n"
}
