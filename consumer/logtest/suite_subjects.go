package logtest

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/consumer"
)

func subjectChecks() []check {
	return []check{
		{"events of other subjects are left out", subjectsFilter},
		{"an idle reader follows the log over events of other subjects", idleFollows},
		{"an idle reader stays at messages that are there", idleStays},
	}
}

func subjectsFilter(t T, h Harness) {
	s := h.New(t)
	entries := numbered(500)
	last := s.Append(entries...)
	for _, subjects := range [][]string{
		{"a.>"}, {"a.3"}, {"*.3"}, {">"}, {"a.>", "b.>", "c.>"}, {"b.1", "c.>"}, {"a.1", "a.*"}, {"b.2", "b.2"},
		{"c.none"}, {"nothing.at.all"},
	} {
		read(t, h, s.Log, 0, subjects...).until(last).same(entries, 0)
		read(t, h, s.Log, 123, subjects...).until(last).same(entries, 123)
	}
}

func idleFollows(t T, h Harness) {
	s := h.New(t)
	entries := numbered(90)
	for i := range entries {
		entries[i].Subject = "b.foreign"
	}
	entries[40].Subject = "a.ours"
	r := read(t, h, s.Log, 0, "a.>").until(0)
	for part := range 3 {
		last := s.Append(entries[part*30 : part*30+30]...)
		r.until(last)
		if diff := cmp.Diff(witness(t, h, s.Log, last).Time, r.batches[len(r.batches)-1].Last.Time); diff != "" {
			t.Errorf("the time of the message at %d (-want +got):\n%s", last, diff)
		}
	}
	r.same(entries, 0)
}

func idleStays(t T, h Harness) {
	for _, subjects := range [][]string{nil, {"a.>"}, {"a.>", "b.never"}} {
		s := h.New(t)
		entries := numbered(9)
		for i := range entries {
			entries[i].Subject = "b.foreign"
		}
		last := s.Append(entries...)
		s.Delete(last)
		s.Delete(last - 1)
		r := read(t, h, s.Log, 0, subjects...).until(last - 2)
		entries = append(entries, Entry{Subject: "a.ours"})
		r.until(s.Append(entries[9]))
		if subjects != nil {
			r.same(entries, 0)
		}
		for _, b := range r.batches[1:] {
			witness(t, h, s.Log, b.To) // is there
		}
	}
}

func eventChecks() []check {
	return []check{
		{"headers and data come as they were stored", oddEvents},
		{"the largest event comes", largestEvent},
	}
}

// oddEvents has what other readers of logs were seen to stumble over.
func oddEvents(t T, h Harness) {
	var lines []string
	for i := range 10_000 { // as many as JetStream's 64 KiB of header can have
		lines = append(lines, "abcdefg"[i%7:i%7+1], fmt.Sprint(i%10))
	}
	entries := []Entry{
		{Subject: "a.1", Data: []byte("plain")},
		{Subject: "a.empty"},
		{Subject: "a.status", Header: []string{"Status", "100"}},
		{Subject: "a.status", Header: []string{"Status", "409", "Description", "Consumer Deleted"}},
		{Subject: "a.status", Header: []string{"Status", "503"}},
		{Subject: "a.status", Header: []string{"Status", "408", "Nats-Pending-Messages", "1"}, Data: []byte("x")},
		{Subject: "a.beat", Header: []string{"Status", "100", "Nats-Last-Consumer", "9999", "Nats-Last-Stream", "9999"}},
		{Subject: "a.lines", Header: lines, Data: []byte("lines")},
		{Subject: "a.novalue", Header: []string{"Empty", ""}},
		{Subject: "a.two", Header: []string{"Twice", "one", "Other", "x", "Twice", "two"}},
		{Subject: "a.case", Header: []string{"case", "lower", "Case", "Upper", "CASE", "all"}},
		{Subject: "a.utf8", Header: []string{"Name", "Zoë: ü"}, Data: []byte("ü\x00\xff\r\n")},
		{Subject: "a" + strings.Repeat(".t", 99), Data: []byte("a hundred tokens")},
		{Subject: "b.last", Data: []byte("plain")},
	}
	s := h.New(t)
	last := s.Append(entries...)
	read(t, h, s.Log, 0).until(last).same(entries, 0)
	r := read(t, h, s.Log, 0, "a.>").until(last)
	r.same(entries, 0)
	for seq := uint64(1); seq <= last; seq++ { // each as the last of its batch, and alone
		r := read(t, h, s.Log, seq-1).until(last)
		if diff := cmp.Diff(want(entries, seq-1), r.got(entries)); diff != "" {
			t.Errorf("after %d (-want +got):\n%s", seq-1, clip(diff))
		}
	}
	plainHeader := witness(t, h, s.Log, 1)
	if want := consumer.WitnessHash("a.1", nil, []byte("plain")); plainHeader.Hash != want {
		t.Errorf("the hash of a message without a header is %s, want %s", plainHeader.Hash, want)
	}
	if a, b := witness(t, h, s.Log, 3), witness(t, h, s.Log, 5); a.Hash == b.Hash {
		t.Errorf("two messages that differ in their header have the same hash %s", a.Hash)
	}
}

func largestEvent(t T, h Harness) {
	s := h.New(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), h.MaxData/16)
	entries := []Entry{{Subject: "a.1"}, {Subject: "a.2", Data: data}, {Subject: "a.3"}, {Subject: "b.4", Data: data},
		{Subject: "a.5", Header: []string{"Name", "value"}, Data: data[:len(data)-64]}}
	last := s.Append(entries...)
	r := read(t, h, s.Log, 0).until(last)
	sizes := map[uint64]int{}
	for _, event := range r.events {
		sizes[event.Seq] = len(event.Data)
		if !bytes.Equal(event.Data, entries[event.Seq-1].Data) {
			t.Errorf("seq %d has other data than was stored", event.Seq)
		}
	}
	if diff := cmp.Diff(map[uint64]int{1: 0, 2: len(data), 3: 0, 4: len(data), 5: len(data) - 64}, sizes); diff != "" {
		t.Errorf("sizes (-want +got):\n%s", diff)
	}
	if got, want := witness(t, h, s.Log, 2).Hash, consumer.WitnessHash("a.2", nil, data); got != want {
		t.Errorf("the hash of the largest event is %s, want %s", got, want)
	}
	read(t, h, s.Log, 0, "b.>").until(last)
}
