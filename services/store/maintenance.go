package store

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

const (
	// sessionRetention is how long a session is kept after it expired: an owner who comes back within it is told that it
	// has expired, and who comes later that it has ended.
	sessionRetention = 7 * 24 * time.Hour

	// sweepInterval is how often expired sessions are looked for, give or take half: the stores should not all do it at
	// once.
	sweepInterval = time.Hour

	// sweepBatch bounds one deletion, so that nobody waits long for its locks.
	sweepBatch = 1000
)

// sweep deletes expired sessions now and then until ctx ends.
func sweep(ctx context.Context, db *storage.Storage, now func() time.Time, log *slog.Logger) {
	for {
		if err := sweepOnce(ctx, db, now()); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "expired sessions could not be deleted; tried again later", "error", err)
		}
		timer := time.NewTimer(sweepInterval/2 + rand.N(sweepInterval)) //nolint:gosec // spreads load; nothing to guess
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

func sweepOnce(ctx context.Context, db *storage.Storage, now time.Time) error {
	for {
		deleted, err := db.DeleteExpiredSessions(ctx, now.Add(-sessionRetention), sweepBatch)
		if err != nil || deleted < sweepBatch {
			return err
		}
	}
}
