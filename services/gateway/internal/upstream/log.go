package upstream

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// startGrace is how long the services behind a starting gateway may take to start as well before it logs warnings.
const startGrace = 10 * time.Second

// Log writes log messages about the services behind the gateway. While the gateway starts or drains, these services may
// do so too: an upstream that does not serve is then logged as information, not as a warning.
type Log struct {
	log      *slog.Logger
	started  time.Time
	draining atomic.Bool
}

// NewLog returns a log of a gateway that starts now.
func NewLog(log *slog.Logger) *Log {
	return &Log{log: log, started: time.Now()}
}

// Down logs that something behind the gateway does not serve, at Level.
func (l *Log) Down(message string, args ...any) {
	if l.Level() == slog.LevelWarn {
		l.log.Warn(message, args...)
	} else {
		l.log.Info(message, args...)
	}
}

// Up logs that something behind the gateway serves again.
func (l *Log) Up(message string, args ...any) {
	l.log.Info(message, args...)
}

// Level returns the level at which Down logs now.
func (l *Log) Level() slog.Level {
	if l.draining.Load() || time.Since(l.started) < startGrace {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

// SetDraining sets whether the gateway is about to stop.
func (l *Log) SetDraining(draining bool) { l.draining.Store(draining) }

// Draining reports whether the gateway is about to stop.
func (l *Log) Draining() bool { return l.draining.Load() }
