// Package minrank tracks which entries of a shared cache are outdated, so that an attacker who can write to the cache
// cannot put one back. It records the position in the feed of changes that this process has reached, and for each
// changed key the minimum rank that an entry must have.
package minrank

import (
	"hash/maphash"
	"math"
	"sync"
)

// Timeless is the position of an entry that is true at any time, such as a tombstone.
const Timeless = math.MaxUint64

// MaxKeys bounds the changed keys in a table: about 10 MB. At 150 changes a second they cover the last 14 minutes,
// which is longer than the default life of an entry.
const MaxKeys = 1 << 17

// Table holds the changes that a process knows of. Its zero value is not valid: use New. It is safe for concurrent use.
//
// An entry has the position that its writer had reached before it read the store, so the entry shows all changes up to
// there. It is current if all changes after that position are known here, and its rank is not below the minimum of its
// key. Nothing that is done to the cache changes that.
type Table struct {
	seed    maphash.Seed
	maxKeys int

	mutex    sync.RWMutex
	start    uint64 // all changes after this position are in minimums
	position uint64
	minimums map[uint64]minimum // by the hash of the key; a collision makes an entry outdated, never current
	oldest   []change           // in the order of Raise; a key may be there several times
}

type minimum struct {
	rank     uint64
	position uint64 // of the last change
}

type change struct {
	key      uint64
	position uint64
}

// New returns a table of up to maxKeys changed keys.
func New(maxKeys int) *Table {
	return &Table{seed: maphash.MakeSeed(), maxKeys: maxKeys, minimums: map[uint64]minimum{}}
}

// Reset removes all changes. Entries that do not show all changes up to the position are outdated from now on.
func (t *Table) Reset(position uint64) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.start, t.position = position, position
	clear(t.minimums)
	t.oldest = nil
}

// Advance records that all changes up to the position are known. Raise must have been called for them.
func (t *Table) Advance(position uint64) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.position = max(t.position, position)
}

// Position returns the position that was reached.
func (t *Table) Position() uint64 {
	t.mutex.RLock()
	defer t.mutex.RUnlock()
	return t.position
}

// Raise records a change up to the position, after which an entry under the key has at least this rank. A change whose
// position is not known yet has the position reached so far; it must be raised again when the feed reports it.
//
// A full table evicts the oldest change. Every entry that does not show that change is outdated from then on.
func (t *Table) Raise(key string, rank, position uint64) {
	hash := maphash.String(t.seed, key)
	t.mutex.Lock()
	defer t.mutex.Unlock()
	known := t.minimums[hash]
	t.minimums[hash] = minimum{rank: max(known.rank, rank), position: max(known.position, position)}
	t.oldest = append(t.oldest, change{hash, position})
	if len(t.oldest) > t.maxKeys {
		t.evictOldest()
	}
}

func (t *Table) evictOldest() {
	evicted := t.oldest[0]
	t.oldest = t.oldest[1:] // append copies the rest to a new array once this one is full.
	if t.minimums[evicted.key].position == evicted.position {
		delete(t.minimums, evicted.key)
	}
	t.start = max(t.start, evicted.position)
}

// IsCurrent reports whether no known change makes an entry outdated that has this rank and position.
func (t *Table) IsCurrent(key string, rank, position uint64) bool {
	hash := maphash.String(t.seed, key)
	t.mutex.RLock()
	defer t.mutex.RUnlock()
	return position >= t.start && rank >= t.minimums[hash].rank
}

// Len returns how many keys have a minimum.
func (t *Table) Len() int {
	t.mutex.RLock()
	defer t.mutex.RUnlock()
	return len(t.minimums)
}
