package storage

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/audit"
)

// ownChangesPerDay is how many times as many changes a day may have as a minute: a profile that is saved every 72
// seconds, day and night, by the default.
const ownChangesPerDay = 20

// TooManyChangesError is a change that a user would make to the own account although others were made just before.
type TooManyChangesError struct {
	RetryAfter time.Duration // until when one more is admitted
}

// Error implements error.
func (e *TooManyChangesError) Error() string {
	return fmt.Sprintf("the user made too many changes, the next is admitted in %v", e.RetryAfter)
}

// LimitOwnChanges bounds what users write by changing their own accounts: each change adds an audit event, which is
// kept for a year. Of each kind, a user may make so many changes in a minute, and of the profile ownChangesPerDay times
// as many in a day; whatever ends sessions or changes the password has no bound for the day, as whoever has stolen a
// token could use it up. It must be called before anything is changed; 0 is no bound.
func (s *Storage) LimitOwnChanges(perMinute int) { s.ownChangesPerMinute = perMinute }

// appendOwnChange appends the event of a change that may be limited.
func (s *Storage) appendOwnChange(ctx context.Context, tx *gorm.DB, event Event) error {
	if err := appendEvent(ctx, tx, event); err != nil {
		return err
	}
	return s.admitOwnChange(ctx, tx, event.Kind, event.UserID, event.Time)
}

// admitOwnChange fails with a TooManyChangesError, which undoes the transaction, if the event that was appended in it
// is one too many. It counts the events: there is nothing else to keep, and stores that share a database share the
// count. The row of the user, which the transaction has changed before, makes others wait who would count at the same
// time.
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

// admitWithin fails if a window that ends now has more than limit changes. The next is admitted when the oldest of
// those that fill it leaves it.
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
