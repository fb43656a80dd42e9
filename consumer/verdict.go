package consumer

import "fmt"

// Reason names why a unit does not run.
type Reason string

// The verdicts. docs/verdicts.md has for each its meaning, its evidence and the safe ways out.
const (
	Gap              Reason = "GAP"               // the log no longer has events that the snapshot lacks
	Diverged         Reason = "DIVERGED"          // the log is not the one that the snapshot was folded from
	Changed          Reason = "CHANGED"           // the definition is not the one that the snapshot was folded by
	Corrupt          Reason = "CORRUPT"           // the snapshot can't be trusted
	Poison           Reason = "POISON"            // an event can't be folded
	Stuck            Reason = "STUCK"             // a step does not return
	TooLarge         Reason = "TOO_LARGE"         // a key or a value is over its bound
	Unsuitable       Reason = "UNSUITABLE"        // the log, or the store's set-up, can't be used
	LogUnavailable   Reason = "LOG_UNAVAILABLE"   // the log is away, or refuses us: it is tried again
	StoreUnavailable Reason = "STORE_UNAVAILABLE" // the store is away, or refuses us: it is tried again
)

// Verdict is why a unit does not run: the reason, the evidence, and what an operator can do.
type Verdict struct {
	Reason   Reason
	Evidence string // names and seqs
	WayOut   string // the exact commands, or what has to happen
	Seq      uint64 // the event to blame, 0 if there is none
	Key      string // the key to blame, "" if there is none
	Stack    string // of a panic or a stuck step; "" if there is none
}

func (v *Verdict) Error() string {
	if v.WayOut == "" {
		return fmt.Sprintf("%s: %s", v.Reason, v.Evidence)
	}
	return fmt.Sprintf("%s: %s. %s", v.Reason, v.Evidence, v.WayOut)
}

// Passing tells a verdict that ends by itself, when the log or the store is back.
func (v *Verdict) Passing() bool { return v.Reason == LogUnavailable || v.Reason == StoreUnavailable }
