// Package memorybackend stores cache entries in the memory of the process, for a single cache service, such as that of
// `gatehouse up`. Several services must not use one each: none would see the changes of the others in time.
package memorybackend

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
)

var errNoEpoch = errors.New("the epoch of the store is not known yet")

const (
	// overhead is the approximate cost of an entry beside its key and its bytes: the node, the slot in the hash table, and
	// the headers of string and slice, in bytes.
	overhead = 160

	// shardCount is so high that a write seldom invalidates the lease of another user's read: with 1,000 writes a second
	// and reads of the store that take 10 ms, one in a hundred.
	shardCount = 1024

	leaseBase = 36
)

// Backend stores entries in memory. It is safe for concurrent use.
//
// The underlying cache may evict an entry as soon as it is stored, even a tombstone. So a lease is the number of the
// last mandatory write, and is invalidated by the next one to the same shard, whether or not the entry is still there.
type Backend struct {
	epoch   atomic.Pointer[string] // nil before the first
	entries *otter.Cache[string, stored]
	seed    maphash.Seed
	writes  atomic.Uint64 // how many were mandatory
	shards  [shardCount]shard
}

// shard serializes the writes of some of the users.
type shard struct {
	mu   sync.Mutex // makes an operation on several keys of a user atomic
	last uint64     // number of the last mandatory write
}

type stored struct {
	bytes []byte // never changed once it is in the cache
	ttl   time.Duration
}

// New returns a backend of up to maxBytes, including keys and overhead, which then evicts the least used entries. The
// clock determines when an entry expires; nil is the system's clock.
func New(maxBytes uint64, clock otter.Clock) *Backend {
	return &Backend{seed: maphash.MakeSeed(), entries: otter.Must(&otter.Options[string, stored]{
		MaximumWeight: maxBytes,
		Weigher: func(key string, entry stored) uint32 {
			return uint32(len(key) + len(entry.bytes) + overhead) //nolint:gosec // a message has at most 1 MiB
		},
		ExpiryCalculator: otter.ExpiryWritingFunc(func(entry otter.Entry[string, stored]) time.Duration {
			return entry.Value.ttl
		}),
		Clock: clock,
	})}
}

// Get implements the contract of a cache backend.
func (b *Backend) Get(_ context.Context, keys ...string) ([][]byte, entry.Lease, error) {
	if b.epoch.Load() == nil {
		return nil, "", errNoEpoch
	}
	lease := b.Lease()
	entries := make([][]byte, len(keys))
	shard := b.shard(keys[0])
	shard.mu.Lock()
	defer shard.mu.Unlock()
	for i, key := range keys {
		present, _ := b.entries.GetIfPresent(key)
		entries[i] = bytes.Clone(present.bytes)
	}
	return entries, lease, nil
}

// Lease implements the contract of a cache backend.
func (b *Backend) Lease() entry.Lease {
	if b.epoch.Load() == nil {
		return ""
	}
	return entry.Lease(strconv.FormatUint(b.writes.Load(), leaseBase))
}

// Set implements the contract of a cache backend.
func (b *Backend) Set(_ context.Context, lease entry.Lease, writes ...entry.Write) error {
	if b.epoch.Load() == nil {
		return errNoEpoch
	}
	for _, write := range writes {
		if err := write.Validate(); err != nil {
			return err
		}
	}
	shard := b.shard(writes[0].Key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	seen, err := strconv.ParseUint(string(lease), leaseBase, 64)
	valid := err == nil && shard.last <= seen
	if entry.MustStore(writes) {
		shard.last = b.writes.Add(1)
	}
	for _, write := range writes {
		if chosen := write.EntryFor(valid); chosen != nil {
			b.setIfHigher(write.Key, stored{bytes: bytes.Clone(chosen), ttl: write.TTL})
		}
	}
	return nil
}

func (b *Backend) setIfHigher(key string, higher stored) {
	b.entries.Compute(key, func(present stored, found bool) (stored, otter.ComputeOp) {
		if found && entry.Rank(present.bytes) >= entry.Rank(higher.bytes) {
			return stored{}, otter.CancelOp
		}
		return higher, otter.WriteOp
	})
}

// Remove implements the contract of a cache backend.
func (b *Backend) Remove(_ context.Context, key string, entry []byte) error {
	if b.epoch.Load() == nil {
		return errNoEpoch
	}
	b.entries.ComputeIfPresent(key, func(present stored) (stored, otter.ComputeOp) {
		if bytes.Equal(present.bytes, entry) {
			return stored{}, otter.InvalidateOp
		}
		return stored{}, otter.CancelOp
	})
	return nil
}

// EnterEpoch implements the contract of a cache backend.
func (b *Backend) EnterEpoch(epoch string) {
	if before := b.epoch.Swap(&epoch); before == nil || *before != epoch {
		b.invalidateAll()
	}
}

// Flush implements the contract of a cache backend.
func (b *Backend) Flush(context.Context) error {
	b.invalidateAll()
	return nil
}

// invalidateAll invalidates all leases first, so that nothing read earlier is stored meanwhile.
func (b *Backend) invalidateAll() {
	for i := range b.shards {
		b.shards[i].mu.Lock()
		b.shards[i].last = b.writes.Add(1)
		b.shards[i].mu.Unlock()
	}
	b.entries.InvalidateAll()
}

// Close stops the removal of expired entries.
func (b *Backend) Close() error {
	b.entries.StopAllGoroutines()
	return nil
}

func (b *Backend) shard(key string) *shard {
	return &b.shards[maphash.String(b.seed, entry.Tag(key))%shardCount]
}
