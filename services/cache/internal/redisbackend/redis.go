// Package redisbackend keeps cache entries in Redis, or in anything that speaks its protocol and runs its scripts.
package redisbackend

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// operationTimeout bounds one operation, the wait for a connection included. A Redis that is well answers within a
	// millisecond or two; one that needs longer than this is slower than the store that it should relieve.
	operationTimeout = 250 * time.Millisecond

	// dialTimeout bounds a new connection. It may outlast the operation that asked for it: the next one finds it made.
	dialTimeout = time.Second

	// poolSize bounds the connections. One carries about 10,000 operations a second.
	poolSize = 32

	// retries is how often an operation is sent again, within its timeout: a connection that the server closed while it
	// was idle shows only when it is used.
	retries = 1
)

// setIfNewer stores ARGV[1] for ARGV[2] milliseconds, unless the entry there has the same or a newer version.
//
// pcall, because GET of a list or a hash is an error: whatever such a thing is, and a string too short for a version,
// it is not ours and is replaced, or the key would never be cached again.
//
// The versions are compared as numbers: Lua compares strings by the locale of the server. Its numbers are exact up to
// 2^53, which a version that grows by one with each change of a user does not reach.
const setIfNewer = `
local version = struct.unpack('>I8', ARGV[1])
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and #held >= 8 and struct.unpack('>I8', held) >= version then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`

// remove deletes the entry if it is still ARGV[1].
const remove = `
if redis.pcall('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
`

// Backend keeps entries in Redis. It is safe for concurrent use.
type Backend struct {
	client     redis.UniversalClient
	setIfNewer *redis.Script
	remove     *redis.Script
}

// New makes a backend. It does not wait for the Redis: connections are made when they are needed. An empty password
// means that none is sent.
func New(location Location, password string) *Backend {
	// The logger of go-redis belongs to the process, not to a client, and writes free text to standard error for each
	// connection that fails. The same comes back as an error of the operation and is logged there.
	logging.Disable()
	options := &redis.UniversalOptions{
		Addrs:    []string{location.Address()},
		DB:       location.Database,
		Password: password,

		DialTimeout:           dialTimeout,
		DialerRetries:         1,
		ReadTimeout:           operationTimeout,
		WriteTimeout:          operationTimeout,
		ContextTimeoutEnabled: true,
		MaxRetries:            retries,
		PoolSize:              poolSize,
		MaxActiveConns:        poolSize,
		PoolTimeout:           operationTimeout,

		// Neither CLIENT SETINFO nor CLIENT MAINT_NOTIFICATIONS: an older Redis and an ACL of few commands refuse them.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if location.TLS {
		options.TLSConfig = &tls.Config{ServerName: location.Host, MinVersion: tls.VersionTLS12}
	}
	return &Backend{
		client:     redis.NewUniversalClient(options),
		setIfNewer: redis.NewScript(setIfNewer),
		remove:     redis.NewScript(remove),
	}
}

// Get implements the contract of a cache backend. A key that holds anything but a string holds no entry.
func (b *Backend) Get(ctx context.Context, key string) (entry []byte, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	entry, err = b.client.Get(ctx, key).Bytes()
	switch {
	case err == nil:
		return entry, true, nil
	case errors.Is(err, redis.Nil), redis.HasErrorPrefix(err, "WRONGTYPE"):
		return nil, false, nil
	default:
		return nil, false, fmt.Errorf("get from Redis: %w", err)
	}
}

// SetIfNewer implements the contract of a cache backend.
func (b *Backend) SetIfNewer(ctx context.Context, key string, entry []byte, ttl time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	if err := b.setIfNewer.Run(ctx, b.client, []string{key}, entry, ttl.Milliseconds()).Err(); err != nil {
		return fmt.Errorf("set in Redis: %w", err)
	}
	return nil
}

// Remove implements the contract of a cache backend.
func (b *Backend) Remove(ctx context.Context, key string, entry []byte) error {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	if err := b.remove.Run(ctx, b.client, []string{key}, entry).Err(); err != nil {
		return fmt.Errorf("remove from Redis: %w", err)
	}
	return nil
}

// Close ends the connections. Operations fail from then on.
func (b *Backend) Close() error {
	if err := b.client.Close(); err != nil {
		return fmt.Errorf("close the connections to Redis: %w", err)
	}
	return nil
}
