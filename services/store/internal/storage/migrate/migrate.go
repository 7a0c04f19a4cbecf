// Package migrate updates the schema of a database: numbered SQL files of the dialect, and the migrations
// that need Go.
package migrate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
)

// Up applies all migrations that the database lacks, and logs each. Any number of processes may migrate one database at
// the same time: one does the work, and the others find nothing to do. Errors are those of the driver.
func Up(ctx context.Context, db dialect.Dialect, pool *sql.DB, log *slog.Logger) (err error) {
	locker, err := db.MigrationLock(log)
	if err != nil {
		return err
	}
	if err := locker.Lock(ctx, pool); err != nil {
		return fmt.Errorf("wait for other migrations: %w", err)
	}
	defer func() { err = errors.Join(err, locker.Unlock(context.WithoutCancel(ctx), pool)) }()
	for {
		before, needed, err := Versions(ctx, db, pool)
		if err != nil {
			return err
		}
		if before >= needed {
			log.InfoContext(ctx, "database schema is current", "version", before, "needed", needed)
			return nil
		}
		if err := apply(ctx, db, pool, log); err != nil {
			// Without a lock another process may have been first with the same migration. Then the version is higher than
			// before, and the rest is tried; each round is a version further, so the rounds end.
			after, _, versionErr := Versions(ctx, db, pool)
			if versionErr != nil || after <= before {
				return err
			}
		}
	}
}

func apply(ctx context.Context, db dialect.Dialect, pool *sql.DB, log *slog.Logger) error {
	provider, err := NewProvider(db, pool, log)
	if err != nil {
		return err
	}
	applied, err := provider.Up(ctx)
	if partial, ok := errors.AsType[*goose.PartialError](err); ok {
		applied = partial.Applied
	}
	for _, migration := range applied {
		log.InfoContext(ctx, "applied a migration", "version", migration.Source.Version,
			"file", path.Base(migration.Source.Path), "took_us", migration.Duration.Microseconds())
	}
	if err != nil {
		return fmt.Errorf("apply the migrations: %w", err)
	}
	return nil
}

// Versions returns the version of the database, which is 0 before the first migration, and the version that this binary
// needs. It changes nothing.
func Versions(ctx context.Context, db dialect.Dialect, pool *sql.DB) (version, needed int64, err error) {
	provider, err := NewProvider(db, pool, slog.New(slog.DiscardHandler))
	if err != nil {
		return 0, 0, err
	}
	sources := provider.ListSources()
	needed = sources[len(sources)-1].Version

	var tables int
	err = pool.QueryRowContext(ctx, db.CountTables(), goose.DefaultTablename).Scan(&tables)
	if err != nil {
		return 0, 0, fmt.Errorf("look for the table of versions: %w", err)
	}
	if tables == 0 {
		return 0, needed, nil
	}
	_, gooseDialect := db.Migrations()
	store, err := database.NewStore(gooseDialect, goose.DefaultTablename)
	if err != nil {
		return 0, 0, fmt.Errorf("configure goose: %w", err)
	}
	version, err = store.GetLatestVersion(ctx, pool)
	if errors.Is(err, database.ErrVersionNotFound) {
		return 0, needed, nil // Another process has just created the table.
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read the version: %w", err)
	}
	return version, needed, nil
}

// NewProvider returns goose's provider of all migrations. It is for tests, which apply single migrations.
func NewProvider(db dialect.Dialect, pool *sql.DB, log *slog.Logger) (*goose.Provider, error) {
	files, gooseDialect := db.Migrations()
	provider, err := goose.NewProvider(gooseDialect, pool, files, goose.WithDisableGlobalRegistry(true),
		goose.WithGoMigrations(emailsMigration(db, log)))
	if err != nil {
		return nil, fmt.Errorf("configure goose: %w", err)
	}
	return provider, nil
}
