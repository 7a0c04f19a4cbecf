package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"gorm.io/gorm"
	"modernc.org/sqlite"
)

// sqliteMaxConnections bounds the readers. Writers take turns anyway, and each connection has a cache of 2 MB.
const sqliteMaxConnections = 8

// sqliteDialect keeps the database in a file of this machine.
type sqliteDialect struct {
	path   string
	opened fs.FileInfo // the file that serves; nil while none does
}

// open does not make the file: a path that is mistyped must not become an empty database.
func (d *sqliteDialect) open(*slog.Logger) (*sql.DB, changeChecks, error) {
	if err := d.checkFolder(); err != nil {
		return nil, nil, err
	}
	var err error
	d.opened, err = os.Stat(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf(`there is no file %s: run "gatehouse migrate" to make the database`, d.path)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("look for the file: %w", err)
	}
	pool, err := d.connect(serveBusyTimeout)
	return pool, d, err
}

func (d *sqliteDialect) openToMigrate(ctx context.Context, _ *slog.Logger) (*sql.DB, error) {
	if err := d.checkFolder(); err != nil {
		return nil, err
	}
	if err := createPrivate(ctx, d.path); err != nil {
		return nil, fmt.Errorf("make the database file: %w", err)
	}
	return d.connect(migrateBusyTimeout)
}

// checkFolder is for the message: SQLite says "unable to open database file" and no more.
func (d *sqliteDialect) checkFolder() error {
	folder := filepath.Dir(d.path)
	info, err := os.Stat(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the folder %s of the database does not exist", folder)
	}
	if err != nil {
		return fmt.Errorf("look for the folder: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder: there can be no database in it", folder)
	}
	return nil
}

// createPrivate makes an empty database that only its owner can read, unless there is a file. SQLite gives its -wal and
// -shm files the same mode. It has a write-ahead log from the start: of several who would switch to it at once, SQLite
// lets one do so, and does not make the others wait.
//
// The path itself is not opened: if another goroutine had the database open by then, closing the descriptor would drop
// that one's POSIX locks (https://www.sqlite.org/howtocorrupt.html, section 2.2).
func createPrivate(ctx context.Context, path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	draft, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	err = draft.Close()
	if err == nil {
		err = (&sqliteDialect{path: draft.Name()}).writeEmpty(ctx)
	}
	if err == nil {
		err = os.Link(draft.Name(), path)
	}
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return errors.Join(err, os.Remove(draft.Name()))
}

// writeEmpty makes an empty file an empty database.
func (d *sqliteDialect) writeEmpty(ctx context.Context) error {
	pool, err := d.connect(migrateBusyTimeout)
	if err != nil {
		return err
	}
	// A connection switches the mode, and the last one leaves no log.
	return errors.Join(pool.PingContext(ctx), pool.Close())
}

// How long SQLite itself waits for a lock, in ms. While a store serves, changes wait in line and poll: see
// Storage.withLock. Reads wait only while another process recovers the log of a file that was not closed.
const (
	serveBusyTimeout   = "100"
	migrateBusyTimeout = "10000"
)

func (d *sqliteDialect) connect(busyTimeout string) (*sql.DB, error) {
	path, err := filepath.Abs(d.path)
	if err != nil {
		return nil, fmt.Errorf("find the current folder: %w", err)
	}
	options := url.Values{
		// Readers do not wait for the writer.
		"_journal_mode": {"WAL"},
		// A write is on disk, not only with the operating system, when it is acknowledged: it survives a power cut.
		"_synchronous":  {"FULL"},
		"_foreign_keys": {"on"},
		"_busy_timeout": {busyTimeout},
		// Transactions here write. One that began as a reader could not wait for its turn: it would fail at once.
		"_txlock": {"immediate"},
		// Times are whole microseconds: exact, and in order.
		"_time_integer_format": {"unix_micro"},
		"_inttotime":           {"true"},
		// A misspelt column in double quotes is an error and not a string.
		"_dqs": {"false"},
		// The file exists by now.
		"mode": {"rw"},
	}
	location := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: options.Encode()}
	connector, err := sqlite.NewConnector(location.String())
	if err != nil {
		return nil, fmt.Errorf("configure the connections: %w", err)
	}
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(sqliteMaxConnections)
	pool.SetMaxIdleConns(sqliteMaxConnections)
	return pool, nil
}

func (d *sqliteDialect) gorm(pool *sql.DB) gorm.Dialector { return sqliteDialector{pool: pool} }

// maxStatement returns SQLITE_MAX_LENGTH, which bounds each value; statements have placeholders for them.
func (d *sqliteDialect) maxStatement(context.Context, *sql.DB) (int64, error) {
	return 1_000_000_000, nil
}

func (d *sqliteDialect) clock() string { return "" }

// errFileReplaced is a path under which there is not the file that was opened, whose connections go on with that one:
// what they write is lost when the process ends.
var errFileReplaced = errors.New("the database file was deleted, moved or replaced since it was opened: " +
	"put it back, or restart")

func (d *sqliteDialect) checkIdentity() error {
	if d.opened == nil {
		return nil
	}
	now, err := os.Stat(d.path)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && !os.SameFile(d.opened, now)) {
		return errFileReplaced
	}
	if err != nil {
		return fmt.Errorf("look for the file: %w", err)
	}
	return nil
}

// checkWritable leaves the rest to the attempt to take the lock for changes.
func (d *sqliteDialect) checkWritable(context.Context, *sql.DB) error { return d.checkIdentity() }

// deleteOldest has a subquery: SQLite knows no LIMIT of a DELETE.
func (d *sqliteDialect) deleteOldest(table, key, column string) string {
	return "DELETE FROM " + table + " WHERE " + key + " IN (SELECT " + key + " FROM " + table +
		" WHERE " + column + " < ? ORDER BY " + column + " LIMIT ?)"
}

func (d *sqliteDialect) deleteOne(table, key string) string {
	return "DELETE FROM " + table + " WHERE " + key + " = ?"
}

func (d *sqliteDialect) hasTable() string {
	return "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
}

func (d *sqliteDialect) migrations() (fs.FS, goose.Dialect) {
	return subdirectory("migrations/sqlite"), goose.DialectSQLite3
}

func (d *sqliteDialect) migrationLock(*slog.Logger) (lock.Locker, error) { return noLock{}, nil }

// noLock is for migrations that are transactions: of two processes with the same one the second fails, and leaves
// nothing behind.
type noLock struct{}

func (noLock) Lock(context.Context, *sql.DB) error   { return nil }
func (noLock) Unlock(context.Context, *sql.DB) error { return nil }
