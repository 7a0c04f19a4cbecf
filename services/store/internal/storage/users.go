package storage

import (
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr"
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

// credentialRow is apart from the user so that no query for a profile can bring a hash along.
type credentialRow struct {
	UserID       string `gorm:"primaryKey"`
	PasswordHash string
}

func (credentialRow) TableName() string { return "credentials" }

// CreateUser adds a user and the hash to log in with, both or neither. It fails with ErrEmailTaken if a user has this
// address, compared by emailaddr.Canonical.
func (s *Storage) CreateUser(ctx context.Context, user account.User, passwordHash string) error {
	err := s.write(ctx, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			if len(emailaddr.FormerKeys(user.Email)) > 0 { // The unique index knows the present form only.
				if err := checkEmailFree(tx, user.Email); err != nil {
					return err
				}
			}
			return createUser(ctx, tx, user, passwordHash, UserCreated)
		})
	})
	return s.explain(ctx, "create user "+user.ID, err, outcomes{duplicateValue: ErrEmailTaken})
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

// ReadUser finds a user by id. It fails with ErrNotFound if there is none.
func (s *Storage) ReadUser(ctx context.Context, id string) (account.User, error) {
	row, err := gorm.G[userRow](s.db).Where("id = ?", id).Take(ctx)
	if err != nil {
		return account.User{}, s.explain(ctx, "read user "+id, err, nil)
	}
	return row.user(), nil
}

// toMicros truncates a time to what both databases store. MySQL would round what is finer, so that a user could be made
// after being read.
func toMicros(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
