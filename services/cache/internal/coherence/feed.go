package coherence

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
)

// feedCursorKey is where the backend stores the position in the feed up to which it shows all changes.
const feedCursorKey = "cursor:{feed}"

var errInvalidCursor = errors.New("the stored cursor of the feed is invalid")

// EnterEpoch selects the epoch of the store, and returns the cursor that the services which share the backend have
// reached in it, or 0. The entries are not synced until SetSynced is called.
func (e *Entries) EnterEpoch(ctx context.Context, epoch string) (cursor int64, err error) {
	e.synced.Store(false)
	e.minRanks.Reset(0) // A lease of the new epoch must not have a position of the old one.
	e.backend.EnterEpoch(epoch)
	values, _, err := e.backend.Get(ctx, feedCursorKey)
	if err != nil {
		return 0, fmt.Errorf("read the cursor: %w", err)
	}
	if value := values[0]; value != nil {
		if len(value) != entry.RankLength || entry.Rank(value) >= invalidationRank {
			return 0, errors.Join(errInvalidCursor, e.backend.Remove(ctx, feedCursorKey, value))
		}
		cursor = int64(entry.Rank(value)) //nolint:gosec // less than invalidationRank
	}
	e.minRanks.Reset(position(cursor))
	return cursor, nil
}

// Clear removes all entries, because the changes before the cursor are unknown.
func (e *Entries) Clear(ctx context.Context, cursor int64) error {
	e.synced.Store(false)
	if err := e.backend.Flush(ctx); err != nil {
		return err
	}
	e.minRanks.Reset(position(cursor))
	return nil
}

// Apply stores changes that the store reports, all changes up to the cursor being known then. They may be old.
func (e *Entries) Apply(ctx context.Context, changes []*internalv1.Change, cursor int64) error {
	// The order does not matter: a newer entry is never replaced by an older one.
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(maxFlushers)
	for _, change := range changes {
		group.Go(func() error { return e.applyChange(groupCtx, change, position(cursor)) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("apply changes: %w", err)
	}
	e.minRanks.Advance(position(cursor))
	return nil
}

// applyChange stores that there was a change. A failure would leave an outdated entry, so it is an error.
func (e *Entries) applyChange(ctx context.Context, change *internalv1.Change, position uint64) error {
	write, err := e.writeOf(change)
	if err != nil {
		return err
	}
	e.minRanks.Raise(write.Key, entry.Rank(write.Outdated), position)
	return e.write(ctx, "", write)
}

// writeOf returns the write for a change, which has the new version but not the new state.
func (e *Entries) writeOf(change *internalv1.Change) (entry.Write, error) {
	user, session := change.GetUserId(), change.GetSessionId()
	switch {
	case session == "" && change.GetEnded():
		return e.invalidation(userKey(user), jitter(e.ttl)), nil // As UserDeleted does.
	case change.GetEnded():
		ended, err := tombstone(user, session)
		return e.mandatory(SessionKey(user, session), ended), err
	}
	key := userKey(user)
	if session != "" {
		key = SessionKey(user, session)
	}
	rank, err := versionRank(change.GetVersion())
	return e.mandatory(key, binary.BigEndian.AppendUint64(nil, rank-1)), err
}

// SaveCursor stores that the backend shows all changes up to the cursor, for services that start later, and for longer
// than any entry lives.
func (e *Entries) SaveCursor(ctx context.Context, cursor int64) error {
	value := binary.BigEndian.AppendUint64(nil, position(cursor))
	write := entry.Write{Key: feedCursorKey, Entry: value, Outdated: value, TTL: 2 * (e.ttl + maxLeaseTime)}
	if err := e.backend.Set(ctx, "", write); err != nil {
		return fmt.Errorf("save the cursor: %w", err)
	}
	return nil
}

// SetSynced records that the backend shows all changes that were made before its entries were stored. Until then, every
// Account is a miss.
func (e *Entries) SetSynced() { e.synced.Store(true) }

// position is the cursor as the entries have it.
func position(cursor int64) uint64 { return uint64(max(0, cursor)) }
