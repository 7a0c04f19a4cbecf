// Package floors remembers which entries of a shared cache are outdated, so that nobody who can write to the cache can
// put one back. It knows the position of the feed of changes that this process has read to, and for each key that has
// changed the least rank that an entry may have.
package floors

import (
	"hash/maphash"
	"math"
	"sync"
)

// Timeless is the position of an entry that is true at any time, such as the end of a session.
const Timeless = math.MaxUint64

// MaxKeys bounds how many changed keys a table remembers: about 10 MB. At 150 changes a second they are those of the
// last 14 minutes, which is longer than an entry lives by default.
const MaxKeys = 1 << 17

// Table is what a process knows of changes. Its zero value is not valid: use New. It is safe for concurrent use.
//
// An entry bears the position that its writer had reached before it read the truth, so that it shows all changes up to
// there. It is believed if all changes after that position are known here, and its rank is not below the floor of its
// key. Both hold whatever is done to the cache.
type Table struct {
	seed    maphash.Seed
	maxKeys int

	mutex    sync.RWMutex
	start    uint64 // all changes after this position are in floors
	position uint64
	floors   map[uint64]floor // by the hash of the key: two keys with one hash are refused too often, never too seldom
	oldest   []raised         // in the order in which they were raised; a key may be there more than once
}

type floor struct {
	rank     uint64
	position uint64 // of the last change
}

type raised struct {
	key      uint64
	position uint64
}

// New returns a table that remembers up to so many changed keys.
func New(maxKeys int) *Table {
	return &Table{seed: maphash.MakeSeed(), maxKeys: maxKeys, floors: map[uint64]floor{}}
}

// Begin forgets all changes. Entries that do not show all changes up to the position are not believed from now on.
func (t *Table) Begin(position uint64) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.start, t.position = position, position
	clear(t.floors)
	t.oldest = nil
}

// Reach records that all changes up to the position are known. Raise must have been called for them.
func (t *Table) Reach(position uint64) {
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
// position is not known yet has the one that was reached; it must be raised again when the feed tells of it.
//
// Where there is no room, the oldest change is forgotten, and with it every entry that does not show it: such entries
// are not believed any more.
func (t *Table) Raise(key string, rank, position uint64) {
	hash := maphash.String(t.seed, key)
	t.mutex.Lock()
	defer t.mutex.Unlock()
	known := t.floors[hash]
	t.floors[hash] = floor{rank: max(known.rank, rank), position: max(known.position, position)}
	t.oldest = append(t.oldest, raised{hash, position})
	if len(t.oldest) > t.maxKeys {
		t.forgetOldest()
	}
}

func (t *Table) forgetOldest() {
	gone := t.oldest[0]
	t.oldest = t.oldest[1:] // append moves the rest to a new array once this one is used up.
	if t.floors[gone.key].position == gone.position {
		delete(t.floors, gone.key)
	}
	t.start = max(t.start, gone.position)
}

// Believes reports whether an entry of this rank may be believed that shows all changes up to the position.
func (t *Table) Believes(key string, rank, position uint64) bool {
	hash := maphash.String(t.seed, key)
	t.mutex.RLock()
	defer t.mutex.RUnlock()
	return position >= t.start && rank >= t.floors[hash].rank
}

// Len returns how many keys have a floor.
func (t *Table) Len() int {
	t.mutex.RLock()
	defer t.mutex.RUnlock()
	return len(t.floors)
}
