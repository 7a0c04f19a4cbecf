package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/memorybackend"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/minrank"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/redisbackend"
)

// backend keeps entries by key. An entry is bytes, of which the first eight are its rank, an unsigned number, most
// significant byte first. What follows is nothing that a backend looks at. The part of a key in braces is its tag; all
// keys of one call MUST have the same one.
//
// A backend MUST be safe for concurrent use, MUST NOT keep or hand out a slice that it shares with its caller, and MUST
// give up on an operation within a bound of its own, however long ctx allows. It may lose any entry at any time, and
// all of them together; it MUST NOT come back with one that it had lost or replaced.
//
// An error says that the operation may or may not have taken effect. Every operation may be repeated.
type Backend interface {
	// Get gives the entries under the keys, in their order, nil where there is none that has not expired, and a lease.
	// Things under a key that this interface could not have put there are either not found or given as they are, never
	// an error: the caller checks what it gets. It MUST be one atomic step, and one round trip.
	Get(ctx context.Context, keys ...string) (entries [][]byte, lease entry.Lease, err error)

	// Lease gives a lease without waiting for anything, "" if there is none to be had.
	//
	// A lease stands for as long as no write of its tag that was stored in any case since it was given, by whatever
	// process, can have been lost before its TTL was over; it may end earlier. "" never stands. So who puts something
	// under a lease that stands, and reads the truth after the lease was given, replaces nothing newer, and puts nothing
	// back that was found to be untrue meanwhile.
	Lease() entry.Lease

	// Set stores for each write the entry that it has for a lease that stands or does not, for its TTL of at least a
	// millisecond, unless there is one under its key whose rank is the same or higher; then nothing changes there, not
	// even when it expires. Judging the lease, comparing and storing MUST be one atomic step for all the writes, among
	// all processes that share the backend. Ranks MUST be compared as numbers and exactly up to 2^53. What is under a
	// key and has no rank MUST be replaced. An entry shorter than a rank MUST be an error.
	//
	// Where nothing has to be stored, giving up early is as good. There MUST NOT be an error because a lease has ended.
	Set(ctx context.Context, lease entry.Lease, writes ...entry.Write) error

	// Remove deletes what is under key if it is this entry, byte for byte, in one atomic step. It is not an error if
	// there is another or none.
	Remove(ctx context.Context, key string, entry []byte) error

	// Enter makes the backend one of this epoch. What was put in another epoch is not found, and no lease of another one
	// stands. Before the first one nothing is found, and every operation is an error.
	EnterEpoch(epoch string)

	// Flush removes every entry of the epoch that was put before, whoever has put it.
	Flush(ctx context.Context) error

	// Close releases what the backend holds. Nothing is called afterwards but operations of requests that were cut off,
	// which MUST NOT panic.
	Close() error
}

// memoryBytes bounds the memory backend: about 75,000 users with a session each.
const memoryBytes = 64 << 20

// openBackend makes the backend that a valid Config asks for.
func openBackend(cfg Config, changes *minrank.Table, log *slog.Logger) (Backend, error) {
	switch cfg.Backend {
	case BackendMemory:
		return memorybackend.New(memoryBytes, nil), nil
	case BackendRedis:
		location, err := redisbackend.ParseURL(cfg.RedisURL)
		if err != nil {
			return nil, err
		}
		forgeries := NewLogger(log, "cache entry failed MAC verification")
		forged := func(ctx context.Context, key string) { forgeries.Warn(ctx, errors.New("key "+key)) }
		location.SetUser(cfg.RedisUser)
		redis := redisbackend.New(location, cfg.RedisPassword, cfg.Key, changes, forged)
		redis.WarnOfEviction(log)
		return NewBreaker(redis, log), nil
	default:
		return nil, fmt.Errorf("there is no cache backend %q", cfg.Backend)
	}
}
