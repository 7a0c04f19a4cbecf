package storage

import (
	"context"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr"
)

// credentialRow is a table of its own, so that no query for a profile can read a hash.
type credentialRow struct {
	UserID       string `gorm:"primaryKey"`
	PasswordHash string
}

func (credentialRow) TableName() string { return "credentials" }

// ownedCredential is a credential with its user. It is for reads only: gorm would write the user too.
type ownedCredential struct {
	Credential credentialRow `gorm:"embedded"`
	Owner      userRow       `gorm:"foreignKey:UserID"`
}

func (ownedCredential) TableName() string { return "credentials" }

// credentials returns a query of credentials with these columns of their users, whose table is named Owner.
func credentials(db *gorm.DB, ownerColumns ...string) gorm.ChainInterface[ownedCredential] {
	return gorm.G[ownedCredential](db).Joins(clause.InnerJoin.Association("Owner"),
		func(owner gorm.JoinBuilder, _, _ clause.Table) error {
			owner.Select(ownerColumns...)
			return nil
		})
}

func (c ownedCredential) credential() account.Credential {
	return account.Credential{
		UserID: c.Credential.UserID, PasswordHash: c.Credential.PasswordHash, State: account.UserState(c.Owner.State),
		Admin: c.Owner.IsAdmin, SessionGeneration: c.Owner.SessionGeneration,
	}
}

// ReadCredential returns the credential of the user who logs in with an address, compared by emailaddr.Canonical. It
// fails with ErrNotFound if there is none.
func (s *Storage) ReadCredential(ctx context.Context, email string) (account.Credential, error) {
	return s.readCredential(ctx, email, "Owner.canonical_email IN ?", emailKeys(email))
}

// ReadCredentialOf returns the credential of a user by id. It fails with ErrNotFound if there is none.
func (s *Storage) ReadCredentialOf(ctx context.Context, userID string) (account.Credential, error) {
	return s.readCredential(ctx, "", "Owner.id = ?", userID)
}

// readCredential returns the credential that a condition selects. If email is not "", it is that of its owner.
func (s *Storage) readCredential(
	ctx context.Context, email, condition string, value any,
) (account.Credential, error) {
	found, err := credentials(s.db, "state", "is_admin", "session_generation", "email", "canonical_email").
		Where(condition, value).Find(ctx)
	picked := len(found) - 1
	if email != "" {
		owners := make([]userRow, 0, len(found))
		for _, row := range found {
			owners = append(owners, row.Owner)
		}
		picked = pickOwner(owners, email)
	}
	if err == nil && picked < 0 {
		err = gorm.ErrRecordNotFound
	}
	if err != nil {
		return account.Credential{}, s.wrap(ctx, "read a credential", err, nil)
	}
	return found[picked].credential(), nil
}

// Rehash replaces the hash of a user's password by another hash of the same password, if it is still the old one. The
// version of the user stays: the change is invisible outside of the store.
func (s *Storage) Rehash(ctx context.Context, userID, oldHash, newHash string) error {
	err := s.write(ctx, func(db *gorm.DB) error {
		_, err := replaceHash(ctx, db, userID, oldHash, newHash)
		return err
	})
	return s.wrap(ctx, "rehash the password of "+userID, err, nil)
}

// replaceHash returns 0 rows if the old hash is not the user's.
func replaceHash(ctx context.Context, tx *gorm.DB, userID, oldHash, newHash string) (rows int, err error) {
	return gorm.G[credentialRow](tx).Where("user_id = ? AND password_hash = ?", userID, oldHash).
		Update(ctx, "password_hash", newHash)
}

// emailKeys returns the values of canonical_email that rows of an address may have. Other addresses may have some of
// them: pickOwner selects the row.
//
// A row may have a value from before migration 00012, which compared addresses in another way: a store of the version
// before has written it since, or another user has the same address.
func emailKeys(address string) []string {
	return append([]string{emailaddr.Canonical(address)}, emailaddr.FormerKeys(address)...)
}

// pickOwner returns the index of the user with an address among those with one of its keys, or -1 if there is none. Of
// two users with one address each has the spelling by which the user was found before 00012.
func pickOwner(rows []userRow, address string) int {
	canonical, former := emailaddr.Canonical(address), emailaddr.Legacy(address)
	picked, pickedRank := -1, 0
	for i, row := range rows {
		if emailaddr.Canonical(row.Email) != canonical {
			continue // Two addresses that were one before 00012.
		}
		rank := 1
		switch row.CanonicalEmail {
		case former:
			rank = 3
		case canonical:
			rank = 2
		}
		if rank > pickedRank {
			picked, pickedRank = i, rank
		}
	}
	return picked
}

// checkEmailFree fails with ErrEmailTaken if a user has an address.
func checkEmailFree(ctx context.Context, tx *gorm.DB, address string) error {
	rows, err := gorm.G[userRow](tx).Select("email", "canonical_email").
		Where("canonical_email IN ?", emailKeys(address)).Find(ctx)
	if err == nil && pickOwner(rows, address) >= 0 {
		return ErrEmailTaken
	}
	return err
}
