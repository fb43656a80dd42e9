package consumer

import (
	"testing"
	"time"
)

// TestUnitsThatReplayTogetherKeepTheirCheckpointsBack asks paces that differ in how many replay beside them.
func TestUnitsThatReplayTogetherKeepTheirCheckpointsBack(t *testing.T) {
	bounds := CheckpointBounds{Every: time.Second, MaxPause: 100 * time.Millisecond, MaxBytes: 16 << 20}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name   string
		crowd  int
		gentle bool
		load   load
		want   time.Duration
	}{
		{"none replays", 0, false, load{keys: 20_000}, time.Second},
		{"one alone", 1, false, load{keys: 60_000}, time.Second},
		{"two with little to write", 2, false, load{keys: 10_000}, time.Second},
		{"sixteen with little to write", 16, false, load{keys: 1000}, time.Second},
		{"sixteen with much to write", 16, false, load{keys: 30_000}, 16 * 4 * 30 * time.Millisecond},
		{"sixteen with more to write", 16, false, load{keys: 90_000}, 4 * time.Second},
		{"sixteen beside a live one", 16, true, load{keys: 10_000}, time.Second},
		{"sixteen, and one has what a checkpoint may have", 16, false, load{keys: 100_000}, 0},
	} {
		p := pace{bounds: bounds, crowd: test.crowd, gentle: test.gentle}
		p.ended(start, time.Millisecond, 1000) // a key takes a microsecond
		p.changed(start)
		wait, ok := p.due(start, test.load)
		if !ok || wait != test.want {
			t.Errorf("%s: due in %v (%v), want %v", test.name, wait, ok, test.want)
		}
	}
}

// TestANarrowWayMakesCommitsSmall: one that takes longer than the store is waited for would never arrive.
func TestANarrowWayMakesCommitsSmall(t *testing.T) {
	p := pace{bounds: CheckpointBounds{MaxBytes: 16 << 20}}
	for _, test := range []struct {
		name  string
		took  time.Duration
		bytes int
		want  int
	}{
		{"nothing is known", 0, 0, 16 << 20},
		{"too small to tell", time.Second, 4095, 16 << 20},
		{"a wide way", 20 * time.Millisecond, 4 << 20, 16 << 20},
		{"1 MiB a second", time.Second, 1 << 20, 1<<20 + 576}, // the time of a KiB is whole nanoseconds
		{"a long way and a small commit", 200 * time.Millisecond, 8 << 10, 256 << 10},
		{"10 KiB a second", 10 * time.Second, 100 << 10, 256 << 10},
		{"wide again", 20 * time.Millisecond, 256 << 10, 12800 << 10},
	} {
		p.sent(test.took, test.bytes)
		if got := p.maxBytes(); got>>12 != test.want>>12 {
			t.Errorf("%s: %d bytes, want about %d", test.name, got, test.want)
		}
	}
}
