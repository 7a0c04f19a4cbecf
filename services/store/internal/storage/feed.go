package storage

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// Change is one change of a user or a session that was committed.
type Change struct {
	Sequence   int64 // its place in the feed, from 1 on, without holes
	UserID     string
	SessionID  string // "" for a change of the user
	Version    int64  // that it made; 0 where the user or session has ended
	Ended      bool
	CreateTime time.Time // when it was made, by the database's clock; it was committed some time after
}

// FeedState is how far the feed is.
type FeedState struct {
	Epoch string // of the database
	Last  int64  // the sequence of the last change that has one; 0 if there was none yet
	// OldestWaiting is when the oldest change was made that has no sequence yet; the zero time if there is none.
	OldestWaiting time.Time
}

// changeRow is a change that has no place in the feed yet. The database gives the id and the time.
type changeRow struct {
	ID         int64 `gorm:"primaryKey"`
	UserID     string
	SessionID  string
	Version    int64
	Ended      bool
	CreateTime time.Time
}

func (changeRow) TableName() string { return "changes" }

type feedRow struct {
	Sequence   int64 `gorm:"primaryKey;autoIncrement:false"`
	UserID     string
	SessionID  string
	Version    int64
	Ended      bool
	CreateTime time.Time
}

func (feedRow) TableName() string { return "feed" }

// appendChange tells followers of a change, in the transaction that makes it.
func appendChange(tx *gorm.DB, change Change) error {
	if change.Ended {
		change.Version = 0
	}
	return tx.Exec("INSERT INTO changes (user_id, session_id, version, ended) VALUES (?, ?, ?, ?)",
		change.UserID, change.SessionID, change.Version, change.Ended).Error
}

// IsFile reports whether the database is a file, which hardly anybody but this process changes.
func (s *Storage) IsFile() bool { return s.writer != nil }

// Written gives a channel that has something in it when this store may have committed a change since it was last asked.
func (s *Storage) Written() <-chan struct{} { return s.written }

// SequenceChanges gives changes that were committed their places at the end of the feed: at most limit. It tells how
// many; none, too, if another store is doing it.
func (s *Storage) SequenceChanges(ctx context.Context, limit int) (sequenced int, err error) {
	const doing = "put changes in order"
	_, waiting, err := s.ReadOldestChange(ctx)
	if err != nil || !waiting {
		return 0, err
	}
	// It is tried once: whoever lost the conflict comes again anyway.
	err = s.inTurn(ctx, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			sequenced, err = s.sequenceChanges(tx, limit)
			return err
		})
	})
	if err == nil {
		return sequenced, nil
	}
	if s.dialect.classify(err) == conflict {
		return 0, nil
	}
	return 0, s.explain(ctx, doing, err, nil)
}

func (s *Storage) sequenceChanges(tx *gorm.DB, limit int) (int, error) {
	// The lock comes before any read, so that what is read is no older.
	if err := onlyOne(tx.Exec("UPDATE guards SET changes = changes WHERE name = 'feed'")); err != nil {
		return 0, err
	}
	var last int64
	if err := tx.Raw("SELECT changes FROM guards WHERE name = 'feed'").Scan(&last).Error; err != nil {
		return 0, err
	}
	var waiting []changeRow
	if err := tx.Where("id > ?", 0).Order("id").Limit(limit).Find(&waiting).Error; err != nil || len(waiting) == 0 {
		return 0, err
	}
	rows := make([]feedRow, 0, len(waiting))
	for _, row := range waiting {
		last++
		rows = append(rows, feedRow{last, row.UserID, row.SessionID, row.Version, row.Ended, row.CreateTime})
		if err := onlyOne(tx.Exec(s.dialect.deleteOne("changes", "id"), row.ID)); err != nil {
			return 0, err
		}
	}
	if err := insertAll(tx, rows); err != nil {
		return 0, err
	}
	// In a cluster, whose nodes do not know of each other's locks, this makes all but one fail at commit.
	return len(rows), onlyOne(tx.Exec("UPDATE guards SET changes = ? WHERE name = 'feed'", last))
}

// ReadOldestChange tells since when the change that was made first waits for its place in the feed, if any does.
func (s *Storage) ReadOldestChange(ctx context.Context) (since time.Time, waiting bool, err error) {
	// The condition makes both databases read one row of the primary key.
	rows, err := gorm.G[changeRow](s.db).Where("id > ?", 0).Order("id").Limit(1).Find(ctx)
	if err != nil || len(rows) == 0 {
		return time.Time{}, false, s.explain(ctx, "look for changes", err, nil)
	}
	return rows[0].CreateTime, true, nil
}

// ReadFeedState returns how far the feed is.
func (s *Storage) ReadFeedState(ctx context.Context) (FeedState, error) {
	var states []struct {
		Epoch         string
		Last          int64
		OldestWaiting *time.Time
	}
	// The condition on the id makes both databases read one row of the primary key.
	err := s.db.WithContext(ctx).Raw(`SELECT e.epoch, g.changes AS last, c.create_time AS oldest_waiting
		FROM guards g JOIN epochs e ON e.name = 'feed'
		LEFT JOIN changes c ON c.id = (SELECT MIN(id) FROM changes WHERE id > 0)
		WHERE g.name = 'feed'`).Scan(&states).Error
	if err == nil && len(states) == 0 {
		err = errors.New("its row is missing")
	}
	if err != nil {
		return FeedState{}, s.explain(ctx, "read how far the feed is", err, nil)
	}
	state := FeedState{Epoch: states[0].Epoch, Last: states[0].Last}
	if oldest := states[0].OldestWaiting; oldest != nil {
		state.OldestWaiting = *oldest
	}
	return state, nil
}

// ListChanges gives the changes that follow a sequence which is not the last one, in their order: at most limit. It
// fails with ErrCursorExpired if the next one is not known any more.
func (s *Storage) ListChanges(ctx context.Context, after int64, limit int) ([]Change, error) {
	rows, err := gorm.G[feedRow](s.db).Where("sequence > ?", after).Order("sequence").Limit(limit).Find(ctx)
	if err == nil && (len(rows) == 0 || rows[0].Sequence != after+1) {
		err = ErrCursorExpired
	}
	if err != nil {
		return nil, s.explain(ctx, "list changes", err, nil)
	}
	changes := make([]Change, 0, len(rows))
	for _, row := range rows {
		changes = append(changes, Change(row))
	}
	return changes, nil
}

// DeleteChanges deletes the beginning of the feed, up to the last change that got its place before a time: at most
// limit. It tells how many. What is left has no holes, whatever the clocks of the stores say.
func (s *Storage) DeleteChanges(ctx context.Context, before time.Time, limit int) (int64, error) {
	rows, err := gorm.G[feedRow](s.db).Where("sequence_time < ?", toMicros(before)).Order("sequence_time DESC").Limit(1).
		Find(ctx)
	if err != nil || len(rows) == 0 {
		return 0, s.explain(ctx, "look for old changes", err, nil)
	}
	return s.deleteOldest(ctx, "feed", "sequence", "sequence", rows[0].Sequence+1, limit)
}

// BumpEpoch gives the database another epoch, and tells which it had.
func (s *Storage) BumpEpoch(ctx context.Context) (before, after string, err error) {
	after = uuid.NewString()
	err = s.write(ctx, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			// As in sequenceChanges, the lock comes first.
			if err := onlyOne(tx.Exec("UPDATE epochs SET epoch = epoch WHERE name = 'feed'")); err != nil {
				return err
			}
			if err := tx.Raw("SELECT epoch FROM epochs WHERE name = 'feed'").Scan(&before).Error; err != nil {
				return err
			}
			return onlyOne(tx.Exec("UPDATE epochs SET epoch = ? WHERE name = 'feed'", after))
		})
	})
	return before, after, s.explain(ctx, "change the epoch", err, nil)
}
