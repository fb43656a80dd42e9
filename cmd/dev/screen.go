package dev

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// screen is standard output: lines that stay, and, on a terminal, a table below them that is drawn anew in place. It uses
// neither the alternate screen nor a hidden cursor: a process that is killed leaves the terminal as it should be.
type screen struct {
	terminal bool
	size     func() (width, height int)

	mu    sync.Mutex
	w     io.Writer
	frame []string // that stands there now
}

func newScreen(w io.Writer) *screen {
	s := &screen{w: w, size: func() (int, int) { return 80, 24 }}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.terminal = true
		s.size = func() (int, int) {
			width, height, err := term.GetSize(int(f.Fd()))
			if err != nil || width < 20 || height < 5 {
				return 80, 24
			}
			return width, height
		}
	}
	return s
}

// say writes a line that stays.
func (s *screen) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if !s.terminal {
		fmt.Fprintln(s.w, text)
		return
	}
	var b strings.Builder
	s.home(&b)
	b.WriteString("\x1b[J" + text + "\n")
	s.paint(&b, s.frame)
	io.WriteString(s.w, b.String())
}

// draw replaces the table. Lines beyond the terminal's size are left out.
func (s *screen) draw(frame []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	width, height := s.size()
	if len(frame) > height-1 {
		frame = frame[:height-1]
	}
	for i := range frame {
		frame[i] = cut(frame[i], width)
	}
	var b strings.Builder
	s.home(&b)
	s.paint(&b, frame)
	b.WriteString("\x1b[J")
	s.frame = frame
	io.WriteString(s.w, b.String())
}

// release leaves the table where it is: what is written from now on comes below it.
func (s *screen) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frame = nil
}

func (s *screen) home(b *strings.Builder) {
	if len(s.frame) > 0 {
		fmt.Fprintf(b, "\x1b[%dA", len(s.frame))
	}
	b.WriteByte('\r')
}

func (s *screen) paint(b *strings.Builder, frame []string) {
	for _, line := range frame {
		b.WriteString(line + "\x1b[K\n")
	}
}

func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:width-1]) + "…"
}

// wrap breaks a text between words.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
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

// ago writes how long something is past.
func ago(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case ms < 0:
		return "never"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s ago", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h ago", int(d.Hours()))
}
