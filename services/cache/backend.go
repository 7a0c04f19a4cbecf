package cache

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/memorybackend"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/redisbackend"
)

// backend keeps entries by key. An entry is bytes, of which the first eight are its version, an unsigned number, most
// significant byte first. What follows is nothing that a backend looks at.
//
// A backend MUST be safe for concurrent use, MUST NOT keep or hand out a slice that it shares with its caller, and MUST
// give up on an operation within a bound of its own, however long ctx allows. It may lose any entry at any time.
//
// An error says that the operation may or may not have taken effect. Every operation may be repeated.
type backend interface {
	// Get gives the entry under key, if there is one that has not expired. Things under key that this interface could
	// not have put there are either not found or given as they are, never an error: the caller checks what it gets.
	Get(ctx context.Context, key string) (entry []byte, found bool, err error)

	// SetIfNewer stores the entry for ttl, of at least a millisecond, unless there is one under key whose version is the
	// same or newer; then nothing changes, not even when it expires. Comparing and storing MUST be one atomic step,
	// among all processes that share the backend. Versions MUST be compared as numbers and exactly up to 2^53. What is
	// under key and has no version MUST be replaced. An entry shorter than a version MUST be an error.
	SetIfNewer(ctx context.Context, key string, entry []byte, ttl time.Duration) error

	// Remove deletes what is under key if it is this entry, byte for byte, in one atomic step. It is not an error if
	// there is another or none.
	Remove(ctx context.Context, key string, entry []byte) error

	// Close releases what the backend holds. Nothing is called afterwards but Get, SetIfNewer and Remove of requests
	// that were cut off, which MUST NOT panic.
	Close() error
}

// memoryBytes bounds the memory backend: about 150,000 users.
const memoryBytes = 64 << 20

// openBackend makes the backend that a valid Config asks for.
func openBackend(cfg Config, log *slog.Logger) (backend, error) {
	switch cfg.Backend {
	case BackendMemory:
		return memorybackend.New(memoryBytes, nil), nil
	case BackendRedis:
		location, err := redisbackend.ParseURL(cfg.RedisURL)
		if err != nil {
			return nil, err
		}
		return newBreaker(redisbackend.New(location, cfg.RedisPassword), log), nil
	default:
		return nil, fmt.Errorf("there is no cache backend %q", cfg.Backend)
	}
}
