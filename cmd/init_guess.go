package cmd

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/projections/declared"
)

// guess is what could be meant by the events of a stream.
type guess struct {
	kind   *shapePath // tells the type of an event; nil: none does
	token  int        // else the token of the subject that does; 0: none
	is     string     // the type that the projection is about
	types  []string   // all of them, the most frequent first
	of     *shape     // of the events of this type
	key    *shapePath // nil: no key
	sums   []sum
	latest []*shapePath // fields to keep the latest of, where there is nothing to add up
	at     *shapePath   // the event's own time
}

// sum is a number to add up.
type sum struct {
	path   *shapePath
	name   string // of the value's field
	digits int    // decimals; 0: ints
	float  bool   // decimals without a sensible bound
}

var (
	namesOfTypes  = regexp.MustCompile(`(?i)^(type|kind|event|action|operation|op|(event|message|msg)[_-]?(type|kind|name))$`)
	namesOfIDs    = regexp.MustCompile(`(?i)([_-]|^)(id|uuid|key)$|(?-i:[a-z](Id|ID)$)`)
	namesOfOwners = regexp.MustCompile(`(?i)(customer|user|account|client|member|device|sensor|player|group|tenant|product|sku|item|origin|city|country|region|symbol|host|service|store|shop|team|room|name|code)`)
	namesOfSums   = regexp.MustCompile(`(?i)(amount|total|price|cost|fee|tax|qty|quantity|count|cents|distance|duration|delay|size|bytes|points|score|units|items|weight|minutes|seconds|miles|value|sum)`)
	namesOfOther  = regexp.MustCompile(`(?i)([_-]|^)(id|at|ts|time|date|day|year|month|version|seq|nr|no|number|zip|phone|port|code|status|level|lat|lon|lng|latitude|longitude)$|(?-i:[a-z](Id|ID|At|Time|Nr)$)`)
	namesOfTimes  = regexp.MustCompile(`(?i)(^|[_-])(at|ts|time|timestamp|date|when|occurred|created)($|[_-])|(?-i:[a-z](At|Time|Date)$)`)
	datelike      = regexp.MustCompile(`^\d{4}[-/]\d\d[-/]\d\d([T ]\d\d:\d\d.*)?$`)
	decimalText   = regexp.MustCompile(`^-?\d{1,12}\.\d{1,6}$`)
	wordOnly      = regexp.MustCompile(`^[A-Za-z][A-Za-z_-]*$`)
)

// last is the name of a path's member.
func (p *shapePath) name() string { return p.steps[len(p.steps)-1] }

// inList tells a path within the items of a list.
func (p *shapePath) inList() bool { return slices.Contains(p.steps, declared.Items) }

// distinct are the different texts at a path.
func (p *shapePath) distinct() []string { return sortedKeys(p.texts) }

// guessOf looks for a type, then, among the events of the type that offers most, for a key and for numbers.
func guessOf(events []projections.Event) *guess {
	all := newShape()
	for _, e := range events {
		all.add(e.Data)
	}
	g := &guess{of: all}
	if g.kind = typeIn(all); g.kind == nil {
		g.token = typeToken(events)
	}
	counts := map[string]int{}
	for _, e := range events {
		if is, ok := g.typeOf(e); ok {
			counts[is]++
		}
	}
	g.types = slices.SortedFunc(slices.Values(sortedKeys(counts)), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	g.details()
	best, points := *g, -1
	for _, is := range g.types[:min(len(g.types), 20)] {
		one := &guess{kind: g.kind, token: g.token, types: g.types, is: is, of: newShape()}
		for _, e := range events {
			if t, ok := one.typeOf(e); ok && t == is {
				one.of.add(e.Data)
			}
		}
		one.details()
		if p := one.points(); p > points { // the most frequent among equals
			best, points = *one, p
		}
	}
	return &best
}

// typeOf is the type of an event.
func (g *guess) typeOf(e projections.Event) (string, bool) {
	if g.token > 0 {
		return subjectToken(e.Subject, g.token), true
	}
	if g.kind == nil {
		return "", false
	}
	one := newShape()
	one.add(e.Data)
	if p := one.paths[strings.Join(g.kind.steps, "\x00")]; p != nil && len(p.texts) == 1 {
		return p.distinct()[0], true
	}
	return "", false
}

func subjectToken(subject string, n int) string {
	tokens := strings.Split(subject, ".")
	if n > len(tokens) {
		return ""
	}
	return tokens[n-1]
}

// details finds key, numbers and time among the events of g.of.
func (g *guess) details() {
	g.at = timeIn(g.of)
	g.key = g.keyIn(g.of)
	g.sums = g.sumsIn(g.of)
	if len(g.sums) == 0 {
		g.latest = g.latestIn(g.of)
	}
}

func (g *guess) points() int {
	n := 0
	if g.key != nil {
		n += 4
	}
	return n + min(len(g.sums), 2)
}

// typeIn is the field whose text says what an event is.
func typeIn(s *shape) *shapePath {
	var found *shapePath
	for _, p := range s.order {
		n := len(p.texts)
		if p.inList() || !p.is("text") || !namesOfTypes.MatchString(p.name()) || p.events*10 < s.objects*9 || n > 50 || n == s.objects && n > 3 {
			continue
		}
		if found == nil || len(p.steps) < len(found.steps) {
			found = p
		}
	}
	return found
}

// typeToken is the token of the subjects that says what an event is: few different words.
func typeToken(events []projections.Event) int {
	counts := []map[string]int{}
	for _, e := range events {
		for i, token := range strings.Split(e.Subject, ".") {
			if len(counts) <= i {
				counts = append(counts, map[string]int{})
			}
			if len(counts[i]) <= 50 {
				counts[i][token]++
			}
		}
	}
	for i, tokens := range counts {
		total, words := 0, true
		for token, n := range tokens {
			total += n
			words = words && wordOnly.MatchString(token)
		}
		if words && len(tokens) > 1 && len(tokens) <= 20 && len(tokens)*5 <= total && total == len(events) {
			return i + 1
		}
	}
	return 0
}

// keyIn is the field that looks like the identity of something that several events are about.
func (g *guess) keyIn(s *shape) *shapePath {
	var best *shapePath
	points := 0
	for _, p := range s.order {
		n, distinct := p.events, len(p.texts)
		id, owner := namesOfIDs.MatchString(p.name()), namesOfOwners.MatchString(p.name())
		switch {
		case p.inList() || p == g.at || p.more || n*10 < s.objects*9:
			continue
		case g.kind != nil && slices.Equal(p.steps, g.kind.steps):
			continue
		case !p.is("text") && !(p.is("int") && id) || slices.ContainsFunc(p.distinct(), func(t string) bool { return t == "" || len(t) > 200 }):
			continue
		case distinct < 2 && s.objects > 10, distinct*3 > n*2 && (n > 10 || !id && !owner):
			continue
		case p.is("text") && (datelike.MatchString(p.distinct()[0]) || decimalText.MatchString(p.distinct()[0])):
			continue
		}
		score := 1
		if id {
			score += 3
		}
		if owner {
			score += 2
		}
		if distinct >= 5 {
			score++
		}
		if distinct*3 <= n {
			score++
		}
		if len(p.steps) == 1 {
			score++
		}
		if score > points {
			best, points = p, score
		}
	}
	return best
}

// sumsIn are up to three numbers that it makes sense to add up, those with a telling name first.
func (g *guess) sumsIn(s *shape) []sum {
	var telling, others []sum
	for _, p := range s.order {
		if p.inList() || p == g.key || p.events*2 < s.objects || namesOfOther.MatchString(p.name()) {
			continue
		}
		found := sum{path: p, name: fieldName(p.name())}
		switch {
		case p.is("int"):
			if first := p.distinct()[0]; len(first) >= 10 {
				continue // a point in time, or an identity
			}
		case p.is("int", "float"), p.is("text") && len(p.texts) > 0 && allDecimals(p):
			found.digits = p.decimals()
			found.float = found.digits > 6
			if found.float && !p.is("int", "float") {
				continue
			}
		default:
			continue
		}
		switch {
		case found.digits == 2:
			found.name += "_cents"
		case found.digits > 0 && !found.float:
			found.name += "_e" + strconv.Itoa(found.digits)
		}
		if namesOfSums.MatchString(p.name()) {
			telling = append(telling, found)
		} else if p.is("int") {
			others = append(others, found)
		}
	}
	sums := append(telling, others...)
	sums = sums[:min(len(sums), 3)]
	taken := []string{"count", "last"}
	for i := range sums {
		sums[i].name = freeName(sums[i].name, taken)
		taken = append(taken, sums[i].name)
	}
	return sums
}

func allDecimals(p *shapePath) bool {
	return !slices.ContainsFunc(p.distinct(), func(t string) bool { return !decimalText.MatchString(t) })
}

// decimals is the largest number of digits behind the point; 99 where numbers have an exponent.
func (p *shapePath) decimals() (most int) {
	for text := range p.texts {
		if strings.ContainsAny(text, "eE") {
			return 99
		}
		_, behind, _ := strings.Cut(text, ".")
		most = max(most, len(behind))
	}
	return most
}

// latestIn are up to two fields of which the latest value is worth keeping.
func (g *guess) latestIn(s *shape) (found []*shapePath) {
	for _, p := range s.order {
		if p.inList() || p == g.key || p == g.at || p.is("map") || p.is("list") || g.kind != nil && slices.Equal(p.steps, g.kind.steps) ||
			namesOfIDs.MatchString(p.name()) || len(found) == 2 {
			continue
		}
		found = append(found, p)
	}
	return found
}

// timeIn is the field with the event's own time.
func timeIn(s *shape) *shapePath {
	for _, p := range s.order {
		if p.inList() || !p.is("text") || p.events*10 < s.objects*9 || !namesOfTimes.MatchString(p.name()) {
			continue
		}
		if !slices.ContainsFunc(p.distinct(), func(t string) bool { return !datelike.MatchString(t) }) {
			return p
		}
	}
	return nil
}

var notInField = regexp.MustCompile(`[^A-Za-z0-9_]+`)

// fieldName makes the name of a value's field.
func fieldName(name string) string {
	name = strings.Trim(notInField.ReplaceAllString(name, "_"), "_")
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		name = "n_" + name
	}
	return name
}

// freeName is a name that is not taken.
func freeName(name string, taken []string) string {
	for n, free := 2, name; ; n++ {
		if !slices.Contains(taken, free) {
			return free
		}
		free = name + "_" + strconv.Itoa(n)
	}
}
