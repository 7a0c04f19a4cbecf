// Package redisbackend stores cache entries in Redis, or in any server that speaks its protocol, runs its scripts, and
// reports its `run_id`: a single server, one that Sentinels watch, or a Redis Cluster. The Redis user needs the
// commands MGET, EVAL, EVALSHA, GET, SET, DEL, PING, INFO, SCAN and UNLINK, in a cluster also CLUSTER INFO and CLUSTER
// NODES, in another database than 0 also SELECT, and access to keys that begin with gatehouse:.
package redisbackend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/minrank"
)

const (
	// poolSize bounds the connections. One carries about 10,000 operations a second.
	poolSize = 32

	// retries is how often an operation is sent again, within its timeout: that the server closed an idle connection
	// shows only when it is used.
	retries = 1

	// maxInstances bounds how many instances one operation tries. A Redis that is restarted more often than this within
	// the timeout is as good as down.
	maxInstances = 3

	// namespace is the beginning of every key, in case others use the same database.
	namespace = "gatehouse:"

	// flushKeys is how many keys one step of a flush scans. It blocks Redis for less than a millisecond.
	flushKeys = 1000

	// idLength is how much of an instance's id is part of the keys: 64 bits of a hash of two random numbers.
	idLength = 16
)

// setIfHigher stores for each key KEYS[i] the entry ARGV[3i-2] for ARGV[3i-1] milliseconds, unless the present value
// has the same or a higher rank and is not ARGV[3i], which is known to be forged. It returns for each key the value
// that was in the way, or "".
//
// It uses pcall, because GET of a list or a hash is an error. Such a value, and a string too short for a rank, is not
// ours and is replaced. Otherwise the key would never be cached again.
//
// The ranks are compared as numbers, which are exact up to 2^53: Lua compares strings by the locale of the server.
const setIfHigher = `
local conflicting = {}
for i, key in ipairs(KEYS) do
  local entry, forged = ARGV[3 * i - 2], ARGV[3 * i]
  local held = redis.pcall('GET', key)
  local higher = type(held) == 'string' and #held >= 8 and held ~= forged
    and struct.unpack('>I8', held) >= struct.unpack('>I8', entry)
  if not higher then redis.call('SET', key, entry, 'PX', ARGV[3 * i - 1]) end;
  conflicting[i] = higher and held or ''
end
return conflicting
`

// batch holds the keys and arguments of setIfHigher.
type batch struct {
	names     []string // the keys of the entries
	keys      []string // the same as keys in Redis
	arguments []any
}

func (b *batch) add(name, key string, value []byte, milliseconds any, forged string) {
	b.names, b.keys = append(b.names, name), append(b.keys, key)
	b.arguments = append(b.arguments, value, milliseconds, forged)
}

// maxForged bounds how often a write is retried because of a forged value.
const maxForged = 3

// remove deletes the value if it is still ARGV[1].
const remove = `
if redis.pcall('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
`

// Backend stores entries in Redis. It is safe for concurrent use.
//
// A Redis that was restarted is empty, or holds the state of some earlier time; so does a replica that is promoted. So
// each key names the instance that it belongs to, and the epoch. Each value has a MAC of the entry, its key, its
// expiry, and the position of the feed that it shows. An attacker who can write to Redis can put an earlier value back,
// but Get ignores it if this process knows of a change that the value lacks.
//
// A lease is the number of instances that were identified when it was acquired, and the position of the feed. It is
// valid in an instance that was identified by then, which still has everything that was stored since.
type Backend struct {
	source      source
	shared      *shared
	onForged    func(ctx context.Context, key string)
	setIfHigher *redis.Script
	remove      *redis.Script
}

// New returns a backend without an epoch. It does not wait for Redis: connections are established when they are needed.
// With an empty password, none is sent. All services that share the entries have the same secret. The table holds the
// changes that this process knows of. The backend calls onForged with every key whose value no cache service has put
// there.
func New(
	location Location, password string, secret []byte, minRanks *minrank.Table,
	onForged func(ctx context.Context, key string),
) *Backend {
	// The logger of go-redis belongs to the process, not to a client, and writes free text to standard error for each
	// connection that fails. The same error is returned by the operation and is logged by its caller.
	logging.Disable()
	s := &shared{location: location, password: password, mac: secret, minRanks: minRanks, now: time.Now}
	return &Backend{
		source: newSource(s), shared: s, onForged: onForged,
		setIfHigher: redis.NewScript(setIfHigher), remove: redis.NewScript(remove),
	}
}

func newSource(s *shared) source {
	switch s.location.kind {
	case kindCluster:
		return newCluster(s)
	case kindSentinel:
		sentinels := newSentinels(s)
		return newSingleNode(sentinels.open, sentinels.close)
	case kindSingle:
	}
	open := func(epoch string) *instance { return s.newInstance(epoch, s.location.addresses[0]) }
	return newSingleNode(open, func() error { return nil })
}

// Get implements the contract of a cache backend. A key whose value is not a string holds no entry.
func (b *Backend) Get(ctx context.Context, keys ...string) (entries [][]byte, lease entry.Lease, err error) {
	err = b.withInstance(ctx, false, keys[0], func(ctx context.Context, inst *instance) error {
		lease = b.Lease()
		redisKeys := make([]string, len(keys))
		for i, key := range keys {
			redisKeys[i] = inst.redisKey(key)
		}
		values, err := inst.client.MGet(ctx, redisKeys...).Result()
		if err != nil {
			return err
		}
		entries = make([][]byte, len(keys))
		for i, value := range values {
			if text, ok := value.(string); ok {
				entries[i] = b.currentEntry(ctx, inst, keys[i], text)
			}
		}
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("get from Redis: %w", err)
	}
	return entries, lease, nil
}

// Lease implements the contract of a cache backend.
func (b *Backend) Lease() entry.Lease {
	return newLease(b.shared.instanceCount.Load(), b.shared.minRanks.Position())
}

// currentEntry returns the entry in the value of a key, or nil if it is forged or outdated.
func (b *Backend) currentEntry(ctx context.Context, inst *instance, key, value string) []byte {
	held, position := b.shared.mac.verify(inst.redisKey(key), []byte(value), b.shared.now())
	if held == nil {
		b.onForged(ctx, key)
		return nil
	}
	if !b.isCurrent(key, held, position) {
		return nil
	}
	return held
}

// isCurrent reports whether no known change makes an entry outdated. The caller checks what is too short for a rank.
func (b *Backend) isCurrent(key string, held []byte, position uint64) bool {
	return len(held) < entry.RankLength || b.shared.minRanks.IsCurrent(key, entry.Rank(held), position)
}

// Set implements the contract of a cache backend.
func (b *Backend) Set(ctx context.Context, lease entry.Lease, writes ...entry.Write) error {
	err := b.withInstance(ctx, entry.MustStore(writes), writes[0].Key, func(ctx context.Context, inst *instance) error {
		pending, err := inst.selectWrites(lease, writes)
		for tries := 0; err == nil && len(pending.keys) > 0; tries++ {
			if tries == maxForged {
				return errForged
			}
			pending, err = b.store(ctx, inst, pending)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("set in Redis: %w", err)
	}
	return nil
}

// store stores a batch, and returns the part that must be retried because a forged value was in the way. It names that
// value, so that the retry replaces it, whatever its rank. The same is done to a value of the same rank that is not
// current here: Get would never return it.
func (b *Backend) store(ctx context.Context, inst *instance, all batch) (again batch, err error) {
	conflicting, err := b.setIfHigher.Run(ctx, inst.client, all.keys, all.arguments...).StringSlice()
	if err != nil {
		return again, err
	}
	for i, value := range conflicting {
		if value == "" {
			continue
		}
		name, key := all.names[i], all.keys[i]
		ours, _ := all.arguments[3*i].([]byte)
		held, position := b.shared.mac.verify(key, []byte(value), b.shared.now())
		if held == nil {
			b.onForged(ctx, key)
		} else if entry.Rank(held) != entry.Rank(ours) || b.isCurrent(name, held, position) {
			continue
		}
		again.add(name, key, ours, all.arguments[3*i+1], value)
	}
	return again, nil
}

// Remove implements the contract of a cache backend.
func (b *Backend) Remove(ctx context.Context, key string, entry []byte) error {
	err := b.withInstance(ctx, false, key, func(ctx context.Context, inst *instance) error {
		redisKey := inst.redisKey(key)
		found, err := inst.client.MGet(ctx, redisKey).Result() // GET of a list or a hash would be an error.
		if err != nil {
			return err
		}
		value, _ := found[0].(string)
		held, _ := b.shared.mac.verify(redisKey, []byte(value), b.shared.now())
		if held == nil || !bytes.Equal(held, entry) {
			return nil
		}
		return b.remove.Run(ctx, inst.client, []string{redisKey}, value).Err()
	})
	if err != nil {
		return fmt.Errorf("remove from Redis: %w", err)
	}
	return nil
}

// EnterEpoch implements the contract of a cache backend.
func (b *Backend) EnterEpoch(epoch string) { b.source.setEpoch(epoch) }

// Flush implements the contract of a cache backend. It scans all keys of the database, of which others may have many,
// in steps. An instance that begins meanwhile holds nothing older.
func (b *Backend) Flush(ctx context.Context) error {
	for tries := 1; ; tries++ {
		again, err := b.flushAll(ctx)
		if err == nil {
			return nil
		}
		if !again || tries == maxInstances {
			return fmt.Errorf("flush from Redis: %w", err)
		}
	}
}

// flushAll flushes every instance. The instances may change meanwhile: again reports whether a retry may find others.
func (b *Backend) flushAll(ctx context.Context) (again bool, err error) {
	finding, cancel := context.WithTimeout(ctx, deadlines.RedisWrite)
	defer cancel()
	instances, err := b.source.instances(finding)
	if err != nil {
		return false, err
	}
	for _, inst := range instances {
		if err := b.flushInstance(ctx, inst); err != nil {
			searching, cancel := context.WithTimeout(ctx, deadlines.RedisWrite)
			defer cancel()
			return b.source.onError(searching, "", inst, err) || inst.ended.Load(), err
		}
	}
	return false, nil
}

func (b *Backend) flushInstance(ctx context.Context, inst *instance) error {
	for cursor := uint64(0); ; {
		next, err := flushPart(ctx, inst, cursor)
		if err != nil || next == 0 {
			return err
		}
		cursor = next
	}
}

func flushPart(ctx context.Context, inst *instance, cursor uint64) (next uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, deadlines.RedisWrite)
	defer cancel()
	if err := inst.ensureIdentified(ctx); err != nil {
		return 0, err
	}
	keys, next, err := inst.client.Scan(ctx, cursor, inst.prefix()+"*", flushKeys).Result()
	if err == nil && len(keys) > 0 {
		_, err = inst.client.Pipelined(ctx, func(pipe redis.Pipeliner) error { // The keys are in different slots.
			for _, key := range keys {
				pipe.Unlink(ctx, key)
			}
			return nil
		})
	}
	if err == nil {
		err = inst.verify(ctx, true)
	}
	return next, err
}

// Close closes the connections. Later operations fail.
func (b *Backend) Close() error {
	if err := b.source.close(); err != nil {
		return fmt.Errorf("close the connections to Redis: %w", err)
	}
	return nil
}

// withInstance runs an operation in the instance that holds the key. If the instance is gone, it repeats the whole
// operation in the next one: what was done in an instance that is gone does not count. A mandatory operation has a
// longer timeout, and the instance is verified afterwards.
func (b *Backend) withInstance(
	ctx context.Context, mandatory bool, key string, operation func(context.Context, *instance) error,
) (err error) {
	timeout := deadlines.RedisRead
	if mandatory {
		timeout = deadlines.RedisWrite
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for range maxInstances {
		inst, sourceErr := b.source.instanceFor(ctx, key)
		if sourceErr != nil {
			return errors.Join(sourceErr, err)
		}
		if err = inst.ensureIdentified(ctx); err == nil {
			err = operation(ctx, inst)
		}
		if err == nil {
			err = inst.verify(ctx, mandatory)
		}
		if err == nil || !b.source.onError(ctx, key, inst, err) {
			return err
		}
	}
	return err
}
