package bench

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// naiveShare is the part of the events that the naive contender gets: the whole would take minutes.
const naiveShare = 30

// entrants are those of --only, in the order in which they take turns.
var entrants = []string{"limit", "naive", "batched", "go", "declared"}

// contenders lets all take turns over one log, round after round, and the fans after each of them.
func (b *bench) contenders(ctx context.Context) error {
	o := b.options
	log, err := b.makeStream(ctx, "orders", orders{keys: o.Keys, size: o.Size})
	if err != nil {
		return err
	}
	b.progress.say("publishing %d events of %d bytes", o.Events, o.Size)
	if err := b.publish(ctx, log, o.Events); err != nil {
		return err
	}
	share := min(o.Events, max(2000, o.Events/naiveShare))
	b.report.NaiveEvents = share
	whole, part := log.orders.totals(o.Events), log.orders.totals(share)
	for round := range o.Rounds {
		for _, name := range entrants {
			if !o.wants(name) {
				continue
			}
			b.progress.show("round %d of %d: %s", round+1, o.Rounds, name)
			events, want := o.Events, whole
			if name == "naive" {
				events, want = share, part
			}
			if err := b.turn(ctx, log, name, events, want); err != nil {
				return err
			}
		}
		if !o.wants("fanout") {
			continue
		}
		for _, fans := range fanSizes {
			b.progress.show("round %d of %d: %d projections", round+1, o.Rounds, fans)
			if err := b.fan(ctx, log, fans, whole); err != nil {
				return err
			}
		}
	}
	return nil
}

// turn is one run of one contender.
func (b *bench) turn(ctx context.Context, log *stream, name string, events int, want map[string]int64) error {
	if name != "limit" {
		return b.measured(ctx, log, name, name, events, want)
	}
	// The better of the two is the limit of this round.
	before := len(b.report.runs["limit"])
	for _, way := range []string{"limit-ordered", "limit-pull"} {
		if err := b.measured(ctx, log, name, way, events, nil); err != nil {
			return err
		}
	}
	pair := b.report.runs["limit"][before:]
	if len(pair) == 0 { // both failed
		return nil
	}
	best := slices.MaxFunc(pair, func(x, y sample) int { return int(x.rate - y.rate) })
	b.report.runs["limit"] = append(b.report.runs["limit"][:before], best)
	return nil
}

// measured runs a contender and checks what it left. want is nil where it leaves nothing.
func (b *bench) measured(ctx context.Context, log *stream, name, way string, events int, want map[string]int64) error {
	s := b.task(way, log, events)
	if name == "declared" {
		config, err := b.declared(log)
		if err != nil {
			return err
		}
		s.Config = config
	}
	b.servers.forgetSlow(ctx)
	before, scripted := b.servers.cpu(ctx), b.servers.scripts(ctx)
	out, err := b.carryOut(ctx, s)
	if err != nil {
		return b.fails(ctx, name, s, err)
	}
	after, has := b.servers.cpu(ctx), b.servers.scripts(ctx)
	wrong := ""
	switch {
	case out.Events != events:
		wrong = fmt.Sprintf("%d events, want %d", out.Events, events)
	case want != nil:
		got, err := b.stored(ctx, s.hashOf("totals"))
		if err != nil {
			return err
		}
		wrong = differs(want, got)
	}
	b.report.add(name, out, events, before, after, wrong)
	if n := has.calls - scripted.calls; n > 0 {
		b.report.addScripts(name, out, events, has.took-scripted.took, b.servers.longest(ctx))
	}
	return b.unlink(ctx, s.Prefix+"*")
}

// fails notes that a contender could not do it: it has no rate, and the others go on.
func (b *bench) fails(ctx context.Context, name string, s spec, err error) error {
	if ctx.Err() != nil {
		return err
	}
	b.report.wrong(name, failed+err.Error())
	b.progress.say("%s failed: %v", name, err)
	return b.unlink(ctx, s.Prefix+"*")
}

var fanSizes = []int{1, 4, 16}

// fan runs many projections on one stream in one worker. Each is checked.
func (b *bench) fan(ctx context.Context, log *stream, fans int, want map[string]int64) error {
	s := b.task("go", log, b.options.Events)
	s.Fans = fans
	out, err := b.carryOut(ctx, s)
	if err != nil {
		return b.fails(ctx, "fanout", s, err)
	}
	wrong := ""
	for i := range fans {
		got, err := b.stored(ctx, s.hashOf(fmt.Sprintf("totals-%d", i)))
		if err != nil {
			return err
		}
		if wrong = differs(want, got); wrong != "" {
			break
		}
	}
	b.report.addFan(fans, float64(b.options.Events*fans)/time.Duration(out.Took).Seconds(), wrong)
	return b.unlink(ctx, s.Prefix+"*")
}

func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// quantile is the value below which a share q of the list lies.
func quantile(list []float64, q float64) float64 {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
