package consumer

import (
	"errors"
	"runtime"
	"strings"
	"time"
)

// errAbandoned is what a runner meets that was given up while its fold was stuck.
var errAbandoned = errors.New("given up")

// guard runs code of the projection under the watch of the unit. lo and hi are the events that it works on. The time is
// told by the monotonic clock: a clock that is set is no step that hangs.
func (r *runner) guard(lo, hi uint64, alone bool, code func() error) error {
	r.busyLo.Store(lo)
	r.busyHi.Store(hi)
	r.busyAlone.Store(alone)
	r.busyPlace.Store(r.place)
	began := int64(max(1, time.Since(r.began)))
	r.busy.Store(began)
	err := code()
	if !r.busy.CompareAndSwap(began, 0) {
		return errAbandoned
	}
	r.spent += time.Since(r.began) - time.Duration(began)
	return err
}

// abandonIfStuck gives the runner up if its fold has been busy for longer than timeout, and returns its stack.
func (r *runner) abandonIfStuck(timeout time.Duration) (stack string, stuck bool) {
	began := r.busy.Load()
	if began <= 0 || time.Since(r.began)-time.Duration(began) < timeout {
		return "", false
	}
	stack = r.stack()
	if !r.busy.CompareAndSwap(began, -1) {
		return "", false
	}
	r.stopSending()                                // the checkpoint under way is not this unit's any more
	if place := r.busyPlace.Load(); place != nil { // r.place is the stuck goroutine's, which may go on at any moment
		place.leave() // it must not hold up the feed
	}
	r.leaveBar() // nor other units
	return stack, true
}

func (r *runner) noteGoroutine() {
	var buf [64]byte
	header, _, _ := strings.Cut(string(buf[:runtime.Stack(buf[:], false)]), " [")
	r.goroutine.Store(&header)
}

func (r *runner) stack() string {
	buf := make([]byte, 1<<20)
	all := string(buf[:runtime.Stack(buf, true)])
	name := r.goroutine.Load()
	if name == nil {
		return ""
	}
	for part := range strings.SplitSeq(all, "\n\n") {
		if strings.HasPrefix(part, *name+" ") {
			return part
		}
	}
	return ""
}
