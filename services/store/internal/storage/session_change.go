package storage

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/audit"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/refresh"
)

const (
	// maxChanges bounds how often a change of a session is decided again because another one was faster. Of concurrent
	// refreshes only one changes anything.
	maxChanges = 16

	// maxReissueEvents bounds the events about one refresh token that other clients use again.
	maxReissueEvents = 8
)

// ChangeSession reads a session with its user, calls change to decide the new state of the session, and writes that
// with the next version, if it differs. If another change was faster, it begins again: it may call change several
// times, each time with what was committed. It returns the session and its user after the change.
//
// It fails with ErrNotFound if there is no such session, and with the unaltered error of change; then it writes
// nothing.
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
	return account.UserSession{}, fmt.Errorf("change session %s: %w: others were faster %d times",
		sessionID, ErrUnavailable, maxChanges)
}

// expiringAtEnd returns the session with an expiry no later than its end, so that it is deleted as long after its end
// as others are after their expiry.
func expiringAtEnd(s account.Session) account.Session {
	if !s.EndTime.IsZero() && s.EndTime.Before(s.ExpireTime) {
		s.ExpireTime = s.EndTime
	}
	return s
}

// writeSession replaces the version before by the one after, and reports whether the version before was there.
func (s *Storage) writeSession(ctx context.Context, before, after account.Session) (written bool, err error) {
	err = s.transact(ctx, func(tx *gorm.DB) error {
		rows, err := gorm.G[sessionRow](tx).Where("id = ? AND version = ?", before.ID, before.Version).
			Select("last_use_time", "expire_time", "end_time", "end_reason", "user_agent", "client_address",
				"current_token", "parent_token", "rotate_time", "version", "first_token", "token_repeats", "token_refused",
				"recent_trades", "previous_client_address", "previous_user_agent").
			Updates(ctx, sessionRowOf(after))
		written = rows == 1
		if err != nil || !written {
			return err
		}
		err = appendChange(ctx, tx, Change{
			UserID: after.UserID, SessionID: after.ID, Version: after.Version, Ended: !after.EndTime.IsZero(),
		})
		if event, isAudited := changeEvent(before, after); err == nil && isAudited {
			err = appendEvent(ctx, tx, event)
		}
		return err
	})
	return written, s.wrap(ctx, "change session "+before.ID, err, nil)
}

// changeEvent returns the event of a change, if it has one: the end of the session, or a refresh token that another
// client has used again. The latter happens at most maxReissueEvents times for one parent.
func changeEvent(before, after account.Session) (event Event, isAudited bool) {
	event = Event{UserID: after.UserID, Origin: audit.Origin{SessionID: after.ID}}
	reissued := after.Lineage.Current > before.Lineage.Current && after.Lineage.Parent == before.Lineage.Parent
	switch {
	case after.EndReason != before.EndReason && after.EndReason == account.TokenReused:
		event.Kind, event.Time, event.Reason = RefreshReused, after.EndTime, string(account.TokenReused)
	case after.EndReason != before.EndReason && after.EndReason != "":
		event.Kind, event.Time = Logout, after.EndTime
	case reissued && !callctx.SameClient(before.Client(), after.Client()) &&
		after.Lineage.Siblings() <= maxReissueEvents:
		event.Kind, event.Time, event.Details = RefreshRepeated, after.LastUseTime, map[string]string{"answer": "new"}
	default:
		return event, false
	}
	return event, true
}

// RepeatToken counts that the current refresh token of a session, as it was read, is returned again. It returns false
// if that is not allowed, because it was returned often enough or the session has changed: then the caller must read
// the session again.
//
// The version stays, because the change is invisible outside of the store. So any number of concurrent retries wait for
// each other's lock on the row, and none has to begin again.
func (s *Storage) RepeatToken(ctx context.Context, session account.Session, now time.Time) (counted bool, err error) {
	err = s.transact(ctx, func(tx *gorm.DB) error {
		rows, err := gorm.G[sessionRow](tx).
			Where("id = ? AND current_token = ? AND end_time IS NULL AND token_repeats < ?",
				session.ID, session.Lineage.Current, refresh.MaxRepeats).
			Update(ctx, "token_repeats", gorm.Expr("token_repeats + 1"))
		if counted = rows == 1; err != nil || !counted {
			return err
		}
		row, err := gorm.G[sessionRow](tx).Select("token_repeats").Where("id = ?", session.ID).Take(ctx)
		if err != nil || row.TokenRepeats > 1 {
			return err // One event for each token.
		}
		event := repeatEvent(session, now)
		event.Details = map[string]string{"answer": "same"}
		return appendEvent(ctx, tx, event)
	})
	return counted, s.wrap(ctx, "repeat the token of session "+session.ID, err, nil)
}

// RefuseToken records that an ancestor of the current refresh token was refused, once for each current token.
func (s *Storage) RefuseToken(ctx context.Context, session account.Session, reason string, now time.Time) error {
	err := s.transact(ctx, func(tx *gorm.DB) error {
		rows, err := gorm.G[sessionRow](tx).
			Where("id = ? AND current_token = ? AND token_refused = ?", session.ID, session.Lineage.Current, false).
			Update(ctx, "token_refused", true)
		if err != nil || rows == 0 {
			return err
		}
		event := repeatEvent(session, now)
		event.Reason = reason
		return appendEvent(ctx, tx, event)
	})
	return s.wrap(ctx, "refuse an old token of session "+session.ID, err, nil)
}

func repeatEvent(session account.Session, now time.Time) Event {
	return Event{Kind: RefreshRepeated, Time: now, UserID: session.UserID, Origin: audit.Origin{SessionID: session.ID}}
}
