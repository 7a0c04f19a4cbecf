package storage

import (
	"context"
	"errors"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr"
)

// Import is how far the import of a file of users is.
type Import struct {
	FileDigest  []byte // SHA-256 of the file
	Bytes       int64  // of the file, from its beginning, that are done
	Lines       int64  // as Bytes
	Imported    int64  // users
	Refused     int64  // lines
	ReportPath  string // where the report is, from the root
	ReportBytes int64  // of the report, that tell of the refused lines
	Finished    bool
	CreateTime  time.Time
	UpdateTime  time.Time
}

// importRow is an Import. Its columns are named so that they are words of neither database.
type importRow struct {
	FileDigest  []byte `gorm:"primaryKey"`
	Bytes       int64
	Lines       int64 `gorm:"column:line_count"`
	Imported    int64
	Refused     int64
	ReportPath  string
	ReportBytes int64
	Finished    bool
	CreateTime  time.Time
	UpdateTime  time.Time
}

func (importRow) TableName() string { return "user_imports" }

// BeginImport writes that the import of a file begins. It does nothing if it has begun before.
func (s *Storage) BeginImport(ctx context.Context, fileDigest []byte, reportPath string, now time.Time) error {
	row := importRow{FileDigest: fileDigest, ReportPath: reportPath, CreateTime: toMicros(now), UpdateTime: toMicros(now)}
	err := s.write(ctx, func(db *gorm.DB) error { return gorm.G[importRow](db).Create(ctx, new(row)) })
	if err != nil && s.dialect.classify(err) == duplicateKey {
		return nil
	}
	return s.explain(ctx, "begin an import", err, nil)
}

// ReadImport tells how far the import of a file is. It fails with ErrNotFound if there is none.
func (s *Storage) ReadImport(ctx context.Context, fileDigest []byte) (Import, error) {
	row, err := gorm.G[importRow](s.db).Where("file_digest = ?", fileDigest).Take(ctx)
	if err != nil {
		return Import{}, s.explain(ctx, "read how far an import is", err, nil)
	}
	return Import(row), nil
}

// ImportUsers adds those users who can be added, each with an event, and writes how far the import is then: all or
// nothing. settle is given what became of each user: nil, ErrEmailTaken, or ErrIDTaken, which the id of who was
// deleted gets too. It tells how far the import is with them. It is called before anything is committed, and maybe
// several times: only the last call counts. Its error is given back unaltered.
//
// It fails with ErrImportConflict if the import is not where before says: another process goes on with it.
func (s *Storage) ImportUsers(
	ctx context.Context, before Import, users []account.UserWithHash, now time.Time,
	settle func(results []error) (Import, error),
) (after Import, err error) {
	var settleErr error
	err = s.write(ctx, func(db *gorm.DB) error {
		settleErr = nil
		return db.Transaction(func(tx *gorm.DB) error {
			if err := lockImport(tx, before, now); err != nil {
				return err
			}
			results, err := s.addUsers(ctx, tx, users, now)
			if err != nil {
				return err
			}
			if after, settleErr = settle(results); settleErr != nil {
				return settleErr
			}
			return onlyOne(tx.Model(&importRow{}).Where("file_digest = ?", before.FileDigest).
				Select("bytes", "line_count", "imported", "refused", "report_bytes", "finished").
				Updates(new(importRow(after))))
		})
	})
	if settleErr != nil {
		return Import{}, settleErr
	}
	return after, s.explain(ctx, "import users", err, nil)
}

// MaxStatement returns how many bytes a statement may have, by the server's settings of now.
func (s *Storage) MaxStatement(ctx context.Context) (int64, error) {
	limit, err := s.checks.maxStatement(ctx, s.pool)
	return limit, s.explain(ctx, "read how long a statement may be", err, nil)
}

// lockImport makes another process with the same import wait, and then find that it is not its turn.
func lockImport(tx *gorm.DB, before Import, now time.Time) error {
	err := onlyOne(tx.Exec("UPDATE user_imports SET update_time = ? WHERE file_digest = ? AND bytes = ? AND finished = ?",
		toMicros(now), before.FileDigest, before.Bytes, false))
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return ErrImportConflict
	}
	return err
}

// addUsers adds users, their credentials and the events, and tells what became of each.
func (s *Storage) addUsers(
	ctx context.Context, tx *gorm.DB, users []account.UserWithHash, now time.Time,
) ([]error, error) {
	results := make([]error, len(users))
	if err := refuseTombstones(tx, users, results); err != nil {
		return nil, err
	}
	if err := refuseFormerEmails(tx, users, results); err != nil {
		return nil, err
	}
	if err := s.insertUsers(tx, users, results); err != nil {
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
	if err := insertAll(tx, credentials); err != nil {
		return nil, err
	}
	return results, insertAll(tx, events)
}

// refuseTombstones finds the users whose id somebody had who was deleted. It locks the places of those ids among the
// tombstones until the transaction ends, so that whoever is deleted meanwhile gets no successor.
func refuseTombstones(tx *gorm.DB, users []account.UserWithHash, results []error) error {
	if len(users) == 0 {
		return nil
	}
	ids := make([]string, 0, len(users))
	for _, user := range users {
		ids = append(ids, user.User.ID)
	}
	locked := tx.Exec("UPDATE user_tombstones SET version = version WHERE id IN ?", ids)
	if locked.Error != nil || locked.RowsAffected == 0 {
		return locked.Error
	}
	var taken []string
	if err := tx.Raw("SELECT id FROM user_tombstones WHERE id IN ?", ids).Scan(&taken).Error; err != nil {
		return err
	}
	for i, id := range ids {
		if slices.Contains(taken, id) {
			results[i] = ErrIDTaken
		}
	}
	return nil
}

// refuseFormerEmails finds the users whose address a user has by a key that the unique index does not know.
func refuseFormerEmails(tx *gorm.DB, users []account.UserWithHash, results []error) error {
	for i, user := range users {
		if results[i] != nil || len(emailaddr.FormerKeys(user.User.Email)) == 0 {
			continue
		}
		err := checkEmailFree(tx, user.User.Email)
		if err != nil && !errors.Is(err, ErrEmailTaken) {
			return err
		}
		results[i] = err
	}
	return nil
}

// insertUsers adds the rows of the users who have no result yet: with one statement or, if one of them cannot be added,
// one by one. In both databases a statement that fails leaves nothing behind, and the transaction goes on.
func (s *Storage) insertUsers(tx *gorm.DB, users []account.UserWithHash, results []error) error {
	var rows []userRow
	var places []int
	for i, user := range users {
		if results[i] == nil {
			rows, places = append(rows, userRowOf(user.User)), append(places, i)
		}
	}
	err := insertAll(tx, rows)
	if s.taken(err) == nil {
		return err
	}
	for i, row := range rows {
		err := insertAll(tx, []userRow{row})
		if results[places[i]] = s.taken(err); err != nil && results[places[i]] == nil {
			return err
		}
	}
	return nil
}

// taken tells what of a user somebody else has: ErrIDTaken, ErrEmailTaken, or nil if the error is another, or none.
func (s *Storage) taken(err error) error {
	if err == nil {
		return nil
	}
	switch s.dialect.classify(err) {
	case duplicateKey:
		return ErrIDTaken
	case duplicateValue:
		return ErrEmailTaken
	default:
		return nil
	}
}

// insertAll adds rows with one statement, or none.
func insertAll[T any](tx *gorm.DB, rows []T) error {
	if len(rows) == 0 {
		return nil
	}
	return tx.Create(&rows).Error
}

// ExportUsers gives users in the order of their ids: at most limit, whose ids are after this one. Their password hashes
// are read only withHashes.
func (s *Storage) ExportUsers(
	ctx context.Context, after string, limit int, withHashes bool,
) ([]account.UserWithHash, error) {
	rows, err := gorm.G[userRow](s.db).Where("id > ?", after).Order("id").Limit(limit).Find(ctx)
	if err != nil {
		return nil, s.explain(ctx, "export users", err, nil)
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
		return nil, s.explain(ctx, "export password hashes", err, nil)
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
