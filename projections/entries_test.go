package projections

import (
	"fmt"
	"strings"
	"testing"
)

// A cache that is full takes new keys in and lets go of others for ever; what stays of old chunks must not keep them.
func TestMemoryFollowsTheKeysThatAreKept(t *testing.T) {
	const keep, rounds = 2000, 400
	p := Keyed[int]{Name: "p", Version: 1, Stream: "S", Keys: func(e Event) ([]string, error) { return []string{string(e.Data)}, nil },
		Step: func(_ string, v int, _ Event) (int, error) { return v + 1, nil }}
	table := p.NewFold(FoldOptions{}).(*table[int])
	store := map[string]string{}
	fold := func(names []string) {
		events := make([]Event, len(names))
		for i, name := range names {
			events[i] = Event{Seq: table.turn + uint64(i) + 1, Subject: "s", Data: []byte(name)}
		}
		for _, key := range table.Plan(events) {
			value, exists := store[key]
			if err := table.Load(key, []byte(value), exists); err != nil {
				t.Fatal(err)
			}
		}
		if err := table.Step(); err != nil {
			t.Fatal(err)
		}
		changes, err := table.Changes()
		if err != nil {
			t.Fatal(err)
		}
		for _, put := range changes.Put {
			store[strings.Clone(put.Key)] = string(put.Value)
		}
		table.Acked()
		table.Evict(keep * (entryOverhead + 20))
	}
	most := 0
	for round := range rounds {
		var names []string
		for i := range 100 {
			name := fmt.Sprintf("cold-%d-%d", round, i)
			if i%10 == 0 {
				name += strings.Repeat("-", ownKey) // does not fit into an entry
			}
			names = append(names, name)
		}
		for i := range round/2 + 1 { // one more in every other round, among others that do not stay
			names = append(names, fmt.Sprintf("hot-%d", i))
		}
		fold(names)
		chunks := 0
		for i, chunk := range table.entries.chunks {
			if live := table.entries.lives[i]; chunk == nil && live != 0 {
				t.Fatalf("chunk %d has %d entries and is not there", i, live)
			}
			if chunk != nil {
				chunks++
			}
		}
		most = max(most, chunks)
	}
	if bound := 2*keep/chunkSize + 8; most > bound || len(table.entries.chunks) > bound {
		t.Errorf("%d keys were kept in up to %d chunks of %d, under %d numbers", keep, most, chunkSize, len(table.entries.chunks))
	}
	long := 0
	for _, r := range table.ring {
		if e := table.entries.entry(r); e.length == longKey {
			long++
		}
	}
	if long != len(table.entries.long) || long == 0 {
		t.Errorf("%d long keys are kept, of %d entries", len(table.entries.long), long)
	}
	for i := range rounds / 2 {
		if got := store[fmt.Sprintf("hot-%d", i)]; got != fmt.Sprint(rounds-2*i) {
			t.Errorf("hot-%d was folded %s times, want %d", i, got, rounds-2*i)
		}
	}
	if want := rounds/2 + rounds*100; len(store) != want {
		t.Errorf("%d keys are stored, want %d", len(store), want)
	}
}

// A key that was handed out stays what it is, also when its entry is gone and others have come.
func TestAKeyThatWasHandedOutIsGoodForEver(t *testing.T) {
	x := newIndex[int]()
	var out []string
	for i := range 1000 {
		x.find([]string{fmt.Sprint("key-", i)})
		e := x.add(0, fmt.Sprint("key-", i))
		x.unfind()
		out = append(out, x.key(e))
		if i%3 == 0 {
			e = x.move(e)
		}
		if i%2 == 0 {
			x.remove(e)
		}
	}
	for i, key := range out {
		if key != fmt.Sprint("key-", i) {
			t.Fatalf("key %d is %q", i, key)
		}
	}
}
