package bench

import (
	"fmt"
	"io"
	"os"
)

// progress tells what is being done: on a terminal in one line that is drawn anew.
type progress struct {
	to       io.Writer
	terminal bool
	drawn    bool
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

// show draws a line on a terminal, and writes it elsewhere.
func (p *progress) show(format string, args ...any) {
	if !p.terminal {
		p.say(format, args...)
		return
	}
	fmt.Fprintf(p.to, "\r\x1b[K"+format, args...)
	p.drawn = true
}

// clear takes a drawn line away.
func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.to, "\r\x1b[K")
		p.drawn = false
	}
}
