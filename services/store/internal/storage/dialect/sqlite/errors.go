package sqlite

import (
	"errors"
	"io/fs"

	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
)

// Classify returns what an error means. A result code that is on no list means that the file, the disk or the memory
// is not what a change needs.
func (d *Dialect) Classify(err error) dialect.Class {
	if _, ok := errors.AsType[*fs.PathError](err); ok || errors.Is(err, errFileReplaced) ||
		errors.Is(err, dialect.ErrLockHeld) {
		return dialect.Unavailable
	}
	answer, ok := errors.AsType[*driver.Error](err)
	if !ok {
		return dialect.Unclassified
	}
	switch answer.Code() {
	case sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return dialect.DuplicateKey
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE:
		return dialect.DuplicateValue
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return dialect.MissingReference
	}
	const primary = 0xff // The low byte is the code without its extension.
	switch answer.Code() & primary {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		// Another process writes, or another pool of this one. Nothing was done; the caller's deadline bounds the attempts.
		return dialect.Conflict
	case
		sqlite3.SQLITE_ERROR,      // syntax, or an unknown table or column
		sqlite3.SQLITE_INTERNAL,   // a fault of SQLite itself
		sqlite3.SQLITE_TOOBIG,     // a statement or a value beyond what SQLite can hold
		sqlite3.SQLITE_CONSTRAINT, // of another kind than those above
		sqlite3.SQLITE_MISMATCH,   // a value of another type than the column's
		sqlite3.SQLITE_MISUSE,     // the driver's fault
		sqlite3.SQLITE_RANGE:      // a parameter that does not exist
		return dialect.Unclassified
	default:
		return dialect.Unavailable
	}
}
