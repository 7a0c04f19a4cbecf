package storage

import (
	"context"
	"time"

	"gorm.io/gorm"
)

// User is an account. Its times are UTC, to the microsecond; what is finer is cut off when it is written.
type User struct {
	ID         string // a UUID in lower case
	Email      string // as DisplayEmail gives it
	FullName   string
	CreateTime time.Time
	UpdateTime time.Time
	Version    int64 // 1 for a new user; grows by one with each committed change

	// SessionGeneration grows when all sessions are ended at once. Sessions of an older generation have ended.
	SessionGeneration int64
}

type userRow struct {
	ID             string `gorm:"primaryKey"`
	Email          string
	CanonicalEmail string
	FullName       string
	CreateTime     time.Time
	UpdateTime     time.Time
	Version        int64

	SessionGeneration int64
}

func (userRow) TableName() string { return "users" }

// credentialRow is apart from the user so that no query for a profile can bring a hash along.
type credentialRow struct {
	UserID       string `gorm:"primaryKey"`
	PasswordHash string
}

func (credentialRow) TableName() string { return "credentials" }

// CreateUser adds a user and the hash to log in with, both or neither. It fails with ErrEmailTaken if a user has this
// address, compared by CanonicalEmail.
func (s *Storage) CreateUser(ctx context.Context, user User, passwordHash string) error {
	err := s.write(ctx, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			if err := gorm.G[userRow](tx).Create(ctx, &userRow{
				ID:             user.ID,
				Email:          user.Email,
				CanonicalEmail: CanonicalEmail(user.Email),
				FullName:       user.FullName,
				CreateTime:     kept(user.CreateTime),
				UpdateTime:     kept(user.UpdateTime),
				Version:        user.Version,
			}); err != nil {
				return err
			}
			return gorm.G[credentialRow](tx).Create(ctx, &credentialRow{UserID: user.ID, PasswordHash: passwordHash})
		})
	})
	return s.explain(ctx, "create user "+user.ID, err, outcomes{duplicateValue: ErrEmailTaken})
}

// ReadUser finds a user by id. It fails with ErrNotFound if there is none.
func (s *Storage) ReadUser(ctx context.Context, id string) (User, error) {
	row, err := gorm.G[userRow](s.db).Where("id = ?", id).Take(ctx)
	if err != nil {
		return User{}, s.explain(ctx, "read user "+id, err, nil)
	}
	return row.user(), nil
}

func (r userRow) user() User {
	return User{
		ID: r.ID, Email: r.Email, FullName: r.FullName, CreateTime: r.CreateTime, UpdateTime: r.UpdateTime,
		Version: r.Version, SessionGeneration: r.SessionGeneration,
	}
}

// Credential is what a password is checked against.
type Credential struct {
	UserID       string
	PasswordHash string
	// SessionGeneration is the user's, as of the hash: a session that is opened with this generation is one for this
	// hash.
	SessionGeneration int64
}

//nolint:gosec // no credential: the statement that reads them
const selectCredential = `SELECT c.user_id, c.password_hash, u.session_generation
	FROM credentials c JOIN users u ON u.id = c.user_id WHERE `

// ReadCredential finds the credential of the user who logs in with an address, compared by CanonicalEmail. It fails
// with ErrNotFound if there is none.
func (s *Storage) ReadCredential(ctx context.Context, email string) (Credential, error) {
	return s.readCredential(ctx, "u.canonical_email = ?", CanonicalEmail(email))
}

// ReadCredentialOf finds the credential of a user by id. It fails with ErrNotFound if there is none.
func (s *Storage) ReadCredentialOf(ctx context.Context, userID string) (Credential, error) {
	return s.readCredential(ctx, "u.id = ?", userID)
}

func (s *Storage) readCredential(ctx context.Context, condition, value string) (Credential, error) {
	var found []Credential
	err := s.db.WithContext(ctx).Raw(selectCredential+condition, value).Scan(&found).Error
	if err == nil && len(found) == 0 {
		err = gorm.ErrRecordNotFound
	}
	if err != nil {
		return Credential{}, s.explain(ctx, "read a credential", err, nil)
	}
	return found[0], nil
}

// kept is the part of a time that both databases keep. MySQL would round what is finer, so that a user could be made
// after being read.
func kept(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
