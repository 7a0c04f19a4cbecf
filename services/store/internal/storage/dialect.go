package storage

import (
	"context"
	"database/sql"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"gorm.io/gorm"
)

// dialect is all that differs between the databases.
type dialect interface {
	// open returns the pool that serves, which need not be connected, and the checks of what it leads to.
	open(log *slog.Logger) (*sql.DB, changeChecks, error)
	// openToMigrate makes a pool for migrations, which may take any time, and the database itself where that is a file.
	openToMigrate(ctx context.Context, log *slog.Logger) (*sql.DB, error)
	// gorm speaks this dialect on a pool.
	gorm(pool *sql.DB) gorm.Dialector
	// classify tells what an error of the driver means.
	classify(err error) class
	// clock is a query of the database's time, or "" where that is this machine's.
	clock() string
	// deleteOldest is a statement that deletes rows whose column is before a value, in the order of the column, of which
	// there is an index, and not more than a number: the two are given.
	deleteOldest(table, key, column string) string
	// deleteOne is a statement that deletes the row whose primary key is given, and waits for no other row.
	deleteOne(table, key string) string
	// hasTable is a query that counts the tables of the name given: 0 or 1.
	hasTable() string
	// migrations are the numbered SQL files, and what goose calls the dialect.
	migrations() (fs.FS, goose.Dialect)
	// migrationLock lets one process at a time migrate, where that needs a lock.
	migrationLock(log *slog.Logger) (lock.Locker, error)
}

// changeChecks are checks of whether changes can be made, and how large.
type changeChecks interface {
	// checkIdentity returns an error if the database is not the one that was opened.
	checkIdentity() error
	// checkWritable returns an error if no change could succeed now, as far as that shows without making one.
	checkWritable(ctx context.Context, pool *sql.DB) error
	// maxStatement returns how many bytes a statement may have.
	maxStatement(ctx context.Context, pool *sql.DB) (int64, error)
}
