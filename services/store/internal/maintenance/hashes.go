package maintenance

import (
	"context"
	"log/slog"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/wait"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// sampleInterval is how often the hashes of accounts are sampled: they change as fast as people log in.
const sampleInterval = 10 * time.Minute

// SampleHashes samples the hashes of accounts until ctx ends.
func SampleHashes(ctx context.Context, db *storage.Storage, hasher *password.Hasher, log *slog.Logger) {
	for ctx.Err() == nil {
		if err := SampleHashesOnce(ctx, db, hasher); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "sampling password hashes failed, will retry", "error", err)
		}
		wait.For(ctx, sampleInterval)
	}
}

// SampleHashesOnce adjusts the cost of log-ins without an account to that of the accounts. All replicas take the same
// sample, so that an address has the same decoy everywhere.
func SampleHashesOnce(ctx context.Context, db *storage.Storage, hasher *password.Hasher) error {
	sample, err := db.SamplePasswordHashes(ctx)
	if err == nil {
		hasher.SampleHashes(sample)
	}
	return err
}
