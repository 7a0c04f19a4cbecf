package storage

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
)

// Import is the progress of the import of a file of users, and its row. No column has the name of a keyword of a
// database.
type Import struct {
	FileDigest  []byte `gorm:"primaryKey"` // SHA-256 of the file
	Bytes       int64  // of the file, from its beginning, that are done
	Lines       int64  `gorm:"column:line_count"` // as Bytes
	Imported    int64  // users
	Refused     int64  // lines
	ReportPath  string // the absolute path of the report
	ReportBytes int64  // of the report, for the lines that are done
	Finished    bool
	CreateTime  time.Time
	UpdateTime  time.Time
}

// TableName implements the interface of gorm.
func (Import) TableName() string { return "user_imports" }

// BeginImport records that the import of a file begins. It does nothing if it has begun before.
func (s *Storage) BeginImport(ctx context.Context, fileDigest []byte, reportPath string, now time.Time) error {
	row := Import{
		FileDigest: fileDigest, ReportPath: reportPath, CreateTime: toMicros(now), UpdateTime: toMicros(now),
	}
	err := s.write(ctx, func(db *gorm.DB) error { return gorm.G[Import](db).Create(ctx, new(row)) })
	if err != nil && s.dialect.Classify(err) == dialect.DuplicateKey {
		return nil
	}
	return s.wrap(ctx, "begin an import", err, nil)
}

// ReadImport returns the progress of the import of a file. It fails with ErrNotFound if there is none.
func (s *Storage) ReadImport(ctx context.Context, fileDigest []byte) (Import, error) {
	row, err := gorm.G[Import](s.db).Where("file_digest = ?", fileDigest).Take(ctx)
	return row, s.wrap(ctx, "read the progress of an import", err, nil)
}

// ImportUsers adds those users that can be added, each with an event, and writes the progress of the import: all or
// nothing. It calls settle with the result of each user, and writes the progress that settle returns. A result is nil,
// ErrEmailTaken, or ErrIDTaken, also for the id of a deleted user. ImportUsers calls settle before the commit, and
// perhaps several times: only the last call counts. It returns the unaltered error of settle.
//
// It fails with ErrImportConflict if the progress is not before: another process continues the import.
func (s *Storage) ImportUsers(
	ctx context.Context, before Import, users []account.UserWithHash, now time.Time,
	settle func(results []error) (Import, error),
) (after Import, err error) {
	var settleErr error
	err = s.transact(ctx, func(tx *gorm.DB) error {
		settleErr = nil
		if err := lockImport(ctx, tx, before, now); err != nil {
			return err
		}
		results, err := s.addUsers(ctx, tx, users, now)
		if err != nil {
			return err
		}
		if after, settleErr = settle(results); settleErr != nil {
			return settleErr
		}
		return requireRow(gorm.G[Import](tx).Where("file_digest = ?", before.FileDigest).
			Select("bytes", "line_count", "imported", "refused", "report_bytes", "finished").
			Updates(ctx, after))
	})
	if settleErr != nil {
		return Import{}, settleErr
	}
	return after, s.wrap(ctx, "import users", err, nil)
}

// MaxStatement returns how many bytes a statement may have, by the server's settings of now.
func (s *Storage) MaxStatement(ctx context.Context) (int64, error) {
	limit, err := s.dialect.MaxStatement(ctx, s.pool)
	return limit, s.wrap(ctx, "read how long a statement may be", err, nil)
}

// lockImport makes another process with the same import wait, and then fail because the import has progressed.
func lockImport(ctx context.Context, tx *gorm.DB, before Import, now time.Time) error {
	rows, err := gorm.G[Import](tx).
		Where("file_digest = ? AND bytes = ? AND finished = ?", before.FileDigest, before.Bytes, false).
		Update(ctx, "update_time", toMicros(now))
	if err == nil && rows == 0 {
		return ErrImportConflict
	}
	return err
}

// addUsers adds users, their credentials and the events. It returns the result of each user.
func (s *Storage) addUsers(
	ctx context.Context, tx *gorm.DB, users []account.UserWithHash, now time.Time,
) ([]error, error) {
	results := make([]error, len(users))
	if err := rejectTombstones(ctx, tx, users, results); err != nil {
		return nil, err
	}
	if err := rejectFormerEmails(ctx, tx, users, results); err != nil {
		return nil, err
	}
	if err := s.insertUsers(ctx, tx, users, results); err != nil {
		return nil, err
	}
	var credentials []credentialRow
	var events []eventRow
	for i, user := range users {
		if results[i] != nil {
			continue
		}
		if user.PasswordHash != "" {
			credentials = append(credentials, credentialRow{UserID: user.User.ID, PasswordHash: user.PasswordHash})
		}
		event, err := newEventRow(ctx, Event{Kind: UserImported, Time: now, UserID: user.User.ID})
		if err != nil {
			return nil, err
		}
		events = append(events, event)
	}
	if err := insertAll(ctx, tx, credentials); err != nil {
		return nil, err
	}
	return results, insertAll(ctx, tx, events)
}

// rejectTombstones sets the results of users with the id of a deleted user. It locks the places of the ids among the
// tombstones until the transaction ends, so that no user is deleted and imported at the same time.
func rejectTombstones(ctx context.Context, tx *gorm.DB, users []account.UserWithHash, results []error) error {
	if len(users) == 0 {
		return nil
	}
	ids := make([]string, 0, len(users))
	for _, user := range users {
		ids = append(ids, user.User.ID)
	}
	tombstones := gorm.G[tombstoneRow](tx).Where("id IN ?", ids)
	if locked, err := tombstones.Update(ctx, "version", gorm.Expr("version")); err != nil || locked == 0 {
		return err
	}
	taken, err := tombstones.Find(ctx)
	for _, tombstone := range taken {
		for i, id := range ids {
			if id == tombstone.ID {
				results[i] = ErrIDTaken
			}
		}
	}
	return err
}

// rejectFormerEmails sets the results of users whose address is taken by a key that the unique index does not cover.
func rejectFormerEmails(ctx context.Context, tx *gorm.DB, users []account.UserWithHash, results []error) error {
	for i, user := range users {
		if results[i] != nil || len(emailaddr.FormerKeys(user.User.Email)) == 0 {
			continue
		}
		err := checkEmailFree(ctx, tx, user.User.Email)
		if err != nil && !errors.Is(err, ErrEmailTaken) {
			return err
		}
		results[i] = err
	}
	return nil
}

// insertUsers adds the rows of the users that have no result yet: with one statement or, if one of them cannot be
// added, one by one. A statement that fails leaves nothing behind, and the transaction continues.
func (s *Storage) insertUsers(
	ctx context.Context, tx *gorm.DB, users []account.UserWithHash, results []error,
) error {
	var rows []userRow
	var places []int
	for i, user := range users {
		if results[i] == nil {
			rows, places = append(rows, userRowOf(user.User)), append(places, i)
		}
	}
	err := insertAll(ctx, tx, rows)
	if s.duplicateError(err) == nil {
		return err
	}
	for i, row := range rows {
		err := insertAll(ctx, tx, []userRow{row})
		if results[places[i]] = s.duplicateError(err); err != nil && results[places[i]] == nil {
			return err
		}
	}
	return nil
}

// duplicateError returns ErrIDTaken or ErrEmailTaken for an error that means this, and nil for others.
func (s *Storage) duplicateError(err error) error {
	switch s.dialect.Classify(err) {
	case dialect.DuplicateKey:
		return ErrIDTaken
	case dialect.DuplicateValue:
		return ErrEmailTaken
	default:
		return nil
	}
}

// insertAll adds any number of rows with one statement.
func insertAll[T any](ctx context.Context, tx *gorm.DB, rows []T) error {
	if len(rows) == 0 {
		return nil
	}
	return gorm.G[T](tx).CreateInBatches(ctx, &rows, len(rows))
}

// ExportUsers returns users in the order of their ids: at most limit, whose ids are greater than after. It reads their
// password hashes only withHashes.
func (s *Storage) ExportUsers(
	ctx context.Context, after string, limit int, withHashes bool,
) ([]account.UserWithHash, error) {
	rows, err := gorm.G[userRow](s.db).Where("id > ?", after).Order("id").Limit(limit).Find(ctx)
	if err != nil {
		return nil, s.wrap(ctx, "export users", err, nil)
	}
	users := make([]account.UserWithHash, 0, len(rows))
	ids := make([]string, 0, len(rows))
	for _, row := range rows {
		users, ids = append(users, account.UserWithHash{User: row.user()}), append(ids, row.ID)
	}
	if !withHashes || len(rows) == 0 {
		return users, nil
	}
	credentials, err := gorm.G[credentialRow](s.db).Where("user_id IN ?", ids).Find(ctx)
	if err != nil {
		return nil, s.wrap(ctx, "export password hashes", err, nil)
	}
	hashes := make(map[string]string, len(credentials))
	for _, credential := range credentials {
		hashes[credential.UserID] = credential.PasswordHash
	}
	for i := range users {
		users[i].PasswordHash = hashes[users[i].User.ID]
	}
	return users, nil
}
