// Package operator does what the operator's commands do: it works on the database directly, beside the stores that
// serve it.
package operator

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/config"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/audit"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/transfer"
)

// Migrate applies the migrations that the schema of the database lacks.
func Migrate(ctx context.Context, database config.Database, log *slog.Logger) error {
	if err := database.Validate(); err != nil {
		return err
	}
	return storage.Migrate(ctx, database, log)
}

// withDatabase calls do with the open database. The audit names the operator as the actor.
func withDatabase(
	ctx context.Context, database config.Database, log *slog.Logger, do func(context.Context, *storage.Storage) error,
) error {
	db, err := storage.Open(ctx, database, log)
	if err != nil {
		return err
	}
	return errors.Join(do(audit.WithActor(ctx, audit.Operator), db), db.Close())
}

// BumpEpoch replaces the epoch of a database, and returns the epoch before and the one after. Every cache service then
// discards what it holds: within a second where stores run.
func BumpEpoch(ctx context.Context, database config.Database, log *slog.Logger) (before, after string, err error) {
	err = withDatabase(ctx, database, log, func(ctx context.Context, db *storage.Storage) (err error) {
		before, after, err = db.BumpEpoch(ctx)
		return err
	})
	return before, after, err
}

// ImportConfig is what ImportUsers needs.
type ImportConfig struct {
	Database config.Database
	File     string // of JSON lines
	Report   string // where to write why lines are rejected; there must be no file, unless this import has begun it
	// MemoryLimit is what a process that verifies the hashes may use, in bytes; 0 is what this one may.
	MemoryLimit int64
}

// ImportSummary describes an import that has finished.
type ImportSummary = transfer.Summary

// ImportUsers imports the users of a file. If it is interrupted, even by the end of the process, the same call resumes:
// no user is imported twice and none left out, and the report has each rejected line once. A file is known by its
// content, and is imported once.
func ImportUsers(ctx context.Context, in ImportConfig, log *slog.Logger) (summary ImportSummary, err error) {
	memory := cmp.Or(in.MemoryLimit, password.MemoryLimit())
	err = withDatabase(ctx, in.Database, log, func(ctx context.Context, db *storage.Storage) (err error) {
		summary, err = transfer.ImportUsers(ctx, db, in.File, in.Report, memory, log)
		return err
	})
	return summary, err
}

// ExportUsers writes every user as a line of JSON, in the order of the ids, and returns how many there are. Password
// hashes are written only withHashes.
func ExportUsers(
	ctx context.Context, database config.Database, withHashes bool, to io.Writer, log *slog.Logger,
) (users int, err error) {
	err = withDatabase(ctx, database, log, func(ctx context.Context, db *storage.Storage) (err error) {
		users, err = transfer.ExportUsers(ctx, db, withHashes, to)
		return err
	})
	return users, err
}

// ExportAuditEvents writes the audit events of a time, from inclusive to exclusive, as lines of JSON, the newest first,
// and returns how many there are. A nil bound does not apply.
func ExportAuditEvents(
	ctx context.Context, database config.Database, from, until *time.Time, to io.Writer, log *slog.Logger,
) (events int, err error) {
	err = withDatabase(ctx, database, log, func(ctx context.Context, db *storage.Storage) (err error) {
		events, err = transfer.ExportAuditEvents(ctx, db, from, until, to)
		return err
	})
	return events, err
}

// CheckHash reports whether a password matches the hash that a file of users to import has for an address. It imports
// nothing. No error repeats the hash or the password.
func CheckHash(ctx context.Context, path, email, secret string) (bool, error) {
	hash, err := transfer.FindHash(ctx, path, email)
	if err != nil {
		return false, err
	}
	return password.Matches(hash, secret, password.MaxHashMemory(password.MemoryLimit()))
}

// emailConflict is a line that CheckEmails writes. Each user logs in with the spelling of the address that is written
// here; all other spellings are those of User.
type emailConflict struct {
	User  conflictingUser `json:"user"`
	Other conflictingUser `json:"otherUser"`
}

type conflictingUser struct {
	ID    string `json:"id"`
	Email string `json:"email"`
}

// CheckEmails updates the canonical e-mail address of every user to the form of this version, which it lacks if a store
// of an earlier version has written it since the migration. It writes each two users who have one e-mail address as a
// line of JSON, leaves both as they are, and returns how many were changed and how many conflict.
func CheckEmails(
	ctx context.Context, database config.Database, to io.Writer, log *slog.Logger,
) (changed, conflicts int, err error) {
	encoder := json.NewEncoder(to)
	encoder.SetEscapeHTML(false)
	err = withDatabase(ctx, database, log, func(ctx context.Context, db *storage.Storage) (err error) {
		changed, err = db.CheckEmails(ctx, func(found storage.EmailConflict) error {
			conflicts++
			return encoder.Encode(emailConflict{
				User:  conflictingUser{found.UserID, found.Email},
				Other: conflictingUser{found.OtherUserID, found.OtherEmail},
			})
		})
		return err
	})
	return changed, conflicts, err
}
