package coherence

import (
	"context"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
)

// Backend stores entries by key. An entry begins with its rank, an unsigned 64-bit number, most significant byte first.
// Backends do not interpret the rest. The part of a key in braces is its tag; all keys of one call MUST have the same
// tag.
//
// A Backend MUST be safe for concurrent use, MUST NOT retain or return a slice that it shares with its caller, and MUST
// bound the duration of each operation itself, whatever ctx allows. It may lose any entry at any time, and all of them
// together; it MUST NOT return an entry that it had lost or replaced.
//
// An error means that the operation may or may not have taken effect. Every operation may be repeated.
type Backend interface {
	// Get returns the entries under the keys, in their order, nil for a key without an unexpired entry, and a lease.
	// A value that Set could not have stored is either not found or returned as it is, never an error: the caller
	// validates entries. Get MUST be one atomic step and one round trip.
	Get(ctx context.Context, keys ...string) (entries [][]byte, lease entry.Lease, err error)

	// Lease returns a lease without waiting for anything, or "" if it cannot.
	//
	// A lease is valid for as long as no mandatory write of its tag, by whatever process, that was stored since the lease
	// was acquired can have been lost within its TTL; it may become invalid earlier. "" is never valid. So a caller that
	// acquires a lease, then reads the store, and then sets what it read under a valid lease, replaces nothing newer, and
	// does not restore what was invalidated meanwhile.
	Lease() entry.Lease

	// Set stores the entry of each write for the lease, valid or not, for its TTL of at least a millisecond, unless the
	// entry under its key has the same or a higher rank: then it changes nothing there, not even the expiry. Validating
	// the lease, comparing and storing MUST be one atomic step for all the writes, among all processes that share the
	// backend. Ranks MUST be compared as numbers, exactly up to 2^53. A value without a rank MUST be replaced. An entry
	// shorter than a rank MUST be an error.
	//
	// If no write is mandatory, Set may give up early. An invalid lease MUST NOT be an error.
	Set(ctx context.Context, lease entry.Lease, writes ...entry.Write) error

	// Remove deletes the entry under key if it equals this entry, in one atomic step. Another entry or none is not an
	// error.
	Remove(ctx context.Context, key string, entry []byte) error

	// EnterEpoch selects an epoch. Entries of other epochs are not found, and leases of other epochs are invalid. Before
	// the first call nothing is found, and every operation is an error.
	EnterEpoch(epoch string)

	// Flush removes all entries of the epoch that were stored before, by whatever process.
	Flush(ctx context.Context) error

	// Close releases the backend's resources. Only operations of aborted requests are called afterwards; they MUST NOT
	// panic.
	Close() error
}
