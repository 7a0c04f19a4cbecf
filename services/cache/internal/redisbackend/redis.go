// Package redisbackend keeps cache entries in Redis, or in anything that speaks its protocol, runs its scripts, and
// tells its `run_id`. The Redis user needs the commands MGET, EVAL, EVALSHA, GET, SET, DEL, PING and INFO.
package redisbackend

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
)

const (
	// readTimeout bounds one operation that may as well not be done, the wait for a connection included. A Redis that is
	// well answers within a millisecond or two; one that needs longer than this is slower than the store that it should
	// relieve.
	readTimeout = 250 * time.Millisecond

	// writeTimeout bounds one that should be done. It is longer, because whoever waits has been promised that nobody sees
	// what was before; a Redis that is down, and not only slow, is noticed at once.
	writeTimeout = time.Second

	// dialTimeout bounds a new connection. It may outlast the operation that asked for it: the next one finds it made.
	dialTimeout = time.Second

	// poolSize bounds the connections. One carries about 10,000 operations a second.
	poolSize = 32

	// retries is how often an operation is sent again, within its timeout: a connection that the server closed while it
	// was idle shows only when it is used.
	retries = 1

	// maxRuns bounds how many runs one operation tries. A Redis that is restarted more often than this within the timeout
	// is as good as down.
	maxRuns = 3

	// namespace begins every key, for the case that others use the same database.
	namespace = "gatehouse:"

	// idLength is how much of a run's id stands in the keys: 64 bits of a hash of two random numbers.
	idLength = 16
)

// setIfHigher stores for each key KEYS[i] the entry ARGV[2i-1] for ARGV[2i] milliseconds, unless the entry there has
// the same or a higher rank.
//
// pcall, because GET of a list or a hash is an error: whatever such a thing is, and a string too short for a rank, it
// is not ours and is replaced, or the key would never be cached again.
//
// The ranks are compared as numbers, which are exact up to 2^53: Lua compares strings by the locale of the server.
const setIfHigher = `
for i, key in ipairs(KEYS) do
  local entry = ARGV[2 * i - 1]
  local held = redis.pcall('GET', key)
  local lower = type(held) ~= 'string' or #held < 8 or struct.unpack('>I8', held) < struct.unpack('>I8', entry)
  if lower then redis.call('SET', key, entry, 'PX', ARGV[2 * i]) end;
end
return 0
`

// remove deletes the entry if it is still ARGV[1].
const remove = `
if redis.pcall('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
`

// Backend keeps entries in Redis. It is safe for concurrent use.
//
// A Redis that comes back after a restart is empty, or knows what it knew at some time before. So the keys name the run
// of the process that they are of, and a lease is a run: who has one knows that what was put since is still there.
type Backend struct {
	open        func() *run
	setIfHigher *redis.Script
	remove      *redis.Script

	mu      sync.Mutex
	current *run
	closed  bool
}

// New makes a backend. It does not wait for the Redis: connections are made when they are needed. An empty password
// means that none is sent.
func New(location Location, password string) *Backend {
	// The logger of go-redis belongs to the process, not to a client, and writes free text to standard error for each
	// connection that fails. The same comes back as an error of the operation and is logged there.
	logging.Disable()
	open := func() *run { return newRun(location, password) }
	return &Backend{
		open: open, current: open(),
		setIfHigher: redis.NewScript(setIfHigher), remove: redis.NewScript(remove),
	}
}

// Get implements the contract of a cache backend. A key that holds anything but a string holds no entry.
func (b *Backend) Get(ctx context.Context, keys ...string) (entries [][]byte, lease entry.Lease, err error) {
	err = b.do(ctx, readTimeout, func(ctx context.Context, r *run) error {
		values, err := r.client.MGet(ctx, r.keys(keys)...).Result()
		if err != nil {
			return err
		}
		entries = make([][]byte, len(keys))
		for i, value := range values {
			if text, ok := value.(string); ok {
				entries[i] = []byte(text)
			}
		}
		lease = entry.Lease(*r.id.Load())
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("get from Redis: %w", err)
	}
	return entries, lease, nil
}

// Lease implements the contract of a cache backend.
func (b *Backend) Lease() entry.Lease {
	if id := b.run().id.Load(); id != nil {
		return entry.Lease(*id)
	}
	return ""
}

// Set implements the contract of a cache backend.
func (b *Backend) Set(ctx context.Context, lease entry.Lease, writes ...entry.Write) error {
	timeout := readTimeout
	if entry.Must(writes) {
		timeout = writeTimeout
	}
	err := b.do(ctx, timeout, func(ctx context.Context, r *run) error {
		keys, arguments, err := r.chosen(lease, writes)
		if err != nil || len(keys) == 0 {
			return err
		}
		return b.setIfHigher.Run(ctx, r.client, keys, arguments...).Err()
	})
	if err != nil {
		return fmt.Errorf("set in Redis: %w", err)
	}
	return nil
}

// Remove implements the contract of a cache backend.
func (b *Backend) Remove(ctx context.Context, key string, entry []byte) error {
	err := b.do(ctx, readTimeout, func(ctx context.Context, r *run) error {
		return b.remove.Run(ctx, r.client, r.keys([]string{key}), entry).Err()
	})
	if err != nil {
		return fmt.Errorf("remove from Redis: %w", err)
	}
	return nil
}

// Close ends the connections. Operations fail from then on.
func (b *Backend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if err := b.current.client.Close(); err != nil {
		return fmt.Errorf("close the connections to Redis: %w", err)
	}
	return nil
}

// do does an operation in the run that the Redis is in, as a whole: what was done in another one counts for nothing.
func (b *Backend) do(
	ctx context.Context, timeout time.Duration, operation func(context.Context, *run) error,
) (err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for range maxRuns {
		r := b.run()
		if err = r.know(ctx); err == nil {
			err = operation(ctx, r)
		}
		if !b.over(r, err) {
			return err
		}
	}
	return err
}

func (b *Backend) run() *run {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.current
}

// over tells whether an operation failed because the run is over, and sees to it that there is another one. A Redis
// that refuses to write has been made a replica: the address leads to its master by now, or soon will.
func (b *Backend) over(r *run, err error) bool {
	if !errors.Is(err, errOver) && !errors.Is(err, redis.ErrClosed) && !redis.HasErrorPrefix(err, "READONLY") {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	if b.current == r {
		b.current = b.open()
		_ = r.client.Close() // Its connections lead nowhere.
	}
	return true
}
