package cache

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/minrank"
)

// maxLeaseTime bounds how long an answer of the store may take that is kept: no call takes longer. What is put in any
// case lives longer than this, or an answer that is older could come after it is gone.
const maxLeaseTime = 10 * time.Second

// entries keeps users and sessions in a backend. Nothing that goes wrong there is an error here: what cannot be had is
// a miss, what cannot be kept is not kept, and what has to be kept and cannot is owed.
type Entries struct {
	backend  Backend
	minRanks *minrank.Table
	synced   atomic.Bool // whether all is known that was changed before what is kept was put there
	pending  *pendingInvalidations
	// unwritable is whether the last write to the backend failed.
	writeFailed atomic.Bool
	ttl         time.Duration
	leaseTime   time.Duration
	now         func() time.Time
	failureLog  *Logger
	invalidLog  *Logger
}

func NewEntries(kept Backend, changes *minrank.Table, ttl time.Duration, log *slog.Logger) *Entries {
	return &Entries{
		backend:    kept,
		minRanks:   changes,
		pending:    newPendingInvalidations(kept, ttl+ttl/10+maxLeaseTime, log),
		ttl:        ttl,
		leaseTime:  min(maxLeaseTime, ttl/2),
		now:        time.Now,
		failureLog: NewLogger(log, "an operation of the cache backend failed"),
		invalidLog: NewLogger(log, "a cache entry is not what was put there; it is removed"),
	}
}

// reachable returns an error if the backend does not answer, or the last write to it failed and another one does too.
func (e *Entries) CheckBackend(ctx context.Context) error {
	_, _, err := e.backend.Get(ctx, feedCursorKey)
	if err == nil && e.writeFailed.Load() {
		rank := make([]byte, entry.RankLength)
		err = e.write(ctx, "", entry.Write{Key: "probe", Entry: rank, Outdated: rank, TTL: probeInterval})
	}
	return err
}

// write sets entries in the backend, and remembers whether that could be done.
func (e *Entries) write(ctx context.Context, under entry.Lease, writes ...entry.Write) error {
	err := e.backend.Set(ctx, under, writes...)
	if !errors.Is(err, errOpen) {
		e.writeFailed.Store(err != nil)
	}
	return err
}

// lease is the right to keep what the store is asked for after it was given. The zero lease is the right to nothing.
type Lease struct {
	granted entry.Lease
	until   time.Time
}

// found is what the cache knows of an account: what it does not know is nil.
type Found struct {
	authn.Account

	Ended bool // the session, by itself
	Lease Lease
}

// account looks a user and a session up, in one round trip.
func (e *Entries) Account(ctx context.Context, userID, sessionID string) Found {
	keys := []string{userKey(userID), SessionKey(userID, sessionID)}
	if !e.synced.Load() || e.pending.covers(keys...) {
		return Found{}
	}
	until := e.now().Add(e.leaseTime)
	held, kept, err := e.backend.Get(ctx, keys...)
	if err != nil {
		e.logFailure(ctx, err)
		return Found{}
	}
	f := Found{Lease: Lease{granted: kept, until: until}}
	if held[0] != nil {
		f.User, err = decodeUser(held[0], userID)
		e.removeInvalid(ctx, keys[0], held[0], err)
	}
	if held[1] != nil {
		f.Session, f.Ended, err = decodeSession(held[1], userID, sessionID)
		e.removeInvalid(ctx, keys[1], held[1], err)
	}
	return f
}

// refuse removes an entry that cannot be read. Overwriting it by what the store says is not enough: a bad entry may
// bear any rank.
func (e *Entries) removeInvalid(ctx context.Context, key string, held []byte, reason error) {
	if reason == nil {
		return
	}
	e.invalidLog.Warn(ctx, fmt.Errorf("entry %s: %w", key, reason))
	if err := e.backend.Remove(ctx, key, held); err != nil {
		e.logFailure(ctx, err)
	}
}

// ask gives a lease for what the store is about to be asked.
func (e *Entries) AcquireLease() Lease {
	return Lease{granted: e.backend.Lease(), until: e.now().Add(e.leaseTime)}
}

// fill keeps what a read of the store gave, or what the store has made, of which nothing older can be known. Either may
// be nil.
func (e *Entries) Fill(ctx context.Context, under Lease, user *gatehousev1.User, session *gatehousev1.Session) {
	writes := e.encodeWrites(ctx, user, session)
	for i := range writes {
		writes[i].Outdated = nil
	}
	e.store(ctx, under, writes)
}

// change keeps what the store has committed. What is older is not found afterwards, whether or not the lease stands.
// Either may be nil.
func (e *Entries) Change(ctx context.Context, under Lease, user *gatehousev1.User, session *gatehousev1.Session) {
	e.store(ctx, under, e.encodeWrites(ctx, user, session))
}

// end stores that the session has ended.
func (e *Entries) SessionEnded(ctx context.Context, userID, sessionID string) {
	e.ReplaceSession(ctx, Lease{}, userID, sessionID, nil, nil)
}

// replace stores, in one step, that a session has ended, the user that the store has changed with it, and the session
// that took its place. Both may be nil.
func (e *Entries) ReplaceSession(
	ctx context.Context, under Lease, userID, sessionID string, user *gatehousev1.User, successor *gatehousev1.Session,
) {
	ended, err := tombstone(userID, sessionID)
	if err != nil {
		e.logFailure(ctx, err)
		return
	}
	e.store(ctx, under, append(e.encodeWrites(ctx, user, successor), e.unconditional(SessionKey(userID, sessionID), ended)))
}

// gone keeps it that the store has deleted a user, with all sessions. The session of the user's own call has ended with
// it, and is refused without asking the store from now on. About the others the store is asked: which they are is not
// known here. An empty session id stands for none.
//
// Nothing brings the user back. Whatever has asked the store before the deletion, under a lease, finds the doubt there,
// which outlives the lease; or the Redis has lost the doubt, and with it the run that the lease is of; or the memory
// has, where a lease is the number of a write from before the doubt. Without a lease nobody puts more than "there is a
// version v, ask". Who asks the store later is told that there is no such user, as ids are never given again.
func (e *Entries) UserDeleted(ctx context.Context, userID, sessionID string) {
	e.minRanks.Raise(userKey(userID), markerRank, e.minRanks.Position())
	writes := []entry.Write{e.invalidation(userKey(userID), jitter(e.ttl))}
	if sessionID != "" {
		ended, err := tombstone(userID, sessionID)
		if err != nil {
			e.logFailure(ctx, err)
			ended = marker(e.now().Add(e.ttl))
		}
		writes = append(writes, e.unconditional(SessionKey(userID, sessionID), ended))
	}
	e.store(ctx, Lease{}, writes)
}

// doubt forgets a user and a session that the store may have changed, and learns neither anew until all that may be on
// its way is over. An empty session id stands for none.
func (e *Entries) Invalidate(ctx context.Context, userID, sessionID string) {
	writes := []entry.Write{e.invalidation(userKey(userID), jitter(e.ttl))}
	if sessionID != "" {
		writes = append(writes, e.invalidation(SessionKey(userID, sessionID), jitter(e.ttl)))
	}
	e.store(ctx, Lease{}, writes)
}

// learn keeps it that the store has told of a change up to a position of the feed, which may be old news. One that is
// not kept would leave what was before it, so an error is one.
func (e *Entries) applyChange(ctx context.Context, change *internalv1.Change, position uint64) error {
	write, err := e.writeOf(change)
	if err != nil {
		return err
	}
	e.minRanks.Raise(write.Key, entry.Rank(write.Outdated), position)
	return e.write(ctx, "", write)
}

// outcome is what is put for a change that says which version it made, but not what that is.
func (e *Entries) writeOf(change *internalv1.Change) (entry.Write, error) {
	user, session := change.GetUserId(), change.GetSessionId()
	switch {
	case session == "" && change.GetEnded():
		return e.invalidation(userKey(user), jitter(e.ttl)), nil // As gone does.
	case change.GetEnded():
		ended, err := tombstone(user, session)
		return e.unconditional(SessionKey(user, session), ended), err
	}
	key := userKey(user)
	if session != "" {
		key = SessionKey(user, session)
	}
	made, err := versionRank(change.GetVersion())
	return e.unconditional(key, binary.BigEndian.AppendUint64(nil, made-1)), err
}

// mistrust forgets a user whom the store has changed, by what an error of it shows, until no answer from before the
// change can be on its way any more. Whoever made the change may have died before it could tell.
func (e *Entries) InvalidateOutdated(ctx context.Context, userID string) {
	e.store(ctx, Lease{}, []entry.Write{e.invalidation(userKey(userID), 2*e.leaseTime)})
}

func (e *Entries) encodeWrites(ctx context.Context, user *gatehousev1.User, session *gatehousev1.Session) []entry.Write {
	writes := make([]entry.Write, 0, 2)
	add := func(key string, of record) {
		current, outdated, err := encode(of)
		if err != nil { // What is kept of it is from before.
			e.logFailure(ctx, err)
			writes = append(writes, e.invalidation(key, jitter(e.ttl)))
			return
		}
		writes = append(writes, entry.Write{Key: key, Entry: current, Outdated: outdated, TTL: jitter(e.ttl)})
	}
	if user != nil {
		add(userKey(user.GetId()), withoutAppMetadata(user))
	}
	if session != nil {
		add(SessionKey(session.GetUserId(), session.GetId()), session)
	}
	return writes
}

func (e *Entries) unconditional(key string, held []byte) entry.Write {
	return entry.Write{Key: key, Entry: held, Outdated: held, TTL: jitter(e.ttl)}
}

func (e *Entries) invalidation(key string, ttl time.Duration) entry.Write {
	made := marker(e.now().Add(ttl))
	return entry.Write{Key: key, Entry: made, Outdated: made, TTL: ttl}
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

// raise makes sure that what is older than these writes is not believed here, whoever puts it back. A doubt says only
// that there may be something newer: if there is, the feed tells of it.
func (e *Entries) raiseMinRanks(writes []entry.Write) {
	for _, write := range writes {
		if write.Outdated == nil {
			continue
		}
		if rank := entry.Rank(write.Outdated); rank < markerRank || rank == tombstoneRank {
			e.minRanks.Raise(write.Key, rank, e.minRanks.Position())
		}
	}
}

func (e *Entries) logFailure(ctx context.Context, err error) {
	if !errors.Is(err, errOpen) { // The breaker has logged that.
		e.failureLog.Warn(ctx, err)
	}
}

// shared is the user as it is kept, for whoever may see the user at all: without what only admins may see.
func withoutAppMetadata(user *gatehousev1.User) *gatehousev1.User {
	if user.GetAppMetadata() == nil {
		return user
	}
	user = proto.CloneOf(user)
	user.AppMetadata = nil
	return user
}

// jitter spreads the ends of entries that were made together over a fifth of ttl, so that they are not all asked for
// again at once.
func jitter(ttl time.Duration) time.Duration {
	return ttl - ttl/10 + rand.N(ttl/5+1) //nolint:gosec // nobody gains by guessing it
}
