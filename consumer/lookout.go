package consumer

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"
)

// lookoutEvery is how often the logs of units that run are looked at: for what was changed about them, and for how near
// retention has come.
const lookoutEvery = 5 * time.Second

// unansweredFor is how often in a row nobody may answer for a log before its units say so.
const unansweredFor = 2

// lookout looks at each stream until ctx is done, whatever its units do.
func (w *Worker) lookout(ctx context.Context) {
	tick := time.NewTicker(lookoutEvery)
	defer tick.Stop()
	last, failed := map[string]Bounds{}, map[string]int{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for name, units := range w.byStream() {
			call, cancel := context.WithTimeout(ctx, lookoutEvery)
			bounds, err := units[0].feeds.log.Bounds(call)
			cancel()
			if err != nil {
				if failed[name]++; failed[name] >= unansweredFor {
					silent := unavailable(LogUnavailable, name, err)
					silent.Evidence += ": what is read meanwhile may be old"
					for _, u := range units {
						u.logDoesNotAnswer(silent)
					}
				}
				continue
			}
			failed[name] = 0
			for _, u := range units {
				u.logDoesNotAnswer(nil)
				u.sawFirst(bounds.First)
			}
			if was, ok := last[name]; ok {
				w.warnOfChanges(was, bounds)
			}
			last[name] = bounds
		}
	}
}

// byStream are the units that run.
func (w *Worker) byStream() map[string][]*unit {
	streams := map[string][]*unit{}
	for _, u := range w.units {
		if u.state() != Unowned {
			streams[u.stream.Name] = append(streams[u.stream.Name], u)
		}
	}
	return streams
}

// warnOfChanges says what an update of the stream's configuration means for a replay. Units go on: what they have folded
// was right when they read it; at their next start the stream is judged as it is then.
func (w *Worker) warnOfChanges(was, is Bounds) {
	log := w.config.Logger.With(zap.String("stream", is.Stream))
	if is.Unsuitable != "" && was.Unsuitable == "" {
		log.Warn("the stream was changed so that nothing can be folded from it again: its units halt at their next start", zap.String("evidence", is.Unsuitable))
	}
	if is.Holes != "" && is.Holes != was.Holes {
		log.Warn("the stream was changed so that events may vanish from its middle: a replay may give another value from now on, and units halt at their next start unless the stream's entry says `holes: accept`",
			zap.String("evidence", is.Holes))
	}
	if !slices.Equal(was.Subjects, is.Subjects) && is.Created.Equal(was.Created) {
		log.Warn("the stream's subjects were changed: what it does not store any more is not folded", zap.Strings("was", was.Subjects), zap.Strings("is", is.Subjects))
	}
}
