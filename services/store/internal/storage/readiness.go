package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"gorm.io/gorm"
)

// maxStall is how long no change may get the one lock of a file before that is a fault, and not another process at
// work: as long as a caller waits.
const maxStall = 10 * time.Second

// changeOutcomes is what the changes of a store have shown of its database.
type changeOutcomes struct {
	mu      sync.Mutex
	failure error     // of the last change, if the database could not make it
	stalled time.Time // since when no change could begin; zero if one could
}

// observe records how a change ended that was made under ctx, if that says anything about the database.
func (o *changeOutcomes) observe(ctx context.Context, err error, dialect dialect) {
	class := unclassified
	if err != nil {
		class = dialect.classify(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err == nil:
		o.failure, o.stalled = nil, time.Time{}
	case ctx.Err() != nil:
	case class == denied || class == refused || class == unavailable:
		o.failure = err
	case class != conflict:
		o.stalled = time.Time{} // It could begin: what it found, such as an address that is taken, ended it.
	}
}

func (o *changeOutcomes) lastFailure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failure
}

// stall records whether a change could begin at a time, and returns for how long none could.
func (o *changeOutcomes) stall(could bool, now time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if could {
		o.stalled = time.Time{}
		return 0
	}
	if o.stalled.IsZero() {
		o.stalled = now
	}
	return now.Sub(o.stalled)
}

// Ready returns an error if the database does not answer, or a change could not succeed now. It writes nothing, unless
// the last change failed for the database's sake: then it makes one that leaves nothing behind, to find out whether the
// next could succeed.
func (s *Storage) Ready(ctx context.Context) error {
	err := s.pool.PingContext(ctx)
	if err == nil {
		err = s.checks.checkWritable(ctx, s.pool)
	}
	if err == nil && s.writer != nil {
		err = s.checkLock(ctx)
	}
	if err == nil && s.outcomes.lastFailure() != nil {
		err = s.write(ctx, tryChange)
	}
	return s.explain(ctx, "check whether changes can be made", err, nil)
}

// tryChange adds a change to those that wait for their place in the feed, and deletes it before anybody sees it.
func tryChange(db *gorm.DB) error {
	return db.Transaction(func(tx *gorm.DB) error {
		row := changeRow{}
		err := tx.Select("UserID", "SessionID", "Version", "Ended").Create(&row).Error
		if err != nil {
			return err
		}
		return onlyOne(tx.Delete(&row))
	})
}

// lockPatience is how long a probe tries to get a lock: so long that it meets the gaps between the changes of a process
// that makes one after the other.
const lockPatience = 100 * time.Millisecond

// errNoLock is a file whose one lock for changes another process does not give back.
var errNoLock = errors.New("another process holds the write lock of the database")

// checkLock returns an error if no change could begin for maxStall. It does not wait for the changes of this process.
func (s *Storage) checkLock(ctx context.Context) error {
	could, err := false, error(nil)
	select {
	case s.writer <- struct{}{}:
		could, err = tryLock(ctx, s.pool, s.dialect)
		<-s.writer
	default: // A change is being made, or waits.
	}
	if err != nil {
		return err
	}
	if stalled := s.outcomes.stall(could, time.Now()); stalled >= maxStall {
		return fmt.Errorf("%w for %v", errNoLock, stalled.Round(time.Second))
	}
	return nil
}

// tryLock reports whether a change could begin, and returns an error if it could not for another reason than that
// somebody else makes one.
func tryLock(ctx context.Context, pool *sql.DB, dialect dialect) (could bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for {
		tx, err := pool.BeginTx(ctx, nil) // It takes the lock, but of a file that can only be read it takes none.
		if err == nil {
			_, err = tx.ExecContext(ctx, "DELETE FROM changes WHERE id = 0")
			err = errors.Join(err, tx.Rollback())
		}
		switch {
		case err == nil:
			return true, nil
		case ctx.Err() != nil:
			return false, nil
		case dialect.classify(err) != conflict:
			return false, err
		}
		timer := time.NewTimer(lockPoll)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false, nil
		}
	}
}
