package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// The drawing's size and the edges of its field, in pixels.
const (
	wide, high               = 640, 360
	left, right, top, bottom = 64, 616, 40, 304
)

// drawing is a sweep as SVG: both axes logarithmic, a line per process. It has a background of its own, so that it can
// be read on any page.
func drawing(s sweep, costs []cost) string {
	lines := []struct {
		name, colour string
		of           func(cost) float64
	}{
		{"client", "#1f6feb", func(c cost) float64 { return c.client }},
		{"nats-server", "#8250df", func(c cost) float64 { return c.nats }},
		{"Redis", "#cf222e", func(c cost) float64 { return c.redis }},
	}
	const least = 0.01 // microseconds: nothing smaller is drawn
	var all []float64
	for _, line := range lines {
		for _, c := range costs {
			all = append(all, max(line.of(c), least))
		}
	}
	low, most := math.Floor(math.Log10(slices.Min(all))), math.Ceil(math.Log10(slices.Max(all)))
	if most <= low {
		most = low + 1
	}
	first, last := math.Log10(float64(costs[0].x)), math.Log10(float64(costs[len(costs)-1].x))
	x := func(c cost) float64 {
		if last == first {
			return (left + right) / 2
		}
		return left + (right-left)*(math.Log10(float64(c.x))-first)/(last-first)
	}
	y := func(v float64) float64 { return bottom - (bottom-top)*(math.Log10(max(v, least))-low)/(most-low) }

	var d strings.Builder
	fmt.Fprintf(&d, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", wide, high)
	fmt.Fprintf(&d, `<rect width="%d" height="%d" fill="#ffffff"/><text x="%d" y="22" font-size="15" fill="#1f2328">%s</text>`+"\n", wide, high, left, s.title)
	for step := low; step <= most; step++ {
		at := y(math.Pow(10, step))
		fmt.Fprintf(&d, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#d1d9e0"/><text x="%d" y="%.1f" text-anchor="end" fill="#59636e">%g µs</text>`+"\n",
			left, at, right, at, left-6, at+4, math.Pow(10, step))
	}
	for _, c := range costs {
		fmt.Fprintf(&d, `<text x="%.1f" y="%d" text-anchor="middle" fill="#59636e">%s</text>`+"\n", x(c), bottom+18, short(c.x))
	}
	fmt.Fprintf(&d, `<text x="%d" y="%d" text-anchor="middle" fill="#59636e">%s</text>`+"\n", (left+right)/2, bottom+38, s.axis)
	for i, line := range lines {
		points := make([]string, len(costs))
		for k, c := range costs {
			points[k] = fmt.Sprintf("%.1f,%.1f", x(c), y(line.of(c)))
			fmt.Fprintf(&d, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`, x(c), y(line.of(c)), line.colour)
		}
		fmt.Fprintf(&d, "\n"+`<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/><text x="%d" y="%d" text-anchor="end" fill="%s">%s</text>`+"\n",
			strings.Join(points, " "), line.colour, right-90*(len(lines)-1-i), 22, line.colour, line.name)
	}
	return d.String() + "</svg>\n"
}

// short writes 1000 as 1k and 1000000 as 1m.
func short(n int) string {
	switch {
	case n >= 1_000_000 && n%100_000 == 0:
		return fmt.Sprintf("%gm", float64(n)/1_000_000)
	case n >= 1000 && n%100 == 0:
		return fmt.Sprintf("%gk", float64(n)/1000)
	}
	return fmt.Sprint(n)
}
