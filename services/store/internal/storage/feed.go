package storage

import (
	"context"
	"database/sql"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
)

// Change is one change of a user or a session that was committed, and the row of the feed that holds it.
type Change struct {
	Sequence   int64 `gorm:"primaryKey;autoIncrement:false"` // its place in the feed, from 1 on, without gaps
	UserID     string
	SessionID  string // "" for a change of the user
	Version    int64  // of the user or session after the change; 0 if that has ended
	Ended      bool
	CreateTime time.Time // by the database's clock; the commit was later
}

// TableName implements the interface of gorm.
func (Change) TableName() string { return "feed" }

// FeedState is the end of the feed.
type FeedState struct {
	Epoch string // of the database
	Last  int64  // the sequence of the last change; 0 before the first
	// OldestWaiting is the time of the oldest change that has no sequence yet, or zero if there is none.
	OldestWaiting time.Time
}

// changeRow is a change that has no place in the feed yet. The database sets the id and the time.
type changeRow struct {
	ID         int64 `gorm:"primaryKey"`
	UserID     string
	SessionID  string
	Version    int64
	Ended      bool
	CreateTime time.Time
}

func (changeRow) TableName() string { return "changes" }

// feedHeadRow is the only row of its table.
type feedHeadRow struct {
	ID       int64 `gorm:"primaryKey;autoIncrement:false"`
	Sequence int64 // of the last change in the feed
}

func (feedHeadRow) TableName() string { return "feed_head" }

type epochRow struct {
	Name  string `gorm:"primaryKey"`
	Epoch string
}

func (epochRow) TableName() string { return "epochs" }

// appendChange adds a change for the feed, in the transaction that makes the change.
func appendChange(ctx context.Context, tx *gorm.DB, change Change) error {
	if change.Ended {
		change.Version = 0
	}
	return insertChange(ctx, tx, &changeRow{
		UserID: change.UserID, SessionID: change.SessionID, Version: change.Version, Ended: change.Ended,
	})
}

func insertChange(ctx context.Context, tx *gorm.DB, row *changeRow) error {
	return gorm.G[changeRow](tx).Select("user_id", "session_id", "version", "ended").Create(ctx, row)
}

// IsFile reports whether the database is a file, which few other processes change.
func (s *Storage) IsFile() bool { return s.writer != nil }

// Written returns a channel that receives when this store may have committed a change since the last receive.
func (s *Storage) Written() <-chan struct{} { return s.written }

// SequenceChanges moves committed changes to the end of the feed: at most limit. It returns how many, which is 0 if
// another store is doing it.
func (s *Storage) SequenceChanges(ctx context.Context, limit int) (sequenced int, err error) {
	_, waiting, err := s.readOldestChange(ctx)
	if err != nil || !waiting {
		return 0, err
	}
	// There is one attempt: the caller repeats it anyway.
	err = s.writeOnce(ctx, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			sequenced, err = s.sequenceChanges(ctx, tx, limit)
			return err
		})
	})
	if err == nil {
		return sequenced, nil
	}
	if s.dialect.Classify(err) == dialect.Conflict {
		return 0, nil
	}
	return 0, s.wrap(ctx, "sequence changes", err, nil)
}

func (s *Storage) sequenceChanges(ctx context.Context, tx *gorm.DB, limit int) (int, error) {
	head := gorm.G[feedHeadRow](tx).Where("id = ?", 1)
	// The lock comes before any read, so that what is read is no older.
	if err := requireRow(head.Update(ctx, "sequence", gorm.Expr("sequence"))); err != nil {
		return 0, err
	}
	last, err := head.Take(ctx)
	if err != nil {
		return 0, err
	}
	waiting, err := gorm.G[changeRow](tx).Where("id > ?", 0).Order("id").Limit(limit).Find(ctx)
	if err != nil || len(waiting) == 0 {
		return 0, err
	}
	rows := make([]Change, 0, len(waiting))
	for _, row := range waiting {
		last.Sequence++
		rows = append(rows, Change{last.Sequence, row.UserID, row.SessionID, row.Version, row.Ended, row.CreateTime})
		deleted := gorm.WithResult() // The dialects need different statements.
		err := gorm.G[changeRow](tx, deleted).Exec(ctx, s.dialect.DeleteOne("changes", "id"), row.ID)
		if err := requireRow(int(deleted.RowsAffected), err); err != nil {
			return 0, err
		}
	}
	if err := insertAll(ctx, tx, rows); err != nil {
		return 0, err
	}
	// In a cluster, whose nodes do not share locks, this makes all but one fail at commit.
	return len(rows), requireRow(head.Update(ctx, "sequence", last.Sequence))
}

// readOldestChange returns the time of the oldest change that waits for its place in the feed, if any does.
func (s *Storage) readOldestChange(ctx context.Context) (since time.Time, waiting bool, err error) {
	// The condition makes both databases read one row of the primary key.
	rows, err := gorm.G[changeRow](s.db).Where("id > ?", 0).Order("id").Limit(1).Find(ctx)
	if err != nil || len(rows) == 0 {
		return time.Time{}, false, s.wrap(ctx, "look for changes", err, nil)
	}
	return rows[0].CreateTime, true, nil
}

// selectFeedState reads the state of the feed in one statement, so that the sequence is of the epoch. The condition on
// the id makes both databases read one row of the primary key.
const selectFeedState = `SELECT e.epoch, h.sequence, c.create_time FROM feed_head h JOIN epochs e ON e.name = 'feed'
	LEFT JOIN changes c ON c.id = (SELECT MIN(id) FROM changes WHERE id > 0) WHERE h.id = 1`

// ReadFeedState returns the end of the feed. In a store without calls it runs more often than all else: it does without
// gorm.
func (s *Storage) ReadFeedState(ctx context.Context) (FeedState, error) {
	var state FeedState
	var oldest sql.NullTime
	if err := s.pool.QueryRowContext(ctx, selectFeedState).Scan(&state.Epoch, &state.Last, &oldest); err != nil {
		return FeedState{}, s.wrap(ctx, "read the state of the feed", err, nil)
	}
	state.OldestWaiting = oldest.Time
	return state, nil
}

// ListChanges returns the changes after a sequence that is not the last one, in their order: at most limit. It fails
// with ErrCursorExpired if the next change is deleted.
func (s *Storage) ListChanges(ctx context.Context, after int64, limit int) ([]Change, error) {
	changes, err := gorm.G[Change](s.db).Where("sequence > ?", after).Order("sequence").Limit(limit).Find(ctx)
	if err == nil && (len(changes) == 0 || changes[0].Sequence != after+1) {
		err = ErrCursorExpired
	}
	if err != nil {
		return nil, s.wrap(ctx, "list changes", err, nil)
	}
	return changes, nil
}

// DeleteChanges deletes the beginning of the feed, up to the last change that got its place before a time: at most
// limit. It returns how many. The rest has no gaps, whatever the clocks of the stores are.
func (s *Storage) DeleteChanges(ctx context.Context, before time.Time, limit int) (int64, error) {
	rows, err := gorm.G[Change](s.db).Where("sequence_time < ?", toMicros(before)).Order("sequence_time DESC").Limit(1).
		Find(ctx)
	if err != nil || len(rows) == 0 {
		return 0, s.wrap(ctx, "look for old changes", err, nil)
	}
	return s.deleteOldest(ctx, "feed", "sequence", "sequence", rows[0].Sequence+1, limit)
}

// BumpEpoch sets another epoch of the database, and returns both.
func (s *Storage) BumpEpoch(ctx context.Context) (before, after string, err error) {
	after = uuid.NewString()
	err = s.transact(ctx, func(tx *gorm.DB) error {
		feed := gorm.G[epochRow](tx).Where("name = ?", "feed")
		// As in sequenceChanges, the lock comes first.
		if err := requireRow(feed.Update(ctx, "epoch", gorm.Expr("epoch"))); err != nil {
			return err
		}
		row, err := feed.Take(ctx)
		if err != nil {
			return err
		}
		before = row.Epoch
		return requireRow(feed.Update(ctx, "epoch", after))
	})
	return before, after, s.wrap(ctx, "change the epoch", err, nil)
}
