package gateway

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// startGrace is how long the services behind a gateway that starts may take to start as well, before it warns of them.
const startGrace = 10 * time.Second

// upstreamLog logs what becomes of the services behind the gateway. While the gateway starts or stops, they may do so
// too: that they do not serve is no warning then.
type upstreamLog struct {
	log      *slog.Logger
	started  time.Time
	draining atomic.Bool
}

func newUpstreamLog(log *slog.Logger) *upstreamLog {
	return &upstreamLog{log: log, started: time.Now()}
}

// down logs that something behind the gateway does not serve, at the level that is due.
func (l *upstreamLog) down(message string, args ...any) {
	if l.level() == slog.LevelWarn {
		l.log.Warn(message, args...)
	} else {
		l.log.Info(message, args...)
	}
}

// up logs that something behind the gateway serves again.
func (l *upstreamLog) up(message string, args ...any) {
	l.log.Info(message, args...)
}

func (l *upstreamLog) level() slog.Level {
	if l.draining.Load() || time.Since(l.started) < startGrace {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}
