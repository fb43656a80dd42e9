package bench

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// progress tells what is being done: on a terminal in one line that is drawn anew, with a bar that fills.
type progress struct {
	to       io.Writer
	terminal bool
	drawn    bool
	steps    int // that are to come in all; each is shown once
	done     int
}

func newProgress(to io.Writer) *progress {
	p := &progress{to: to}
	if file, ok := to.(*os.File); ok {
		info, err := file.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// say writes a line that stays.
func (p *progress) say(format string, args ...any) {
	p.clear()
	fmt.Fprintf(p.to, format+"\n", args...)
}

// filled is the width of the bar. With the longest of the texts behind it the line fits into 80 columns.
const filled = 20

// show begins a step: it draws a line on a terminal, and writes it elsewhere.
func (p *progress) show(format string, args ...any) {
	done := min(p.done, p.steps)
	p.done++
	if !p.terminal {
		p.say(format, args...)
		return
	}
	full := 0
	if p.steps > 0 {
		full = filled * done / p.steps
	}
	fmt.Fprintf(p.to, "\r\x1b[K%s%s %2d/%d "+format,
		append([]any{strings.Repeat("█", full), strings.Repeat("░", filled-full), done + 1, max(p.steps, done+1)}, args...)...)
	p.drawn = true
}

// clear takes a drawn line away.
func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.to, "\r\x1b[K")
		p.drawn = false
	}
}
