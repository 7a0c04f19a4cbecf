package storage

import (
	"context"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

//nolint:gosec // no credential: the statement that reads them
const selectCredential = `SELECT c.user_id, c.password_hash, u.state, u.is_admin AS admin, u.session_generation,
	u.email, u.canonical_email FROM credentials c JOIN users u ON u.id = c.user_id WHERE `

// ReadCredential returns the credential of the user who logs in with an address, compared by emailaddr.Canonical. It
// fails with ErrNotFound if there is none.
func (s *Storage) ReadCredential(ctx context.Context, email string) (account.Credential, error) {
	rows, err := s.readCredentials(ctx, "u.canonical_email IN ?", emailKeys(email))
	if err != nil {
		return account.Credential{}, err
	}
	mailboxes := make([]mailbox, 0, len(rows))
	for _, row := range rows {
		mailboxes = append(mailboxes, row.Mailbox)
	}
	if picked := pickMailbox(mailboxes, email); picked >= 0 {
		return rows[picked].Credential, nil
	}
	return account.Credential{}, s.explain(ctx, "read a credential", gorm.ErrRecordNotFound, nil)
}

// ReadCredentialOf returns the credential of a user by id. It fails with ErrNotFound if there is none.
func (s *Storage) ReadCredentialOf(ctx context.Context, userID string) (account.Credential, error) {
	rows, err := s.readCredentials(ctx, "u.id = ?", userID)
	if err == nil && len(rows) == 0 {
		err = s.explain(ctx, "read a credential", gorm.ErrRecordNotFound, nil)
	}
	if err != nil {
		return account.Credential{}, err
	}
	return rows[0].Credential, nil
}

// credentialOwner is a credential and the address of its user.
type credentialOwner struct {
	Credential account.Credential `gorm:"embedded"`
	Mailbox    mailbox            `gorm:"embedded"`
}

func (s *Storage) readCredentials(ctx context.Context, condition string, value any) ([]credentialOwner, error) {
	var found []credentialOwner
	err := s.db.WithContext(ctx).Raw(selectCredential+condition, value).Scan(&found).Error
	return found, s.explain(ctx, "read a credential", err, nil)
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
