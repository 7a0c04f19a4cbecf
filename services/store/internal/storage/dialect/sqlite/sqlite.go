// Package sqlite is the dialect of SQLite: a file of this machine.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"gorm.io/gorm"
	driver "modernc.org/sqlite"
)

// maxConnections bounds the readers, because each connection has a cache of 2 MB. There is one writer at a time anyway.
const maxConnections = 8

// Dialect implements dialect.Dialect for one file.
type Dialect struct {
	path   string
	opened fs.FileInfo // the file that Open found, or nil
}

// New returns the dialect for the file of a path. It reports all errors of the path. There must be no password.
func New(path, password string) (*Dialect, error) {
	var errs []error
	switch {
	case path == "":
		errs = append(errs, errors.New("the database URL names no file: sqlite:PATH"))
	case path == ":memory:":
		errs = append(errs, errors.New("the database must be a file: what is in memory is lost"))
	case strings.HasPrefix(path, "//"):
		errs = append(errs, errors.New("the database URL is sqlite:PATH, without slashes before the path"))
	case strings.ContainsAny(path, "?\x00"):
		errs = append(errs, errors.New("the path of the database must not hold a ? or NUL; there are no parameters"))
	}
	if password != "" {
		errs = append(errs, errors.New("an SQLite file has no password: it is not encrypted"))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return &Dialect{path: path}, nil
}

// Open returns an error if there is no file: a mistyped path must not become an empty database.
func (d *Dialect) Open(*slog.Logger) (*sql.DB, error) {
	if err := d.checkFolder(); err != nil {
		return nil, err
	}
	var err error
	d.opened, err = os.Stat(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf(`there is no file %s: run "gatehouse migrate" to make the database`, d.path)
	}
	if err != nil {
		return nil, fmt.Errorf("look for the file: %w", err)
	}
	return d.connect(serveBusyTimeout)
}

// OpenToMigrate creates the file if there is none.
func (d *Dialect) OpenToMigrate(ctx context.Context, _ *slog.Logger) (*sql.DB, error) {
	if err := d.checkFolder(); err != nil {
		return nil, err
	}
	if err := createPrivate(ctx, d.path); err != nil {
		return nil, fmt.Errorf("create the database file: %w", err)
	}
	return d.connect(migrateBusyTimeout)
}

// checkFolder returns a better error than SQLite, whose text is only "unable to open database file".
func (d *Dialect) checkFolder() error {
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

// createPrivate creates an empty database that only its owner can read, unless there is a file. SQLite creates its -wal
// and -shm files with the same mode. The database has a write-ahead log from the start: if several processes switch to
// it at once, SQLite fails all but one.
//
// It does not open the path itself: if another goroutine has opened the database by then, closing the descriptor drops
// the POSIX locks of that goroutine (https://www.sqlite.org/howtocorrupt.html, section 2.2).
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
		err = (&Dialect{path: draft.Name()}).writeEmpty(ctx)
	}
	if err == nil {
		err = os.Link(draft.Name(), path)
	}
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return errors.Join(err, os.Remove(draft.Name()))
}

// writeEmpty converts an empty file into an empty database.
func (d *Dialect) writeEmpty(ctx context.Context) error {
	pool, err := d.connect(migrateBusyTimeout)
	if err != nil {
		return err
	}
	// A connection switches the mode, and closing the last one removes the log.
	return errors.Join(pool.PingContext(ctx), pool.Close())
}

// The time for which SQLite itself waits for a lock, in ms. While a store serves, its writes queue and poll, as
// SingleWriter requires. Reads wait only while another process recovers the log of a file that was not closed.
const (
	serveBusyTimeout   = "100"
	migrateBusyTimeout = "10000"
)

func (d *Dialect) connect(busyTimeout string) (*sql.DB, error) {
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
	connector, err := driver.NewConnector(location.String())
	if err != nil {
		return nil, fmt.Errorf("configure the connections: %w", err)
	}
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(maxConnections)
	pool.SetMaxIdleConns(maxConnections)
	return pool, nil
}

// Gorm returns the dialector of this package.
func (d *Dialect) Gorm(pool *sql.DB) gorm.Dialector { return dialector{pool: pool} }

// MaxStatement returns SQLITE_MAX_LENGTH, which bounds each value; statements have placeholders for them.
func (d *Dialect) MaxStatement(context.Context, *sql.DB) (int64, error) {
	return 1_000_000_000, nil
}

// SingleWriter returns true: SQLite locks the file.
func (d *Dialect) SingleWriter() bool { return true }

// ClockQuery returns "".
func (d *Dialect) ClockQuery() string { return "" }

// errFileReplaced is a path that no longer leads to the file that was opened. The connections still write to that file,
// and lose it when the process ends.
var errFileReplaced = errors.New("the database file was deleted, moved or replaced since it was opened: " +
	"put it back, or restart")

// CheckIdentity returns an error if the path leads to another file than the one that Open found.
func (d *Dialect) CheckIdentity() error {
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

// CheckWritable checks the file only. The attempt to take the write lock shows the rest.
func (d *Dialect) CheckWritable(context.Context, *sql.DB) error { return d.CheckIdentity() }

// DeleteOldest returns a statement with a subquery, because a DELETE has no LIMIT in SQLite.
func (d *Dialect) DeleteOldest(table, key, column string) string {
	return "DELETE FROM " + table + " WHERE " + key + " IN (SELECT " + key + " FROM " + table +
		" WHERE " + column + " < ? ORDER BY " + column + " LIMIT ?)"
}

// DeleteOne returns an ordinary DELETE.
func (d *Dialect) DeleteOne(table, key string) string {
	return "DELETE FROM " + table + " WHERE " + key + " = ?"
}

// CountTables returns a query of SQLite's schema table.
func (d *Dialect) CountTables() string {
	return "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
}

//go:embed migrations/*.sql
var migrationFiles embed.FS

// Migrations returns the files of the folder migrations.
func (d *Dialect) Migrations() (fs.FS, goose.Dialect) {
	folder, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		panic(fmt.Sprintf("migrations: %v", err)) // Only for a name that is not a valid path.
	}
	return folder, goose.DialectSQLite3
}

// MigrationLock returns a lock that locks nothing: the migrations are transactions, so that of two processes with the
// same one the second fails and leaves nothing behind. 00012 is not like that, and can be repeated.
func (d *Dialect) MigrationLock(*slog.Logger) (lock.Locker, error) { return noLock{}, nil }

type noLock struct{}

func (noLock) Lock(context.Context, *sql.DB) error   { return nil }
func (noLock) Unlock(context.Context, *sql.DB) error { return nil }
