// Package changefeed orders the changes of users and sessions that were committed, and streams them to followers.
//
// Two loops run in each store. The poller reads how far the feed is, and publishes that to the followers. The sequencer
// assigns changes their sequence numbers: at once after a write of this store, and when the poller finds changes of a
// store that has not. They are apart, so that followers get what is in order while another store holds the lock that
// sequencing needs.
package changefeed

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

const (
	// Retention is how long changes can be read: longer than a cache service is away before it is given up.
	Retention = time.Hour

	// MaxFollowers bounds the followers of one store. There is one for each cache service.
	MaxFollowers = 1000

	// maxBatch bounds how many changes are sequenced, or sent, at once.
	maxBatch = 500

	// busyInterval is how often the poller reads while the feed moves: the changes of other stores are sent within 100 ms
	// of their commit.
	busyInterval = 50 * time.Millisecond

	// idleInterval is how often it reads when the feed has not moved for busyPeriod. It bounds, with the time that two
	// reads take, when the first change of another store is sent, and when another epoch is noticed: within a second, as
	// docs/guarantees.md promises. A write of this store wakes the poller.
	idleInterval = 400 * time.Millisecond
	busyPeriod   = 10 * time.Second

	// fileInterval is both for a database in a file, which hardly any other process changes.
	fileInterval = 800 * time.Millisecond

	// retryInterval is how often the database is read, or changes are sequenced, while that fails.
	retryInterval = 250 * time.Millisecond
)

// source is the database. *storage.Storage implements it.
type source interface {
	// Written returns a channel that holds a value if this store may have committed a change since it was last received.
	Written() <-chan struct{}
	// ReadFeedState returns how far the feed is, as of one moment.
	ReadFeedState(ctx context.Context) (storage.FeedState, error)
	// SequenceChanges appends changes that were committed to the feed: at most limit. It returns how many, which is 0 if
	// another store is doing it.
	SequenceChanges(ctx context.Context, limit int) (int, error)
	// ListChanges returns the changes that follow a sequence number that is not the last one: at most limit. It fails
	// with storage.ErrCursorExpired if the next one was deleted.
	ListChanges(ctx context.Context, after int64, limit int) ([]storage.Change, error)
	// Now returns the time by the database's clock.
	Now() time.Time
}

// Feed sends changes to followers. It is safe for concurrent use.
type Feed struct {
	source     source
	log        *slog.Logger
	busy, idle time.Duration // intervals of the poller
	maxAge     time.Duration // of a stream
	followers  chan struct{} // holds one for each
	stopped    chan struct{} // closed when Run ends

	waiting   chan struct{} // wakes the sequencer
	sequenced chan struct{} // wakes the poller

	mu     sync.Mutex
	latest *poll
}

// poll is what the poller has read.
type poll struct {
	state storage.FeedState
	err   error
	next  chan struct{} // closed when the next poll is published
}

// New returns the feed of a database. Run must be called before it streams anything beyond the first answer.
func New(db *storage.Storage, log *slog.Logger) *Feed {
	busy, idle := busyInterval, idleInterval
	if db.IsFile() {
		busy, idle = fileInterval, fileInterval
	}
	return newFeed(db, busy, idle, log)
}

func newFeed(source source, busy, idle time.Duration, log *slog.Logger) *Feed {
	return &Feed{
		source: source, log: log, busy: busy, idle: idle, maxAge: grpcx.MaxStreamAge,
		followers: make(chan struct{}, MaxFollowers), stopped: make(chan struct{}),
		waiting: make(chan struct{}, 1), sequenced: make(chan struct{}, 1),
		latest: &poll{next: make(chan struct{})},
	}
}

// Run reads the feed and sequences changes until ctx ends. Then every stream ends.
func (f *Feed) Run(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() { f.runSequencer(ctx) })
	loops.Go(func() { f.runPoller(ctx) })
	<-ctx.Done()
	close(f.stopped)
	loops.Wait()
}

func (f *Feed) runPoller(ctx context.Context) {
	failures := failureLog{log: f.log, message: "reading the change feed failed, will retry"}
	var known storage.FeedState
	moved := time.Now()
	for {
		state, err := f.source.ReadFeedState(ctx)
		if ctx.Err() != nil {
			return
		}
		failures.observe(ctx, err)
		f.publish(state, err)
		if err == nil && !state.OldestWaiting.IsZero() {
			wake(f.waiting)
			moved = time.Now()
		}
		if err == nil && (state.Last != known.Last || state.Epoch != known.Epoch) {
			known, moved = state, time.Now()
		}
		pause := f.idle
		switch {
		case err != nil:
			pause = retryInterval
		case time.Since(moved) < busyPeriod:
			pause = f.busy
		}
		if !sleep(ctx, pause, f.sequenced) {
			return
		}
	}
}

// publish makes a poll the latest, and wakes the followers.
func (f *Feed) publish(state storage.FeedState, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.latest
	f.latest = &poll{state: state, err: err, next: make(chan struct{})}
	close(before.next)
}

// latestPoll returns the latest poll. A follower that calls it before it reads the database misses none after it.
func (f *Feed) latestPoll() *poll {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.latest
}

func (f *Feed) runSequencer(ctx context.Context) {
	failures := failureLog{log: f.log, message: "sequencing changes failed, will retry"}
	for {
		select {
		case <-f.source.Written():
		case <-f.waiting:
		case <-ctx.Done():
			return
		}
		err := f.sequence(ctx)
		if ctx.Err() == nil {
			failures.observe(ctx, err) // The poller finds what is left.
		}
		if err != nil && !sleep(ctx, retryInterval, nil) {
			return
		}
	}
}

// sequence sequences all changes that wait.
func (f *Feed) sequence(ctx context.Context) error {
	for {
		count, err := f.source.SequenceChanges(ctx, maxBatch)
		if count > 0 {
			wake(f.sequenced)
		}
		if err != nil || count < maxBatch {
			return err
		}
	}
}

// wake sends to a channel that holds one value, unless it does already.
func wake(sleeper chan<- struct{}) {
	select {
	case sleeper <- struct{}{}:
	default:
	}
}

// sleep waits for a time, or less if it is woken. It returns false once ctx has ended.
func sleep(ctx context.Context, pause time.Duration, woken <-chan struct{}) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-woken:
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// failureLog logs a failure when it begins.
type failureLog struct {
	log     *slog.Logger
	message string
	failing bool
}

func (l *failureLog) observe(ctx context.Context, err error) {
	if err != nil && !l.failing && !errors.Is(err, context.Canceled) {
		l.log.WarnContext(ctx, l.message, "error", err)
	}
	l.failing = err != nil
}
