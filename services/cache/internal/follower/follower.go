// Package follower follows the change feed of the store (ADR 0014), so that the cache learns of changes that no cache
// service has told it of: the service may have died, or the change was made past it.
package follower

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
	"github.com/gatehouse-auth/gatehouse/internal/wait"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/coherence"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/ratelog"
)

const (
	// unresponsiveAfter is how long a stream may send nothing: the store sends a message every second.
	unresponsiveAfter = 5 * time.Second

	// reconnectInterval is the least time between two streams, if the first one has failed or was short.
	reconnectInterval = 100 * time.Millisecond

	// maxChanges is the most that one message holds. One that holds fewer is up to date.
	maxChanges = 500
)

var (
	errUnresponsive = errors.New("the store sends nothing")
	errEpochChanged = errors.New("the store is in another epoch")
)

// Follower applies the changes of the store to the cache. Until it knows that none is missing, the cache is not used.
type Follower struct {
	feed    internalv1.ChangeServiceClient
	entries *coherence.Entries
	log     *slog.Logger

	epoch   string // of the entries; "" before the first message
	cursor  int64
	current atomic.Pointer[time.Time] // the last time at which no change was missing; nil for never
}

// New returns a follower of the store at the other end of the connection.
func New(store grpc.ClientConnInterface, entries *coherence.Entries, log *slog.Logger) *Follower {
	return &Follower{feed: internalv1.NewChangeServiceClient(store), entries: entries, log: log}
}

// Run follows the feed until ctx is done. A stream that the store ends in order, as it does with each after a while, is
// followed by another at once. So is one that ends because the epoch has changed, but only once: stores that report
// different epochs would cause an endless loop.
func (f *Follower) Run(ctx context.Context) {
	failures := ratelog.New(f.log, "change feed disconnected, will retry")
	began := time.Now()
	epochChanged := false
	for ctx.Err() == nil {
		streamBegan := time.Now()
		err := f.follow(ctx)
		first := !epochChanged
		if epochChanged = errors.Is(err, errEpochChanged); epochChanged && first {
			continue
		}
		if errors.Is(err, io.EOF) && time.Since(streamBegan) >= reconnectInterval {
			continue
		}
		if ctx.Err() == nil && f.isLate(began) {
			failures.Warn(ctx, err)
		}
		wait.For(ctx, reconnectInterval)
	}
}

// isLate reports whether changes may have been missing for longer than unresponsiveAfter, and since began at the
// earliest. Shorter failures are normal: stores start and stop.
func (f *Follower) isLate(began time.Time) bool {
	if last := f.current.Load(); last != nil && last.After(began) {
		began = *last
	}
	return time.Since(began) > unresponsiveAfter
}

// Ready returns an error if changes may be missing.
func (f *Follower) Ready(context.Context) error {
	if f.isLate(time.Time{}) {
		return errors.New("the change feed of the store is not being followed")
	}
	return nil
}

// Lag returns the seconds since no change was missing, or infinity if that was never so.
func (f *Follower) Lag() float64 {
	last := f.current.Load()
	if last == nil {
		return math.Inf(1)
	}
	return time.Since(*last).Seconds()
}

// follow reads one stream to its end. It returns io.EOF if the store has ended it in order.
func (f *Follower) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(unresponsiveAfter, func() { cancel(errUnresponsive) })
	defer timer.Stop()
	stream, err := f.feed.WatchChanges(ctx, &internalv1.WatchChangesRequest{Epoch: f.epoch, Cursor: f.cursor})
	for err == nil {
		var message *internalv1.WatchChangesResponse
		if message, err = stream.Recv(); err == nil {
			timer.Stop() // A slow backend is not an unresponsive store.
			err = f.apply(ctx, message)
			timer.Reset(unresponsiveAfter)
		}
	}
	if cause := context.Cause(ctx); errors.Is(cause, errUnresponsive) {
		return cause
	}
	return err
}

// apply applies a message of the feed to the cache.
func (f *Follower) apply(ctx context.Context, message *internalv1.WatchChangesResponse) error {
	if message.GetEpoch() != f.epoch {
		cursor, err := f.entries.EnterEpoch(ctx, message.GetEpoch())
		if err != nil {
			return err
		}
		f.epoch, f.cursor = message.GetEpoch(), cursor
		return errEpochChanged
	}
	if message.GetIncomplete() {
		if err := f.entries.Clear(ctx, message.GetCursor()); err != nil {
			return err
		}
		f.log.InfoContext(ctx, "earlier changes unknown, cache cleared", "cursor", message.GetCursor())
	}
	if err := f.entries.Apply(ctx, message.GetChanges(), message.GetCursor()); err != nil {
		return err
	}
	if message.GetCursor() != f.cursor {
		if err := f.entries.SaveCursor(ctx, message.GetCursor()); err != nil {
			return err
		}
		f.cursor = message.GetCursor()
	}
	if len(message.GetChanges()) < maxChanges {
		f.entries.SetSynced()
		f.current.Store(new(time.Now().Add(-time.Duration(message.GetLagMilliseconds()) * time.Millisecond)))
	}
	return nil
}
