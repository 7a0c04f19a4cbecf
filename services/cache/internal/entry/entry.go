// Package entry defines cache entries as the cache protocol and its backends exchange them, so that neither imports the
// other.
package entry

import (
	"encoding/binary"
	"errors"
	"strings"
	"time"
)

// RankLength is the length of the rank at the beginning of an entry, in bytes.
const RankLength = 8

// ErrShort reports an entry that is too short for a rank.
var ErrShort = errors.New("the entry is too short to begin with a rank")

// Lease is a point in time of a backend, which later can tell whether it may have lost a write since. Its content is
// defined by the backend that issued it. The empty lease is never valid.
type Lease string

// Write is an entry to be stored in a backend.
type Write struct {
	Key string
	// Entry is stored if the lease is valid.
	Entry []byte
	// Outdated is stored otherwise: an entry of a lower rank than Entry, or Entry itself if it is true at any time. It is
	// nil if nothing must be stored then.
	Outdated []byte
	TTL      time.Duration
}

// EntryFor returns the entry to store with a valid or an invalid lease, or nil for none.
func (w Write) EntryFor(validLease bool) []byte {
	if validLease {
		return w.Entry
	}
	return w.Outdated
}

// Validate returns ErrShort if an entry has no rank.
func (w Write) Validate() error {
	if len(w.Entry) < RankLength || w.Outdated != nil && len(w.Outdated) < RankLength {
		return ErrShort
	}
	return nil
}

// MustStore reports whether one of the writes must be stored with any lease.
func MustStore(writes []Write) bool {
	for _, w := range writes {
		if w.Outdated != nil {
			return true
		}
	}
	return false
}

// Rank returns the rank of an entry of at least RankLength bytes.
func Rank(entry []byte) uint64 { return binary.BigEndian.Uint64(entry) }

// Tag returns the hash tag of a key, which all keys of one user share, by the rule of Redis Cluster.
func Tag(key string) string {
	_, after, opened := strings.Cut(key, "{")
	tag, _, closed := strings.Cut(after, "}")
	if !opened || !closed || tag == "" {
		return key
	}
	return tag
}
