package store

import (
	"context"
	"errors"
	"log/slog"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// BumpEpoch gives a database another epoch, and tells which it had. Whoever keeps copies of what is in it learns that
// they are not to be believed: within 100 ms where stores run.
func BumpEpoch(ctx context.Context, database Database, log *slog.Logger) (before, after string, err error) {
	db, err := storage.Open(ctx, database, log)
	if err != nil {
		return "", "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.BumpEpoch(ctx)
}
