package cache

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// versionLength is the length of the version that an entry begins with, in bytes.
const versionLength = 8

// entries keeps users in a backend. Nothing that goes wrong there is an error here: what cannot be had is a miss, what
// cannot be kept is not kept.
type entries struct {
	backend  backend
	ttl      time.Duration
	failures *sparseLog
	refusals *sparseLog
}

func newEntries(kept backend, ttl time.Duration, log *slog.Logger) *entries {
	return &entries{
		backend:  kept,
		ttl:      ttl,
		failures: newSparseLog(log, "an operation of the cache backend failed"),
		refusals: newSparseLog(log, "a cache entry is not what was put there; it is removed"),
	}
}

// user gives the user with this id, and false if the cache does not have it.
func (e *entries) user(ctx context.Context, id string) (*gatehousev1.User, bool) {
	key := userKey(id)
	entry, found, err := e.backend.Get(ctx, key)
	if err != nil {
		e.failed(ctx, err)
		return nil, false
	}
	if !found {
		return nil, false
	}
	user, err := decode(entry, id)
	if err != nil {
		// Removed, and not only overwritten by what the store says: a bad entry may bear any version, and set-if-newer
		// would then keep it.
		e.refusals.report(ctx, fmt.Errorf("entry %s: %w", key, err))
		if err := e.backend.Remove(ctx, key, entry); err != nil {
			e.failed(ctx, err)
		}
		return nil, false
	}
	return user, true
}

// keep stores a user as the store has just given it, unless a newer version is there.
func (e *entries) keep(ctx context.Context, user *gatehousev1.User) {
	entry, err := encode(user)
	if err == nil {
		err = e.backend.SetIfNewer(ctx, userKey(user.GetId()), entry, jitter(e.ttl))
	}
	if err != nil {
		e.failed(ctx, err)
	}
}

func (e *entries) failed(ctx context.Context, err error) {
	if !errors.Is(err, errOpen) { // The breaker has logged that.
		e.failures.report(ctx, err)
	}
}

// userKey is the key of a user's entry. The braces make the id the hash tag: all keys of one user are in one slot of a
// Redis Cluster.
func userKey(id string) string { return "user:{" + id + "}" }

// jitter spreads the ends of entries that were made together over a fifth of ttl, so that they are not all asked for
// again at once.
func jitter(ttl time.Duration) time.Duration {
	return ttl - ttl/10 + rand.N(ttl/5+1) //nolint:gosec // nobody gains by guessing it
}

// encode makes the entry of a user: the version, then the protobuf message, which has no secret in it.
func encode(user *gatehousev1.User) ([]byte, error) {
	if user.GetId() == "" || user.GetVersion() < 1 {
		return nil, errors.New("a user without id or version is not kept")
	}
	entry := binary.BigEndian.AppendUint64(nil, uint64(user.GetVersion())) //nolint:gosec // it is not negative
	entry, err := proto.MarshalOptions{}.MarshalAppend(entry, user)
	if err != nil {
		return nil, fmt.Errorf("marshal user %s: %w", user.GetId(), err)
	}
	return entry, nil
}

// decode reads an entry and refuses one that encode would not have made of the user with this id: another user's
// above all. That the version stands in it twice shows an entry that was cut where its message still parses.
func decode(entry []byte, id string) (*gatehousev1.User, error) {
	if len(entry) < versionLength {
		return nil, fmt.Errorf("it has %d bytes", len(entry))
	}
	user := new(gatehousev1.User)
	if err := proto.Unmarshal(entry[versionLength:], user); err != nil {
		return nil, errors.New("it holds no user") // without the parser's words, which could quote the entry
	}
	version := int64(binary.BigEndian.Uint64(entry)) //nolint:gosec // what is too large becomes negative and is refused
	switch {
	case user.GetId() != id:
		return nil, errors.New("it holds another user")
	case version < 1, user.GetVersion() != version:
		return nil, errors.New("its versions differ")
	}
	return user, nil
}
