package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"time"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

// SignUp is a sign-up that can be sent again. It holds nothing that depends on the password.
type SignUp struct {
	RequestID   []byte // digest of the request id, 32 bytes
	Fingerprint []byte // digest of the request without the password, 32 bytes
	UserID      string // of the account that was made
	CreateTime  time.Time
}

// voidFingerprint returns the fingerprint of a sign-up that is void. No request has it, so that a store of the version
// before, which does not know void sign-ups, refuses its request id as well.
func voidFingerprint() []byte { return make([]byte, sha256.Size) }

// Void reports whether the sign-up matches no request, because another request came under its request id.
func (s SignUp) Void() bool { return bytes.Equal(s.Fingerprint, voidFingerprint()) }

// signUpRow has a PasswordHash because the version before writes it. It is always empty here.
type signUpRow struct {
	RequestID    []byte `gorm:"primaryKey"`
	Fingerprint  []byte
	UserID       string
	PasswordHash string
	CreateTime   time.Time
}

func (signUpRow) TableName() string { return "sign_up_requests" }

// CreateUserOnce is CreateUser for a sign-up that can be sent again. It fails with ErrRequestTaken if there is one of
// this request id that is not older than oldest.
func (s *Storage) CreateUserOnce(
	ctx context.Context, user account.User, passwordHash string, signUp SignUp, oldest time.Time,
) error {
	err := s.write(ctx, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			if err := checkSignUp(tx, user, signUp, oldest); err != nil {
				return err
			}
			// Before the user: whoever sends the same twice at once must hear of itself, not of an address that is taken.
			row := signUpRow{
				RequestID: signUp.RequestID, Fingerprint: signUp.Fingerprint, UserID: user.ID,
				CreateTime: toMicros(user.CreateTime),
			}
			if err := gorm.G[signUpRow](tx).Create(ctx, &row); err != nil {
				return err
			}
			return createUser(ctx, tx, user, passwordHash, UserCreated)
		})
	})
	return s.explain(ctx, "create user "+user.ID, err,
		outcomes{duplicateValue: ErrEmailTaken, duplicateKey: ErrRequestTaken})
}

// checkSignUp refuses what is taken already, and forgets a sign-up of the same request id that is too old.
//
// It decides nothing: those who race are told apart by what is unique. But it locks nothing either. In MySQL a DELETE
// that finds no row locks the gap where it would be, and those who lock a gap wait for each other as soon as they
// insert into it; so do those who wait for a sign-up that is undone, because of its address.
func checkSignUp(tx *gorm.DB, user account.User, signUp SignUp, oldest time.Time) error {
	var known []signUpRow
	if err := tx.Where("request_id = ?", signUp.RequestID).Find(&known).Error; err != nil {
		return err
	}
	if len(known) > 0 {
		if !known[0].CreateTime.Before(toMicros(oldest)) {
			return ErrRequestTaken
		}
		err := tx.Exec("DELETE FROM sign_up_requests WHERE request_id = ? AND create_time < ?",
			signUp.RequestID, toMicros(oldest)).Error
		if err != nil {
			return err
		}
	}
	return checkEmailFree(tx, user.Email)
}

// ReadSignUp finds the sign-up of a request id that is not older than oldest. It fails with ErrNotFound if there is
// none.
func (s *Storage) ReadSignUp(ctx context.Context, requestID []byte, oldest time.Time) (SignUp, error) {
	row, err := gorm.G[signUpRow](s.db).Where("request_id = ? AND create_time >= ?", requestID, toMicros(oldest)).Take(ctx)
	if err != nil {
		return SignUp{}, s.explain(ctx, "read a sign-up", err, nil)
	}
	return SignUp{
		RequestID: row.RequestID, Fingerprint: row.Fingerprint, UserID: row.UserID, CreateTime: row.CreateTime,
	}, nil
}

// ConfirmSignUp fails with ErrNotFound if a sign-up has become void since it was read, or is gone. It writes to the
// row, though it changes nothing there, so that it waits for those who are about to void it.
func (s *Storage) ConfirmSignUp(ctx context.Context, signUp SignUp) error {
	err := s.write(ctx, func(db *gorm.DB) error {
		result := db.Model(&signUpRow{}).Where("request_id = ? AND fingerprint = ?", signUp.RequestID, signUp.Fingerprint).
			Update("fingerprint", signUp.Fingerprint)
		if result.Error == nil && result.RowsAffected == 0 {
			return gorm.ErrRecordNotFound
		}
		return result.Error
	})
	return s.explain(ctx, "confirm a sign-up", err, nil)
}

// VoidSignUp makes a sign-up match no request from now on, and appends the event that a request under its request id
// was refused for the reason given. If the sign-up is void already, the refusal is counted as RecordFailure counts it.
func (s *Storage) VoidSignUp(ctx context.Context, signUp SignUp, reason string, now time.Time) error {
	voided := false
	err := s.write(ctx, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			result := tx.Model(&signUpRow{}).
				Where("request_id = ? AND fingerprint <> ?", signUp.RequestID, voidFingerprint()).
				Update("fingerprint", voidFingerprint())
			voided = result.RowsAffected > 0
			if result.Error != nil || !voided {
				return result.Error
			}
			return appendEvent(ctx, tx, Event{Kind: UserCreated, Time: now, UserID: signUp.UserID, Reason: reason})
		})
	})
	if err == nil && !voided {
		return s.RecordFailure(ctx, UserCreated, signUp.UserID, reason, now)
	}
	return s.explain(ctx, "void a sign-up", err, nil)
}

// DeleteSignUps forgets the request ids of sign-ups of before a time: at most limit. It tells how many.
func (s *Storage) DeleteSignUps(ctx context.Context, before time.Time, limit int) (int64, error) {
	return s.deleteOldest(ctx, "sign_up_requests", "request_id", "create_time", toMicros(before), limit)
}
