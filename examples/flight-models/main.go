// Command flight-models computes, in the plainest Go and without any fold, what the seven projections beside it must
// come to over the flights of examples/flights:
//
//	go run ./examples/flight-models
//
// It prints, for each projection, every key with its value. The test beside it folds the same flights with Tailfold and
// compares.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"

	"github.com/tailfold/tailfold/examples/flights"
)

type flight struct {
	Date        string `json:"date"`
	Delay       int    `json:"delay"`
	Distance    int    `json:"distance"`
	Origin      string `json:"origin"`
	Destination string `json:"destination"`
}

type object = map[string]any

func main() {
	all, err := load()
	if err != nil {
		fmt.Fprintf(os.Stderr, "reading the flights: %v\n", err)
		os.Exit(1)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", " ")
	if err := out.Encode(expected(all)); err != nil {
		fmt.Fprintf(os.Stderr, "writing the models: %v\n", err)
		os.Exit(1)
	}
}

func load() ([]flight, error) {
	lines, err := flights.Lines()
	if err != nil {
		return nil, err
	}
	all := make([]flight, len(lines))
	for i, line := range lines {
		if err := json.Unmarshal(line, &all[i]); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return all, nil
}

// group sorts flights into groups, each in the order of the file.
func group(flights []flight, key func(flight) string) map[string][]flight {
	groups := map[string][]flight{}
	for _, f := range flights {
		groups[key(f)] = append(groups[key(f)], f)
	}
	return groups
}

func count(flights []flight, is func(flight) bool) int {
	n := 0
	for _, f := range flights {
		if is(f) {
			n++
		}
	}
	return n
}

func sum(flights []flight, of func(flight) int) int {
	n := 0
	for _, f := range flights {
		n += of(f)
	}
	return n
}

func origin(f flight) string { return f.Origin }
func route(f flight) string  { return f.Origin + "-" + f.Destination }
func delay(f flight) int     { return f.Delay }
func late(f flight) bool     { return f.Delay > 15 }

// expected is each projection's values by key. Unlike a fold it looks at all flights of a key at once.
func expected(flights []flight) map[string]object {
	models := map[string]object{}
	add := func(model, key string, value any) {
		if models[model] == nil {
			models[model] = object{}
		}
		models[model][key] = value
	}
	airports := map[string][2]int{}
	for _, f := range flights {
		from := airports[f.Origin]
		airports[f.Origin] = [2]int{from[0] + 1, from[1]}
		to := airports[f.Destination]
		airports[f.Destination] = [2]int{to[0], to[1] + 1}
	}
	for airport, n := range airports {
		add("airports", airport, object{"departures": n[0], "arrivals": n[1]})
	}
	for name, of := range group(flights, route) {
		delays := make([]int, len(of))
		last := []any{}
		for i, f := range of {
			delays[i] = f.Delay
			if len(of)-i <= 10 {
				last = append(last, object{"date": f.Date, "delay": f.Delay})
			}
		}
		sort.Ints(delays)
		total := sum(of, delay)
		add("routes", name, object{"flights": len(of), "delay": total, "mean": float64(total) / float64(len(of)),
			"best": delays[0], "worst": delays[len(delays)-1], "distance": of[len(of)-1].Distance})
		add("last-flights", name, object{"flights": last})
	}
	for day, of := range group(flights, func(f flight) string { return strings.Split(f.Date, " ")[0] }) {
		add("days", strings.ReplaceAll(day, "/", "-"), object{"flights": len(of), "late": count(of, late), "miles": sum(of, func(f flight) int { return f.Distance })})
	}
	for hour, of := range group(flights, func(f flight) string { return strings.Split(strings.Split(f.Date, " ")[1], ":")[0] }) {
		classes := object{}
		for class, members := range group(of, class) {
			classes[class] = len(members)
		}
		add("hours-of-the-day", hour, object{"flights": len(of), "late": count(of, late), "by_delay": classes})
	}
	for airport, of := range group(flights, origin) {
		n := count(of, late)
		add("late-share", airport, object{"flights": len(of), "late": n, "share": float64(n) / float64(len(of))})
	}
	worst := append([]flight(nil), flights...)
	sort.SliceStable(worst, func(i, j int) bool { return worst[i].Delay > worst[j].Delay })
	var top []any
	for _, f := range worst[:min(10, len(worst))] {
		top = append(top, object{"date": f.Date, "delay": f.Delay, "from": f.Origin, "to": f.Destination})
	}
	add("worst-delays", "", object{"top": top})
	return models
}

func class(f flight) string {
	switch {
	case f.Delay <= 0:
		return "on time"
	case f.Delay <= 15:
		return "up to 15"
	case f.Delay <= 60:
		return "up to 60"
	}
	return "more"
}
