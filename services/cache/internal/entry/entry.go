// Package entry is what the cache service and the places that keep its entries say to each other.
package entry

import (
	"encoding/binary"
	"errors"
	"strings"
	"time"
)

// RankLength is the length of the rank that an entry begins with, in bytes.
const RankLength = 8

// ErrShort is an entry that is too short to begin with a rank.
var ErrShort = errors.New("the entry is too short to begin with a rank")

// Lease is a backend's word that it will know later what is put from now on. Nothing is a lease that was never given;
// what it says inside is the business of the backend that gave it.
type Lease string

// Write is an entry on its way into a backend.
type Write struct {
	Key string
	// Entry is stored if the lease stands.
	Entry []byte
	// Outdated is stored if it does not: an entry of a lower rank than Entry, or Entry itself where that is true at any
	// time. It is nil for what may as well not be stored.
	Outdated []byte
	TTL      time.Duration
}

// Chosen is what a Write stores under a lease that stands or does not; nil is nothing.
func (w Write) Chosen(stands bool) []byte {
	if stands {
		return w.Entry
	}
	return w.Outdated
}

// Check refuses an entry without a rank.
func (w Write) Check() error {
	if len(w.Entry) < RankLength || w.Outdated != nil && len(w.Outdated) < RankLength {
		return ErrShort
	}
	return nil
}

// Must tells whether one of the writes has to be stored in any case.
func Must(writes []Write) bool {
	for _, w := range writes {
		if w.Outdated != nil {
			return true
		}
	}
	return false
}

// Rank is what an entry of at least RankLength bytes begins with.
func Rank(entry []byte) uint64 { return binary.BigEndian.Uint64(entry) }

// Tag is the part of a key that all keys of one user share, as Redis Cluster finds it.
func Tag(key string) string {
	_, after, opened := strings.Cut(key, "{")
	tag, _, closed := strings.Cut(after, "}")
	if !opened || !closed || tag == "" {
		return key
	}
	return tag
}
