package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// sweep is how the cost of the contender "go" grows with one thing while the others stay.
type sweep struct {
	name   string // of the files
	title  string
	axis   string
	points []int
	at     func(x int) point
}

// point is what one measurement of a sweep folds.
type point struct {
	keys, events int
	fans         int // 0: one projection
	pad          int // bytes of a value at the least
}

// cost is what was measured at a point: CPU time per event, in microseconds, and events per second.
type cost struct {
	x                   int
	client, nats, redis float64
	rate                float64
}

const plotRounds = 3

// plots measures the sweeps and writes a table (CSV) and a drawing (SVG) of each into a folder.
func (b *bench) plots(ctx context.Context) error {
	dir := b.options.Plot
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	logs := map[point]*stream{}
	for _, s := range b.options.sweeps() {
		costs := make([]cost, 0, len(s.points))
		for _, x := range s.points {
			b.progress.show("plot: %s %d", s.axis, x)
			at := s.at(x)
			same := point{keys: at.keys, events: at.events}
			if logs[same] == nil {
				log, err := b.makeStream(ctx, fmt.Sprintf("plot-%d", len(logs)), orders{keys: at.keys, size: b.options.Size})
				if err != nil {
					return err
				}
				if err := b.publish(ctx, log, at.events); err != nil {
					return err
				}
				logs[same] = log
			}
			c, err := b.costAt(ctx, logs[same], at)
			if err != nil {
				return fmt.Errorf("plot of %s %d: %w", s.axis, x, err)
			}
			c.x = x
			costs = append(costs, c)
		}
		if err := os.WriteFile(filepath.Join(dir, s.name+".csv"), []byte(table(s, costs)), 0o644); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, s.name+".svg"), []byte(drawing(s, costs)), 0o644); err != nil {
			return err
		}
	}
	b.progress.say("plots and tables are in %s", dir)
	return nil
}

func (c *Command) sweeps() []sweep {
	share := func(part int) int { return max(1, c.Events/part) }
	return []sweep{
		{"keys", "CPU per event by number of keys", "keys", []int{100, 1000, 10_000, 100_000, 300_000},
			func(x int) point { return point{keys: x, events: c.Events} }},
		{"events", "CPU per event by length of the log", "events", []int{share(30), share(10), share(3), c.Events},
			func(x int) point { return point{keys: c.Keys, events: x} }},
		{"projections", "CPU per event by number of projections", "projections", []int{1, 2, 4, 8, 16},
			func(x int) point { return point{keys: c.Keys, events: c.Events, fans: x} }},
		{"value-size", "CPU per event by size of a value", "bytes per value", []int{10, 100, 1000, 10_000},
			func(x int) point { return point{keys: c.Keys, events: share(10), pad: x} }},
	}
}

// costAt measures one point some times, checks what is stored, and takes the medians.
func (b *bench) costAt(ctx context.Context, log *stream, p point) (cost, error) {
	want := log.orders.totals(p.events)
	var client, nats, redis, rates []float64
	for range plotRounds {
		run := b.task("go", log, p.events)
		run.Fans, run.Pad = p.fans, p.pad
		projection := "totals"
		if p.fans > 0 {
			projection = "totals-0"
		}
		before := b.servers.cpu(ctx)
		out, err := b.carryOut(ctx, run)
		if err != nil {
			return cost{}, err
		}
		after := b.servers.cpu(ctx)
		got, err := b.stored(ctx, run.hashOf(projection))
		if err != nil {
			return cost{}, err
		}
		if wrong := differs(want, got); wrong != "" {
			return cost{}, fmt.Errorf("WRONG: %s", wrong)
		}
		client = append(client, perEvent(time.Duration(out.CPU), p.events))
		nats = append(nats, perEvent(after.nats-before.nats, p.events))
		redis = append(redis, perEvent(after.redis-before.redis, p.events))
		rates = append(rates, float64(p.events)/time.Duration(out.Took).Seconds())
		if err := b.unlink(ctx, run.Prefix+"*"); err != nil {
			return cost{}, err
		}
	}
	return cost{client: median(client), nats: max(0, median(nats)), redis: max(0, median(redis)), rate: median(rates)}, nil
}

func table(s sweep, costs []cost) string {
	var t strings.Builder
	fmt.Fprintf(&t, "%s,client_us,nats_us,redis_us,events_per_s\n", strings.ReplaceAll(s.axis, " ", "_"))
	for _, c := range costs {
		fmt.Fprintf(&t, "%d,%.2f,%.2f,%.2f,%.0f\n", c.x, c.client, c.nats, c.redis, c.rate)
	}
	return t.String()
}
