package faults

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer"
)

// TestAStreamMadeAgainThatGoesOnWithTheNextSeqIsDiverged makes the stream again with the seq after the snapshot's as its
// first: no number tells it apart, and no message can. Only the time at which it was made does.
func TestAStreamMadeAgainThatGoesOnWithTheNextSeqIsDiverged(t *testing.T) {
	for _, c := range []struct {
		name    string
		live    bool
		foreign int
	}{{"empty, down", false, 0}, {"empty, live", true, 0}, {"written to, down", false, 5}, {"written to, live", true, 5}} {
		t.Run(c.name, func(t *testing.T) {
			s := newLogScene(t)
			s.publish(10, "s.mine", "ours")
			w, stop := s.start()
			s.await(w, "the head", liveAt(10))
			if !c.live {
				stop()
			}
			s.config.FirstSeq = 11
			s.remake()
			s.publish(c.foreign, "s.mine", "foreign")
			if !c.live {
				w, _ = s.start()
			}
			s.await(w, "DIVERGED", haltedBy(consumer.Diverged))
			s.mustStand(10, "10")
		})
	}
}

// TestAPurgeBySubjectIsNoFalseAlarm removes the events of others, below the snapshot and above it: the projection lacks
// none of its own.
func TestAPurgeBySubjectIsNoFalseAlarm(t *testing.T) {
	for _, live := range []bool{false, true} {
		name := "down"
		if live {
			name = "live"
		}
		t.Run(name, func(t *testing.T) {
			s := newLogScene(t)
			for range 5 {
				s.publish(2, "s.mine", "ours")
				s.publish(3, "s.other", "of others")
			}
			w, stop := s.start()
			s.await(w, "the head", liveAt(25))
			if !live {
				stop()
				s.publish(3, "s.other", "of others") // above the snapshot
			}
			if err := s.stream().Purge(t.Context(), jetstream.WithPurgeSubject("s.other")); err != nil {
				t.Fatal(err)
			}
			at := uint64(25)
			if !live {
				at += 3
				w, _ = s.start()
			}
			s.publish(4, "s.mine", "ours")
			s.await(w, "the head", liveAt(at+4))
			s.mustStand(at+4, "14")
		})
	}
}
