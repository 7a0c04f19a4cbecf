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
	feedSilence = 5 * time.Second

	// feedRetry is how long a follower waits before it begins anew, where the store or the backend cannot be reached.
	feedRetry = 100 * time.Millisecond

	// maxFeedChanges is the most that one answer tells of. One that tells of less is up to date.
	maxFeedChanges = 500

	// feedCursor is where the backend keeps how far the changes in it are.
	feedCursor = "cursor:{feed}"
)

var (
	errFeedSilent = errors.New("the store has said nothing for too long")
	errFeedEpoch  = errors.New("the store is in another epoch")
	errNoCursor   = errors.New("there is a cursor that is none")
)

// follower puts the changes that the store tells of into the backend: those that a cache service could not tell of, as
// it died or was not asked. Until it knows that nothing is missing there, the backend is not believed.
type follower struct {
	feed    internalv1.ChangeServiceClient
	entries *entries
	log     *slog.Logger
	now     func() time.Time

	epoch   string // of what is in the backend; "" before anything is known
	cursor  int64
	current atomic.Pointer[time.Time] // when nothing was missing, as is known last; nil for never
}

// run follows until ctx ends. In another epoch it begins at once, but only once without a pause: stores that report
// different epochs would have it begin without end.
func (f *follower) run(ctx context.Context) {
	failures := newSparseLog(f.log, "the changes of the store cannot be followed; tried again")
	began := f.now()
	entered := false // another epoch, since a stream was followed
	for ctx.Err() == nil {
		err := f.follow(ctx)
		first := !entered
		if entered = errors.Is(err, errFeedEpoch); entered && first {
			continue
		}
		if ctx.Err() == nil && f.isLate(began) {
			failures.report(ctx, err)
		}
		select {
		case <-time.After(feedRetry):
		case <-ctx.Done():
		}
	}
}

// isLate reports whether nothing was followed for longer than feedSilence, since it began at the earliest. Before that,
// a failure is no news: stores start and stop.
func (f *follower) isLate(began time.Time) bool {
	if last := f.current.Load(); last != nil && last.After(began) {
		began = *last
	}
	return f.now().Sub(began) > feedSilence
}

// ready fails when it is not known whether something is missing.
func (f *follower) ready(context.Context) error {
	if last := f.current.Load(); last == nil || f.now().Sub(*last) > feedSilence {
		return errors.New("the changes of the store are not followed")
	}
	return nil
}

// follow reads one stream to its end.
func (f *follower) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(feedSilence, func() { cancel(errFeedSilent) })
	defer silence.Stop()
	stream, err := f.feed.WatchChanges(ctx, &internalv1.WatchChangesRequest{Epoch: f.epoch, Cursor: f.cursor})
	for err == nil {
		var told *internalv1.WatchChangesResponse
		if told, err = stream.Recv(); err == nil {
			silence.Stop() // While it is taken in: a backend that is slow is not a store that is silent.
			err = f.take(ctx, told)
			silence.Reset(feedSilence)
		}
	}
	if cause := context.Cause(ctx); errors.Is(cause, errFeedSilent) {
		return cause
	}
	return err
}

// take puts what an answer tells of into the backend.
func (f *follower) take(ctx context.Context, told *internalv1.WatchChangesResponse) error {
	if told.GetEpoch() != f.epoch {
		return f.enter(ctx, told.GetEpoch())
	}
	if told.GetIncomplete() {
		f.entries.believed.Store(false)
		if err := f.entries.backend.Flush(ctx); err != nil {
			return err
		}
		f.entries.changes.Begin(position(told.GetCursor()))
		f.log.InfoContext(ctx, "the cache begins empty: what was changed before is not known", "cursor", told.GetCursor())
	}
	// In any order, as what is there already is never replaced by what is older.
	learning, inTime := errgroup.WithContext(ctx)
	learning.SetLimit(maxPayers)
	for _, change := range told.GetChanges() {
		learning.Go(func() error { return f.entries.learn(inTime, change, position(told.GetCursor())) })
	}
	if err := learning.Wait(); err != nil {
		return fmt.Errorf("take in changes: %w", err)
	}
	f.entries.changes.Reach(position(told.GetCursor()))
	if err := f.note(ctx, told.GetCursor()); err != nil {
		return err
	}
	if len(told.GetChanges()) < maxFeedChanges {
		f.entries.believed.Store(true)
		f.current.Store(new(f.now().Add(-time.Duration(told.GetLagMilliseconds()) * time.Millisecond)))
	}
	return nil
}

// enter begins in another epoch, where the cache services that share the backend are in it.
func (f *follower) enter(ctx context.Context, epoch string) error {
	f.entries.believed.Store(false)
	f.entries.changes.Begin(0) // A lease of the new epoch must not bear a position of the old one.
	f.entries.backend.Enter(epoch)
	held, _, err := f.entries.backend.Get(ctx, feedCursor)
	if err != nil {
		return fmt.Errorf("read the cursor: %w", err)
	}
	f.epoch, f.cursor = epoch, 0
	if held[0] != nil {
		if len(held[0]) != entry.RankLength || entry.Rank(held[0]) >= doubtRank {
			return errors.Join(errNoCursor, f.entries.backend.Remove(ctx, feedCursor, held[0]))
		}
		f.cursor = int64(entry.Rank(held[0])) //nolint:gosec // less than doubtRank
	}
	f.entries.changes.Begin(position(f.cursor))
	return errFeedEpoch
}

// position is the cursor as the entries bear it.
func position(cursor int64) uint64 { return uint64(max(0, cursor)) }

// note keeps how far the backend is, for who begins after this process, and for as long as anything in it lives.
func (f *follower) note(ctx context.Context, cursor int64) error {
	reached := binary.BigEndian.AppendUint64(nil, position(cursor))
	write := entry.Write{Key: feedCursor, Entry: reached, Outdated: reached, TTL: 2 * (f.entries.ttl + maxLeaseTime)}
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
func newFollower(store grpc.ClientConnInterface, kept *entries, log *slog.Logger) *follower {
	return &follower{feed: internalv1.NewChangeServiceClient(store), entries: kept, log: log, now: time.Now}
}
