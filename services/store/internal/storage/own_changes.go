package storage

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/audit"
)

// ownChangesPerDay is the limit for a day in multiples of that for a minute. With the default it allows a profile to be
// saved every 72 seconds, day and night.
const ownChangesPerDay = 20

// TooManyChangesError is a change of a user to the own account that exceeds the limit.
type TooManyChangesError struct {
	RetryAfter time.Duration // until the next change is admitted
}

// Error returns a text with the time to wait.
func (e *TooManyChangesError) Error() string {
	return fmt.Sprintf("the user made too many changes, the next is admitted in %v", e.RetryAfter)
}

// LimitOwnChanges limits how often users change their own accounts, because each change adds an audit event that is
// stored for a year. A user may make perMinute changes of each kind in a minute, and ownChangesPerDay times as many
// changes of the profile in a day. Changes that end sessions or replace the password have no limit for the day, which
// the thief of a token could exhaust. LimitOwnChanges must be called before the first change; 0 is no limit.
func (s *Storage) LimitOwnChanges(perMinute int) { s.ownChangesPerMinute = perMinute }

// appendOwnChange appends the event of a change that may be limited.
func (s *Storage) appendOwnChange(ctx context.Context, tx *gorm.DB, event Event) error {
	if err := appendEvent(ctx, tx, event); err != nil {
		return err
	}
	return s.admitOwnChange(ctx, tx, event.Kind, event.UserID, event.Time)
}

// admitOwnChange fails with a TooManyChangesError, which rolls the transaction back, if the event that was appended in
// it exceeds the limit. It counts the events, so that stores which share a database share the count. The transaction
// has changed the row of the user before, so that concurrent transactions wait.
func (s *Storage) admitOwnChange(
	ctx context.Context, tx *gorm.DB, kind EventKind, userID string, now time.Time,
) error {
	if s.ownChangesPerMinute == 0 || audit.OriginOf(ctx).Actor != userID {
		return nil
	}
	if err := admitWithin(ctx, tx, kind, userID, now, time.Minute, s.ownChangesPerMinute); err != nil {
		return err
	}
	if kind != UserUpdated {
		return nil
	}
	return admitWithin(ctx, tx, kind, userID, now, 24*time.Hour, ownChangesPerDay*s.ownChangesPerMinute)
}

// admitWithin fails if a window that ends now has more than limit changes. The next change is admitted when the oldest
// of the last limit changes leaves the window.
func admitWithin(
	ctx context.Context, tx *gorm.DB, kind EventKind, userID string, now time.Time, window time.Duration, limit int,
) error {
	actor, ofKind := eventCondition{"actor", userID}, eventCondition{"kind", string(kind)}
	rows, err := gorm.G[eventRow](tx).Select("id", "event_time").
		Where(actor.text(true), actor.value).Where(ofKind.text(false), ofKind.value).
		Where("COALESCE(reason, '') = '' AND id >= ?", firstEventID(now.Add(time.Microsecond-window))).
		Order("id DESC").Offset(limit).Limit(1).Find(ctx)
	if err != nil || len(rows) == 0 {
		return err
	}
	return &TooManyChangesError{RetryAfter: rows[0].EventTime.Add(window).Sub(now)}
}
