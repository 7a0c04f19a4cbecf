package storage

import (
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

// EndSession ends a session of a user. It fails with ErrNotFound if the user has no such session. It changes nothing if
// the session has ended already.
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

// Replacement is a session that replaces another one of its user when all others end. The zero Replacement replaces
// none.
type Replacement struct {
	Old string          // the id of the session that ends with all others
	New account.Session // the session that is opened instead; storage sets its user, generation and version
}

// EndAllSessions ends all sessions of a user by raising the generation. It opens the replacement, if there is one, and
// returns the user and that session. It fails with ErrNotFound if there is no such user, and with ErrSessionEnded if
// the session to replace has ended; then it changes nothing.
func (s *Storage) EndAllSessions(
	ctx context.Context, userID string, replacement Replacement, now time.Time,
) (current account.UserSession, err error) {
	err = s.transact(ctx, func(tx *gorm.DB) (err error) {
		if current, err = endAllSessions(ctx, tx, userID, replacement, now); err != nil {
			return err
		}
		event := replacement.event(LogoutEverywhere, userID, now)
		if replacement.Old == "" {
			return appendEvent(ctx, tx, event) // No limit: it ends the session of a caller that repeats it.
		}
		return s.appendOwnChange(ctx, tx, event)
	})
	return current, s.wrap(ctx, "end the sessions of "+userID, err, nil)
}

// ChangePassword replaces the hash of a user's password, if it is still the old one, and ends all sessions of the user,
// both or neither. It fails with ErrNotFound if the user has another hash, and otherwise as EndAllSessions does.
func (s *Storage) ChangePassword(
	ctx context.Context, userID, oldHash, newHash string, replacement Replacement, now time.Time,
) (current account.UserSession, err error) {
	err = s.transact(ctx, func(tx *gorm.DB) (err error) {
		// The user first, here as everywhere: others wait for its row.
		if current, err = endAllSessions(ctx, tx, userID, replacement, now); err != nil {
			return err
		}
		if err := requireRow(replaceHash(ctx, tx, userID, oldHash, newHash)); err != nil {
			return err
		}
		return s.appendOwnChange(ctx, tx, replacement.event(PasswordChanged, userID, now))
	})
	return current, s.wrap(ctx, "change the password of "+userID, err, nil)
}

func (r Replacement) event(kind EventKind, userID string, now time.Time) Event {
	event := Event{Kind: kind, Time: now, UserID: userID}
	if r.Old != "" {
		event.Details = map[string]string{"session": r.New.ID}
	}
	return event
}

func endAllSessions(
	ctx context.Context, tx *gorm.DB, userID string, replacement Replacement, now time.Time,
) (account.UserSession, error) {
	user := gorm.G[userRow](tx).Where("id = ?", userID)
	err := requireRow(user.Set(set("session_generation", gorm.Expr("session_generation + 1")),
		set("version", gorm.Expr("version + 1")), set("update_time", toMicros(now))).Update(ctx))
	if err != nil {
		return account.UserSession{}, err
	}
	owner, err := user.Take(ctx)
	if err != nil {
		return account.UserSession{}, err
	}
	current := account.UserSession{User: owner.user()}
	if err := appendChange(ctx, tx, Change{UserID: userID, Version: current.User.Version}); err != nil {
		return account.UserSession{}, err
	}
	if err := expireStaleSessions(ctx, tx, current.User, now); err != nil {
		return account.UserSession{}, err
	}
	if replacement.Old != "" {
		current.Session, err = replaceSession(ctx, tx, current.User, replacement, now)
	}
	return current, err
}

// expireStaleSessions sets the expiry of the sessions that ended with their generation. A concurrent refresh that has
// read its session before may restore the old expiry; then the session is deleted later.
func expireStaleSessions(ctx context.Context, tx *gorm.DB, user account.User, now time.Time) error {
	_, err := gorm.G[sessionRow](tx).
		Where("user_id = ? AND generation < ? AND expire_time > ?", user.ID, user.SessionGeneration, toMicros(now)).
		Update(ctx, "expire_time", toMicros(now))
	return err
}

// replaceSession ends a session that was active until now, and opens another one in the new generation of the user.
func replaceSession(
	ctx context.Context, tx *gorm.DB, user account.User, replacement Replacement, now time.Time,
) (account.Session, error) {
	rows, err := gorm.G[sessionRow](tx).
		Where("id = ? AND user_id = ? AND end_time IS NULL AND generation = ?",
			replacement.Old, user.ID, user.SessionGeneration-1).
		Set(set("end_time", toMicros(now)), set("end_reason", string(account.Replaced)),
			set("version", gorm.Expr("version + 1"))).Update(ctx)
	if err == nil && rows == 0 {
		err = ErrSessionEnded
	}
	if err != nil {
		return account.Session{}, err
	}
	err = appendChange(ctx, tx, Change{UserID: user.ID, SessionID: replacement.Old, Ended: true})
	if err != nil {
		return account.Session{}, err
	}
	session := normalized(replacement.New)
	session.UserID, session.Generation, session.Version = user.ID, user.SessionGeneration, 1
	return session, insertSession(ctx, tx, session)
}
