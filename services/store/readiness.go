package store

import (
	"context"
	"log/slog"
	"sync"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// readiness checks whether the store can serve, changes included, and logs when that changes. The health of a service
// is public and has no reason in it.
type readiness struct {
	storage *storage.Storage
	log     *slog.Logger

	mu      sync.Mutex
	failing bool
}

func newReadiness(db *storage.Storage, log *slog.Logger) *readiness {
	return &readiness{storage: db, log: log}
}

// check returns an error if the store cannot serve now.
func (r *readiness) check(ctx context.Context) error {
	err := r.storage.Ready(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil && !r.failing:
		r.log.WarnContext(ctx, "store is not ready", "error", err)
	case err == nil && r.failing:
		r.log.InfoContext(ctx, "store is ready again")
	}
	r.failing = err != nil
	return err
}
