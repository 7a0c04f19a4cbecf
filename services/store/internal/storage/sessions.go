package storage

import (
	"context"
	"time"

	"gorm.io/gorm"
)

// Session is a log-in of a user. Its time is UTC, to the microsecond.
type Session struct {
	ID         string // a UUID in lower case
	UserID     string
	CreateTime time.Time
}

type sessionRow struct {
	ID         string `gorm:"primaryKey"`
	UserID     string
	CreateTime time.Time
}

func (sessionRow) TableName() string { return "sessions" }

// CreateSession adds a session. It fails with ErrNotFound if there is no such user.
func (s *Storage) CreateSession(ctx context.Context, session Session) error {
	err := s.write(ctx, func(db *gorm.DB) error {
		return gorm.G[sessionRow](db).Create(ctx, &sessionRow{
			ID: session.ID, UserID: session.UserID, CreateTime: kept(session.CreateTime),
		})
	})
	return s.explain(ctx, "create session "+session.ID, err, outcomes{missingReference: ErrNotFound})
}

// ReadSession finds a session by id. It fails with ErrNotFound if there is none.
func (s *Storage) ReadSession(ctx context.Context, id string) (Session, error) {
	row, err := gorm.G[sessionRow](s.db).Where("id = ?", id).Take(ctx)
	if err != nil {
		return Session{}, s.explain(ctx, "read session "+id, err, nil)
	}
	return Session(row), nil
}
