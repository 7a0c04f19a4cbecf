package migrate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"

	"github.com/pressly/goose/v3"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
)

const (
	// EmailsVersion is the version of the migration that compares e-mail addresses by IDNA. It is written in Go because
	// no database supports IDNA. The folders of SQL files have no file of this number.
	EmailsVersion = 12

	// EmailsBatch is the number of users that CheckEmails reads at a time.
	EmailsBatch = 1000

	// maxLoggedConflicts bounds the conflicts that the migration logs. `gatehouse users check-emails` reports all.
	maxLoggedConflicts = 100
)

// EmailConflict is two users with one e-mail address, which were different addresses before they were compared by IDNA.
// Each user logs in with the spelling of the sign-up. Every other spelling belongs to User.
type EmailConflict struct {
	UserID, Email           string // whose canonical form the address is
	OtherUserID, OtherEmail string // its key is the previous one
}

// emailsMigration returns migration 00012. It does what CheckEmails does, and logs conflicts.
func emailsMigration(db dialect.Dialect, log *slog.Logger) *goose.Migration {
	up := func(ctx context.Context, pool *sql.DB) error {
		write := func(ctx context.Context, statement string, args ...any) (int64, error) {
			result, err := pool.ExecContext(ctx, statement, args...)
			if err != nil {
				return 0, err
			}
			return result.RowsAffected()
		}
		conflicts := 0
		changed, err := CheckEmails(ctx, db, pool, write, func(conflict EmailConflict) error {
			if conflicts++; conflicts <= maxLoggedConflicts {
				log.WarnContext(ctx, "two users have one e-mail address",
					"user", conflict.UserID, "other_user", conflict.OtherUserID)
			}
			return nil
		})
		if err == nil && changed+conflicts > 0 {
			log.InfoContext(ctx, "compared e-mail addresses by IDNA", "changed", changed, "conflicts", conflicts,
				"see", "gatehouse users check-emails")
		}
		return err
	}
	down := func(context.Context, *sql.DB) error { return nil } // The version before finds nearly all users all the same.
	migration := goose.NewGoMigration(EmailsVersion, &goose.GoFunc{RunDB: up}, &goose.GoFunc{RunDB: down})
	migration.Source = "00012_compare_emails.go"
	return migration
}

// Write executes a statement that changes rows, and returns their number.
type Write func(ctx context.Context, statement string, args ...any) (rows int64, err error)

// CheckEmails sets the canonical e-mail address of every user to the one that emailaddr.Canonical returns. It returns
// how many it changed. It does not change two users who would have the same one, but reports them to conflict, and
// stops with conflict's error. It may run while stores serve, and any number of times: it does the rest of the work.
func CheckEmails(
	ctx context.Context, db dialect.Dialect, pool *sql.DB, write Write, conflict func(EmailConflict) error,
) (changed int, err error) {
	check := emailCheck{pool: pool, dialect: db, write: write, conflict: conflict}
	err = check.run(ctx)
	return check.changed, err
}

type emailCheck struct {
	pool     *sql.DB
	dialect  dialect.Dialect
	write    Write
	conflict func(EmailConflict) error

	changed int
}

// run visits all users in the order of their ids. Each change is a statement of its own, so that it holds no lock for
// long, and an interruption loses nothing.
func (c *emailCheck) run(ctx context.Context) error {
	for after := ""; ; {
		batch, err := readAddresses(ctx, c.pool, after)
		if err != nil {
			return err
		}
		for _, row := range batch {
			canonical := emailaddr.Canonical(row.email)
			if canonical == row.canonicalEmail {
				continue
			}
			free, err := c.change(ctx, row.id, canonical)
			if err == nil && !free {
				err = c.resolve(ctx, canonical, row)
			}
			if err != nil {
				return err
			}
		}
		if len(batch) < EmailsBatch {
			return nil
		}
		after = batch[len(batch)-1].id
	}
}

// change writes the canonical e-mail address of a user. It returns false if another user has it.
func (c *emailCheck) change(ctx context.Context, id, canonical string) (free bool, err error) {
	rows, err := c.write(ctx, "UPDATE users SET canonical_email = ? WHERE id = ? AND canonical_email <> ?",
		canonical, id, canonical)
	if err != nil && c.dialect.Classify(err) == dialect.DuplicateValue {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("write the canonical e-mail address of user %s: %w", id, err)
	}
	c.changed += int(rows)
	return true, nil
}

// resolve handles a user whose canonical e-mail address another user has. That is a conflict, unless the other user has
// it from before 00012 and gets another one.
func (c *emailCheck) resolve(ctx context.Context, canonical string, other address) error {
	found := EmailConflict{OtherUserID: other.id, OtherEmail: other.email}
	err := c.pool.QueryRowContext(ctx, "SELECT id, email FROM users WHERE canonical_email = ?", canonical).
		Scan(&found.UserID, &found.Email)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // It was deleted meanwhile. The next check changes the other user.
	}
	if err != nil {
		return fmt.Errorf("read who has the e-mail address of user %s: %w", other.id, err)
	}
	own := emailaddr.Canonical(found.Email)
	if own == canonical {
		return c.conflict(found)
	}
	free, err := c.change(ctx, found.UserID, own)
	if err == nil && free {
		_, err = c.change(ctx, other.id, canonical)
	}
	return err
}

type address struct{ id, email, canonicalEmail string }

// readAddresses returns up to EmailsBatch rows whose ids are greater than after.
func readAddresses(ctx context.Context, pool *sql.DB, after string) (batch []address, err error) {
	rows, err := pool.QueryContext(ctx,
		"SELECT id, email, canonical_email FROM users WHERE id > ? ORDER BY id LIMIT ?", after, EmailsBatch)
	if err != nil {
		return nil, fmt.Errorf("read e-mail addresses: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var row address
		if err := rows.Scan(&row.id, &row.email, &row.canonicalEmail); err != nil {
			return nil, fmt.Errorf("read e-mail addresses: %w", err)
		}
		batch = append(batch, row)
	}
	return batch, rows.Err()
}
