package cache

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// sparseInterval is the least time between two lines of a sparseLog.
const sparseInterval = time.Minute

// sparseLog tells of something that may happen with every request, in one line a minute.
type sparseLog struct {
	log     *slog.Logger
	message string
	now     func() time.Time

	mu     sync.Mutex
	last   time.Time
	untold int
}

func newSparseLog(log *slog.Logger, message string) *sparseLog {
	return &sparseLog{log: log, message: message, now: time.Now}
}

// report writes a line, with how many reports had none since the last, unless there was one less than a minute ago.
func (s *sparseLog) report(ctx context.Context, err error) {
	s.mu.Lock()
	now := s.now()
	if !s.last.IsZero() && now.Sub(s.last) < sparseInterval {
		s.untold++
		s.mu.Unlock()
		return
	}
	untold := s.untold
	s.last, s.untold = now, 0
	s.mu.Unlock()
	s.log.WarnContext(ctx, s.message, "error", err, "untold_before", untold)
}
