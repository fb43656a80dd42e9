package faults

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// read is what a reader saw at once: a count of events with the seq that it belongs to.
type read struct {
	reader    string
	partition int
	at        time.Duration // since the history began
	seq       uint64
	count     int
	sum       int
}

// history is what all readers saw, each in its own order.
type history struct {
	mu    sync.Mutex
	began time.Time
	reads []read
	last  map[string]read // by reader and partition: of two equal reads one after the other the first is enough
}

func newHistory() *history { return &history{began: time.Now(), last: map[string]read{}} }

// saw takes in a read. Reads of one reader come one after the other.
func (h *history) saw(r read) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := fmt.Sprint(r.reader, " ", r.partition)
	last, known := h.last[key]
	if known && last.seq == r.seq && last.count == r.count && last.sum == r.sum {
		return
	}
	r.at = time.Since(h.began)
	h.last[key] = r
	h.reads = append(h.reads, r)
}

// prefixes has, for each event of a partition in order, its seq and what all events up to it come to.
type prefixes map[int][]prefix

type prefix struct {
	seq uint64
	sum int
}

// faults are the reads that no right history has: a value that is no prefix's at its seq, and a seq that went back for
// one reader. Where the store itself may go back, it may so for readers; values are those of prefixes all the same.
func (h *history) faults(log prefixes, mayGoBack bool) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var wrong []string
	last := map[string]read{}
	for _, r := range h.reads {
		events := log[r.partition]
		n, _ := slices.BinarySearchFunc(events, r.seq+1, func(p prefix, seq uint64) int { return cmp.Compare(p.seq, seq) })
		sum := 0
		if n > 0 {
			sum = events[n-1].sum
		}
		if r.count != n || r.sum != sum {
			wrong = append(wrong, fmt.Sprintf("at %v %s saw %d events with the sum %d in partition %d at seq %d: there are %d with %d",
				r.at.Round(time.Millisecond), r.reader, r.count, r.sum, r.partition, r.seq, n, sum))
		}
		key := fmt.Sprint(r.reader, " ", r.partition)
		if before, ok := last[key]; ok && r.seq < before.seq && !mayGoBack {
			wrong = append(wrong, fmt.Sprintf("at %v %s saw seq %d of partition %d after seq %d", r.at.Round(time.Millisecond),
				r.reader, r.seq, r.partition, before.seq))
		}
		last[key] = r
	}
	return wrong
}

// What the checker must find, and what it must let pass.
func TestTheHistoryCheckerFindsWhatNoRightHistoryHas(t *testing.T) {
	log := prefixes{0: {{1, 10}, {4, 30}, {5, 35}}, 1: {{2, 7}, {3, 9}}}
	for _, test := range []struct {
		name   string
		reads  []read
		rolls  bool
		faults int
	}{
		{"two readers at different places", []read{
			{reader: "a", seq: 0}, {reader: "a", seq: 1, count: 1, sum: 10}, {reader: "b", seq: 5, count: 3, sum: 35},
			{reader: "a", seq: 3, count: 1, sum: 10}, {reader: "a", partition: 1, seq: 2, count: 1, sum: 7}}, false, 0},
		{"beyond the last event", []read{{reader: "a", seq: 9, count: 3, sum: 35}}, false, 0},
		{"an event twice", []read{{reader: "a", seq: 4, count: 3, sum: 50}}, false, 1},
		{"an event left out", []read{{reader: "a", seq: 4, count: 1, sum: 10}}, false, 1},
		{"the right number of the wrong events", []read{{reader: "a", seq: 4, count: 2, sum: 15}}, false, 1},
		{"a value ahead of its seq", []read{{reader: "a", seq: 3, count: 2, sum: 30}}, false, 1},
		{"another partition's value", []read{{reader: "a", partition: 1, seq: 1, count: 1, sum: 10}}, false, 1},
		{"back for one reader", []read{{reader: "a", seq: 4, count: 2, sum: 30}, {reader: "a", seq: 3, count: 1, sum: 10}}, false, 1},
		{"back where the store may go back", []read{{reader: "a", seq: 4, count: 2, sum: 30}, {reader: "a", seq: 3, count: 1, sum: 10}}, true, 0},
		{"wrong where the store may go back", []read{{reader: "a", seq: 4, count: 2, sum: 30}, {reader: "a", seq: 3, count: 2, sum: 30}}, true, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHistory()
			for _, r := range test.reads {
				h.saw(r)
			}
			if wrong := h.faults(log, test.rolls); len(wrong) != test.faults {
				t.Errorf("found %q, want %d faults", wrong, test.faults)
			}
		})
	}
}
