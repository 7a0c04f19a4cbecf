package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"

	"github.com/pressly/goose/v3"
	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr"
)

const (
	// emailsVersion is the version of the migration that compares e-mail addresses by IDNA. It is written in Go because
	// no database can: its number is free in the folders of SQL files.
	emailsVersion = 12

	// emailsBatch is how many users are read at a time.
	emailsBatch = 1000

	// maxLoggedConflicts bounds what the migration logs of them. `gatehouse users check-emails` writes all.
	maxLoggedConflicts = 100
)

// EmailConflict is two users with one e-mail address, which was two before addresses were compared by IDNA. Each logs
// in with the spelling that it was made with; every other spelling is the one of User.
type EmailConflict struct {
	UserID, Email           string // whose canonical form it is
	OtherUserID, OtherEmail string // who has the key of before
}

// emailsMigration is migration 00012. It does what CheckEmails does, and logs conflicts.
func emailsMigration(dialect dialect, log *slog.Logger) *goose.Migration {
	up := func(ctx context.Context, db *sql.DB) error {
		conflicts := 0
		walk := emailWalk{
			db: db, dialect: dialect,
			write: func(ctx context.Context, statement string, args ...any) (int64, error) {
				result, err := db.ExecContext(ctx, statement, args...)
				if err != nil {
					return 0, err
				}
				return result.RowsAffected()
			},
			conflict: func(conflict EmailConflict) error {
				if conflicts++; conflicts <= maxLoggedConflicts {
					log.WarnContext(ctx, "two users have one e-mail address",
						"user", conflict.UserID, "other_user", conflict.OtherUserID)
				}
				return nil
			},
		}
		err := walk.run(ctx)
		if err == nil && walk.changed+conflicts > 0 {
			log.InfoContext(ctx, "compared e-mail addresses by IDNA", "changed", walk.changed, "conflicts", conflicts,
				"see", "gatehouse users check-emails")
		}
		return err
	}
	none := func(context.Context, *sql.DB) error { return nil } // The version before finds nearly all users all the same.
	migration := goose.NewGoMigration(emailsVersion, &goose.GoFunc{RunDB: up}, &goose.GoFunc{RunDB: none})
	migration.Source = "00012_compare_emails.go"
	return migration
}

// CheckEmails brings the canonical e-mail address of every user to what emailaddr.Canonical returns, and reports how
// many were another. Two users who would have one stay as they are, and are reported to conflict, whose error ends it.
// It may run beside stores, and any number of times: it does what is left to do.
func (s *Storage) CheckEmails(ctx context.Context, conflict func(EmailConflict) error) (changed int, err error) {
	var conflictErr error
	walk := emailWalk{
		db: s.pool, dialect: s.dialect,
		write: func(ctx context.Context, statement string, args ...any) (rows int64, err error) {
			err = s.write(ctx, func(db *gorm.DB) error {
				result := db.Exec(statement, args...)
				rows = result.RowsAffected
				return result.Error
			})
			return rows, err
		},
		conflict: func(found EmailConflict) error {
			conflictErr = conflict(found)
			return conflictErr
		},
	}
	err = walk.run(ctx)
	if conflictErr != nil {
		return walk.changed, conflictErr
	}
	return walk.changed, s.explain(ctx, "check the e-mail addresses", err, nil)
}

// emailWalk brings the canonical e-mail address of every user to what emailaddr.Canonical returns.
type emailWalk struct {
	db       *sql.DB
	dialect  dialect
	write    func(ctx context.Context, statement string, args ...any) (rows int64, err error)
	conflict func(EmailConflict) error

	changed int
}

// run walks over all users in the order of their ids. Each change is a statement of its own, so that no lock is held
// for longer, and an interruption loses nothing.
func (w *emailWalk) run(ctx context.Context) error {
	for after := ""; ; {
		batch, err := readMailboxes(ctx, w.db, after)
		if err != nil {
			return err
		}
		for _, row := range batch {
			canonical := emailaddr.Canonical(row.Email)
			if canonical == row.CanonicalEmail {
				continue
			}
			free, err := w.change(ctx, row.id, canonical)
			if err == nil && !free {
				err = w.resolve(ctx, canonical, row)
			}
			if err != nil {
				return err
			}
		}
		if len(batch) < emailsBatch {
			return nil
		}
		after = batch[len(batch)-1].id
	}
}

// change writes the canonical e-mail address of a user. It reports false if another user has it.
func (w *emailWalk) change(ctx context.Context, id, canonical string) (free bool, err error) {
	rows, err := w.write(ctx, "UPDATE users SET canonical_email = ? WHERE id = ? AND canonical_email <> ?",
		canonical, id, canonical)
	if err != nil && w.dialect.classify(err) == duplicateValue {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("write the canonical e-mail address of user %s: %w", id, err)
	}
	w.changed += int(rows)
	return true, nil
}

// resolve decides about a user whose canonical e-mail address another one has: a conflict, unless that one has it from
// before, and gets another.
func (w *emailWalk) resolve(ctx context.Context, canonical string, other identifiedMailbox) error {
	found := EmailConflict{OtherUserID: other.id, OtherEmail: other.Email}
	err := w.db.QueryRowContext(ctx, "SELECT id, email FROM users WHERE canonical_email = ?", canonical).
		Scan(&found.UserID, &found.Email)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // Deleted meanwhile. The next check brings the other one to its form.
	}
	if err != nil {
		return fmt.Errorf("read who has the e-mail address of user %s: %w", other.id, err)
	}
	own := emailaddr.Canonical(found.Email)
	if own == canonical {
		return w.conflict(found)
	}
	free, err := w.change(ctx, found.UserID, own)
	if err == nil && free {
		_, err = w.change(ctx, other.id, canonical)
	}
	return err
}

type identifiedMailbox struct {
	id string
	mailbox
}

// readMailboxes returns up to emailsBatch rows whose ids are after this one.
func readMailboxes(ctx context.Context, db *sql.DB, after string) (batch []identifiedMailbox, err error) {
	rows, err := db.QueryContext(ctx,
		"SELECT id, email, canonical_email FROM users WHERE id > ? ORDER BY id LIMIT ?", after, emailsBatch)
	if err != nil {
		return nil, fmt.Errorf("read e-mail addresses: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var row identifiedMailbox
		if err := rows.Scan(&row.id, &row.Email, &row.CanonicalEmail); err != nil {
			return nil, fmt.Errorf("read e-mail addresses: %w", err)
		}
		batch = append(batch, row)
	}
	return batch, rows.Err()
}
