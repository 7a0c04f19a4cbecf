// Package storage stores users, credentials, sessions, signing keys, the change feed and the audit trail.
//
// An operation is one transaction. When it returns without an error, its outcome is on disk. The database decides what
// is unique, so that any number of stores may share one. No password, hash or key is ever logged, nor part of an error.
//
// It is one package of more than twelve files because nearly every operation writes the record, its change for the feed
// and its audit event in one transaction. What differs between databases is in the package dialect and its drivers; the
// schema is brought up to date by the package migrate.
package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/migrate"
)

// Storage is a pool of connections to the database. It is safe for concurrent use, and reconnects by itself to a
// database that was away.
//
// Every operation fails with the context's error when its context ends, and with ErrUnavailable when the database
// cannot be reached. The comments of the operations name their other errors.
type Storage struct {
	dialect dialect.Dialect
	pool    *sql.DB
	db      *gorm.DB
	ahead   atomic.Int64 // how far the database's clock is ahead of this machine's, in nanoseconds
	written chan struct{}
	writer  chan struct{} // holds one while a change is made; nil if the database admits several writers

	lockWait            time.Duration // for the lock of a file
	outcomes            changeOutcomes
	ownChangesPerMinute int // 0 if there is no limit
}

// Open connects to a database that is migrated. It fails with *SchemaBehindError if migrations of this binary are
// missing. It accepts a newer schema, because the old version serves on it while a new version is rolled out.
func Open(ctx context.Context, config Config, log *slog.Logger) (*Storage, error) {
	driver, err := config.dialect()
	if err != nil {
		return nil, err
	}
	pool, err := driver.Open(log)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	s := &Storage{dialect: driver, pool: pool, written: make(chan struct{}, 1), lockWait: deadlines.FileLock}
	if driver.SingleWriter() {
		s.writer = make(chan struct{}, 1)
	}
	if err := s.start(ctx, log); err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	return s, nil
}

// Close closes all connections, after the operations in progress have ended.
func (s *Storage) Close() error {
	if err := s.pool.Close(); err != nil {
		return fmt.Errorf("close the database: %w", err)
	}
	return nil
}

func (s *Storage) start(ctx context.Context, log *slog.Logger) error {
	version, needed, err := migrate.Versions(ctx, s.dialect, s.pool)
	if err != nil {
		return s.wrap(ctx, "read the version of the database schema", err, nil)
	}
	if version < needed {
		return &SchemaBehindError{Version: version, Needed: needed}
	}
	if version > needed {
		log.InfoContext(ctx, "database schema is newer than this binary", "version", version, "needed", needed)
	}
	if err := s.compareClock(ctx); err != nil {
		return s.wrap(ctx, "read the time of the database", err, nil)
	}
	s.db, err = gorm.Open(s.dialect.Gorm(s.pool), &gorm.Config{
		// gorm logs statements with their values, hashes among them. Errors are returned, and logged by the caller.
		Logger: logger.Discard,
		// Each write is one statement, or begins its transaction itself.
		SkipDefaultTransaction: true,
		// Names the columns, so that a query does not select those of a newer schema.
		QueryFields: true,
		// The version was just read.
		DisableAutomaticPing: true,
		// PrepareStmt stays off: while gorm prepares a statement for its cache, under the context of the first caller, all
		// other callers of it wait, and fail if the first one is canceled.
	})
	if err != nil {
		return fmt.Errorf("configure gorm: %w", err)
	}
	return nil
}

// Migrate applies all migrations that the database lacks, and logs each. Any number of processes may migrate one
// database at the same time: one does the work, and the others find nothing to do.
func Migrate(ctx context.Context, config Config, log *slog.Logger) error {
	driver, err := config.dialect()
	if err != nil {
		return err
	}
	pool, err := driver.OpenToMigrate(ctx, log)
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	s := &Storage{dialect: driver, pool: pool}
	err = migrate.Up(ctx, driver, pool, log)
	return errors.Join(s.wrap(ctx, "migrate the database", err, nil), pool.Close())
}

// EmailConflict is two users with one e-mail address.
type EmailConflict = migrate.EmailConflict

// CheckEmails sets the canonical e-mail address of every user as migrate.CheckEmails does. It returns how many it
// changed, and the error of conflict unaltered.
func (s *Storage) CheckEmails(ctx context.Context, conflict func(EmailConflict) error) (changed int, err error) {
	write := func(ctx context.Context, statement string, args ...any) (rows int64, err error) {
		err = s.write(ctx, func(db *gorm.DB) error {
			result := db.Exec(statement, args...)
			rows = result.RowsAffected
			return result.Error
		})
		return rows, err
	}
	var conflictErr error
	changed, err = migrate.CheckEmails(ctx, s.dialect, s.pool, write, func(found EmailConflict) error {
		conflictErr = conflict(found)
		return conflictErr
	})
	if conflictErr != nil {
		return changed, conflictErr
	}
	return changed, s.wrap(ctx, "check the e-mail addresses", err, nil)
}
