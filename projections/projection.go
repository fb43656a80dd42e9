package projections

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Projection is a fold that can be registered: a Single, a Keyed, or a declared one.
type Projection interface {
	Definition() Definition
	// NewFold makes the working memory of one unit of this projection.
	NewFold(options FoldOptions) Fold
}

// OnPoison says what happens at an event that can't be folded.
type OnPoison string

// Halt stops the unit with a verdict; Skip records the event's seq in $skipped, counts and logs it, and goes on.
const (
	Halt OnPoison = "halt"
	Skip OnPoison = "skip"
)

// Start says where a projection without a snapshot begins.
type Start string

// Beginning is the log's first event, and GAP where the log no longer has it. FirstAvailable is whatever is there.
const (
	Beginning      Start = "beginning"
	FirstAvailable Start = "first-available"
)

// Definition is all that decides what a projection's values become, and the policy beside it.
type Definition struct {
	Name     string
	Version  int      // from 1
	Stream   string   // the log that it reads
	Subjects []string // filters; none means the whole stream
	Keyed    bool     // false: a Single, whose one key is ""
	Codec    string   // name of the codec
	Start    Start    // "" means Beginning
	Rules    string   // canonical text of the fold itself: expressions, or "go" for compiled code, which the version names
	OnPoison OnPoison // "" means Halt; not part of the text
}

// Text is the canonical text of the definition on one of a stream's partitions. Two definitions are the same if
// their texts are.
func (d Definition) Text(partition, partitions int) string {
	kind := "single"
	if d.Keyed {
		kind = "keyed"
	}
	start := d.Start
	if start == "" {
		start = Beginning
	}
	var b strings.Builder
	subjects := slices.Sorted(slices.Values(d.Subjects)) // their order decides nothing
	fmt.Fprintf(&b, "projection: %s\nversion: %d\nstream: %s\n", d.Name, d.Version, d.Stream)
	fmt.Fprintf(&b, "subjects: %s\npartition: %d/%d\n", strings.Join(subjects, " "), partition, partitions)
	fmt.Fprintf(&b, "kind: %s\ncodec: %s\nstart: %s\nrules: %s\n", kind, d.Codec, start, strings.TrimSpace(d.Rules))
	return b.String()
}

// Fingerprint is the SHA-256 of a definition's text in hex.
func Fingerprint(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Single is a projection with one value for the whole log.
type Single[V any] struct {
	Name     string
	Version  int // from 1; raise it whenever Step, Seed or V changes what a value becomes
	Stream   string
	Subjects []string // default: the whole stream
	Seed     func() V // the value before the first event; default: the zero V. A function, so that no two values share a map
	Step     Step[V]  // pure
	Codec    Codec[V] // default: JSONCodec
	Start    Start    // default: Beginning
	OnPoison OnPoison // default: Halt
}

// Definition describes it.
func (s Single[V]) Definition() Definition {
	return Definition{Name: s.Name, Version: s.Version, Stream: s.Stream, Subjects: s.Subjects,
		Codec: codecName(s.Codec), Start: s.Start, Rules: "go", OnPoison: s.OnPoison}
}

// Check tells what is missing.
func (s Single[V]) Check() error {
	if s.Step == nil {
		return fmt.Errorf("Step is missing")
	}
	return nil
}

// NewFold makes the working memory of one unit.
func (s Single[V]) NewFold(options FoldOptions) Fold {
	step := s.Step
	return newTable(foldRules[V]{
		keys:  func(Event) ([]string, error) { return oneEmptyKey, nil },
		seed:  s.Seed,
		step:  func(_ string, value V, event Event) (V, error) { return step(value, event) },
		codec: s.Codec,
	}, s.Subjects, options)
}

var oneEmptyKey = []string{""} // read only

// Keyed is a projection with one value per key.
type Keyed[V any] struct {
	Name     string
	Version  int // from 1; raise it whenever Keys, Step, Seed, Gone or V changes what a value becomes
	Stream   string
	Subjects []string // default: the whole stream

	// Keys names the keys that an event touches, in order: none is fine, the same twice or "" is POISON. Pure.
	Keys func(event Event) ([]string, error)
	// Key is the short form of Keys where an event touches at most one key; "" means none. Exactly one of Key and Keys
	// is set.
	Key func(event Event) (string, error)

	Seed     func() V                                          // makes a new key's value; default: the zero V
	Step     func(key string, value V, event Event) (V, error) // pure; called once per key of the event
	Gone     func(value V) bool                                // optional: the key is to be deleted. Pure
	Codec    Codec[V]                                          // default: JSONCodec
	Start    Start                                             // default: Beginning
	OnPoison OnPoison                                          // default: Halt

	// Immutable promises that Step and Gone never change a value in place, but return a new one. Then an event that
	// can't be folded costs no reload. Where V holds no pointer, map or slice, it is so anyway.
	Immutable bool
}

// Definition describes it.
func (k Keyed[V]) Definition() Definition {
	return Definition{Name: k.Name, Version: k.Version, Stream: k.Stream, Subjects: k.Subjects, Keyed: true,
		Codec: codecName(k.Codec), Start: k.Start, Rules: "go", OnPoison: k.OnPoison}
}

// Check tells what is missing or at odds.
func (k Keyed[V]) Check() error {
	switch {
	case k.Step == nil:
		return fmt.Errorf("Step is missing")
	case k.Keys == nil && k.Key == nil:
		return fmt.Errorf("Keys is missing: set Key or Keys, or use a Single")
	case k.Keys != nil && k.Key != nil:
		return fmt.Errorf("both Key and Keys are set: set one")
	}
	return nil
}

// NewFold makes the working memory of one unit.
func (k Keyed[V]) NewFold(options FoldOptions) Fold {
	keys := k.Keys
	if k.Key != nil {
		one := make([]string, 1)
		keys = func(event Event) (_ []string, err error) {
			if one[0], err = k.Key(event); one[0] == "" || err != nil {
				return nil, err
			}
			return one, nil
		}
	}
	return newTable(foldRules[V]{
		keys: keys, seed: k.Seed, step: k.Step, gone: k.Gone, codec: k.Codec, keyed: true, immutable: k.Immutable,
	}, k.Subjects, options)
}

func codecName[V any](codec Codec[V]) string {
	if codec == nil {
		return JSONCodec[V]{}.Name()
	}
	return codec.Name()
}
