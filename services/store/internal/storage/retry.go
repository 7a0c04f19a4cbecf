package storage

import (
	"context"
	"math/rand/v2"
	"time"

	"gorm.io/gorm"
)

const (
	// maxAttempts bounds how often a write is tried. A write here locks one row, so the loser of a conflict mostly gets
	// through at the second attempt. Where nodes of a cluster change one row, each commit makes all others lose; twelve
	// attempts last about a second, which is still within a caller's patience.
	maxAttempts = 12
	// firstBackOff is the longest wait before the second attempt; it doubles with each further one up to maxBackOff.
	firstBackOff = 5 * time.Millisecond
	maxBackOff   = 250 * time.Millisecond
)

// write runs a change, and runs it again, from its beginning, as long as it loses against another transaction: a
// deadlock or a lock that was not had in time, which leave nothing behind. In a Galera cluster, whose nodes find out at
// commit that they changed the same row, this is everyday. So it does where a node of a cluster refuses all statements,
// as there may be another.
//
// A change must be one statement or one transaction, and must not touch anything outside of the database.
func (s *Storage) write(ctx context.Context, change func(db *gorm.DB) error) error {
	wait := newBackOff()
	for attempt := 1; ; attempt++ {
		err := s.inTurn(ctx, change)
		if err == nil {
			s.announce()
		}
		if err == nil || attempt == maxAttempts || !s.undone(err) || s.writer != nil {
			return err // A change to a file has waited for its lock already.
		}
		if !wait.pause(ctx) {
			return err
		}
	}
}

// inTurn runs a change when the writers before it have ended. SQLite admits one writer at a time, and those that wait
// for it poll: which of them is next is chance, so that under load one may wait for longer than its caller does. Here
// they wait in the order in which they came, and only the first polls, against other processes.
func (s *Storage) inTurn(ctx context.Context, change func(db *gorm.DB) error) error {
	if s.writer != nil {
		select {
		case s.writer <- struct{}{}:
			defer func() { <-s.writer }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := s.checks.checkIdentity()
	if err == nil {
		err = s.withLock(ctx, func() error { return change(s.db.WithContext(ctx)) })
	}
	s.outcomes.observe(ctx, err, s.dialect)
	return err
}

const (
	// lockPoll is how long a change pauses before it tries again to lock a file that another process has locked. SQLite
	// itself pauses for longer the longer it waits, up to 100 ms, so that it never meets a short gap between the changes
	// of a busy process.
	lockPoll = 3 * time.Millisecond

	// maxLockWait bounds the wait of a change that has no deadline.
	maxLockWait = 10 * time.Second
)

// withLock runs a change until it gets the lock of a file that other processes write to, ctx ends, or s.lockWait is
// over. A change that did not get it has done nothing. Servers have their clients wait by themselves.
func (s *Storage) withLock(ctx context.Context, change func() error) error {
	began := time.Now()
	for {
		err := change()
		if s.writer == nil || err == nil || s.dialect.classify(err) != conflict || time.Since(began) >= s.lockWait {
			return err
		}
		timer := time.NewTimer(lockPoll)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// undone tells whether a change was undone as a whole, or not begun, and is worth another attempt.
func (s *Storage) undone(err error) bool {
	switch s.dialect.classify(err) {
	case refused:
		s.leave()
		return true
	case conflict:
		return true
	default:
		return false
	}
}

// announce says that there may be a change to put in order. It is said of every write, so that no change can be
// forgotten: to look costs next to nothing.
func (s *Storage) announce() {
	select {
	case s.written <- struct{}{}:
	default: // It is said already.
	}
}

// backOff is how long to wait at most before another attempt.
type backOff time.Duration

func newBackOff() *backOff { return new(backOff(firstBackOff)) }

// pause waits, the longer the more often, and tells whether the context still stands.
func (b *backOff) pause(ctx context.Context) bool {
	timer := time.NewTimer(time.Duration(rand.N(*b))) //nolint:gosec // spreads load; nothing to guess
	defer timer.Stop()
	*b = min(2**b, backOff(maxBackOff))
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
