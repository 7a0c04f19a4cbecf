package coherence

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
)

// conformance is what every backend must do. Open gives an empty one; expire lets so much time pass for its entries.
func conformance(t *testing.T, open func(t *testing.T) (b Backend, expire func(after time.Duration))) {
	t.Helper()
	cases := map[string]func(*testing.T, Backend){
		"a_missing_entry_is_nil":                             nothingIsNotFound,
		"an_entry_is_found_after_set":                        setIsFound,
		"lower_does_not_replace_higher":                      lowerDoesNotReplace,
		"the_same_rank_does_not_replace":                     sameDoesNotReplace,
		"higher_replaces_lower":                              higherReplaces,
		"ranks_compare_as_numbers":                           ranksAreNumbers,
		"an_entry_without_a_rank_is_rejected":                shortIsRefused,
		"keys_are_apart":                                     keysAreApart,
		"several_keys_are_read_in_their_order":               orderIsKept,
		"several_writes_are_one_step":                        writesAreOneStep,
		"entries_are_any_bytes":                              entriesAreBytes,
		"entries_are_copies":                                 entriesAreCopies,
		"concurrent_sets_end_with_the_highest":               highestWins,
		"remove_deletes_the_entry":                           removeDeletes,
		"remove_leaves_another_entry":                        removeLeavesOthers,
		"remove_of_nothing_is_not_an_error":                  removeOfNothing,
		"a_lower_rank_can_be_set_after_remove":               removedMayBeLower,
		"a_lease_is_valid_while_nothing_happens":             leaseIsValid,
		"an_unknown_lease_is_never_valid":                    unknownLeaseIsInvalid,
		"without_a_valid_lease_the_outdated_entry_is_stored": outdatedIsStored,
	}
	for name, check := range cases {
		t.Run(name, func(t *testing.T) {
			b, _ := open(t)
			check(t, b)
		})
	}
	t.Run("entries_expire", func(t *testing.T) {
		b, expire := open(t)
		set(t, b, "key", entryOf(7, "old"))
		expire(59 * time.Second)
		wantEntry(t, b, "key", entryOf(7, "old"))
		expire(2 * time.Second)
		wantNothing(t, b)
		set(t, b, "key", entryOf(1, "new"))
		wantEntry(t, b, "key", entryOf(1, "new"))
	})
	t.Run("a_set_that_changes_nothing_prolongs_nothing", func(t *testing.T) {
		b, expire := open(t)
		set(t, b, "key", entryOf(1, "a"))
		expire(40 * time.Second)
		set(t, b, "key", entryOf(1, "b"))
		expire(21 * time.Second)
		wantNothing(t, b)
	})
}

func nothingIsNotFound(t *testing.T, b Backend) { wantNothing(t, b) }

func setIsFound(t *testing.T, b Backend) {
	set(t, b, "key", entryOf(1, "a"))
	wantEntry(t, b, "key", entryOf(1, "a"))
}

func lowerDoesNotReplace(t *testing.T, b Backend) {
	set(t, b, "key", entryOf(2, "new"))
	set(t, b, "key", entryOf(1, "old"))
	wantEntry(t, b, "key", entryOf(2, "new"))
}

func sameDoesNotReplace(t *testing.T, b Backend) {
	set(t, b, "key", entryOf(2, "first"))
	set(t, b, "key", entryOf(2, "second"))
	wantEntry(t, b, "key", entryOf(2, "first"))
}

func higherReplaces(t *testing.T, b Backend) {
	set(t, b, "key", entryOf(1, "old"))
	set(t, b, "key", entryOf(2, "new"))
	wantEntry(t, b, "key", entryOf(2, "new"))
}

// ranksAreNumbers compares pairs that a comparison of text, of signed bytes or of single bytes would get wrong.
func ranksAreNumbers(t *testing.T, b Backend) {
	ascending := []uint64{1, 9, 10, 127, 128, 255, 256, 65_535, 65_536, 1 << 31, 1 << 32, invalidationRank, tombstoneRank, 1 << 53}
	for _, rank := range ascending {
		set(t, b, "key", entryOf(rank, "now"))
		set(t, b, "key", entryOf(rank-1, "before"))
		wantEntry(t, b, "key", entryOf(rank, "now"))
	}
}

func shortIsRefused(t *testing.T, b Backend) {
	short, long := []byte("1234567"), entryOf(1, "a")
	for _, write := range []entry.Write{
		{Key: "key", Entry: short, TTL: time.Minute},
		{Key: "key", Entry: long, Outdated: short, TTL: time.Minute},
	} {
		if err := b.Set(t.Context(), newLease(t, b), write); err == nil {
			t.Error("an entry of seven bytes was taken")
		}
	}
	wantNothing(t, b)
}

func keysAreApart(t *testing.T, b Backend) {
	set(t, b, "user:{a}", entryOf(5, "a"))
	set(t, b, "user:{b}", entryOf(1, "b"))
	set(t, b, "session:{a}:c", entryOf(2, "c"))
	wantEntry(t, b, "user:{a}", entryOf(5, "a"))
	wantEntry(t, b, "user:{b}", entryOf(1, "b"))
	wantEntry(t, b, "session:{a}:c", entryOf(2, "c"))
}

func orderIsKept(t *testing.T, b Backend) {
	set(t, b, "a:{x}", entryOf(1, "a"))
	set(t, b, "c:{x}", entryOf(1, "c"))
	got, _, err := b.Get(t.Context(), "c:{x}", "b:{x}", "a:{x}")
	if err != nil || len(got) != 3 {
		t.Fatalf("get: %q, error %v", got, err)
	}
	if !bytes.Equal(got[0], entryOf(1, "c")) || got[1] != nil || !bytes.Equal(got[2], entryOf(1, "a")) {
		t.Errorf("get: %q", got)
	}
}

func writesAreOneStep(t *testing.T, b Backend) {
	const last = 300
	var written atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		defer written.Store(true)
		for rank := range uint64(last) {
			user, session := unconditional("a:{x}", entryOf(rank, "")), unconditional("b:{x}", entryOf(rank, ""))
			if err := b.Set(t.Context(), "", user, session); err != nil {
				t.Error(err)
			}
		}
	})
	for !written.Load() {
		got, _, err := b.Get(t.Context(), "a:{x}", "b:{x}")
		if err != nil || !bytes.Equal(got[0], got[1]) {
			t.Errorf("one write was seen without the other: %x, error %v", got, err)
			break
		}
	}
	wg.Wait()
}

func entriesAreBytes(t *testing.T, b Backend) {
	content := make([]byte, 256)
	for i := range content {
		content[i] = byte(i)
	}
	set(t, b, "key", entryOf(1, string(content)+"\r\n"))
	wantEntry(t, b, "key", entryOf(1, string(content)+"\r\n"))
	set(t, b, "empty", entryOf(1, ""))
	wantEntry(t, b, "empty", entryOf(1, ""))
}

func entriesAreCopies(t *testing.T, b Backend) {
	given := entryOf(1, "a")
	set(t, b, "key", given)
	clear(given)
	got, _, err := b.Get(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	clear(got[0])
	wantEntry(t, b, "key", entryOf(1, "a"))
}

func highestWins(t *testing.T, b Backend) {
	const writers = 50
	var wg sync.WaitGroup
	for rank := range uint64(writers) {
		wg.Go(func() {
			if err := b.Set(t.Context(), "", unconditional("key", entryOf(rank, "x"))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantEntry(t, b, "key", entryOf(writers-1, "x"))
}

func removeDeletes(t *testing.T, b Backend) {
	set(t, b, "key", entryOf(1, "a"))
	remove(t, b, "key", entryOf(1, "a"))
	wantNothing(t, b)
}

func removeLeavesOthers(t *testing.T, b Backend) {
	set(t, b, "key", entryOf(2, "a"))
	remove(t, b, "key", entryOf(1, "a"))
	remove(t, b, "key", entryOf(2, "b"))
	remove(t, b, "another", entryOf(2, "a"))
	wantEntry(t, b, "key", entryOf(2, "a"))
}

func removeOfNothing(t *testing.T, b Backend) { remove(t, b, "key", entryOf(1, "a")) }

func removedMayBeLower(t *testing.T, b Backend) {
	set(t, b, "key", entryOf(9, "a"))
	remove(t, b, "key", entryOf(9, "a"))
	set(t, b, "key", entryOf(1, "b"))
	wantEntry(t, b, "key", entryOf(1, "b"))
}

func leaseIsValid(t *testing.T, b Backend) {
	_, read, err := b.Get(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	for i, lease := range []entry.Lease{read, b.Lease()} {
		rank := uint64(i + 1)
		if err := b.Set(t.Context(), lease, entry.Write{Key: "key", Entry: entryOf(rank, "a"), TTL: time.Minute}); err != nil {
			t.Fatal(err)
		}
		wantEntry(t, b, "key", entryOf(rank, "a"))
	}
}

func unknownLeaseIsInvalid(t *testing.T, b Backend) {
	write := entry.Write{Key: "key", Entry: entryOf(2, "a"), TTL: time.Minute}
	for _, lease := range []entry.Lease{"", "never given"} {
		if err := b.Set(t.Context(), lease, write); err != nil {
			t.Errorf("lease %q: %v", lease, err)
		}
	}
	wantNothing(t, b)
}

func outdatedIsStored(t *testing.T, b Backend) {
	fill := entry.Write{Key: "a:{x}", Entry: entryOf(2, "a"), TTL: time.Minute}
	change := entry.Write{Key: "key:{x}", Entry: entryOf(2, "a"), Outdated: entryOf(1, ""), TTL: time.Minute}
	if err := b.Set(t.Context(), "", fill, change); err != nil {
		t.Fatal(err)
	}
	wantEntry(t, b, "key:{x}", entryOf(1, ""))
	wantNoEntry(t, b, "a:{x}")
	if err := b.Set(t.Context(), newLease(t, b), fill, change); err != nil {
		t.Fatal(err)
	}
	wantEntry(t, b, "key:{x}", entryOf(2, "a"))
	wantEntry(t, b, "a:{x}", entryOf(2, "a"))
}

func entryOf(rank uint64, content string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, rank), content...)
}

func unconditional(key string, held []byte) entry.Write {
	return entry.Write{Key: key, Entry: held, Outdated: held, TTL: time.Minute}
}

// newLease returns a lease.
func newLease(t *testing.T, b Backend) entry.Lease {
	t.Helper()
	_, lease, err := b.Get(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

// set stores an entry for a minute, in any case.
func set(t *testing.T, b Backend, key string, held []byte) {
	t.Helper()
	if err := b.Set(t.Context(), "", unconditional(key, held)); err != nil {
		t.Fatalf("set %s: %v", key, err)
	}
}

func remove(t *testing.T, b Backend, key string, held []byte) {
	t.Helper()
	if err := b.Remove(t.Context(), key, held); err != nil {
		t.Fatalf("remove %s: %v", key, err)
	}
}

// get returns what is under a key.
func get(ctx context.Context, b Backend, key string) ([]byte, error) {
	entries, _, err := b.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return entries[0], nil
}

func wantEntry(t *testing.T, b Backend, key string, want []byte) {
	t.Helper()
	if got, err := get(t.Context(), b, key); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("get %s: %q, error %v; want %q", key, got, err, want)
	}
}

func wantNoEntry(t *testing.T, b Backend, key string) {
	t.Helper()
	if got, err := get(t.Context(), b, key); err != nil || got != nil {
		t.Fatalf("get %s: %q, error %v; want nothing", key, got, err)
	}
}

// wantNothing fails unless that there is nothing under "key".
func wantNothing(t *testing.T, b Backend) {
	t.Helper()
	wantNoEntry(t, b, "key")
}
