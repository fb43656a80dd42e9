package consumer

import (
	"errors"
	"fmt"
	"testing"

	"github.com/tailfold/tailfold/snapshotstore"
)

func TestWhatIsWaitedForNamesItsWayOut(t *testing.T) {
	away := errors.New("connection refused")
	for _, c := range []struct {
		err              error
		evidence, wayOut string
	}{
		{away, "connection refused", "It is tried again until it is back"},
		{&snapshotstore.Error{Op: "commit", Err: away}, "store: commit: connection refused", "It is tried again until it is back"},
		{&snapshotstore.Error{Op: "commit", Err: away, Fix: "start it"}, "store: commit: connection refused", "It is tried again by itself: start it"},
		{&LogError{Op: "read", Stream: "S", Err: away}, "log S: read: connection refused", "It is tried again until it is back"},
		{&LogError{Op: "read", Stream: "S", Err: away, Fix: "start it"}, "log S: read: connection refused", "It is tried again by itself: start it"},
		{&LogError{Op: "read", Stream: "S", Err: fmt.Errorf("the stream %w", ErrNoLog), Fix: "it is waited for"}, "stream S does not exist",
			"It is waited for: create it, or correct `stream` in the projection's entry"},
	} {
		v := unavailable(StoreUnavailable, "S", c.err)
		if v.Reason != StoreUnavailable || v.Evidence != c.evidence || v.WayOut != c.wayOut {
			t.Errorf("%v: %+v, want %q and %q", c.err, v, c.evidence, c.wayOut)
		}
	}
}
