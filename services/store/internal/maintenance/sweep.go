// Package maintenance does what a store does beside serving calls: it deletes what has expired, samples password hashes
// and returns memory to the system. Each is a loop that package store starts. A failure is logged and retried, and
// fails no call.
package maintenance

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/wait"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/changefeed"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

const (
	// SessionRetention is how long a session is stored after it expired or ended. Until then, an owner who returns learns
	// that it has expired, or that it ended because a token was reused; later, only that it has ended. It is longer than
	// the lifetime of any access token.
	SessionRetention = 7 * 24 * time.Hour

	// sweepInterval is how often a store sweeps, plus or minus half: the stores should not all do it at once.
	sweepInterval = time.Hour

	// SweepBatch bounds one deletion, so that no other transaction waits long for its locks.
	SweepBatch = 1000
)

// Sweep calls SweepOnce about once an hour until ctx ends.
func Sweep(
	ctx context.Context, db *storage.Storage, auditRetention time.Duration, now func() time.Time, log *slog.Logger,
) {
	for ctx.Err() == nil {
		if err := SweepOnce(ctx, db, auditRetention, now()); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "retention sweep failed, will retry", "error", err)
		}
		wait.For(ctx, sweepInterval/2+rand.N(sweepInterval)) //nolint:gosec // spreads load; nothing to guess
	}
}

// SweepOnce deletes expired and ended sessions, request ids of sign-ups and changes that are older than their
// retention, and audit events, whose retention of 0 is forever.
func SweepOnce(ctx context.Context, db *storage.Storage, auditRetention time.Duration, now time.Time) error {
	err := errors.Join(
		inBatches(ctx, now.Add(-SessionRetention), db.DeleteExpiredSessions),
		inBatches(ctx, now.Add(-account.SignUpRetention), db.DeleteSignUps),
		inBatches(ctx, now.Add(-changefeed.Retention), db.DeleteChanges),
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
		deleted, err := deleteSome(ctx, before, SweepBatch)
		if err != nil || deleted < SweepBatch {
			return err
		}
	}
}
