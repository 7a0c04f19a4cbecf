package storage

import (
	"context"

	"gorm.io/gorm"
)

// Credential is what a password is checked against.
type Credential struct {
	UserID       string
	PasswordHash string
	State        UserState
	Admin        bool
	// SessionGeneration is the user's, as of the hash: a session that is opened with this generation is one for this
	// hash.
	SessionGeneration int64
}

//nolint:gosec // no credential: the statement that reads them
const selectCredential = `SELECT c.user_id, c.password_hash, u.state, u.is_admin AS admin, u.session_generation
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

// Rehash replaces the hash of a user's password by another of the same password, if it is still the old one. It is no
// change of the account: nobody but the store sees it.
func (s *Storage) Rehash(ctx context.Context, userID, oldHash, newHash string) error {
	err := s.write(ctx, func(db *gorm.DB) error {
		return db.Model(&credentialRow{}).Where("user_id = ? AND password_hash = ?", userID, oldHash).
			Update("password_hash", newHash).Error
	})
	return s.explain(ctx, "hash the password of "+userID+" anew", err, nil)
}
