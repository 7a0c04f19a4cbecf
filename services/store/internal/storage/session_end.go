package storage

import (
	"context"
	"time"

	"gorm.io/gorm"
)

// EndSession ends a session of a user. It fails with ErrNotFound if the user has no such session; to end one that has
// ended already changes nothing.
func (s *Storage) EndSession(ctx context.Context, userID, sessionID string, now time.Time) error {
	_, err := s.ChangeSession(ctx, sessionID, func(account Account) (Session, error) {
		session := account.Session
		if session.UserID != userID {
			return session, ErrNotFound
		}
		if session.EndTime.IsZero() {
			session.EndTime, session.EndReason = now, LoggedOut
		}
		return session, nil
	})
	return err
}

// EndAllSessions ends all sessions of a user, but the one to spare, where that is not "": their generation is past from
// now on. It gives the user and the spared session after the change. It fails with ErrNotFound if there is no such
// user, and with ErrSessionEnded if the session to spare has ended meanwhile; then nothing is changed.
func (s *Storage) EndAllSessions(ctx context.Context, userID, spare string, now time.Time) (Account, error) {
	var account Account
	err := s.write(ctx, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) (err error) {
			if account, err = endAllSessions(tx, userID, spare, now); err != nil {
				return err
			}
			event := Event{Kind: LogoutEverywhere, Time: now, UserID: userID}
			if spare != "" {
				event.Details = map[string]string{"spared": spare}
			}
			return appendEvent(ctx, tx, event)
		})
	})
	return account, s.explain(ctx, "end the sessions of "+userID, err, nil)
}

// ChangePassword replaces the hash of a user's password, if it is still the old one, and ends all sessions but the one
// to spare, both or neither. It fails with ErrNotFound if the user's hash is another one, and else as EndAllSessions.
func (s *Storage) ChangePassword(
	ctx context.Context, userID, oldHash, newHash, spare string, now time.Time,
) (Account, error) {
	var account Account
	err := s.write(ctx, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) (err error) {
			// The user first, here as everywhere: it is what others wait for.
			if account, err = endAllSessions(tx, userID, spare, now); err != nil {
				return err
			}
			err = onlyOne(tx.Model(&credentialRow{}).
				Where("user_id = ? AND password_hash = ?", userID, oldHash).
				Update("password_hash", newHash))
			if err != nil {
				return err
			}
			return appendEvent(ctx, tx, Event{Kind: PasswordChanged, Time: now, UserID: userID})
		})
	})
	return account, s.explain(ctx, "change the password of "+userID, err, nil)
}

func endAllSessions(tx *gorm.DB, userID, spare string, now time.Time) (Account, error) {
	err := onlyOne(tx.Model(&userRow{}).Where("id = ?", userID).Updates(map[string]any{
		"session_generation": gorm.Expr("session_generation + 1"),
		"version":            gorm.Expr("version + 1"),
		"update_time":        kept(now),
	}))
	if err != nil {
		return Account{}, err
	}
	account, err := newGeneration(tx, userID, spare)
	if err != nil {
		return Account{}, err
	}
	return account, appendChange(tx, Change{UserID: userID, Version: account.User.Version})
}

// newGeneration is what is there once a generation has begun: the user and the session to spare, where there is one.
func newGeneration(tx *gorm.DB, userID, spare string) (Account, error) {
	if spare == "" {
		var owner userRow
		err := tx.Where("id = ?", userID).Take(&owner).Error
		return Account{User: owner.user()}, err
	}
	account, err := spareSession(tx, userID, spare)
	if err != nil {
		return Account{}, err
	}
	return account, appendChange(tx, Change{UserID: userID, SessionID: spare, Version: account.Session.Version})
}

// spareSession takes a session that stood until now into the new generation.
func spareSession(tx *gorm.DB, userID, sessionID string) (Account, error) {
	moved := tx.Exec(`UPDATE sessions SET generation = generation + 1, version = version + 1
		WHERE id = ? AND user_id = ? AND end_time IS NULL
		AND generation + 1 = (SELECT session_generation FROM users WHERE users.id = ?)`, sessionID, userID, userID)
	if moved.Error == nil && moved.RowsAffected == 0 {
		return Account{}, ErrSessionEnded
	}
	if moved.Error != nil {
		return Account{}, moved.Error
	}
	return readAccount(tx, sessionID)
}

// onlyOne wants a change of exactly one row.
func onlyOne(result *gorm.DB) error {
	if result.Error == nil && result.RowsAffected == 0 {
		return gorm.ErrRecordNotFound
	}
	return result.Error
}
