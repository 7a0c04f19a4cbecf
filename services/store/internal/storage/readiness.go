package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/internal/wait"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
)

const (
	// maxStall is the time without a free write lock after which the store is not ready: as long as a caller waits.
	// Another process that works releases the lock sooner.
	maxStall = 10 * time.Second

	// lockProbeTimeout bounds the attempts of a probe to get a lock. It is long enough for the gaps between the changes of
	// a process that makes one after the other.
	lockProbeTimeout = 100 * time.Millisecond
)

// changeOutcomes is what the changes of a store have shown of its database.
type changeOutcomes struct {
	mu      sync.Mutex
	failure error     // of the last change, if the database could not make it
	stalled time.Time // since when no change could begin; zero if one could
}

// observe records the outcome of a change that was made under ctx, if it reveals anything about the database.
func (o *changeOutcomes) observe(ctx context.Context, err error, driver dialect.Dialect) {
	class := dialect.Unclassified
	if err != nil {
		class = driver.Classify(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err == nil:
		o.failure, o.stalled = nil, time.Time{}
	case ctx.Err() != nil:
	case class == dialect.Denied || class == dialect.Refused || class == dialect.Unavailable:
		o.failure = err
	case class != dialect.Conflict:
		o.stalled = time.Time{} // It began, and ended for another reason, such as an address that is taken.
	}
}

func (o *changeOutcomes) lastFailure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failure
}

// stall records whether a change could begin at a time. It returns for how long none could.
func (o *changeOutcomes) stall(couldBegin bool, now time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if couldBegin {
		o.stalled = time.Time{}
		return 0
	}
	if o.stalled.IsZero() {
		o.stalled = now
	}
	return now.Sub(o.stalled)
}

// Ready returns an error if the database does not answer, or a change could not succeed now. It writes nothing, unless
// the database failed the last change: then it makes one that leaves nothing behind.
func (s *Storage) Ready(ctx context.Context) error {
	err := s.pool.PingContext(ctx)
	if err == nil {
		err = s.dialect.CheckWritable(ctx, s.pool)
	}
	if err == nil && s.writer != nil {
		err = s.checkLock(ctx)
	}
	if err == nil && s.outcomes.lastFailure() != nil {
		err = s.transact(ctx, func(tx *gorm.DB) error { return tryChange(ctx, tx) })
	}
	return s.wrap(ctx, "check whether changes can be made", err, nil)
}

// tryChange inserts a change for the feed, and deletes it before anybody can see it.
func tryChange(ctx context.Context, tx *gorm.DB) error {
	row := changeRow{}
	if err := insertChange(ctx, tx, &row); err != nil {
		return err
	}
	return requireRow(gorm.G[changeRow](tx).Where("id = ?", row.ID).Delete(ctx))
}

// checkLock returns an error if no change could begin for maxStall. It does not wait for the changes of this process.
func (s *Storage) checkLock(ctx context.Context) error {
	couldBegin, err := false, error(nil)
	select {
	case s.writer <- struct{}{}:
		couldBegin, err = tryLock(ctx, s.pool, s.dialect)
		<-s.writer
	default: // A change is being made, or waits.
	}
	if err != nil {
		return err
	}
	if stalled := s.outcomes.stall(couldBegin, time.Now()); stalled >= maxStall {
		return fmt.Errorf("%w for %v", dialect.ErrLockHeld, stalled.Round(time.Second))
	}
	return nil
}

// tryLock reports whether a change could begin. It returns an error if one could not for another reason than the
// changes of another process.
func tryLock(ctx context.Context, pool *sql.DB, driver dialect.Dialect) (couldBegin bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lockProbeTimeout)
	defer cancel()
	for {
		tx, err := pool.BeginTx(ctx, nil) // It takes the lock, except of a read-only file.
		if err == nil {
			_, err = tx.ExecContext(ctx, "DELETE FROM changes WHERE id = 0")
			err = errors.Join(err, tx.Rollback())
		}
		switch {
		case err == nil:
			return true, nil
		case ctx.Err() != nil:
			return false, nil
		case driver.Classify(err) != dialect.Conflict:
			return false, err
		case !wait.For(ctx, lockPoll):
			return false, nil
		}
	}
}
