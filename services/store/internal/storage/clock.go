package storage

import (
	"context"
	"log/slog"
	"time"
)

// clockInterval is how often the clocks are compared.
const clockInterval = 5 * time.Second

// clockWarning is how far the database's clock may be from this machine's before that is reported: more than
// synchronized clocks ever are. clockWarningInterval is the least time between two such lines.
const (
	clockWarning         = 2 * time.Minute
	clockWarningInterval = time.Minute
)

// Now is the time by the database's clock, to within the time that a query takes: that of the last comparison, at most
// 5 s ago while FollowClock runs. Stores whose machines disagree about the time agree by it: one that took the other's
// "just now" for long ago would log out whoever refreshes at both.
func (s *Storage) Now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// FollowClock compares the clocks until ctx ends. While the database cannot be asked, the last comparison stands.
func (s *Storage) FollowClock(ctx context.Context, log *slog.Logger) {
	ticker := time.NewTicker(clockInterval)
	defer ticker.Stop()
	var warned time.Time
	for {
		warned = s.warnOfClock(ctx, log, warned)
		select {
		case <-ticker.C:
			_ = s.compareClock(ctx) // A database that is away is told of by everything else.
		case <-ctx.Done():
			return
		}
	}
}

// warnOfClock logs that the clocks are far apart, unless it did so less than a minute ago. It returns when it last did.
// Nothing is wrong in the store, which goes by the database's clock; others that verify its tokens go by their own.
func (s *Storage) warnOfClock(ctx context.Context, log *slog.Logger, last time.Time) time.Time {
	ahead := time.Duration(s.ahead.Load())
	if ahead.Abs() <= clockWarning || time.Since(last) < clockWarningInterval {
		return last
	}
	log.WarnContext(ctx, "database clock differs from that of this machine", "ahead", ahead.Round(time.Second).String())
	return time.Now()
}

// compareClock finds out how far the database's clock is ahead. SQLite has this machine's.
func (s *Storage) compareClock(ctx context.Context) error {
	query := s.dialect.clock()
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
	half := time.Since(before) / 2 // It was asked somewhere between then and now.
	s.ahead.Store(int64(theirs.Sub(before.Add(half))))
	return nil
}
