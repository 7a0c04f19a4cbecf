// Package dialect is the boundary between storage and the kinds of databases. A driver is a package below it that
// implements Dialect. Only package storage imports the drivers, to choose one by the URL.
package dialect

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"gorm.io/gorm"
)

// Dialect is all that differs between the kinds of databases. A transaction must be at least READ COMMITTED, durable
// when its commit returns, and must leave nothing behind when it fails. A statement that fails must leave the rest of
// its transaction intact. Times must be stored in UTC with microseconds.
type Dialect interface {
	Checks
	Statements
	Schema

	// Open returns the pool for serving. The pool need not be connected. After Open, CheckIdentity compares with what was
	// opened.
	Open(log *slog.Logger) (*sql.DB, error)
	// OpenToMigrate returns a pool whose statements may take any time. It creates the database if that is a file.
	OpenToMigrate(ctx context.Context, log *slog.Logger) (*sql.DB, error)
	// Gorm returns the dialector for gorm on a pool. It must not query the database.
	Gorm(pool *sql.DB) gorm.Dialector
	// Classify returns what an error means. It must find the driver's error in a chain of wrapped errors, and return
	// Unclassified for nil and for errors of other packages.
	Classify(err error) Class
	// SingleWriter reports whether the database admits one writing transaction at a time. Then a write waits for all
	// earlier writes of this process, and polls while it meets a Conflict with another process.
	SingleWriter() bool
}

// Checks are checks of an open database.
type Checks interface {
	// CheckIdentity returns an error if the database is not the one that was opened. It must not query the database.
	CheckIdentity() error
	// CheckWritable returns an error if no change could succeed now, as far as that shows without making one.
	CheckWritable(ctx context.Context, pool *sql.DB) error
	// MaxStatement returns how many bytes a statement may have.
	MaxStatement(ctx context.Context, pool *sql.DB) (int64, error)
}

// Statements are the statements that differ between the kinds of databases.
type Statements interface {
	// ClockQuery returns a query of the database's time, or "" if the database uses the clock of this machine.
	ClockQuery() string
	// DeleteOldest returns a statement that deletes rows in the order of an indexed column. Its arguments are the value
	// before which the column must be, and the maximum number of rows.
	DeleteOldest(table, key, column string) string
	// DeleteOne returns a statement that deletes one row. Its argument is the primary key. It must wait for no other row.
	DeleteOne(table, key string) string
	// CountTables returns a query of the number of tables of a name: 0 or 1. Its argument is the name.
	CountTables() string
}

// Schema is what migrations need.
type Schema interface {
	// Migrations returns the numbered SQL files and goose's name for the dialect. All dialects have the same numbers.
	Migrations() (fs.FS, goose.Dialect)
	// MigrationLock returns a lock that lets one process at a time migrate. It may lock nothing if each migration is a
	// transaction, or can be repeated.
	MigrationLock(log *slog.Logger) (lock.Locker, error)
}

// Class is what a driver's error means, in terms that all databases share.
type Class int

// The classes of errors.
const (
	Unclassified     Class = iota // a statement that is wrong, or no error of a database
	DuplicateKey                  // of the primary key
	DuplicateValue                // of another unique index
	MissingReference              // of a foreign key
	Conflict                      // with another transaction, which went through: worth another attempt
	Refused                       // by a server that takes no statements now, though another may: nothing was done
	Denied                        // no access, until somebody changes an account, a right or a setting
	Unavailable                   // cannot be reached, or does not do its work now
)

var (
	// ErrUnavailable is a database that cannot be reached or does not do its work now. Whether a write that failed with
	// it happened is not known.
	ErrUnavailable = errors.New("the database is unavailable")
	// ErrAccessDenied is a database that denies access to this process, or lacks the right to an operation, until
	// somebody changes an account, a right or a setting. It is ErrUnavailable too: the statement is not at fault.
	ErrAccessDenied error = accessDeniedError{}
	// ErrLockHeld is a database of which another process has held the only write lock for too long.
	ErrLockHeld = errors.New("another process holds the write lock of the database")
)

type accessDeniedError struct{}

func (accessDeniedError) Error() string { return "the database denies access" }

// Is reports whether target is ErrUnavailable.
func (accessDeniedError) Is(target error) bool { return target == ErrUnavailable }

// ServerTooOldError is a server of a version that is not supported. It is ErrAccessDenied: waiting does not help.
type ServerTooOldError struct{ Server, Needed string }

// Error returns a text with both versions.
func (e *ServerTooOldError) Error() string {
	return fmt.Sprintf("the database server is %s, and %s or later is needed", e.Server, e.Needed)
}

// Is reports whether target is ErrAccessDenied or ErrUnavailable.
func (e *ServerTooOldError) Is(target error) bool {
	return target == ErrAccessDenied || target == ErrUnavailable
}
