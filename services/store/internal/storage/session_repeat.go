package storage

import (
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/audit"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/refresh"
)

// maxReissueEvents bounds the events about one refresh token that other clients use again.
const maxReissueEvents = 8

// RepeatToken counts that the current refresh token of a session, as it was read, is given out again. It returns false
// if it may not be, as it was given out often enough or something was faster: then the session is to be read again.
//
// The version stays as it is: nothing changes that anybody else knows. So any number of retries at once wait for each
// other's lock on the row, and none has to begin again.
func (s *Storage) RepeatToken(ctx context.Context, session account.Session, now time.Time) (counted bool, err error) {
	err = s.write(ctx, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			updated := tx.Exec(`UPDATE sessions SET token_repeats = token_repeats + 1
				WHERE id = ? AND current_token = ? AND end_time IS NULL AND token_repeats < ?`,
				session.ID, session.Lineage.Current, refresh.MaxRepeats)
			if counted = updated.RowsAffected == 1; updated.Error != nil || !counted {
				return updated.Error
			}
			var repeats int64
			err := tx.Raw("SELECT token_repeats FROM sessions WHERE id = ?", session.ID).Scan(&repeats).Error
			if err != nil || repeats > 1 {
				return err // One event for each token.
			}
			event := repeatEvent(session, now)
			event.Details = map[string]string{"answer": "same"}
			return appendEvent(ctx, tx, event)
		})
	})
	return counted, s.explain(ctx, "repeat the token of session "+session.ID, err, nil)
}

// RefuseToken records that an ancestor of the current refresh token was refused, once for each current token.
func (s *Storage) RefuseToken(ctx context.Context, session account.Session, reason string, now time.Time) error {
	err := s.write(ctx, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			updated := tx.Exec("UPDATE sessions SET token_refused = ? WHERE id = ? AND current_token = ? AND token_refused = ?",
				true, session.ID, session.Lineage.Current, false)
			if updated.Error != nil || updated.RowsAffected == 0 {
				return updated.Error
			}
			event := repeatEvent(session, now)
			event.Reason = reason
			return appendEvent(ctx, tx, event)
		})
	})
	return s.explain(ctx, "refuse an old token of session "+session.ID, err, nil)
}

func repeatEvent(session account.Session, now time.Time) Event {
	return Event{Kind: RefreshRepeated, Time: now, UserID: session.UserID, Origin: audit.Origin{SessionID: session.ID}}
}
