package cmd

import (
	"io"
	"strings"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newLogger logs to screen by the configuration. No line holds one of the configuration's secrets, whoever wrote it.
func (c *Config) newLogger(screen *screen) *zap.Logger {
	level, err := zapcore.ParseLevel(c.Log.Level)
	if err != nil {
		level = zapcore.InfoLevel // Load allows no other
	}
	encoding := zap.NewProductionEncoderConfig()
	encoding.TimeKey, encoding.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
	encoding.EncodeDuration = zapcore.StringDurationEncoder
	var encoder zapcore.Encoder
	if c.Log.Format == "json" || c.Log.Format == "auto" && !screen.terminal {
		encoder = zapcore.NewJSONEncoder(encoding)
	} else {
		encoding.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		encoding.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(encoding)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&redacting{screen, c.redactor()}), level))
}

// redactor is redact, with the search for secrets done once.
func (c *Config) redactor() func(string) string {
	var pairs []string
	for _, secret := range c.secrets() {
		pairs = append(pairs, secret, hidden)
	}
	replacer := strings.NewReplacer(pairs...)
	return func(text string) string { return replacer.Replace(withoutSecret(text)) }
}

// redacting takes secrets out of what is written.
type redacting struct {
	to     io.Writer
	redact func(string) string
}

func (r *redacting) Write(line []byte) (int, error) {
	if _, err := io.WriteString(r.to, r.redact(string(line))); err != nil {
		return 0, err
	}
	return len(line), nil
}

// screen is standard error: log lines, and, on a terminal, a line of progress below them.
type screen struct {
	terminal bool

	mu   sync.Mutex
	w    io.Writer
	line string // the progress that stands there now
}

func newScreen(w io.Writer) *screen { return &screen{terminal: isTerminal(w), w: w} }

const clearLine = "\r\x1b[K"

// Write puts a log line above the progress.
func (s *screen) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line == "" {
		return s.w.Write(text)
	}
	if _, err := io.WriteString(s.w, clearLine+string(text)+s.line); err != nil {
		return 0, err
	}
	return len(text), nil
}

// progress replaces the line of progress; "" takes it away.
func (s *screen) progress(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if line == s.line {
		return
	}
	s.line = line
	io.WriteString(s.w, clearLine+line)
}
