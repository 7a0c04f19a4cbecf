package storage

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

//go:embed migrations
var migrationFiles embed.FS

// Migrate applies all migrations that the database lacks, and logs each. Any number of processes may migrate one
// database at once: they take turns, and those who come late find nothing to do.
func Migrate(ctx context.Context, config Config, log *slog.Logger) error {
	dialect, err := config.dialect()
	if err != nil {
		return err
	}
	pool, err := dialect.openToMigrate(ctx, log)
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	s := &Storage{dialect: dialect, pool: pool}
	err = s.migrate(ctx, log)
	return errors.Join(s.explain(ctx, "migrate the database", err, nil), pool.Close())
}

func (s *Storage) migrate(ctx context.Context, log *slog.Logger) (err error) {
	locker, err := s.dialect.migrationLock(log)
	if err != nil {
		return err
	}
	if err := locker.Lock(ctx, s.pool); err != nil {
		return fmt.Errorf("wait for other migrations: %w", err)
	}
	defer func() { err = errors.Join(err, locker.Unlock(context.WithoutCancel(ctx), s.pool)) }()
	for {
		before, needed, err := schemaVersions(ctx, s.dialect, s.pool)
		if err != nil {
			return err
		}
		if before >= needed {
			log.InfoContext(ctx, "the database schema is current", "version", before, "needed", needed)
			return nil
		}
		if err := s.applyMigrations(ctx, log); err != nil {
			// Without a lock another process may have been first with the same migration. Then the schema is further
			// than it was, and the rest is tried; each round is a migration further, so the rounds end.
			after, _, versionErr := schemaVersions(ctx, s.dialect, s.pool)
			if versionErr != nil || after <= before {
				return err
			}
		}
	}
}

func (s *Storage) applyMigrations(ctx context.Context, log *slog.Logger) error {
	provider, err := newProvider(s.dialect, s.pool, log)
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

// schemaVersions tells the version of the database, 0 where it was never migrated, and the one that this binary needs.
// It changes nothing.
func schemaVersions(ctx context.Context, dialect dialect, pool *sql.DB) (version, needed int64, err error) {
	provider, err := newProvider(dialect, pool, slog.New(slog.DiscardHandler))
	if err != nil {
		return 0, 0, err
	}
	sources := provider.ListSources()
	needed = sources[len(sources)-1].Version

	var tables int
	err = pool.QueryRowContext(ctx, dialect.hasTable(), goose.DefaultTablename).Scan(&tables)
	if err != nil {
		return 0, 0, fmt.Errorf("look for the table of versions: %w", err)
	}
	if tables == 0 {
		return 0, needed, nil
	}
	_, gooseDialect := dialect.migrations()
	store, err := database.NewStore(gooseDialect, goose.DefaultTablename)
	if err != nil {
		return 0, 0, fmt.Errorf("configure goose: %w", err)
	}
	version, err = store.GetLatestVersion(ctx, pool)
	if errors.Is(err, database.ErrVersionNotFound) {
		return 0, needed, nil // Another process has just made the table.
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read the version: %w", err)
	}
	return version, needed, nil
}

func newProvider(dialect dialect, pool *sql.DB, log *slog.Logger) (*goose.Provider, error) {
	files, gooseDialect := dialect.migrations()
	provider, err := goose.NewProvider(gooseDialect, pool, files, goose.WithDisableGlobalRegistry(true),
		goose.WithGoMigrations(emailsMigration(dialect, log)))
	if err != nil {
		return nil, fmt.Errorf("configure goose: %w", err)
	}
	return provider, nil
}

// subdirectory gives a folder of the migrations, which is there: it is compiled in.
func subdirectory(name string) fs.FS {
	folder, err := fs.Sub(migrationFiles, name)
	if err != nil {
		panic(fmt.Sprintf("migrations: %v", err)) // Only for a name that is not a valid path.
	}
	return folder
}
