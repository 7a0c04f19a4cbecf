// Package memorybackend keeps cache entries in the memory of the process, for a cache service that is alone.
package memorybackend

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/maypok86/otter/v2"
)

const (
	// versionLength is the length of the version that an entry begins with, in bytes.
	versionLength = 8

	// overhead is about what an entry costs beside its key and its bytes: the node, the slot in the hash table, and the
	// headers of string and slice, in bytes.
	overhead = 160
)

var errShort = errors.New("the entry is too short to begin with a version")

// Backend keeps entries in memory. It is safe for concurrent use.
type Backend struct {
	entries *otter.Cache[string, held]
}

type held struct {
	bytes []byte // never changed once it is in the cache
	ttl   time.Duration
}

// New makes a backend that holds up to maxBytes, keys and overhead included, and then gives up what is used least. The
// clock decides when an entry expires; nil is the system's.
func New(maxBytes uint64, clock otter.Clock) *Backend {
	return &Backend{entries: otter.Must(&otter.Options[string, held]{
		MaximumWeight: maxBytes,
		Weigher: func(key string, entry held) uint32 {
			return uint32(len(key) + len(entry.bytes) + overhead) //nolint:gosec // a message has at most 1 MiB
		},
		ExpiryCalculator: otter.ExpiryWritingFunc(func(entry otter.Entry[string, held]) time.Duration {
			return entry.Value.ttl
		}),
		Clock: clock,
	})}
}

// Get implements the contract of a cache backend.
func (b *Backend) Get(_ context.Context, key string) (entry []byte, found bool, err error) {
	present, found := b.entries.GetIfPresent(key)
	return bytes.Clone(present.bytes), found, nil
}

// SetIfNewer implements the contract of a cache backend.
func (b *Backend) SetIfNewer(_ context.Context, key string, entry []byte, ttl time.Duration) error {
	if len(entry) < versionLength {
		return errShort
	}
	newer := held{bytes: bytes.Clone(entry), ttl: ttl}
	b.entries.Compute(key, func(present held, found bool) (held, otter.ComputeOp) {
		if found && version(present.bytes) >= version(entry) {
			return held{}, otter.CancelOp
		}
		return newer, otter.WriteOp
	})
	return nil
}

// Remove implements the contract of a cache backend.
func (b *Backend) Remove(_ context.Context, key string, entry []byte) error {
	b.entries.ComputeIfPresent(key, func(present held) (held, otter.ComputeOp) {
		if bytes.Equal(present.bytes, entry) {
			return held{}, otter.InvalidateOp
		}
		return held{}, otter.CancelOp
	})
	return nil
}

// Close stops the clean-up of expired entries.
func (b *Backend) Close() error {
	b.entries.StopAllGoroutines()
	return nil
}

func version(entry []byte) uint64 { return binary.BigEndian.Uint64(entry) }
