// Package ratelog writes log lines about an event that may occur with every request, at a limited rate.
package ratelog

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// interval is the least time between two lines of a Logger.
const interval = time.Minute

// Logger logs one kind of event, at most one line a minute.
type Logger struct {
	log     *slog.Logger
	message string

	mu         sync.Mutex
	last       time.Time
	suppressed int
}

// New returns a Logger that writes this message to log.
func New(log *slog.Logger, message string) *Logger { return &Logger{log: log, message: message} }

// Warn logs a warning, with the number of calls suppressed since the last one. It is suppressed itself if that was less
// than a minute ago.
func (l *Logger) Warn(ctx context.Context, err error) {
	l.mu.Lock()
	now := time.Now()
	if !l.last.IsZero() && now.Sub(l.last) < interval {
		l.suppressed++
		l.mu.Unlock()
		return
	}
	suppressed := l.suppressed
	l.last, l.suppressed = now, 0
	l.mu.Unlock()
	l.log.WarnContext(ctx, l.message, "error", err, "untold_before", suppressed)
}
