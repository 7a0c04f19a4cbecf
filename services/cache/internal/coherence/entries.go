// Package coherence is the cache protocol (ADR 0006): it reads and writes the entries of users and sessions so that no
// read after an acknowledged change returns the state before it, whatever the backend loses. It uses a
// Backend that package cache chooses, and imports none. It calls no store: the decorators in package cache do.
package coherence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/breaker"
	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/minrank"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/ratelog"
)

// maxLeaseTime bounds the age of an answer of the store that is cached: no call takes longer. Mandatory writes outlive
// it, or an older answer could be stored after they have expired.
const maxLeaseTime = deadlines.Call

// Entries reads and writes users and sessions in a backend. A failure of the backend is not an error of its methods:
// what cannot be read is a miss, an optional write that fails is dropped, and a mandatory one becomes a pending
// invalidation.
type Entries struct {
	backend  Backend
	minRanks *minrank.Table
	synced   atomic.Bool // whether the backend shows all changes made before its entries were stored
	pending  *pendingInvalidations
	// writeFailed is whether the last write to the backend failed.
	writeFailed atomic.Bool
	ttl         time.Duration
	leaseTime   time.Duration
	now         func() time.Time
	failureLog  *ratelog.Logger
	invalidLog  *ratelog.Logger
}

// New returns Entries that are not synced, with a TTL give or take a tenth.
func New(backend Backend, minRanks *minrank.Table, ttl time.Duration, log *slog.Logger) *Entries {
	return &Entries{
		backend:    backend,
		minRanks:   minRanks,
		pending:    newPendingInvalidations(backend, ttl+ttl/10+maxLeaseTime, log),
		ttl:        ttl,
		leaseTime:  min(maxLeaseTime, ttl/2),
		now:        time.Now,
		failureLog: ratelog.New(log, "cache backend operation failed"),
		invalidLog: ratelog.New(log, "cache entry is invalid, removed"),
	}
}

// Run retries pending invalidations until ctx is done, and then once more.
func (e *Entries) Run(ctx context.Context) { e.pending.run(ctx) }

// PendingInvalidations returns how many invalidations the backend lacks.
func (e *Entries) PendingInvalidations() int { return e.pending.count() }

// CheckBackend returns an error if the backend does not answer, or if the last write failed and another one fails too.
func (e *Entries) CheckBackend(ctx context.Context) error {
	_, _, err := e.backend.Get(ctx, feedCursorKey)
	if err == nil && e.writeFailed.Load() {
		rank := make([]byte, entry.RankLength)
		err = e.write(ctx, "", entry.Write{Key: "probe", Entry: rank, Outdated: rank, TTL: time.Second})
	}
	return err
}

// write sets entries in the backend, and records whether that failed.
func (e *Entries) write(ctx context.Context, under entry.Lease, writes ...entry.Write) error {
	err := e.backend.Set(ctx, under, writes...)
	if !errors.Is(err, breaker.ErrOpen) {
		e.writeFailed.Store(err != nil)
	}
	return err
}

// Lease permits to cache what is read from the store after the lease was acquired. The zero Lease permits nothing.
type Lease struct {
	granted entry.Lease
	until   time.Time
}

// Found is what the cache has of an account. Unknown parts are nil.
type Found struct {
	authn.Account

	Ended bool // whether the session has a tombstone
	Lease Lease
}

// Account looks up a user and a session in one round trip.
func (e *Entries) Account(ctx context.Context, userID, sessionID string) Found {
	keys := []string{userKey(userID), SessionKey(userID, sessionID)}
	if !e.synced.Load() || e.pending.covers(keys...) {
		return Found{}
	}
	until := e.now().Add(e.leaseTime)
	values, granted, err := e.backend.Get(ctx, keys...)
	if err != nil {
		e.logFailure(ctx, err)
		return Found{}
	}
	found := Found{Lease: Lease{granted: granted, until: until}}
	if values[0] != nil {
		found.User, err = decodeUser(values[0], userID)
		e.removeInvalid(ctx, keys[0], values[0], err)
	}
	if values[1] != nil {
		found.Session, found.Ended, err = decodeSession(values[1], userID, sessionID)
		e.removeInvalid(ctx, keys[1], values[1], err)
	}
	return found
}

// removeInvalid removes an entry that was decoded with an error. Overwriting is not enough: the entry may have any
// rank.
func (e *Entries) removeInvalid(ctx context.Context, key string, value []byte, decodeErr error) {
	if decodeErr == nil {
		return
	}
	e.invalidLog.Warn(ctx, fmt.Errorf("entry %s: %w", key, decodeErr))
	if err := e.backend.Remove(ctx, key, value); err != nil {
		e.logFailure(ctx, err)
	}
}

// AcquireLease returns a lease for a call of the store that is about to be made.
func (e *Entries) AcquireLease() Lease {
	return Lease{granted: e.backend.Lease(), until: e.now().Add(e.leaseTime)}
}

// Fill caches what was read from the store, or was newly created there, so that nothing older can be cached. Either may
// be nil.
func (e *Entries) Fill(ctx context.Context, under Lease, user *gatehousev1.User, session *gatehousev1.Session) {
	writes := e.encodeWrites(ctx, user, session)
	for i := range writes {
		writes[i].Outdated = nil
	}
	e.store(ctx, under, writes)
}

// Change caches what the store has committed. Nothing older is found afterwards, whether or not the lease is valid.
// Either may be nil.
func (e *Entries) Change(ctx context.Context, under Lease, user *gatehousev1.User, session *gatehousev1.Session) {
	e.store(ctx, under, e.encodeWrites(ctx, user, session))
}

// SessionEnded stores the tombstone of a session.
func (e *Entries) SessionEnded(ctx context.Context, userID, sessionID string) {
	e.ReplaceSession(ctx, Lease{}, userID, sessionID, nil, nil)
}

// ReplaceSession stores, in one step, the tombstone of a session, the user that the store has changed with it, and the
// session that replaces it. Both may be nil.
func (e *Entries) ReplaceSession(
	ctx context.Context, under Lease, userID, sessionID string, user *gatehousev1.User, successor *gatehousev1.Session,
) {
	ended, err := tombstone(userID, sessionID)
	if err != nil {
		e.logFailure(ctx, err)
		return
	}
	writes := append(e.encodeWrites(ctx, user, successor), e.mandatory(SessionKey(userID, sessionID), ended))
	e.store(ctx, under, writes)
}

// UserDeleted records that the store has deleted a user with all sessions. It stores the tombstone of the session that
// made the call, which is rejected from now on without a call of the store. The store is called for the others: which
// they are is not known here. An empty session id stands for none.
//
// Nothing restores the user. An answer that the store gave before the deletion, under a lease, meets the invalidation,
// which outlives the lease; or Redis has lost the invalidation, and with it the instance that the lease is of; or the
// memory backend has, where a lease is the number of a write before the invalidation. Without a lease nothing above
// "version v exists" is stored. The store answers later calls that there is no such user, as ids are never reused.
func (e *Entries) UserDeleted(ctx context.Context, userID, sessionID string) {
	e.minRanks.Raise(userKey(userID), invalidationRank, e.minRanks.Position())
	writes := []entry.Write{e.invalidation(userKey(userID), jitter(e.ttl))}
	if sessionID != "" {
		ended, err := tombstone(userID, sessionID)
		if err != nil {
			e.logFailure(ctx, err)
			ended = invalidated(e.now().Add(e.ttl))
		}
		writes = append(writes, e.mandatory(SessionKey(userID, sessionID), ended))
	}
	e.store(ctx, Lease{}, writes)
}

// Invalidate invalidates a user and a session that the store may have changed. Neither is cached until no answer from
// before can be on its way. An empty session id stands for none.
func (e *Entries) Invalidate(ctx context.Context, userID, sessionID string) {
	writes := []entry.Write{e.invalidation(userKey(userID), jitter(e.ttl))}
	if sessionID != "" {
		writes = append(writes, e.invalidation(SessionKey(userID, sessionID), jitter(e.ttl)))
	}
	e.store(ctx, Lease{}, writes)
}

// InvalidateOutdated invalidates a user that the store has changed, as an error shows, for as long as an answer from
// before the change can be on its way. The service that made the change may have died before it could invalidate it.
func (e *Entries) InvalidateOutdated(ctx context.Context, userID string) {
	e.store(ctx, Lease{}, []entry.Write{e.invalidation(userKey(userID), 2*e.leaseTime)})
}

func (e *Entries) encodeWrites(
	ctx context.Context, user *gatehousev1.User, session *gatehousev1.Session,
) []entry.Write {
	writes := make([]entry.Write, 0, 2)
	add := func(key string, of record) {
		current, outdated, err := encode(of)
		if err != nil { // The present entry is outdated.
			e.logFailure(ctx, err)
			writes = append(writes, e.invalidation(key, jitter(e.ttl)))
			return
		}
		writes = append(writes, entry.Write{Key: key, Entry: current, Outdated: outdated, TTL: jitter(e.ttl)})
	}
	if user != nil {
		add(userKey(user.GetId()), WithoutAppMetadata(user))
	}
	if session != nil {
		add(SessionKey(session.GetUserId(), session.GetId()), session)
	}
	return writes
}

// mandatory returns the write of an entry that is true at any time.
func (e *Entries) mandatory(key string, value []byte) entry.Write {
	return entry.Write{Key: key, Entry: value, Outdated: value, TTL: jitter(e.ttl)}
}

func (e *Entries) invalidation(key string, holdOff time.Duration) entry.Write {
	value := invalidated(e.now().Add(holdOff))
	return entry.Write{Key: key, Entry: value, Outdated: value, TTL: holdOff}
}

func (e *Entries) store(ctx context.Context, under Lease, writes []entry.Write) {
	if len(writes) == 0 {
		return
	}
	e.raiseMinRanks(writes)
	if !e.now().Before(under.until) {
		under.granted = ""
	}
	if under.granted == "" && !entry.MustStore(writes) {
		return
	}
	if err := e.write(ctx, under.granted, writes...); err != nil {
		e.pending.add(ctx, writes)
		e.logFailure(ctx, err)
	}
}

// raiseMinRanks makes entries outdated here that are older than these writes, even if an attacker puts them back. An
// invalidation only marks that a newer version may exist, which the feed then delivers.
func (e *Entries) raiseMinRanks(writes []entry.Write) {
	for _, write := range writes {
		if write.Outdated == nil {
			continue
		}
		if rank := entry.Rank(write.Outdated); rank < invalidationRank || rank == tombstoneRank {
			e.minRanks.Raise(write.Key, rank, e.minRanks.Position())
		}
	}
}

func (e *Entries) logFailure(ctx context.Context, err error) {
	if !errors.Is(err, breaker.ErrOpen) { // The breaker has logged the outage.
		e.failureLog.Warn(ctx, err)
	}
}

// WithoutAppMetadata returns the user as it is cached, without what only admins may see.
func WithoutAppMetadata(user *gatehousev1.User) *gatehousev1.User {
	if user.GetAppMetadata() == nil {
		return user
	}
	user = proto.CloneOf(user)
	user.AppMetadata = nil
	return user
}

// jitter spreads the expiry of entries that were stored together over a fifth of ttl, so that they are not all read
// from the store again at once.
func jitter(ttl time.Duration) time.Duration {
	return ttl - ttl/10 + rand.N(ttl/5+1) //nolint:gosec // guessing it gains nothing
}
