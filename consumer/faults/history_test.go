package faults

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// read is what a reader saw at once: a value with the seq that it belongs to.
type read struct {
	reader    string
	partition int
	at        time.Duration // since the history began
	seq       uint64
	key       string // of accounts; "" for the total
	value     string // "" for none
}

// of is whose values a read is of: seqs of one reader do not go back there.
func (r read) of() string {
	model := "accounts"
	if r.key == "" {
		model = "total"
	}
	return fmt.Sprint(r.reader, " of ", model, "/", r.partition)
}

// history is what all readers saw, each in its own order.
type history struct {
	mu    sync.Mutex
	began time.Time
	reads []read
	last  map[string]read // by reader, partition and key: of two equal reads one after the other the first is enough
}

func newHistory() *history { return &history{began: time.Now(), last: map[string]read{}} }

// saw takes in a read. Reads of one reader come one after the other.
func (h *history) saw(r read) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := fmt.Sprint(r.reader, " ", r.partition, " ", r.key)
	last, known := h.last[key]
	if known && last.seq == r.seq && last.value == r.value {
		return
	}
	r.at = time.Since(h.began)
	h.last[key] = r
	h.reads = append(h.reads, r)
}

// counts are how many reads there are, and of how many of them are of accounts.
func (h *history) counts() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	keyed := 0
	for _, r := range h.reads {
		if r.key != "" {
			keyed++
		}
	}
	return fmt.Sprintf("%d different reads, %d of them of single accounts", len(h.reads), keyed)
}

// logged is an event with its seq.
type logged struct {
	seq uint64
	event
}

// faults are the reads that no right history has: a value that is no prefix's at its seq, and a seq that went back for
// one reader. Where the store itself may go back, it may so for readers; values are those of prefixes all the same. The
// log has the events of each partition in order. They are folded once, by the independent replay's own steps.
func (h *history) faults(log map[int][]logged, mayGoBack bool) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var wrong []string
	last := map[string]read{}
	byPartition := map[int][]read{}
	for _, r := range h.reads {
		if before, ok := last[r.of()]; ok && r.seq < before.seq && !mayGoBack {
			wrong = append(wrong, fmt.Sprintf("at %v %s saw seq %d after seq %d", r.at.Round(time.Millisecond), r.of(), r.seq, before.seq))
		}
		last[r.of()] = r
		byPartition[r.partition] = append(byPartition[r.partition], r)
	}
	for _, partition := range slices.Sorted(maps.Keys(byPartition)) {
		reads, rest := byPartition[partition], log[partition]
		slices.SortStableFunc(reads, func(a, b read) int { return cmp.Compare(a.seq, b.seq) })
		state := newReplayed()
		for _, r := range reads {
			for len(rest) > 0 && rest[0].seq <= r.seq {
				state.fold(rest[0].event)
				rest = rest[1:]
			}
			if want := state.value(r.key); r.value != want {
				wrong = append(wrong, fmt.Sprintf("at %v %s saw %q as %q at seq %d, where it is %q", r.at.Round(time.Millisecond),
					r.of(), r.key, r.value, r.seq, want))
			}
		}
	}
	return wrong
}

// What the checker must find, and what it must let pass.
func TestTheHistoryCheckerFindsWhatNoRightHistoryHas(t *testing.T) {
	log := map[int][]logged{
		0: {{1, event{From: "x", To: "y", Amount: 10}}, {4, event{From: "y", To: "z", Amount: 20, Close: true}}, {5, event{From: "x", To: "z", Amount: 5}}},
		1: {{2, event{From: "x", To: "y", Amount: 7}}, {3, event{From: "x", To: "y", Amount: 2}}}}
	sum := func(reader string, partition int, seq uint64, events, sum int) read {
		value := ""
		if events > 0 {
			value = text(total{events, sum})
		}
		return read{reader: reader, partition: partition, seq: seq, value: value}
	}
	key := func(seq uint64, key, value string) read {
		return read{reader: "a", seq: seq, key: key, value: value}
	}
	xAt1, yAt1 := text(account{1, -10, map[string]int{"y": 1}, false}), text(account{1, 10, map[string]int{"x": 1}, false})
	zAt4 := text(account{1, 20, map[string]int{"y": 1}, false})
	for _, test := range []struct {
		name   string
		reads  []read
		rolls  bool
		faults int
	}{
		{"two readers at different places", []read{sum("a", 0, 0, 0, 0), sum("a", 0, 1, 1, 10), sum("b", 0, 5, 3, 35), sum("a", 0, 3, 1, 10), sum("a", 1, 2, 1, 7)}, false, 0},
		{"beyond the last event", []read{sum("a", 0, 9, 3, 35)}, false, 0},
		{"an event twice", []read{sum("a", 0, 4, 3, 50)}, false, 1},
		{"an event left out", []read{sum("a", 0, 4, 1, 10)}, false, 1},
		{"the right number of the wrong events", []read{sum("a", 0, 4, 2, 15)}, false, 1},
		{"a value ahead of its seq", []read{sum("a", 0, 3, 2, 30)}, false, 1},
		{"another partition's value", []read{sum("a", 1, 1, 1, 10)}, false, 1},
		{"back for one reader", []read{sum("a", 0, 4, 2, 30), sum("a", 0, 3, 1, 10)}, false, 1},
		{"back where the store may go back", []read{sum("a", 0, 4, 2, 30), sum("a", 0, 3, 1, 10)}, true, 0},
		{"wrong where the store may go back", []read{sum("a", 0, 4, 2, 30), sum("a", 0, 3, 2, 30)}, true, 1},

		{"keys of one seq", []read{key(1, "x", xAt1), key(1, "y", yAt1), key(1, "z", ""), key(4, "z", zAt4), key(4, "x", xAt1)}, false, 0},
		{"a key that was closed", []read{key(3, "y", yAt1), key(4, "y", ""), key(9, "y", "")}, false, 0},
		{"a key that is left though it was closed", []read{key(4, "y", yAt1)}, false, 1},
		{"a key that is there before its first event", []read{key(3, "z", zAt4)}, false, 1},
		{"a key that is not there after its first event", []read{key(4, "z", "")}, false, 1},
		{"one key at a later seq than another, then back", []read{key(4, "z", zAt4), key(3, "x", xAt1)}, false, 1},
		{"one key folded, the other key of the same event not", []read{key(1, "x", xAt1), key(1, "y", "")}, false, 1},
		{"keys and total are models of their own", []read{sum("a", 0, 5, 3, 35), key(1, "x", xAt1)}, false, 0},
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

// mustBeSound holds what readers saw against the log.
func (h *history) mustBeSound(t *testing.T, log map[int][]logged, mayGoBack bool) {
	t.Helper()
	wrong := h.faults(log, mayGoBack)
	for _, text := range wrong[:min(len(wrong), 10)] {
		t.Error(text)
	}
	t.Logf("%s, %d of them wrong", h.counts(), len(wrong))
}

// valueOf is what is stored of a total or an account, "" for none. False: it can't be read, as a test has damaged it.
func valueOf[V any](stored any) (string, bool) {
	raw, ok := stored.(string)
	if !ok {
		return "", true
	}
	var value V
	if err := json.Unmarshal([]byte(raw), &value); err != nil {
		return "", false
	}
	return text(value), true
}
