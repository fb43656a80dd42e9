package snapshotstore

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Mark is the header of a snapshot: how far it goes, in which log, by which definition, written by whom.
type Mark struct {
	Format      int       `json:"format"`           // 1
	ID          string    `json:"id"`               // random: no two marks are the same
	Seq         uint64    `json:"seq"`              // the values hold every event up to and including it
	Since       uint64    `json:"since"`            // the first seq that was folded; more than 1 where the log no longer had its beginning
	Stream      string    `json:"stream"`           // the log's name
	Created     time.Time `json:"created"`          // when the log was made
	Witnesses   []Witness `json:"witnesses"`        // newest first
	Fingerprint string    `json:"fingerprint"`      // of the definition
	Epoch       uint64    `json:"epoch"`            // raised by each new owner before it folds anything
	Tries       int       `json:"tries"`            // claims since seq last moved; with an attempt: how often in a row its one event is folded alone, this time counted; 0 for several events
	Attempt     uint64    `json:"attempt,omitzero"` // events up to this one are being folded by themselves, because workers died before they were committed
	Writer      string    `json:"writer"`           // name of the worker
	At          time.Time `json:"at"`               // the writer's clock; for people only

	// Raw is the mark as the store holds it, byte for byte: what a commit compares. Empty in a mark that is not sealed.
	Raw []byte `json:"-"`
}

// Witness is a message of the log at or below a mark's seq: proof of which log the seq belongs to.
type Witness struct {
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"`
	Hash string    `json:"hash"` // first 16 bytes of SHA-256 over subject, 0x00, header block as stored, 0x00, data; hex
}

// IsZero tells the mark of a unit without a snapshot.
func (m Mark) IsZero() bool { return m.Format == 0 }

// Seal returns the mark under a new id, with the bytes that a store will hold of it, and as ParseMark will read them:
// names that are not UTF-8 get replacement characters, and times that JSON can't have (a producer may stamp its events
// with the year 58,000) are brought to the next that it can.
func (m Mark) Seal(id string) Mark {
	m.Format, m.ID = 1, id
	m.Created, m.At = writable(m.Created), writable(m.At)
	m.Witnesses = append([]Witness{}, m.Witnesses...)
	for i := range m.Witnesses {
		m.Witnesses[i].Time = writable(m.Witnesses[i].Time)
	}
	raw, err := json.Marshal(m, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err == nil {
		m, err = ParseMark(raw)
	}
	if err != nil {
		panic("a mark is always JSON: " + err.Error())
	}
	return m
}

// writable is t as RFC 3339 has it, of a year from 0 to 9999.
func writable(t time.Time) time.Time {
	t = t.UTC()
	switch {
	case t.Year() < 0:
		return time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	case t.Year() > 9999:
		return time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)
	}
	return t
}

// ParseMark reads what Seal made; also with members that it does not know, which a newer Tailfold may have written.
func ParseMark(raw []byte) (Mark, error) {
	var m Mark
	if err := json.Unmarshal(raw, &m); err != nil {
		return Mark{}, fmt.Errorf("the mark can't be read: %w", err)
	}
	if m.Format != 1 {
		return Mark{}, fmt.Errorf("the mark has format %d, this Tailfold reads format 1", m.Format)
	}
	m.Raw = raw
	return m, nil
}
