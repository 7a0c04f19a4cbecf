package storage

import (
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

// EndSession ends a session of a user. It fails with ErrNotFound if the user has no such session; to end one that has
// ended already changes nothing.
func (s *Storage) EndSession(ctx context.Context, userID, sessionID string, now time.Time) error {
	_, err := s.ChangeSession(ctx, sessionID, func(current account.UserSession) (account.Session, error) {
		session := current.Session
		if session.UserID != userID {
			return session, ErrNotFound
		}
		if session.EndTime.IsZero() {
			session.EndTime, session.EndReason = now, account.LoggedOut
		}
		return session, nil
	})
	return err
}

// Replacement is a session that takes the place of another one of its user when all others end. The zero Replacement
// replaces none.
type Replacement struct {
	Old string          // the id of the session that ends with all others
	New account.Session // the one that is opened instead; its user, generation and version are given by the storage
}

// EndAllSessions ends all sessions of a user: their generation is past from now on. It opens the replacement, if there
// is one, and returns the user and that session. It fails with ErrNotFound if there is no such user, and with
// ErrSessionEnded if the session to replace has ended meanwhile; then nothing is changed.
func (s *Storage) EndAllSessions(
	ctx context.Context, userID string, replacement Replacement, now time.Time,
) (account.UserSession, error) {
	var current account.UserSession
	err := s.write(ctx, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) (err error) {
			if current, err = endAllSessions(tx, userID, replacement, now); err != nil {
				return err
			}
			event := replacement.event(LogoutEverywhere, userID, now)
			if replacement.Old == "" {
				return appendEvent(ctx, tx, event) // Not limited: it ends the session of whoever would do it again and again.
			}
			return s.appendOwnChange(ctx, tx, event)
		})
	})
	return current, s.explain(ctx, "end the sessions of "+userID, err, nil)
}

// ChangePassword replaces the hash of a user's password, if it is still the old one, and ends all sessions of the user,
// both or neither. It fails with ErrNotFound if the user's hash is another one, and else as EndAllSessions.
func (s *Storage) ChangePassword(
	ctx context.Context, userID, oldHash, newHash string, replacement Replacement, now time.Time,
) (account.UserSession, error) {
	var current account.UserSession
	err := s.write(ctx, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) (err error) {
			// The user first, here as everywhere: it is what others wait for.
			if current, err = endAllSessions(tx, userID, replacement, now); err != nil {
				return err
			}
			err = onlyOne(tx.Model(&credentialRow{}).
				Where("user_id = ? AND password_hash = ?", userID, oldHash).
				Update("password_hash", newHash))
			if err != nil {
				return err
			}
			return s.appendOwnChange(ctx, tx, replacement.event(PasswordChanged, userID, now))
		})
	})
	return current, s.explain(ctx, "change the password of "+userID, err, nil)
}

func (r Replacement) event(kind EventKind, userID string, now time.Time) Event {
	event := Event{Kind: kind, Time: now, UserID: userID}
	if r.Old != "" {
		event.Details = map[string]string{"session": r.New.ID}
	}
	return event
}

func endAllSessions(tx *gorm.DB, userID string, replacement Replacement, now time.Time) (account.UserSession, error) {
	err := onlyOne(tx.Model(&userRow{}).Where("id = ?", userID).Updates(map[string]any{
		"session_generation": gorm.Expr("session_generation + 1"),
		"version":            gorm.Expr("version + 1"),
		"update_time":        toMicros(now),
	}))
	if err != nil {
		return account.UserSession{}, err
	}
	var owner userRow
	if err := tx.Where("id = ?", userID).Take(&owner).Error; err != nil {
		return account.UserSession{}, err
	}
	current := account.UserSession{User: owner.user()}
	if err := appendChange(tx, Change{UserID: userID, Version: current.User.Version}); err != nil {
		return account.UserSession{}, err
	}
	if err := expirePastSessions(tx, current.User, now); err != nil {
		return account.UserSession{}, err
	}
	if replacement.Old != "" {
		current.Session, err = replaceSession(tx, current.User, replacement, now)
	}
	return current, err
}

// expirePastSessions has the sessions of a user expire that ended with their generation. A refresh that read its
// session before may put the old time back; then the session is deleted later.
func expirePastSessions(tx *gorm.DB, user account.User, now time.Time) error {
	return tx.Exec("UPDATE sessions SET expire_time = ? WHERE user_id = ? AND generation < ? AND expire_time > ?",
		toMicros(now), user.ID, user.SessionGeneration, toMicros(now)).Error
}

// replaceSession ends a session that stood until now, and opens another one in the new generation of the user.
func replaceSession(tx *gorm.DB, user account.User, replacement Replacement, now time.Time) (account.Session, error) {
	ended := tx.Exec(`UPDATE sessions SET end_time = ?, end_reason = ?, version = version + 1
		WHERE id = ? AND user_id = ? AND end_time IS NULL AND generation = ?`,
		toMicros(now), string(account.Replaced), replacement.Old, user.ID, user.SessionGeneration-1)
	if ended.Error == nil && ended.RowsAffected == 0 {
		return account.Session{}, ErrSessionEnded
	}
	if ended.Error != nil {
		return account.Session{}, ended.Error
	}
	if err := appendChange(tx, Change{UserID: user.ID, SessionID: replacement.Old, Ended: true}); err != nil {
		return account.Session{}, err
	}
	session := normalized(replacement.New)
	session.UserID, session.Generation, session.Version = user.ID, user.SessionGeneration, 1
	return session, insertSession(tx, session)
}

// onlyOne wants a change of exactly one row.
func onlyOne(result *gorm.DB) error {
	if result.Error == nil && result.RowsAffected == 0 {
		return gorm.ErrRecordNotFound
	}
	return result.Error
}
