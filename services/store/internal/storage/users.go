package storage

import (
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
)

type userRow struct {
	ID             string `gorm:"primaryKey"`
	Email          string
	CanonicalEmail string
	FullName       string
	Locale         string
	TimeZone       string
	PictureURI     string
	Metadata       string
	CreateTime     time.Time
	UpdateTime     time.Time
	Version        int64
	State          string
	IsAdmin        bool
	AppMetadata    string

	SessionGeneration int64
}

func (userRow) TableName() string { return "users" }

func userRowOf(user account.User) userRow {
	return userRow{
		ID: user.ID, Email: user.Email, CanonicalEmail: emailaddr.Canonical(user.Email), FullName: user.FullName,
		Locale: user.Locale, TimeZone: user.TimeZone, PictureURI: user.PictureURI, Metadata: user.Metadata,
		CreateTime: toMicros(user.CreateTime), UpdateTime: toMicros(user.UpdateTime), Version: user.Version,
		State: string(user.State), IsAdmin: user.Admin, AppMetadata: user.AppMetadata,
		SessionGeneration: user.SessionGeneration,
	}
}

func (r userRow) user() account.User {
	return account.User{
		ID: r.ID, Email: r.Email, FullName: r.FullName, Locale: r.Locale, TimeZone: r.TimeZone,
		PictureURI: r.PictureURI, Metadata: r.Metadata, CreateTime: r.CreateTime, UpdateTime: r.UpdateTime,
		Version: r.Version, State: account.UserState(r.State), Admin: r.IsAdmin, AppMetadata: r.AppMetadata,
		SessionGeneration: r.SessionGeneration,
	}
}

// CreateUser adds a user and the hash to log in with, both or neither. It fails with ErrEmailTaken if a user has this
// address, compared by emailaddr.Canonical.
func (s *Storage) CreateUser(ctx context.Context, user account.User, passwordHash string) error {
	err := s.transact(ctx, func(tx *gorm.DB) error {
		if len(emailaddr.FormerKeys(user.Email)) > 0 { // The unique index covers the present form only.
			if err := checkEmailFree(ctx, tx, user.Email); err != nil {
				return err
			}
		}
		return createUser(ctx, tx, user, passwordHash, UserCreated)
	})
	return s.wrap(ctx, "create user "+user.ID, err, meanings{dialect.DuplicateValue: ErrEmailTaken})
}

func createUser(ctx context.Context, tx *gorm.DB, user account.User, passwordHash string, kind EventKind) error {
	row := userRowOf(user)
	if err := gorm.G[userRow](tx).Create(ctx, &row); err != nil {
		return err
	}
	credential := &credentialRow{UserID: user.ID, PasswordHash: passwordHash}
	if err := gorm.G[credentialRow](tx).Create(ctx, credential); err != nil {
		return err
	}
	return appendEvent(ctx, tx, Event{Kind: kind, Time: user.CreateTime, UserID: user.ID})
}

// ReadUser returns a user by id. It fails with ErrNotFound if there is none.
func (s *Storage) ReadUser(ctx context.Context, id string) (account.User, error) {
	row, err := gorm.G[userRow](s.db).Where("id = ?", id).Take(ctx)
	if err != nil {
		return account.User{}, s.wrap(ctx, "read user "+id, err, nil)
	}
	return row.user(), nil
}

// UserFilter selects users. A zero field selects all.
type UserFilter struct {
	EmailPrefix string // compared by emailaddr.CanonicalPrefix
	State       account.UserState
	Admins      bool   // admins only
	After       string // only users whose position is after this one
}

// ListedUser is a user of a list.
type ListedUser struct {
	account.User

	// Position is where the list continues after this user. It is not the canonical form of the user's address if another
	// user has the same address.
	Position string
}

// lastRune is greater than every character of an address.
const lastRune = "\U0010FFFF"

// ListUsers returns users in the order of their canonical e-mail addresses: at most limit.
func (s *Storage) ListUsers(ctx context.Context, filter UserFilter, limit int) ([]ListedUser, error) {
	// One lower bound, not two: of two, SQLite begins to read at the first that is written.
	query := gorm.G[userRow](s.db).Where("canonical_email > ?", filter.After)
	if filter.EmailPrefix != "" {
		prefix := emailaddr.CanonicalPrefix(filter.EmailPrefix)
		if filter.After < prefix {
			query = gorm.G[userRow](s.db).Where("canonical_email >= ?", prefix)
		}
		query = query.Where("canonical_email < ?", prefix+lastRune)
	}
	if filter.State != "" {
		query = query.Where("state = ?", string(filter.State))
	}
	if filter.Admins {
		query = query.Where("is_admin = ?", true)
	}
	rows, err := query.Order("canonical_email").Limit(limit).Find(ctx)
	if err != nil {
		return nil, s.wrap(ctx, "list users", err, nil)
	}
	users := make([]ListedUser, 0, len(rows))
	for _, row := range rows {
		users = append(users, ListedUser{User: row.user(), Position: row.CanonicalEmail})
	}
	return users, nil
}
