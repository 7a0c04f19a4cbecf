package storage

import (
	"context"
	"math/rand/v2"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/internal/wait"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
)

const (
	// firstBackOff is the longest wait before the second attempt. It doubles with each further one up to maxBackOff.
	firstBackOff = 5 * time.Millisecond
	maxBackOff   = 250 * time.Millisecond

	// lockPoll is the pause before another attempt to lock a file that another process has locked. SQLite itself pauses
	// for longer the longer it waits, up to 100 ms, so that it misses the short gaps between the changes of a busy
	// process.
	lockPoll = 3 * time.Millisecond
)

// transact runs a change as one transaction, as write does.
func (s *Storage) transact(ctx context.Context, change func(tx *gorm.DB) error) error {
	return s.write(ctx, func(db *gorm.DB) error { return db.Transaction(change) })
}

// write runs a change, and repeats it from its beginning while it loses against another transaction: a deadlock or a
// lock timeout, which leave nothing behind. In a Galera cluster, whose nodes detect at commit that they changed the
// same row, this is common. write also repeats a change when a node of a cluster refuses all statements, because
// another node may accept them.
//
// A change must be one statement or one transaction, and must change nothing outside of the database.
func (s *Storage) write(ctx context.Context, change func(db *gorm.DB) error) error {
	backOff := newBackOff()
	for attempt := 1; ; attempt++ {
		err := s.writeOnce(ctx, change)
		if err == nil {
			s.notifySequencer()
		}
		if err == nil || attempt == deadlines.TransactionAttempts || !s.isRetryable(err) || s.writer != nil {
			return err // A change of a file has waited for its lock already.
		}
		if !backOff.pause(ctx) {
			return err
		}
	}
}

// writeOnce runs a change after the earlier writers of this process. SQLite admits one writer at a time, and writers
// that wait for it poll: which is next is chance, so that under load one may wait for longer than its deadline. Here
// they queue in the order in which they came, and only the first one polls, against other processes.
func (s *Storage) writeOnce(ctx context.Context, change func(db *gorm.DB) error) error {
	if s.writer != nil {
		select {
		case s.writer <- struct{}{}:
			defer func() { <-s.writer }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := s.dialect.CheckIdentity()
	if err == nil {
		err = s.withLock(ctx, func() error { return change(s.db.WithContext(ctx)) })
	}
	s.outcomes.observe(ctx, err, s.dialect)
	return err
}

// withLock runs a change until it gets the lock of a file that other processes write to, ctx ends, or s.lockWait has
// passed. A change that did not get the lock has done nothing. Servers let their clients wait themselves.
func (s *Storage) withLock(ctx context.Context, change func() error) error {
	began := time.Now()
	for {
		err := change()
		if s.writer == nil || err == nil || s.dialect.Classify(err) != dialect.Conflict ||
			time.Since(began) >= s.lockWait || !wait.For(ctx, lockPoll) {
			return err
		}
	}
}

// isRetryable reports whether a change was rolled back as a whole, or did not begin, and is worth another attempt.
func (s *Storage) isRetryable(err error) bool {
	switch s.dialect.Classify(err) {
	case dialect.Refused:
		s.dropIdleConns()
		return true
	case dialect.Conflict:
		return true
	default:
		return false
	}
}

// notifySequencer reports that there may be a change without a place in the feed. Every write calls it, so that no
// change can be forgotten: a look costs next to nothing.
func (s *Storage) notifySequencer() {
	select {
	case s.written <- struct{}{}:
	default: // A notification is pending.
	}
}

// deleteOldest deletes rows of a table whose column is before a value: at most limit, in the order of the column, which
// must be indexed. It returns how many.
func (s *Storage) deleteOldest(
	ctx context.Context, table, key, column string, before any, limit int,
) (deleted int64, err error) {
	err = s.write(ctx, func(db *gorm.DB) error {
		// The dialects need different statements.
		result := db.Exec(s.dialect.DeleteOldest(table, key, column), before, limit)
		deleted = result.RowsAffected
		return result.Error
	})
	return deleted, s.wrap(ctx, "delete the oldest "+table, err, nil)
}

// set returns the assignment of a value to a column.
func set(column string, value any) clause.Assignment {
	return clause.Assignment{Column: clause.Column{Name: column}, Value: value}
}

// requireRow returns gorm.ErrRecordNotFound if a change affected no row.
func requireRow(rows int, err error) error {
	if err == nil && rows == 0 {
		return gorm.ErrRecordNotFound
	}
	return err
}

// toMicros truncates a time to what both databases store. MySQL would round, so that a time could be after the moment
// at which it is read.
func toMicros(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// backOff is the longest wait before another attempt.
type backOff time.Duration

func newBackOff() *backOff { return new(backOff(firstBackOff)) }

// pause waits, for longer with each call on average, and reports whether the context has not ended.
func (b *backOff) pause(ctx context.Context) bool {
	pause := time.Duration(rand.N(*b)) //nolint:gosec // spreads load; nothing to guess
	*b = min(2**b, backOff(maxBackOff))
	return wait.For(ctx, pause)
}
