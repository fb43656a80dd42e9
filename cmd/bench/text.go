package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// titles are what people read in place of the names.
var titles = map[string]string{"limit": "limit (reads only)", "naive": "naive", "batched": "batched", "go": "Tailfold, Go",
	"declared": "Tailfold, declared"}

const barWidth = 30

// writeText prints a table and a small chart.
func (r *report) writeText(to io.Writer) error {
	out := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	o := r.options
	if b := r.contended(); b {
		fmt.Fprintf(out, "%d events of %d bytes, %d keys, %d rounds, %v cores\n\n", o.Events, o.Size, o.Keys, o.Rounds, r.Machine["cores"])
		fmt.Fprintf(out, "contender\tevents/s\tto limit\tCPU µs/event: client\tnats\tredis\t\n")
		fastest := int64(1)
		for _, name := range entrants {
			if rate, ok := r.rate(name).(int64); ok {
				fastest = max(fastest, rate)
			}
		}
		for _, name := range entrants {
			if r.isWrong(name) {
				fmt.Fprintf(out, "%s\t%s\t\t\t\t\t\n", titles[name], r.mark(name))
				continue
			}
			if len(r.runs[name]) == 0 {
				continue
			}
			rate := r.rate(name).(int64)
			costs := r.cost(name).(map[string]any)
			fmt.Fprintf(out, "%s\t%d\t%s\t%s\t%s\t%s\t%s\n", titles[name], rate, text(r.ratio(name, "limit")), text(costs["client"]),
				text(costs["nats"]), text(costs["redis"]), strings.Repeat("█", max(1, int(barWidth*rate/fastest))))
		}
		if len(r.runs["naive"]) > 0 {
			fmt.Fprintf(out, "\nnaive ran over the first %d events only\n", r.NaiveEvents)
		}
		if x := r.ratio("go", "naive"); x != nil {
			fmt.Fprintf(out, "Tailfold, Go, to naive\t%v\n", x)
		}
		if x := r.ratio("go", "batched"); x != nil {
			fmt.Fprintf(out, "Tailfold, Go, to batched\t%v\n", x)
		}
	}
	for _, name := range entrants {
		if x := r.scriptsOf(name); x != nil {
			fmt.Fprintf(out, "Redis in scripts of %s\t%s µs/event\t%s of the time\tlongest: %s ms\n", titles[name], text(x["us_per_event"]), text(x["share"]), text(x["longest_ms"]))
		}
	}
	if len(r.fans) > 0 || r.isWrong("fanout") {
		fmt.Fprintf(out, "\nfan-out: folds/s with")
		for _, n := range fanSizes {
			if r.isWrong("fanout") {
				fmt.Fprintf(out, "\t%d: %s", n, r.mark("fanout"))
			} else {
				fmt.Fprintf(out, "\t%d: %d", n, whole(median(r.fans[n])))
			}
		}
		fmt.Fprintf(out, "\t16 to 1: %s\n", text(r.fanRatio()))
	}
	if len(r.restart) > 0 {
		fmt.Fprintf(out, "\nrestart after kill -9, ms until a new event can be read")
		for _, name := range restartNames {
			fmt.Fprintf(out, "\t%s: %s", name, text(known(r.restart, name)))
		}
		fmt.Fprintln(out)
	}
	if len(r.freshness) > 0 {
		fmt.Fprintf(out, "freshness at 1,000 events/s, ms\tp50: %.2f\tp99: %.2f\n", quantile(r.freshness, 0.5), quantile(r.freshness, 0.99))
	}
	if len(r.isolation) > 0 {
		alone, beside, ratio := r.isolated()
		fmt.Fprintf(out, "isolation: freshness p99, ms\talone: %.2f\tbeside a replay: %.2f\tratio: %.2f\n", alone, beside, ratio)
	}
	if len(r.checkpoint) > 0 {
		fmt.Fprintf(out, "checkpoint of 1,000 keys, ms\tof 10k: %s\tof 1m: %s\n", text(known(r.checkpoint, "keys_10k")), text(known(r.checkpoint, "keys_1m")))
	}
	if r.rss > 0 {
		fmt.Fprintf(out, "peak RSS, folding onto 1m keys with a cache of 64 MiB\t%d MiB\n", r.rss>>20)
	}
	return out.Flush()
}

func (r *report) contended() bool {
	for _, name := range entrants {
		if len(r.runs[name]) > 0 || r.isWrong(name) {
			return true
		}
	}
	return false
}

// text is a figure, "-" where it is not known.
func text(x any) string {
	if f, ok := x.(float64); ok {
		return fmt.Sprintf("%.2f", f)
	}
	return "-"
}
