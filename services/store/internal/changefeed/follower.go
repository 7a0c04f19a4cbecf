package changefeed

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

const (
	// heartbeat is the least time between two answers without changes. As they are sent when the poller has read, there
	// is one each 800 ms; the contract promises one each second.
	heartbeat = 500 * time.Millisecond

	// holdTimeout bounds how long a new stream waits for a database that does not respond, before it fails and the
	// follower reconnects.
	holdTimeout = 2 * time.Second
)

var (
	// ErrTooManyFollowers reports that the store has MaxFollowers.
	ErrTooManyFollowers = errors.New("the store has too many followers")
	// ErrReset reports that the cursor of a stream is not one of the feed: the database was restored, has another epoch,
	// or has deleted what follows. The follower must begin again.
	ErrReset = errors.New("the feed was reset since the stream began")

	errStreamOver = errors.New("the stream is over") // It ends without an error.
)

// Batch is what a follower receives in one message.
type Batch struct {
	Epoch      string           // of the database
	Cursor     int64            // how far the feed is after the changes
	Incomplete bool             // changes before the cursor may be missing; only in the first batch
	Changes    []storage.Change // the oldest first
	Lag        time.Duration    // the age of the oldest change that was committed and is not sent yet; 0 if there is none
}

// follower is one stream.
type follower struct {
	feed   *Feed
	epoch  string
	cursor int64
	sent   time.Time
	send   func(Batch) error
}

// Follow sends the changes that follow a cursor until ctx or the service ends. It sends the first batch at once, and
// then at least one each second. After grpcx.MaxStreamAge it returns nil, so that the follower reconnects over a new
// connection before the server ends the old one.
func (f *Feed) Follow(ctx context.Context, epoch string, cursor int64, send func(Batch) error) error {
	select {
	case f.followers <- struct{}{}:
		defer func() { <-f.followers }()
	default:
		return ErrTooManyFollowers
	}
	age := time.NewTimer(f.maxAge - rand.N(f.maxAge/10)) //nolint:gosec // spreads load; nothing to guess
	defer age.Stop()
	follower := &follower{feed: f, send: send}
	err := follower.run(ctx, epoch, cursor, age.C)
	if errors.Is(err, errStreamOver) {
		return nil
	}
	return err
}

func (f *follower) run(ctx context.Context, epoch string, cursor int64, over <-chan time.Time) error {
	known, err := f.awaitDatabase(ctx, over)
	if err != nil {
		return err
	}
	state, err := f.begin(ctx, epoch, cursor)
	for err == nil {
		if err = f.sendUpTo(ctx, state, over); err != nil {
			return err
		}
		if known, err = f.wait(ctx, known, over); err == nil {
			state, err = f.check(ctx, known.state)
		}
	}
	return err
}

// awaitDatabase returns the latest poll, or the first one that does not fail. It returns the last one, even if it
// failed, after holdTimeout: then the follower learns why.
func (f *follower) awaitDatabase(ctx context.Context, over <-chan time.Time) (*poll, error) {
	known := f.feed.latestPoll()
	if known.err == nil {
		return known, nil
	}
	hold, cancel := context.WithTimeout(ctx, holdTimeout)
	defer cancel()
	for {
		next, err := f.wait(hold, known, over)
		if err == nil || ctx.Err() != nil || errors.Is(err, errStreamOver) {
			return next, err
		}
		if hold.Err() != nil {
			return nil, known.err
		}
		known = next
	}
}

// begin finds where the stream begins, and sends the first batch, if that is not all that the follower lacks.
func (f *follower) begin(ctx context.Context, epoch string, cursor int64) (storage.FeedState, error) {
	state, err := f.feed.source.ReadFeedState(ctx)
	if err != nil {
		return state, err
	}
	incomplete := epoch != state.Epoch || cursor == 0 || cursor > state.Last
	if !incomplete && cursor < state.Last {
		_, err := f.feed.source.ListChanges(ctx, cursor, 1)
		incomplete = errors.Is(err, storage.ErrCursorExpired)
		if err != nil && !incomplete {
			return state, err
		}
	}
	f.epoch, f.cursor = state.Epoch, cursor
	if incomplete {
		f.cursor = state.Last
		err = f.deliver(Batch{Incomplete: true, Lag: f.feed.age(state.OldestWaiting)})
	}
	return state, err
}

// sendUpTo sends the changes up to a state of the feed, and a batch without changes if it is time for one.
func (f *follower) sendUpTo(ctx context.Context, state storage.FeedState, over <-chan time.Time) error {
	if f.cursor == state.Last {
		if time.Since(f.sent) < heartbeat {
			return nil
		}
		return f.deliver(Batch{Lag: f.feed.age(state.OldestWaiting)})
	}
	for f.cursor < state.Last {
		changes, err := f.feed.source.ListChanges(ctx, f.cursor, maxBatch+1)
		if errors.Is(err, storage.ErrCursorExpired) {
			return errors.Join(ErrReset, err)
		}
		if err != nil {
			return err
		}
		for len(changes) > 0 && changes[len(changes)-1].Sequence > state.Last {
			changes = changes[:len(changes)-1] // Newer than the state: sent with the next one.
		}
		oldest := state.OldestWaiting
		if len(changes) > maxBatch {
			if next := changes[maxBatch].CreateTime; oldest.IsZero() || next.Before(oldest) {
				oldest = next
			}
			changes = changes[:maxBatch]
		}
		f.cursor = changes[len(changes)-1].Sequence
		if err := f.deliver(Batch{Changes: changes, Lag: f.feed.age(oldest)}); err != nil {
			return err
		}
		if err := f.ended(ctx, over); err != nil {
			return err
		}
	}
	return nil
}

func (f *follower) deliver(batch Batch) error {
	batch.Epoch, batch.Cursor = f.epoch, f.cursor
	f.sent = time.Now()
	return f.send(batch)
}

// wait returns the poll after the known one, or its error.
func (f *follower) wait(ctx context.Context, known *poll, over <-chan time.Time) (*poll, error) {
	select {
	case <-known.next:
		next := f.feed.latestPoll()
		return next, next.err
	case <-over:
		return nil, errStreamOver
	case <-f.feed.stopped:
		return nil, errStreamOver
	case <-ctx.Done():
		return known, ctx.Err()
	}
}

// ended reports errStreamOver or the error of ctx, if the stream must end.
func (f *follower) ended(ctx context.Context, over <-chan time.Time) error {
	select {
	case <-over:
		return errStreamOver
	case <-f.feed.stopped:
		return errStreamOver
	default:
		return ctx.Err()
	}
}

// check returns a state of the feed that follows the cursor. A poll may have begun before the stream did, so that one
// which does not follow it is read again before the stream fails with ErrReset.
func (f *follower) check(ctx context.Context, state storage.FeedState) (storage.FeedState, error) {
	if state.Epoch == f.epoch && state.Last >= f.cursor {
		return state, nil
	}
	state, err := f.feed.source.ReadFeedState(ctx)
	if err == nil && (state.Epoch != f.epoch || state.Last < f.cursor) {
		err = ErrReset
	}
	return state, err
}

// age returns for how long something exists since a time, by the database's clock: 0 for the zero time.
func (f *Feed) age(since time.Time) time.Duration {
	if since.IsZero() {
		return 0
	}
	return max(0, f.source.Now().Sub(since))
}
