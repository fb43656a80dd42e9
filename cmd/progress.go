package cmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/tailfold/tailfold/consumer"
)

// watcher tells of replays: on a terminal by a line that is drawn anew, else by a log line now and then. What a replay
// took, the engine logs.
type watcher struct {
	status func() []consumer.UnitStatus
	screen *screen
	log    *zap.Logger

	lastLine time.Time
}

// How often it looks, and how often it logs while a replay goes on.
const (
	watchEvery = 250 * time.Millisecond
	logEvery   = 10 * time.Second
)

func (w *watcher) run(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	w.lastLine = time.Now()
	for {
		select {
		case <-ctx.Done():
			w.look()
			w.screen.progress("")
			return
		case <-ticker.C:
			w.look()
		}
	}
}

func (w *watcher) look() {
	var replaying []consumer.UnitStatus
	for _, row := range w.status() {
		if row.State == consumer.Replaying {
			replaying = append(replaying, row)
		}
	}
	if w.screen.terminal {
		w.screen.progress(progressLine(replaying))
		return
	}
	if len(replaying) == 0 || time.Since(w.lastLine) < logEvery {
		return
	}
	w.lastLine = time.Now()
	for _, row := range replaying {
		w.log.Info("replaying", zap.String("projection", row.Projection), zap.Int("projection_version", row.Version),
			zap.Int("partition", row.Partition),
			zap.Uint64("seq", row.Seq), zap.Uint64("target", row.ReplayTarget), zap.Float64("events_per_s",
				row.ReplayRate), zap.String("progress", replayText(row)))
	}
}

// progressLine is about the unit that takes longest, and says how many others there are.
func progressLine(replaying []consumer.UnitStatus) string {
	if len(replaying) == 0 {
		return ""
	}
	slowest := replaying[0]
	for _, row := range replaying[1:] {
		if timeLeft(row) > timeLeft(slowest) {
			slowest = row
		}
	}
	line := unitName(slowest) + " " + replayText(slowest)
	if others := len(replaying) - 1; others > 0 {
		line += fmt.Sprintf(" (and %d more)", others)
	}
	return shorten(line, tableWidth)
}

func timeLeft(row consumer.UnitStatus) time.Duration {
	if row.ReplayRate <= 0 || row.ReplayTarget <= row.Seq {
		return 0
	}
	return time.Duration(float64(row.ReplayTarget-row.Seq) / row.ReplayRate * float64(time.Second))
}

// replayText is how far a replay is, how fast it goes, and how long it will take.
func replayText(row consumer.UnitStatus) string {
	text := fmt.Sprintf("replaying: seq %s of %s", thousands(row.Seq), thousands(max(row.ReplayTarget, row.Seq)))
	if from := row.ResumedAt; row.ReplayTarget > from && row.Seq >= from {
		text += fmt.Sprintf(" (%d %%)", min(100, 100*(row.Seq-from)/(row.ReplayTarget-from)))
	}
	if row.ReplayRate > 0 {
		text += fmt.Sprintf(", %s events/s", thousands(uint64(row.ReplayRate)))
		if left := timeLeft(row); left > 0 {
			text += fmt.Sprintf(", %v left", max(left.Round(time.Second), time.Second))
		}
	}
	return text
}

// thousands writes a number for people: 1,234,567.
func thousands[N int | uint64](n N) string {
	digits := fmt.Sprint(n)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}
