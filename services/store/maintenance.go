package store

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

const (
	// sessionRetention is how long a session is kept after it expired or ended: an owner who comes back within it learns
	// that it has expired, or that it ended because a token was reused, and later only that it has ended. It is longer
	// than any access token lives.
	sessionRetention = 7 * 24 * time.Hour

	// sweepInterval is how often what is not kept any longer is looked for, give or take half: the stores should not all
	// do it at once.
	sweepInterval = time.Hour

	// sweepBatch bounds one deletion, so that nobody waits long for its locks.
	sweepBatch = 1000
)

// sweep deletes what is not kept any longer now and then until ctx ends.
func sweep(
	ctx context.Context, db *storage.Storage, auditRetention time.Duration, now func() time.Time, log *slog.Logger,
) {
	for {
		if err := sweepOnce(ctx, db, auditRetention, now()); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "what is not kept any longer could not be deleted; tried again later", "error", err)
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

// sweepOnce deletes expired and ended sessions, request ids of sign-ups, old changes, and audit events, unless these
// are kept for ever: then their retention is 0.
func sweepOnce(ctx context.Context, db *storage.Storage, auditRetention time.Duration, now time.Time) error {
	err := errors.Join(
		inBatches(ctx, now.Add(-sessionRetention), db.DeleteExpiredSessions),
		inBatches(ctx, now.Add(-signUpRetention), db.DeleteSignUps),
		inBatches(ctx, now.Add(-feedRetention), db.DeleteChanges),
	)
	if auditRetention > 0 {
		err = errors.Join(err, inBatches(ctx, now.Add(-auditRetention), db.DeleteEvents))
	}
	return err
}

func inBatches(
	ctx context.Context, before time.Time, deleteSome func(context.Context, time.Time, int) (int64, error),
) error {
	for {
		deleted, err := deleteSome(ctx, before, sweepBatch)
		if err != nil || deleted < sweepBatch {
			return err
		}
	}
}
