package cache

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
)

const (
	// feedSilence is how long a stream may say nothing: it says something every second.
	silenceTimeout = 5 * time.Second

	// feedRetry is how long a follower waits before it begins anew, where the store or the backend cannot be reached.
	reconnectInterval = 100 * time.Millisecond

	// maxFeedChanges is the most that one answer tells of. One that tells of less is up to date.
	maxFeedChanges = 500

	// feedCursor is where the backend keeps how far the changes in it are.
	feedCursorKey = "cursor:{feed}"
)

var (
	errUnresponsive  = errors.New("the store has said nothing for too long")
	errEpochChanged  = errors.New("the store is in another epoch")
	errInvalidCursor = errors.New("there is a cursor that is none")
)

// follower puts the changes that the store tells of into the backend: those that a cache service could not tell of, as
// it died or was not asked. Until it knows that nothing is missing there, the backend is not believed.
type Follower struct {
	feed    internalv1.ChangeServiceClient
	entries *Entries
	log     *slog.Logger
	now     func() time.Time

	epoch   string // of what is in the backend; "" before anything is known
	cursor  int64
	current atomic.Pointer[time.Time] // when nothing was missing, as is known last; nil for never
}

// run follows until ctx ends. In another epoch it begins at once, but only once without a pause: stores that report
// different epochs would have it begin without end.
func (f *Follower) Run(ctx context.Context) {
	failures := NewLogger(f.log, "the changes of the store cannot be followed; tried again")
	began := f.now()
	entered := false // another epoch, since a stream was followed
	for ctx.Err() == nil {
		err := f.follow(ctx)
		first := !entered
		if entered = errors.Is(err, errEpochChanged); entered && first {
			continue
		}
		if ctx.Err() == nil && f.isLate(began) {
			failures.Warn(ctx, err)
		}
		select {
		case <-time.After(reconnectInterval):
		case <-ctx.Done():
		}
	}
}

// isLate reports whether nothing was followed for longer than feedSilence, since it began at the earliest. Before that,
// a failure is no news: stores start and stop.
func (f *Follower) isLate(began time.Time) bool {
	if last := f.current.Load(); last != nil && last.After(began) {
		began = *last
	}
	return f.now().Sub(began) > silenceTimeout
}

// ready fails when it is not known whether something is missing.
func (f *Follower) Ready(context.Context) error {
	if last := f.current.Load(); last == nil || f.now().Sub(*last) > silenceTimeout {
		return errors.New("the changes of the store are not followed")
	}
	return nil
}

// follow reads one stream to its end.
func (f *Follower) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(silenceTimeout, func() { cancel(errUnresponsive) })
	defer silence.Stop()
	stream, err := f.feed.WatchChanges(ctx, &internalv1.WatchChangesRequest{Epoch: f.epoch, Cursor: f.cursor})
	for err == nil {
		var told *internalv1.WatchChangesResponse
		if told, err = stream.Recv(); err == nil {
			silence.Stop() // While it is taken in: a backend that is slow is not a store that is silent.
			err = f.apply(ctx, told)
			silence.Reset(silenceTimeout)
		}
	}
	if cause := context.Cause(ctx); errors.Is(cause, errUnresponsive) {
		return cause
	}
	return err
}

// take puts what an answer tells of into the backend.
func (f *Follower) apply(ctx context.Context, told *internalv1.WatchChangesResponse) error {
	if told.GetEpoch() != f.epoch {
		return f.enterEpoch(ctx, told.GetEpoch())
	}
	if told.GetIncomplete() {
		f.entries.synced.Store(false)
		if err := f.entries.backend.Flush(ctx); err != nil {
			return err
		}
		f.entries.minRanks.Reset(position(told.GetCursor()))
		f.log.InfoContext(ctx, "the cache begins empty: what was changed before is not known", "cursor", told.GetCursor())
	}
	// In any order, as what is there already is never replaced by what is older.
	learning, inTime := errgroup.WithContext(ctx)
	learning.SetLimit(maxFlushers)
	for _, change := range told.GetChanges() {
		learning.Go(func() error { return f.entries.applyChange(inTime, change, position(told.GetCursor())) })
	}
	if err := learning.Wait(); err != nil {
		return fmt.Errorf("take in changes: %w", err)
	}
	f.entries.minRanks.Advance(position(told.GetCursor()))
	if err := f.saveCursor(ctx, told.GetCursor()); err != nil {
		return err
	}
	if len(told.GetChanges()) < maxFeedChanges {
		f.entries.synced.Store(true)
		f.current.Store(new(f.now().Add(-time.Duration(told.GetLagMilliseconds()) * time.Millisecond)))
	}
	return nil
}

// enter begins in another epoch, where the cache services that share the backend are in it.
func (f *Follower) enterEpoch(ctx context.Context, epoch string) error {
	f.entries.synced.Store(false)
	f.entries.minRanks.Reset(0) // A lease of the new epoch must not bear a position of the old one.
	f.entries.backend.EnterEpoch(epoch)
	held, _, err := f.entries.backend.Get(ctx, feedCursorKey)
	if err != nil {
		return fmt.Errorf("read the cursor: %w", err)
	}
	f.epoch, f.cursor = epoch, 0
	if held[0] != nil {
		if len(held[0]) != entry.RankLength || entry.Rank(held[0]) >= markerRank {
			return errors.Join(errInvalidCursor, f.entries.backend.Remove(ctx, feedCursorKey, held[0]))
		}
		f.cursor = int64(entry.Rank(held[0])) //nolint:gosec // less than doubtRank
	}
	f.entries.minRanks.Reset(position(f.cursor))
	return errEpochChanged
}

// position is the cursor as the entries bear it.
func position(cursor int64) uint64 { return uint64(max(0, cursor)) }

// note keeps how far the backend is, for who begins after this process, and for as long as anything in it lives.
func (f *Follower) saveCursor(ctx context.Context, cursor int64) error {
	reached := binary.BigEndian.AppendUint64(nil, position(cursor))
	write := entry.Write{Key: feedCursorKey, Entry: reached, Outdated: reached, TTL: 2 * (f.entries.ttl + maxLeaseTime)}
	if cursor == f.cursor {
		return nil
	}
	if err := f.entries.backend.Set(ctx, "", write); err != nil {
		return fmt.Errorf("note the cursor: %w", err)
	}
	f.cursor = cursor
	return nil
}

// newFollower makes a follower of the store that the connection leads to.
func NewFollower(store grpc.ClientConnInterface, kept *Entries, log *slog.Logger) *Follower {
	return &Follower{feed: internalv1.NewChangeServiceClient(store), entries: kept, log: log, now: time.Now}
}
