package storage

import (
	"context"
	"log/slog"
	"time"
)

const (
	// clockInterval is the time between two comparisons of the clocks.
	clockInterval = 5 * time.Second
	// clockWarning is the difference from which on it is logged: more than synchronized clocks ever have.
	clockWarning = 2 * time.Minute
	// clockWarningInterval is the least time between two such log lines.
	clockWarningInterval = time.Minute
)

// Now returns the time by the database's clock, with an error of at most the time that a query takes. It relies on the
// last comparison, which is at most 5 s old while FollowClock runs. It makes stores agree whose machines' clocks
// differ: otherwise a client that refreshes at two stores could be logged out.
func (s *Storage) Now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// FollowClock compares the clocks until ctx ends. While a query fails, the last comparison stays valid.
func (s *Storage) FollowClock(ctx context.Context, log *slog.Logger) {
	ticker := time.NewTicker(clockInterval)
	defer ticker.Stop()
	var warned time.Time
	for {
		warned = s.warnOfClock(ctx, log, warned)
		select {
		case <-ticker.C:
			_ = s.compareClock(ctx) // All other operations report that the database is down.
		case <-ctx.Done():
			return
		}
	}
}

// warnOfClock logs that the clocks differ, unless it did so less than a minute ago. It returns when it last did. The
// store itself is right, because it uses the database's clock; others verify its tokens by their own clocks.
func (s *Storage) warnOfClock(ctx context.Context, log *slog.Logger, last time.Time) time.Time {
	ahead := time.Duration(s.ahead.Load())
	if ahead.Abs() <= clockWarning || time.Since(last) < clockWarningInterval {
		return last
	}
	log.WarnContext(ctx, "database clock differs from that of this machine", "ahead", ahead.Round(time.Second).String())
	return time.Now()
}

// compareClock measures how far the database's clock is ahead, unless that is this machine's clock.
func (s *Storage) compareClock(ctx context.Context) error {
	query := s.dialect.ClockQuery()
	if query == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, clockInterval)
	defer cancel()
	var theirs time.Time
	before := time.Now()
	if err := s.pool.QueryRowContext(ctx, query).Scan(&theirs); err != nil {
		return err
	}
	half := time.Since(before) / 2 // The server read its clock somewhere between.
	s.ahead.Store(int64(theirs.Sub(before.Add(half))))
	return nil
}
