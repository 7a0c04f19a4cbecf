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
	// maxSessions bounds the active sessions of a user: many more than a person has devices, and as many as a page of the
	// list has. The session that was not used for longest ends first.
	maxSessions = 100

	// maxEndedSessions bounds the stored sessions of a user that have ended, so that repeated log-ins do not make the
	// table grow. The oldest are deleted first.
	maxEndedSessions = 100

	// maxTrimmed bounds how many sessions of a user one log-in reads. If a user has more, from before there was a bound,
	// several log-ins trim them.
	maxTrimmed = 1000
)

// CreateSession adds a session of version 1. If its user then has more than maxSessions active sessions, those that
// were not used for longest end. It fails with ErrStaleGeneration if the user does not exist, or all sessions were
// ended since the generation of this one was read.
func (s *Storage) CreateSession(ctx context.Context, session account.Session) error {
	err := s.transact(ctx, func(tx *gorm.DB) error {
		if err := lockUser(ctx, tx, session.UserID); err != nil {
			return err
		}
		if err := insertSession(ctx, tx, session); err != nil {
			return err
		}
		if err := limitSessions(ctx, tx, session); err != nil {
			return err
		}
		return appendEvent(ctx, tx, Event{
			Kind: Login, Time: session.CreateTime, UserID: session.UserID, Origin: audit.Origin{SessionID: session.ID},
		})
	})
	return s.wrap(ctx, "create session "+session.ID, err, nil)
}

// lockUser makes log-ins of one user wait for each other until the end of the transaction. Nodes of a cluster do not
// share locks: there, a user may exceed the bounds by the log-ins that happen at once, until the next log-in.
func lockUser(ctx context.Context, tx *gorm.DB, userID string) error {
	_, err := gorm.G[userRow](tx).Where("id = ?", userID).Update(ctx, "version", gorm.Expr("version"))
	return err
}

// insertSession fails with ErrStaleGeneration if the user does not exist or has another generation.
func insertSession(ctx context.Context, tx *gorm.DB, session account.Session) error {
	// One statement, for which gorm has no words: the lock that it takes on the user makes it wait for a change of the
	// password that is being committed, and see it.
	result := gorm.WithResult()
	err := gorm.G[sessionRow](tx, result).Exec(ctx, `INSERT INTO sessions (id, user_id, create_time, last_use_time,
		expire_time, user_agent, client_address, current_token, first_token, parent_token, rotate_time, generation, version)
		SELECT ?, id, ?, ?, ?, ?, ?, ?, ?, ?, ?, session_generation, 1 FROM users WHERE id = ? AND session_generation = ?`,
		session.ID, toMicros(session.CreateTime), toMicros(session.LastUseTime), toMicros(session.ExpireTime),
		session.UserAgent, session.ClientAddress, session.Lineage.Current, session.Lineage.First, session.Lineage.Parent,
		toMicros(session.Lineage.RotateTime), session.UserID, session.Generation)
	if err == nil && result.RowsAffected == 0 {
		return ErrStaleGeneration
	}
	return err
}

// limitSessions ends and deletes the sessions of a user that exceed the bounds since a session was opened.
func limitSessions(ctx context.Context, tx *gorm.DB, opened account.Session) error {
	rows, err := gorm.G[sessionRow](tx).
		Select("id", "user_id", "last_use_time", "expire_time", "end_time", "generation").
		Where("user_id = ?", opened.UserID).Order("id").Limit(maxTrimmed).Find(ctx)
	if err != nil {
		return err
	}
	now := toMicros(opened.CreateTime)
	var active, ended []sessionRow
	for _, row := range rows {
		switch {
		case row.EndTime != nil || row.Generation != opened.Generation || !now.Before(row.ExpireTime):
			ended = append(ended, row)
		case row.ID != opened.ID:
			active = append(active, row)
		}
	}
	slices.SortStableFunc(active, func(a, b sessionRow) int { return a.LastUseTime.Compare(b.LastUseTime) })
	for _, row := range withoutLast(active, maxSessions-1) {
		if err := displace(ctx, tx, row, now); err != nil {
			return err
		}
		ended = append(ended, row)
	}
	slices.SortStableFunc(ended, func(a, b sessionRow) int { return cmp.Compare(a.ID, b.ID) })
	for _, row := range withoutLast(ended, maxEndedSessions) {
		if _, err := gorm.G[sessionRow](tx).Where("id = ?", row.ID).Delete(ctx); err != nil {
			return err
		}
	}
	return nil
}

// withoutLast returns the rows without the last n.
func withoutLast(rows []sessionRow, n int) []sessionRow { return rows[:max(0, len(rows)-n)] }

// displace ends a session because its user has too many.
func displace(ctx context.Context, tx *gorm.DB, row sessionRow, now time.Time) error {
	rows, err := gorm.G[sessionRow](tx).Where("id = ? AND end_time IS NULL", row.ID).
		Set(set("end_time", now), set("expire_time", now), set("end_reason", string(account.Displaced)),
			set("version", gorm.Expr("version + 1"))).Update(ctx)
	if err != nil || rows == 0 {
		return err
	}
	if err := appendChange(ctx, tx, Change{UserID: row.UserID, SessionID: row.ID, Ended: true}); err != nil {
		return err
	}
	return appendEvent(ctx, tx, Event{
		Kind: Logout, Time: now, UserID: row.UserID, Origin: audit.Origin{SessionID: row.ID},
		Details: map[string]string{"cause": string(account.Displaced)},
	})
}

// ReadSession returns a session by id, with its user. It fails with ErrNotFound if there is none. A session that has
// ended is returned until it is deleted.
func (s *Storage) ReadSession(ctx context.Context, id string) (account.UserSession, error) {
	found, err := readSession(ctx, s.db, id)
	return found, s.wrap(ctx, "read session "+id, err, nil)
}

// ListSessions returns the sessions of a user that are active at a time, newest first: at most limit, and only those
// older than the session before, unless that is "".
func (s *Storage) ListSessions(
	ctx context.Context, userID string, now time.Time, before string, limit int,
) ([]account.Session, error) {
	query := gorm.G[sessionRow](s.db).
		Where("user_id = ? AND end_time IS NULL AND expire_time > ?", userID, toMicros(now)).
		Where("generation = (SELECT session_generation FROM users WHERE id = ?)", userID)
	if before != "" {
		query = query.Where("id < ?", before) // Ids begin with the time of their creation.
	}
	rows, err := query.Order("id DESC").Limit(limit).Find(ctx)
	if err != nil {
		return nil, s.wrap(ctx, "list the sessions of "+userID, err, nil)
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
