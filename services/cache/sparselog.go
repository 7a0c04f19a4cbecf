package cache

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// sparseInterval is the least time between two lines of a sparseLog.
const interval = time.Minute

// sparseLog tells of something that may happen with every request, in one line a minute.
type Logger struct {
	log     *slog.Logger
	message string
	now     func() time.Time

	mu         sync.Mutex
	last       time.Time
	suppressed int
}

func NewLogger(log *slog.Logger, message string) *Logger {
	return &Logger{log: log, message: message, now: time.Now}
}

// report writes a line, with how many reports had none since the last, unless there was one less than a minute ago.
func (l *Logger) Warn(ctx context.Context, err error) {
	l.mu.Lock()
	now := l.now()
	if !l.last.IsZero() && now.Sub(l.last) < interval {
		l.suppressed++
		l.mu.Unlock()
		return
	}
	untold := l.suppressed
	l.last, l.suppressed = now, 0
	l.mu.Unlock()
	l.log.WarnContext(ctx, l.message, "error", err, "untold_before", untold)
}
