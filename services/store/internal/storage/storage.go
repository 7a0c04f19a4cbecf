// Package storage is the durable truth of the store service: users, credentials, sessions and signing keys.
//
// There is one implementation, on gorm, and two dialects: MySQL, which MariaDB speaks too, and SQLite. An operation is
// one transaction; when it returns without an error its outcome is on disk. The database decides what is unique, so any
// number of stores may share one. No password, hash or key is ever logged, nor part of an error.
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
)

// Storage is a pool of connections to the database. It is safe for concurrent use, and finds back by itself to a
// database that was away.
//
// Every operation fails with the context's error when its context ends, and with ErrUnavailable when the database
// cannot be reached; each names its other errors.
type Storage struct {
	dialect dialect
	checks  changeChecks
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
// missing. A schema that is ahead is taken: while a new version is rolled out, the old one serves on it.
func Open(ctx context.Context, config Config, log *slog.Logger) (*Storage, error) {
	dialect, err := config.dialect()
	if err != nil {
		return nil, err
	}
	pool, checks, err := dialect.open(log)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	s := &Storage{dialect: dialect, checks: checks, pool: pool, written: make(chan struct{}, 1), lockWait: maxLockWait}
	if _, oneWriter := dialect.(*sqliteDialect); oneWriter {
		s.writer = make(chan struct{}, 1)
	}
	if err := s.start(ctx, log); err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	return s, nil
}

// Close closes all connections. Operations under way end first.
func (s *Storage) Close() error {
	if err := s.pool.Close(); err != nil {
		return fmt.Errorf("close the database: %w", err)
	}
	return nil
}

func (s *Storage) start(ctx context.Context, log *slog.Logger) error {
	version, needed, err := schemaVersions(ctx, s.dialect, s.pool)
	if err != nil {
		return s.explain(ctx, "read the version of the database schema", err, nil)
	}
	if version < needed {
		return &SchemaBehindError{Version: version, Needed: needed}
	}
	if version > needed {
		log.InfoContext(ctx, "the database schema is newer than this binary", "version", version, "needed", needed)
	}
	if err := s.compareClock(ctx); err != nil {
		return s.explain(ctx, "ask the database for the time", err, nil)
	}
	s.db, err = gorm.Open(s.dialect.gorm(s.pool), &gorm.Config{
		// gorm logs statements with their values, hashes among them. What fails is returned, and logged by the caller.
		Logger: logger.Discard,
		// Each write is one statement, or begins its transaction itself.
		SkipDefaultTransaction: true,
		// Names the columns, so that those of a newer schema are not asked for.
		QueryFields: true,
		// The version was just read.
		DisableAutomaticPing: true,
		// PrepareStmt stays off: while gorm prepares a statement for its cache, under the context of the first caller,
		// every other caller of it waits, and all fail if that one goes away.
	})
	if err != nil {
		return fmt.Errorf("configure gorm: %w", err)
	}
	return nil
}
