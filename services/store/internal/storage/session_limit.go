package storage

import (
	"cmp"
	"context"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/audit"
)

const (
	// maxSessions bounds how many sessions of one user stand: many more than a person has devices, and as many as a
	// page of the list has. The one that was not used for longest ends first.
	maxSessions = 100

	// maxEndedSessions bounds how many sessions of one user are kept that do not stand, so that somebody who logs in
	// again and again does not make the table grow. The oldest are deleted first.
	maxEndedSessions = 100

	// maxTrimmed bounds how many sessions of a user one log-in looks at. A user with more, from before there was a
	// bound, is trimmed by several.
	maxTrimmed = 1000
)

// lockUser makes log-ins of one user wait for each other until the end of the transaction. Nodes of a cluster do not
// know of each other's locks: there, as many more sessions may stand as are opened at once, until the next log-in.
func lockUser(tx *gorm.DB, userID string) error {
	return tx.Exec("UPDATE users SET version = version WHERE id = ?", userID).Error
}

// limitSessions ends and deletes what is beyond the bounds since a session was opened.
func limitSessions(ctx context.Context, tx *gorm.DB, opened account.Session) error {
	var rows []sessionRow
	err := tx.Raw(`SELECT id, user_id, last_use_time, expire_time, end_time, generation FROM sessions
		WHERE user_id = ? ORDER BY id LIMIT ?`, opened.UserID, maxTrimmed).Scan(&rows).Error
	if err != nil {
		return err
	}
	now := toMicros(opened.CreateTime)
	var standing, over []sessionRow
	for _, row := range rows {
		switch {
		case row.EndTime != nil || row.Generation != opened.Generation || !now.Before(row.ExpireTime):
			over = append(over, row)
		case row.ID != opened.ID:
			standing = append(standing, row)
		}
	}
	slices.SortStableFunc(standing, func(a, b sessionRow) int { return a.LastUseTime.Compare(b.LastUseTime) })
	for _, row := range oldest(standing, maxSessions-1) {
		if err := displace(ctx, tx, row, now); err != nil {
			return err
		}
		over = append(over, row)
	}
	slices.SortStableFunc(over, func(a, b sessionRow) int { return cmp.Compare(a.ID, b.ID) })
	for _, row := range oldest(over, maxEndedSessions) {
		if err := tx.Exec("DELETE FROM sessions WHERE id = ?", row.ID).Error; err != nil {
			return err
		}
	}
	return nil
}

// oldest returns the rows but the last limit ones.
func oldest(rows []sessionRow, limit int) []sessionRow { return rows[:max(0, len(rows)-limit)] }

// displace ends a session because its user has too many.
func displace(ctx context.Context, tx *gorm.DB, row sessionRow, now time.Time) error {
	ended := tx.Exec(`UPDATE sessions SET end_time = ?, expire_time = ?, end_reason = ?, version = version + 1
		WHERE id = ? AND end_time IS NULL`, now, now, string(account.Displaced), row.ID)
	if ended.Error != nil || ended.RowsAffected == 0 {
		return ended.Error
	}
	if err := appendChange(tx, Change{UserID: row.UserID, SessionID: row.ID, Ended: true}); err != nil {
		return err
	}
	return appendEvent(ctx, tx, Event{
		Kind: Logout, Time: now, UserID: row.UserID, Origin: audit.Origin{SessionID: row.ID},
		Details: map[string]string{"cause": string(account.Displaced)},
	})
}
