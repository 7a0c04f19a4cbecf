// Package redisbackend keeps cache entries in Redis, or in anything that speaks its protocol, runs its scripts, and
// tells its `run_id`: in one server, in one that Sentinels watch, or in a Redis Cluster. The Redis user needs the
// commands MGET, EVAL, EVALSHA, GET, SET, DEL, PING, INFO, SCAN and UNLINK, in a cluster CLUSTER INFO and CLUSTER NODES
// as well, in another database than 0 SELECT, and keys that begin with gatehouse:.
package redisbackend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/floors"
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

	// flushKeys is how many keys one step of a flush looks at. It keeps the Redis from others for less than a millisecond.
	flushKeys = 1000

	// idLength is how much of a run's id stands in the keys: 64 bits of a hash of two random numbers.
	idLength = 16
)

// setIfHigher stores for each key KEYS[i] the entry ARGV[3i-2] for ARGV[3i-1] milliseconds, unless what is there has
// the same or a higher rank and is not ARGV[3i], which nobody has put there who may. It gives for each key what was in
// the way, or "".
//
// pcall, because GET of a list or a hash is an error: whatever such a thing is, and a string too short for a rank, it
// is not ours and is replaced, or the key would never be cached again.
//
// The ranks are compared as numbers, which are exact up to 2^53: Lua compares strings by the locale of the server.
const setIfHigher = `
local inTheWay = {}
for i, key in ipairs(KEYS) do
  local entry, forged = ARGV[3 * i - 2], ARGV[3 * i]
  local held = redis.pcall('GET', key)
  local higher = type(held) == 'string' and #held >= 8 and held ~= forged
    and struct.unpack('>I8', held) >= struct.unpack('>I8', entry)
  if not higher then redis.call('SET', key, entry, 'PX', ARGV[3 * i - 1]) end;
  inTheWay[i] = higher and held or ''
end
return inTheWay
`

// storing is what setIfHigher is given.
type storing struct {
	keys      []string
	arguments []any
}

func (s *storing) add(key string, entry []byte, milliseconds any, forged string) {
	s.keys, s.arguments = append(s.keys, key), append(s.arguments, entry, milliseconds, forged)
}

// maxForged bounds how often a write meets something that was forged, and tries again.
const maxForged = 3

// remove deletes the entry if it is still ARGV[1].
const remove = `
if redis.pcall('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
`

// Backend keeps entries in Redis. It is safe for concurrent use.
//
// A Redis that comes back after a restart is empty, or knows what it knew at some time before; so does a replica that
// is made the master. So the keys name the run of the process that they are of. They name the epoch as well, and each
// entry bears a MAC of itself, of its key, of its end, and of the position of the feed that it shows. Whoever can write
// to Redis can put an entry back that was there before, but it is not found where a change is known that it lacks.
//
// A lease is how many runs were known when it was given, and the position that was reached. It stands in a run that was
// known by then: what was put there since is still there.
type Backend struct {
	source      source
	shared      *shared
	forged      func(ctx context.Context, key string)
	setIfHigher *redis.Script
	remove      *redis.Script
}

// New makes a backend of no epoch. It does not wait for the Redis: connections are made when they are needed. An empty
// password means that none is sent. The secret is that of all who share the entries, and changes are those that this
// process knows of; forged is told of every key under which there is something that no cache service has put there.
func New(
	location Location, password string, secret []byte, changes *floors.Table,
	forged func(ctx context.Context, key string),
) *Backend {
	// The logger of go-redis belongs to the process, not to a client, and writes free text to standard error for each
	// connection that fails. The same comes back as an error of the operation and is logged there.
	logging.Disable()
	s := &shared{location: location, password: password, seal: secret, changes: changes, now: time.Now}
	return &Backend{
		source: newSource(s), shared: s, forged: forged,
		setIfHigher: redis.NewScript(setIfHigher), remove: redis.NewScript(remove),
	}
}

func newSource(s *shared) source {
	switch s.location.kind {
	case redisCluster:
		return newCluster(s)
	case sentinels:
		watch := newWatch(s)
		return newOne(watch.open, watch.close)
	case oneServer:
	}
	open := func(epoch string) *run { return s.newRun(epoch, s.location.addresses[0]) }
	return newOne(open, func() error { return nil })
}

// Get implements the contract of a cache backend. A key that holds anything but a string holds no entry.
func (b *Backend) Get(ctx context.Context, keys ...string) (entries [][]byte, lease entry.Lease, err error) {
	err = b.do(ctx, false, keys[0], func(ctx context.Context, r *run) error {
		places := r.keys(keys)
		lease = b.Lease()
		values, err := r.client.MGet(ctx, places...).Result()
		if err != nil {
			return err
		}
		entries = make([][]byte, len(keys))
		for i, value := range values {
			if text, ok := value.(string); ok {
				entries[i] = b.believed(ctx, r, keys[i], text)
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
	return leaseOf(b.shared.numbers.Load(), b.shared.changes.Position())
}

// believed returns the entry of what was found under a key, or nil if it is forged or outdated.
func (b *Backend) believed(ctx context.Context, r *run, key, found string) []byte {
	held, position := r.seal.open(r.key(key), []byte(found), b.shared.now())
	switch {
	case held == nil:
		b.forged(ctx, key)
		return nil
	case !b.believes(key, held, position):
		return nil
	default:
		return held
	}
}

// believes leaves it to the caller what is no entry at all.
func (b *Backend) believes(key string, held []byte, position uint64) bool {
	return len(held) < entry.RankLength || b.shared.changes.Believes(key, entry.Rank(held), position)
}

// Set implements the contract of a cache backend.
func (b *Backend) Set(ctx context.Context, lease entry.Lease, writes ...entry.Write) error {
	err := b.do(ctx, entry.Must(writes), writes[0].Key, func(ctx context.Context, r *run) error {
		storing, err := r.chosen(lease, writes)
		for tries := 0; err == nil && len(storing.keys) > 0; tries++ {
			if tries == maxForged {
				return errForged
			}
			storing, err = b.store(ctx, r, storing)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("set in Redis: %w", err)
	}
	return nil
}

// store gives back what could not be stored because of something that is forged. It names that: so it is replaced the
// next time, whatever rank it claims. So is what has the same rank and is not believed here: nobody would ever find it.
func (b *Backend) store(ctx context.Context, r *run, all storing) (again storing, err error) {
	inTheWay, err := b.setIfHigher.Run(ctx, r.client, all.keys, all.arguments...).StringSlice()
	if err != nil {
		return again, err
	}
	for i, held := range inTheWay {
		if held == "" {
			continue
		}
		place := all.keys[i]
		ours, _ := all.arguments[3*i].([]byte)
		found, position := r.seal.open(place, []byte(held), b.shared.now())
		switch {
		case found == nil:
			b.forged(ctx, place)
		case entry.Rank([]byte(held)) != entry.Rank(ours) || b.believes(r.unplaced(place), found, position):
			continue
		}
		again.add(place, ours, all.arguments[3*i+1], held)
	}
	return again, nil
}

// Remove implements the contract of a cache backend.
func (b *Backend) Remove(ctx context.Context, key string, entry []byte) error {
	err := b.do(ctx, false, key, func(ctx context.Context, r *run) error {
		place := r.key(key)
		found, err := r.client.MGet(ctx, place).Result() // No error where there is no string.
		if err != nil {
			return err
		}
		text, _ := found[0].(string)
		if held, _ := r.seal.open(place, []byte(text), b.shared.now()); held == nil || !bytes.Equal(held, entry) {
			return nil
		}
		return b.remove.Run(ctx, r.client, []string{place}, text).Err()
	})
	if err != nil {
		return fmt.Errorf("remove from Redis: %w", err)
	}
	return nil
}

// Enter implements the contract of a cache backend.
func (b *Backend) Enter(epoch string) { b.source.enter(epoch) }

// Flush implements the contract of a cache backend. It looks at all keys of the database, of which others may have
// many, a part at a time. In a run that begins meanwhile there is nothing from before.
func (b *Backend) Flush(ctx context.Context) error {
	for tries := 1; ; tries++ {
		again, err := b.flushAll(ctx)
		if err == nil {
			return nil
		}
		if !again || tries == maxRuns {
			return fmt.Errorf("flush from Redis: %w", err)
		}
	}
}

// flushAll flushes every run that there is. What it has begun with need not be what is there in the end: again tells
// whether it may be tried in others.
func (b *Backend) flushAll(ctx context.Context) (again bool, err error) {
	finding, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	runs, err := b.source.all(finding)
	if err != nil {
		return false, err
	}
	for _, r := range runs {
		if err := b.flush(ctx, r); err != nil {
			looking, cancel := context.WithTimeout(ctx, writeTimeout)
			defer cancel()
			return b.source.lost(looking, "", r, err) || r.over.Load(), err
		}
	}
	return false, nil
}

func (b *Backend) flush(ctx context.Context, r *run) error {
	for cursor := uint64(0); ; {
		next, err := flushPart(ctx, r, cursor)
		if err != nil || next == 0 {
			return err
		}
		cursor = next
	}
}

func flushPart(ctx context.Context, r *run, cursor uint64) (next uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := r.know(ctx); err != nil {
		return 0, err
	}
	keys, next, err := r.client.Scan(ctx, cursor, r.prefix()+"*", flushKeys).Result()
	if err == nil && len(keys) > 0 {
		_, err = r.client.Pipelined(ctx, func(each redis.Pipeliner) error { // Of any slots.
			for _, key := range keys {
				each.Unlink(ctx, key)
			}
			return nil
		})
	}
	if err == nil {
		err = r.standing(ctx, true)
	}
	return next, err
}

// Close ends the connections. Operations fail from then on.
func (b *Backend) Close() error {
	if err := b.source.close(); err != nil {
		return fmt.Errorf("close the connections to Redis: %w", err)
	}
	return nil
}

// do does an operation in the run that the Redis of the key is in, as a whole: what was done in another one counts for
// nothing. Who must write has longer, and is sure that the run still stood afterwards.
func (b *Backend) do(
	ctx context.Context, must bool, key string, operation func(context.Context, *run) error,
) (err error) {
	timeout := readTimeout
	if must {
		timeout = writeTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for range maxRuns {
		r, noRun := b.source.of(ctx, key)
		if noRun != nil {
			return errors.Join(noRun, err)
		}
		if err = r.know(ctx); err == nil {
			err = operation(ctx, r)
		}
		if err == nil {
			err = r.standing(ctx, must)
		}
		if err == nil || !b.source.lost(ctx, key, r, err) {
			return err
		}
	}
	return err
}
