package store

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

const (
	// feedInterval is how often changes are looked for that others have made, or put in order. Changes are on their way
	// within 100 ms, as the contract promises: one interval, and the time that the database takes.
	feedInterval = 50 * time.Millisecond

	// fileFeedInterval is the same for a database in a file. This process makes nearly all changes in it, and is woken by
	// its own; others, such as commands, are seen within a second.
	fileFeedInterval = 500 * time.Millisecond

	// feedRetry is how long a database that does not answer is left alone.
	feedRetry = 250 * time.Millisecond

	// feedBatch bounds how many changes are put in order, or told, at once.
	feedBatch = 500

	// feedRetention is how long changes can be asked for: longer than a cache service is away without being given up.
	feedRetention = time.Hour

	// maxFollowers bounds the streams of this store. There is one for each cache service.
	maxFollowers = 1000
)

// feed puts the changes that were committed in order, and wakes those who follow them. It only wakes: what there is,
// each follower reads from the database.
type feed struct {
	storage   *storage.Storage
	log       *slog.Logger
	interval  time.Duration
	followers chan struct{} // holds one for each
	stopped   chan struct{} // closed when no more is told

	mu      sync.Mutex
	changed chan struct{} // closed at the next change
}

func newFeed(db *storage.Storage, log *slog.Logger) *feed {
	interval := feedInterval
	if db.IsFile() {
		interval = fileFeedInterval
	}
	return &feed{
		storage: db, log: log, interval: interval, followers: make(chan struct{}, maxFollowers), stopped: make(chan struct{}),
		changed: make(chan struct{}),
	}
}

// run works until ctx is done. Then every follower is sent away.
func (f *feed) run(ctx context.Context) {
	sequenced := make(chan struct{}, 1)
	var working sync.WaitGroup
	working.Go(func() {
		<-ctx.Done()
		close(f.stopped)
	})
	// Each by itself: while another store keeps this one from putting changes in order, those in order must be told.
	working.Go(func() {
		f.keep(ctx, f.storage.Written(), "changes could not be put in order",
			func() error { return f.sequence(ctx, sequenced) })
	})
	working.Go(func() {
		var known storage.FeedState
		f.keep(ctx, sequenced, "the feed of changes could not be read", func() error { return f.look(ctx, &known) })
	})
	working.Wait()
}

// keep works at every interval, and at once when it is woken, until ctx is done. A fault is logged when it begins.
func (f *feed) keep(ctx context.Context, wake <-chan struct{}, fault string, work func() error) {
	failing := false
	for {
		err := work()
		if err != nil && !failing && ctx.Err() == nil {
			f.log.WarnContext(ctx, fault+"; tried again until it succeeds", "error", err)
		}
		failing = err != nil
		pause := f.interval
		if failing {
			pause = feedRetry
		}
		timer := time.NewTimer(pause)
		select {
		case <-wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// sequence puts all that waits in order, and says so.
func (f *feed) sequence(ctx context.Context, sequenced chan<- struct{}) error {
	for {
		count, err := f.storage.SequenceChanges(ctx, feedBatch)
		if count > 0 {
			select {
			case sequenced <- struct{}{}:
			default: // It is said already.
			}
		}
		if err != nil || count < feedBatch {
			return err
		}
	}
}

// look wakes the followers if the feed is not as it is known.
func (f *feed) look(ctx context.Context, known *storage.FeedState) error {
	state, err := f.storage.ReadFeedState(ctx)
	if err != nil || state == *known {
		return err
	}
	*known = state
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.changed)
	f.changed = make(chan struct{})
	return nil
}

// next gives a channel that is closed at the next change. Who asks for it before reading misses none.
func (f *feed) next() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}
