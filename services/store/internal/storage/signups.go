package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"time"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
)

// SignUp is a sign-up that can be repeated. It holds nothing that depends on the password.
type SignUp struct {
	RequestID   []byte // digest of the request id, 32 bytes
	Fingerprint []byte // digest of the request without the password, 32 bytes
	UserID      string // of the new account
	CreateTime  time.Time
}

// voidFingerprint returns the fingerprint of a void sign-up. No request has it, so that a store of the version before,
// which has no void sign-ups, rejects its request id as well.
func voidFingerprint() []byte { return make([]byte, sha256.Size) }

// Void reports whether the sign-up matches no request, because another request had its request id.
func (s SignUp) Void() bool { return bytes.Equal(s.Fingerprint, voidFingerprint()) }

// signUpRow contains a PasswordHash because the previous version writes it. It is always empty here.
type signUpRow struct {
	RequestID    []byte `gorm:"primaryKey"`
	Fingerprint  []byte
	UserID       string
	PasswordHash string
	CreateTime   time.Time
}

func (signUpRow) TableName() string { return "sign_up_requests" }

// CreateUserOnce is CreateUser for a sign-up that can be repeated. It fails with ErrRequestTaken if there is a sign-up
// of this request id that is not older than oldest.
func (s *Storage) CreateUserOnce(
	ctx context.Context, user account.User, passwordHash string, signUp SignUp, oldest time.Time,
) error {
	err := s.transact(ctx, func(tx *gorm.DB) error {
		if err := checkSignUp(ctx, tx, user, signUp, oldest); err != nil {
			return err
		}
		// Before the user: a concurrent repetition must fail because of its request id, not because of its address.
		row := signUpRow{
			RequestID: signUp.RequestID, Fingerprint: signUp.Fingerprint, UserID: user.ID,
			CreateTime: toMicros(user.CreateTime),
		}
		if err := gorm.G[signUpRow](tx).Create(ctx, &row); err != nil {
			return err
		}
		return createUser(ctx, tx, user, passwordHash, UserCreated)
	})
	return s.wrap(ctx, "create user "+user.ID, err,
		meanings{dialect.DuplicateValue: ErrEmailTaken, dialect.DuplicateKey: ErrRequestTaken})
}

// checkSignUp fails if the request id or the address is taken, and deletes a sign-up of the same request id that is too
// old.
//
// It does not decide races: the unique indexes do. But it takes no locks either. In MySQL a DELETE that finds no row
// locks the gap where the row would be, and transactions that lock one gap deadlock when they insert into it. The same
// happens to transactions that wait for a sign-up which is rolled back because of its address.
func checkSignUp(ctx context.Context, tx *gorm.DB, user account.User, signUp SignUp, oldest time.Time) error {
	known, err := gorm.G[signUpRow](tx).Where("request_id = ?", signUp.RequestID).Find(ctx)
	if err != nil {
		return err
	}
	if len(known) > 0 {
		if !known[0].CreateTime.Before(toMicros(oldest)) {
			return ErrRequestTaken
		}
		_, err := gorm.G[signUpRow](tx).Where("request_id = ? AND create_time < ?", signUp.RequestID, toMicros(oldest)).
			Delete(ctx)
		if err != nil {
			return err
		}
	}
	return checkEmailFree(ctx, tx, user.Email)
}

// ReadSignUp returns the sign-up of a request id that is not older than oldest. It fails with ErrNotFound if there is
// none.
func (s *Storage) ReadSignUp(ctx context.Context, requestID []byte, oldest time.Time) (SignUp, error) {
	row, err := gorm.G[signUpRow](s.db).Where("request_id = ? AND create_time >= ?", requestID, toMicros(oldest)).Take(ctx)
	if err != nil {
		return SignUp{}, s.wrap(ctx, "read a sign-up", err, nil)
	}
	return SignUp{
		RequestID: row.RequestID, Fingerprint: row.Fingerprint, UserID: row.UserID, CreateTime: row.CreateTime,
	}, nil
}

// ConfirmSignUp fails with ErrNotFound if a sign-up has become void since it was read, or is deleted. It updates the
// row without changing it, so that it waits for a transaction that is voiding the sign-up.
func (s *Storage) ConfirmSignUp(ctx context.Context, signUp SignUp) error {
	err := s.write(ctx, func(db *gorm.DB) error {
		return requireRow(gorm.G[signUpRow](db).
			Where("request_id = ? AND fingerprint = ?", signUp.RequestID, signUp.Fingerprint).
			Update(ctx, "fingerprint", signUp.Fingerprint))
	})
	return s.wrap(ctx, "confirm a sign-up", err, nil)
}

// VoidSignUp makes a sign-up match no request, and appends the event that a request with its request id was refused for
// this reason. If the sign-up is void already, the refusal is counted as RecordFailure counts it.
func (s *Storage) VoidSignUp(ctx context.Context, signUp SignUp, reason string, now time.Time) error {
	voided := false
	err := s.transact(ctx, func(tx *gorm.DB) error {
		rows, err := gorm.G[signUpRow](tx).
			Where("request_id = ? AND fingerprint <> ?", signUp.RequestID, voidFingerprint()).
			Update(ctx, "fingerprint", voidFingerprint())
		if voided = rows > 0; err != nil || !voided {
			return err
		}
		return appendEvent(ctx, tx, Event{Kind: UserCreated, Time: now, UserID: signUp.UserID, Reason: reason})
	})
	if err == nil && !voided {
		return s.RecordFailure(ctx, UserCreated, signUp.UserID, reason, now)
	}
	return s.wrap(ctx, "void a sign-up", err, nil)
}

// DeleteSignUps deletes the sign-ups before a time: at most limit. It returns how many. The accounts stay.
func (s *Storage) DeleteSignUps(ctx context.Context, before time.Time, limit int) (int64, error) {
	return s.deleteOldest(ctx, "sign_up_requests", "request_id", "create_time", toMicros(before), limit)
}
