package bench

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// sample is one run of a contender.
type sample struct {
	rate                float64 // events per second
	client, nats, redis float64 // CPU time per event, microseconds; negative: not known
}

// report is what was measured.
type report struct {
	Wrong []string

	Machine     map[string]any
	NaiveEvents int
	options     *Command
	runs        map[string][]sample
	scripts     map[string][]scriptCost
	fans        map[int][]float64
	restart     map[string]float64
	freshness   []float64
	isolation   [][2]float64 // p99 of freshness alone, and beside a replay, milliseconds; a pair per round
	checkpoint  map[string]float64
	rss         int64
}

func newReport(c *Command, version string, s *servers) *report {
	return &report{options: c, runs: map[string][]sample{}, scripts: map[string][]scriptCost{}, fans: map[int][]float64{}, restart: map[string]float64{},
		checkpoint: map[string]float64{}, Machine: map[string]any{"cores": runtime.NumCPU(), "cpu": cpuName(), "os": runtime.GOOS,
			"arch": runtime.GOARCH, "go": runtime.Version(), "tailfold": version, "nats": s.natsText, "redis": s.redisText,
			"rounds": c.Rounds, "event_bytes": c.Size}}
}

// cpuName is what the machine's processor calls itself, "" where it does not say.
func cpuName() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (r *report) wrong(name, why string) {
	text := name + ": " + why
	if why != "" && !slices.Contains(r.Wrong, text) {
		r.Wrong = append(r.Wrong, text)
	}
}

// failed begins the reason of a contender that did not come to its end.
const failed = "failed: "

// mark is what stands in place of a rate that can't be told.
func (r *report) mark(name string) string {
	if slices.ContainsFunc(r.Wrong, func(text string) bool { return strings.HasPrefix(text, name+": "+failed) }) {
		return "FAILED"
	}
	return "WRONG"
}

func (r *report) isWrong(name string) bool {
	return slices.ContainsFunc(r.Wrong, func(text string) bool { return strings.HasPrefix(text, name+": ") })
}

func (r *report) add(name string, out outcome, events int, before, after cpu, wrong string) {
	r.wrong(name, wrong)
	x := sample{rate: float64(events) / time.Duration(out.Took).Seconds(), client: perEvent(time.Duration(out.CPU), events), nats: -1, redis: -1}
	if before.nats >= 0 && after.nats >= 0 {
		x.nats = perEvent(after.nats-before.nats, events)
	}
	if before.redis >= 0 && after.redis >= 0 {
		x.redis = perEvent(after.redis-before.redis, events)
	}
	r.runs[name] = append(r.runs[name], x)
}

// scriptCost is what one run's scripts cost Redis's other clients.
type scriptCost struct {
	perEvent float64 // microseconds
	share    float64 // of the run's time
	longest  float64 // milliseconds; negative: not known
}

func (r *report) addScripts(name string, out outcome, events int, took, longest time.Duration) {
	x := scriptCost{perEvent: perEvent(took, events), share: took.Seconds() / time.Duration(out.Took).Seconds(), longest: -1}
	if longest >= 0 {
		x.longest = float64(longest) / float64(time.Millisecond)
	}
	r.scripts[name] = append(r.scripts[name], x)
}

// scriptsOf has the medians of a contender's runs, and the longest script of all of them; nil where there were none.
func (r *report) scriptsOf(name string) map[string]any {
	var list [2][]float64
	longest := -1.0
	for _, x := range r.scripts[name] {
		list[0], list[1], longest = append(list[0], x.perEvent), append(list[1], x.share), max(longest, x.longest)
	}
	if len(list[0]) == 0 {
		return nil
	}
	parts := map[string]any{"us_per_event": hundredths(median(list[0])), "share": hundredths(median(list[1])), "longest_ms": nil}
	if longest >= 0 {
		parts["longest_ms"] = hundredths(longest)
	}
	return parts
}

func (r *report) addFan(fans int, rate float64, wrong string) {
	r.wrong("fanout", wrong)
	r.fans[fans] = append(r.fans[fans], rate)
}

// rate is the median of a contender's rates; nil where there is none to be told.
func (r *report) rate(name string) any {
	if len(r.runs[name]) == 0 || r.isWrong(name) {
		return nil
	}
	return whole(median(of(r.runs[name], func(x sample) float64 { return x.rate })))
}

func of(samples []sample, part func(sample) float64) []float64 {
	list := make([]float64, len(samples))
	for i, x := range samples {
		list[i] = part(x)
	}
	return list
}

func whole(x float64) int64        { return int64(x + 0.5) }
func hundredths(x float64) float64 { return float64(int64(x*100+0.5)) / 100 }

// ratio is the median of the rounds' ratios of two contenders' rates.
func (r *report) ratio(one, other string) any {
	n := min(len(r.runs[one]), len(r.runs[other]))
	if n == 0 || r.isWrong(one) || r.isWrong(other) {
		return nil
	}
	ratios := make([]float64, n)
	for i := range ratios {
		ratios[i] = r.runs[one][i].rate / r.runs[other][i].rate
	}
	return hundredths(median(ratios))
}

func (r *report) fanRatio() any {
	n := min(len(r.fans[1]), len(r.fans[16]))
	if n == 0 || r.isWrong("fanout") {
		return nil
	}
	ratios := make([]float64, n)
	for i := range ratios {
		ratios[i] = r.fans[16][i] / r.fans[1][i]
	}
	return hundredths(median(ratios))
}

// isolated is the median of each of the two, and that of the rounds' ratios.
func (r *report) isolated() (alone, beside, ratio float64) {
	var list [3][]float64
	for _, pair := range r.isolation {
		list[0], list[1], list[2] = append(list[0], pair[0]), append(list[1], pair[1]), append(list[2], pair[1]/pair[0])
	}
	return median(list[0]), median(list[1]), median(list[2])
}

func known(list map[string]float64, name string) any {
	if x, ok := list[name]; ok {
		return hundredths(x)
	}
	return nil
}

// cost is the CPU time per event of a contender by process, in microseconds.
func (r *report) cost(name string) any {
	if len(r.runs[name]) == 0 {
		return nil
	}
	parts := map[string]any{}
	for part, of1 := range map[string]func(sample) float64{"client": func(x sample) float64 { return x.client },
		"nats": func(x sample) float64 { return x.nats }, "redis": func(x sample) float64 { return x.redis }} {
		parts[part] = nil
		if x := median(of(r.runs[name], of1)); x >= 0 {
			parts[part] = hundredths(x)
		}
	}
	return parts
}

// object is the report as --json prints it. What was not measured is null.
func (r *report) object() map[string]any {
	o := r.options
	fan, cost := map[string]any{}, map[string]any{}
	for _, n := range fanSizes {
		fan[fmt.Sprint(n)] = nil
		if len(r.fans[n]) > 0 && !r.isWrong("fanout") {
			fan[fmt.Sprint(n)] = whole(median(r.fans[n]))
		}
	}
	for _, name := range entrants {
		cost[name] = r.cost(name)
	}
	scripts := map[string]any{}
	for name := range r.scripts {
		scripts[name] = r.scriptsOf(name)
	}
	restart := map[string]any{}
	for _, name := range restartNames {
		restart[name] = known(r.restart, name)
	}
	fresh := map[string]any{"p50": nil, "p99": nil}
	if len(r.freshness) > 0 {
		fresh = map[string]any{"p50": hundredths(quantile(r.freshness, 0.5)), "p99": hundredths(quantile(r.freshness, 0.99))}
	}
	isolated := map[string]any{"p99_alone": nil, "p99_beside": nil, "ratio": nil}
	if len(r.isolation) > 0 {
		alone, beside, ratio := r.isolated()
		isolated = map[string]any{"p99_alone": hundredths(alone), "p99_beside": hundredths(beside), "ratio": hundredths(ratio)}
	}
	var rss any
	if r.rss > 0 {
		rss = r.rss
	}
	wrong := r.Wrong
	if wrong == nil {
		wrong = []string{}
	}
	return map[string]any{
		"events": o.Events, "keys": o.Keys, "naive_events": r.NaiveEvents,
		"limit_per_s": r.rate("limit"), "naive_per_s": r.rate("naive"), "batched_per_s": r.rate("batched"),
		"tailfold_go_per_s": r.rate("go"), "tailfold_declared_per_s": r.rate("declared"),
		"fanout": fan, "restart_ms": restart, "freshness_ms": fresh, "isolation_ms": isolated,
		"checkpoint_ms":  map[string]any{"keys_10k": known(r.checkpoint, "keys_10k"), "keys_1m": known(r.checkpoint, "keys_1m")},
		"peak_rss_bytes": rss,
		"ratios": map[string]any{"go_to_limit": r.ratio("go", "limit"), "declared_to_limit": r.ratio("declared", "limit"),
			"go_to_naive": r.ratio("go", "naive"), "go_to_batched": r.ratio("go", "batched"), "fanout_16_to_1": r.fanRatio()},
		"cpu_us_per_event": cost, "redis_scripts": scripts, "wrong": wrong, "machine": r.Machine,
	}
}

func (r *report) writeJSON(to io.Writer) error {
	err := json.MarshalWrite(to, r.object(), json.Deterministic(true), jsontext.Multiline(true))
	if err == nil {
		_, err = fmt.Fprintln(to)
	}
	return err
}
