package storage

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/audit"
)

// CreateSession adds a session of version 1. If more than maxSessions of its user stand then, those end that were not
// used for longest. It fails with ErrStaleGeneration if the user is not there any more, or all
// sessions were ended since the generation of this one was read.
func (s *Storage) CreateSession(ctx context.Context, session account.Session) error {
	err := s.write(ctx, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error { return createSession(ctx, tx, session) })
	})
	return s.explain(ctx, "create session "+session.ID, err, nil)
}

func createSession(ctx context.Context, tx *gorm.DB, session account.Session) error {
	if err := lockUser(tx, session.UserID); err != nil {
		return err
	}
	if err := insertSession(tx, session); err != nil {
		return err
	}
	if err := limitSessions(ctx, tx, session); err != nil {
		return err
	}
	return appendEvent(ctx, tx, Event{
		Kind: Login, Time: session.CreateTime, UserID: session.UserID, Origin: audit.Origin{SessionID: session.ID},
	})
}

// insertSession fails with ErrStaleGeneration if the user is gone or of another generation.
func insertSession(tx *gorm.DB, session account.Session) error {
	// One statement: the lock that it takes on the user makes it wait for a change of the password that is being
	// committed, and see it.
	inserted := tx.Exec(`INSERT INTO sessions (id, user_id, create_time, last_use_time, expire_time, user_agent,
		client_address, current_token, first_token, parent_token, rotate_time, generation, version)
		SELECT ?, id, ?, ?, ?, ?, ?, ?, ?, ?, ?, session_generation, 1 FROM users WHERE id = ? AND session_generation = ?`,
		session.ID, toMicros(session.CreateTime), toMicros(session.LastUseTime), toMicros(session.ExpireTime),
		session.UserAgent, session.ClientAddress, session.Lineage.Current, session.Lineage.First, session.Lineage.Parent,
		toMicros(session.Lineage.RotateTime), session.UserID, session.Generation)
	if inserted.Error == nil && inserted.RowsAffected == 0 {
		return ErrStaleGeneration
	}
	return inserted.Error
}

// ReadSession finds a session by id, with its user. It fails with ErrNotFound if there is none; one that has ended is
// found until it is deleted.
func (s *Storage) ReadSession(ctx context.Context, sessionID string) (account.UserSession, error) {
	current, err := readAccount(s.db.WithContext(ctx), sessionID)
	return current, s.explain(ctx, "read session "+sessionID, err, nil)
}

// maxChanges bounds how often a change of a session is decided anew because another was faster. Those who race for a
// refresh all but one change nothing.
const maxChanges = 16

// ChangeSession reads a session with its user, lets change decide what becomes of the session, and writes that with the
// next version, if it differs. If another change was faster, it begins again: change may be called several times, and
// each time decides on what was committed. What it gives back is the account after the change.
//
// It fails with ErrNotFound if there is no such session, and with the error of change, unaltered; then nothing is
// written.
func (s *Storage) ChangeSession(
	ctx context.Context, sessionID string, change func(account.UserSession) (account.Session, error),
) (account.UserSession, error) {
	for range maxChanges {
		current, err := s.ReadSession(ctx, sessionID)
		if err != nil {
			return account.UserSession{}, err
		}
		changed, err := change(current)
		if err != nil || changed == current.Session {
			return current, err
		}
		changed = expiringAtEnd(changed)
		changed.Version = current.Session.Version + 1
		written, err := s.writeSession(ctx, current.Session, changed)
		if err != nil {
			return account.UserSession{}, err
		}
		if written {
			return account.UserSession{User: current.User, Session: normalized(changed)}, nil
		}
	}
	return account.UserSession{}, fmt.Errorf("change session %s: %w: others were faster %d times", sessionID, ErrUnavailable,
		maxChanges)
}

// writeSession replaces the version before by this one, and tells whether that was there.
func (s *Storage) writeSession(ctx context.Context, before, after account.Session) (written bool, err error) {
	err = s.write(ctx, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			row := sessionRowOf(after)
			updated := tx.Model(&sessionRow{}).Where("id = ? AND version = ?", before.ID, before.Version).
				Select("last_use_time", "expire_time", "end_time", "end_reason", "user_agent", "client_address",
					"current_token", "parent_token", "rotate_time", "version", "first_token", "token_repeats", "token_refused",
					"recent_trades", "previous_client_address", "previous_user_agent").
				Updates(&row)
			written = updated.RowsAffected == 1
			if updated.Error != nil || !written {
				return updated.Error
			}
			ended := !after.EndTime.IsZero()
			err := appendChange(tx, Change{UserID: after.UserID, SessionID: after.ID, Version: after.Version, Ended: ended})
			if event, worthy := changeEvent(before, after); err == nil && worthy {
				err = appendEvent(ctx, tx, event)
			}
			return err
		})
	})
	return written, s.explain(ctx, "change session "+before.ID, err, nil)
}

// changeEvent returns the event of a change, if it is worth one: the end of a session by itself, and a refresh token
// that another client has used again. Of one parent, not more than maxReissueEvents are.
func changeEvent(before, after account.Session) (event Event, worthy bool) {
	event = Event{UserID: after.UserID, Origin: audit.Origin{SessionID: after.ID}}
	reissued := after.Lineage.Current > before.Lineage.Current && after.Lineage.Parent == before.Lineage.Parent
	switch {
	case after.EndReason != before.EndReason && after.EndReason == account.TokenReused:
		event.Kind, event.Time, event.Reason = RefreshReused, after.EndTime, string(account.TokenReused)
	case after.EndReason != before.EndReason && after.EndReason != "":
		event.Kind, event.Time = Logout, after.EndTime
	case reissued && !callctx.SameClient(before.Client(), after.Client()) && after.Lineage.Siblings() <= maxReissueEvents:
		event.Kind, event.Time, event.Details = RefreshRepeated, after.LastUseTime, map[string]string{"answer": "new"}
	default:
		return event, false
	}
	return event, true
}

// ListSessions gives the sessions of a user that stand at a time, newest first: at most limit, and only those older
// than the session before, where that is not "".
func (s *Storage) ListSessions(
	ctx context.Context, userID string, now time.Time, before string, limit int,
) ([]account.Session, error) {
	query := gorm.G[sessionRow](s.db).
		Where("user_id = ? AND end_time IS NULL AND expire_time > ?", userID, toMicros(now)).
		Where("generation = (SELECT session_generation FROM users WHERE id = ?)", userID)
	if before != "" {
		query = query.Where("id < ?", before) // Ids begin with the time at which they were made.
	}
	rows, err := query.Order("id DESC").Limit(limit).Find(ctx)
	if err != nil {
		return nil, s.explain(ctx, "list the sessions of "+userID, err, nil)
	}
	sessions := make([]account.Session, 0, len(rows))
	for _, row := range rows {
		sessions = append(sessions, row.session())
	}
	return sessions, nil
}

// DeleteExpiredSessions deletes sessions that expired, or ended, before a time: at most limit. It returns how many. An
// ended session expires when it ends.
func (s *Storage) DeleteExpiredSessions(ctx context.Context, before time.Time, limit int) (int64, error) {
	return s.deleteOldest(ctx, "sessions", "id", "expire_time", toMicros(before), limit)
}
