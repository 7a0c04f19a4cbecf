package cache

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// conformance is what every backend must do. Open gives an empty one; expire lets so much time pass for its entries.
func conformance(t *testing.T, open func(t *testing.T) (b backend, expire func(after time.Duration))) {
	t.Helper()
	cases := map[string]func(*testing.T, backend){
		"nothing is found where nothing was set":   nothingIsNotFound,
		"what was set is found":                    setIsFound,
		"older does not replace newer":             olderDoesNotReplace,
		"the same version does not replace":        sameDoesNotReplace,
		"newer replaces older":                     newerReplaces,
		"versions compare as numbers":              versionsAreNumbers,
		"an entry without a version is refused":    shortIsRefused,
		"keys are apart":                           keysAreApart,
		"entries are any bytes":                    entriesAreBytes,
		"entries are copies":                       entriesAreCopies,
		"concurrent sets end with the newest":      newestWins,
		"remove deletes the entry":                 removeDeletes,
		"remove leaves another entry":              removeLeavesOthers,
		"remove of nothing is not an error":        removeOfNothing,
		"what was removed may be set to any older": removedMayBeOlder,
	}
	for name, check := range cases {
		t.Run(name, func(t *testing.T) {
			b, _ := open(t)
			check(t, b)
		})
	}
	t.Run("entries expire", func(t *testing.T) {
		b, expire := open(t)
		set(t, b, "key", entryOf(7, "old"), time.Minute)
		expire(59 * time.Second)
		wantEntry(t, b, "key", entryOf(7, "old"))
		expire(2 * time.Second)
		wantNothing(t, b, "key")
		set(t, b, "key", entryOf(1, "new"), time.Minute)
		wantEntry(t, b, "key", entryOf(1, "new"))
	})
	t.Run("a set that changes nothing prolongs nothing", func(t *testing.T) {
		b, expire := open(t)
		set(t, b, "key", entryOf(1, "a"), time.Minute)
		expire(40 * time.Second)
		set(t, b, "key", entryOf(1, "b"), time.Minute)
		expire(21 * time.Second)
		wantNothing(t, b, "key")
	})
}

func nothingIsNotFound(t *testing.T, b backend) { wantNothing(t, b, "key") }

func setIsFound(t *testing.T, b backend) {
	set(t, b, "key", entryOf(1, "a"), time.Minute)
	wantEntry(t, b, "key", entryOf(1, "a"))
}

func olderDoesNotReplace(t *testing.T, b backend) {
	set(t, b, "key", entryOf(2, "new"), time.Minute)
	set(t, b, "key", entryOf(1, "old"), time.Minute)
	wantEntry(t, b, "key", entryOf(2, "new"))
}

func sameDoesNotReplace(t *testing.T, b backend) {
	set(t, b, "key", entryOf(2, "first"), time.Minute)
	set(t, b, "key", entryOf(2, "second"), time.Minute)
	wantEntry(t, b, "key", entryOf(2, "first"))
}

func newerReplaces(t *testing.T, b backend) {
	set(t, b, "key", entryOf(1, "old"), time.Minute)
	set(t, b, "key", entryOf(2, "new"), time.Minute)
	wantEntry(t, b, "key", entryOf(2, "new"))
}

// versionsAreNumbers takes pairs that a comparison of text, of signed bytes or of single bytes would get wrong.
func versionsAreNumbers(t *testing.T, b backend) {
	ascending := []uint64{1, 9, 10, 127, 128, 255, 256, 65_535, 65_536, 1 << 31, 1 << 32, 1<<53 - 1, 1 << 53}
	for _, version := range ascending {
		set(t, b, "key", entryOf(version, "now"), time.Minute)
		set(t, b, "key", entryOf(version-1, "before"), time.Minute)
		wantEntry(t, b, "key", entryOf(version, "now"))
	}
}

func shortIsRefused(t *testing.T, b backend) {
	if err := b.SetIfNewer(t.Context(), "key", []byte("1234567"), time.Minute); err == nil {
		t.Error("an entry of seven bytes was taken")
	}
	wantNothing(t, b, "key")
}

func keysAreApart(t *testing.T, b backend) {
	set(t, b, "user:{a}", entryOf(5, "a"), time.Minute)
	set(t, b, "user:{b}", entryOf(1, "b"), time.Minute)
	wantEntry(t, b, "user:{a}", entryOf(5, "a"))
	wantEntry(t, b, "user:{b}", entryOf(1, "b"))
}

func entriesAreBytes(t *testing.T, b backend) {
	content := make([]byte, 256)
	for i := range content {
		content[i] = byte(i)
	}
	set(t, b, "key", entryOf(1, string(content)+"\r\n"), time.Minute)
	wantEntry(t, b, "key", entryOf(1, string(content)+"\r\n"))
	set(t, b, "empty", entryOf(1, ""), time.Minute)
	wantEntry(t, b, "empty", entryOf(1, ""))
}

func entriesAreCopies(t *testing.T, b backend) {
	given := entryOf(1, "a")
	set(t, b, "key", given, time.Minute)
	clear(given)
	got, _, err := b.Get(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	clear(got)
	wantEntry(t, b, "key", entryOf(1, "a"))
}

func newestWins(t *testing.T, b backend) {
	const writers = 50
	versions := rand.Perm(writers)
	var wg sync.WaitGroup
	for _, version := range versions {
		wg.Go(func() {
			if err := b.SetIfNewer(t.Context(), "key", entryOf(uint64(version), "x"), time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantEntry(t, b, "key", entryOf(writers-1, "x"))
}

func removeDeletes(t *testing.T, b backend) {
	set(t, b, "key", entryOf(1, "a"), time.Minute)
	remove(t, b, "key", entryOf(1, "a"))
	wantNothing(t, b, "key")
}

func removeLeavesOthers(t *testing.T, b backend) {
	set(t, b, "key", entryOf(2, "a"), time.Minute)
	remove(t, b, "key", entryOf(1, "a"))
	remove(t, b, "key", entryOf(2, "b"))
	remove(t, b, "another", entryOf(2, "a"))
	wantEntry(t, b, "key", entryOf(2, "a"))
}

func removeOfNothing(t *testing.T, b backend) { remove(t, b, "key", entryOf(1, "a")) }

func removedMayBeOlder(t *testing.T, b backend) {
	set(t, b, "key", entryOf(9, "a"), time.Minute)
	remove(t, b, "key", entryOf(9, "a"))
	set(t, b, "key", entryOf(1, "b"), time.Minute)
	wantEntry(t, b, "key", entryOf(1, "b"))
}

func entryOf(version uint64, content string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, version), content...)
}

func set(t *testing.T, b backend, key string, entry []byte, ttl time.Duration) {
	t.Helper()
	if err := b.SetIfNewer(t.Context(), key, entry, ttl); err != nil {
		t.Fatalf("set %s: %v", key, err)
	}
}

func remove(t *testing.T, b backend, key string, entry []byte) {
	t.Helper()
	if err := b.Remove(t.Context(), key, entry); err != nil {
		t.Fatalf("remove %s: %v", key, err)
	}
}

func wantEntry(t *testing.T, b backend, key string, want []byte) {
	t.Helper()
	got, found, err := b.Get(t.Context(), key)
	if err != nil || !found || !bytes.Equal(got, want) {
		t.Fatalf("get %s: %q, found %t, error %v; want %q", key, got, found, err, want)
	}
}

func wantNothing(t *testing.T, b backend, key string) {
	t.Helper()
	if got, found, err := b.Get(t.Context(), key); err != nil || found {
		t.Fatalf("get %s: %q, found %t, error %v; want nothing", key, got, found, err)
	}
}
