package cache

import (
	"bytes"
	"encoding/binary"
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
		set(t, b, "key", entryOf(7, "old"))
		expire(59 * time.Second)
		wantEntry(t, b, "key", entryOf(7, "old"))
		expire(2 * time.Second)
		wantNothing(t, b)
		set(t, b, "key", entryOf(1, "new"))
		wantEntry(t, b, "key", entryOf(1, "new"))
	})
	t.Run("a set that changes nothing prolongs nothing", func(t *testing.T) {
		b, expire := open(t)
		set(t, b, "key", entryOf(1, "a"))
		expire(40 * time.Second)
		set(t, b, "key", entryOf(1, "b"))
		expire(21 * time.Second)
		wantNothing(t, b)
	})
}

func nothingIsNotFound(t *testing.T, b backend) { wantNothing(t, b) }

func setIsFound(t *testing.T, b backend) {
	set(t, b, "key", entryOf(1, "a"))
	wantEntry(t, b, "key", entryOf(1, "a"))
}

func olderDoesNotReplace(t *testing.T, b backend) {
	set(t, b, "key", entryOf(2, "new"))
	set(t, b, "key", entryOf(1, "old"))
	wantEntry(t, b, "key", entryOf(2, "new"))
}

func sameDoesNotReplace(t *testing.T, b backend) {
	set(t, b, "key", entryOf(2, "first"))
	set(t, b, "key", entryOf(2, "second"))
	wantEntry(t, b, "key", entryOf(2, "first"))
}

func newerReplaces(t *testing.T, b backend) {
	set(t, b, "key", entryOf(1, "old"))
	set(t, b, "key", entryOf(2, "new"))
	wantEntry(t, b, "key", entryOf(2, "new"))
}

// versionsAreNumbers takes pairs that a comparison of text, of signed bytes or of single bytes would get wrong.
func versionsAreNumbers(t *testing.T, b backend) {
	ascending := []uint64{1, 9, 10, 127, 128, 255, 256, 65_535, 65_536, 1 << 31, 1 << 32, 1<<53 - 1, 1 << 53}
	for _, version := range ascending {
		set(t, b, "key", entryOf(version, "now"))
		set(t, b, "key", entryOf(version-1, "before"))
		wantEntry(t, b, "key", entryOf(version, "now"))
	}
}

func shortIsRefused(t *testing.T, b backend) {
	if err := b.SetIfNewer(t.Context(), "key", []byte("1234567"), time.Minute); err == nil {
		t.Error("an entry of seven bytes was taken")
	}
	wantNothing(t, b)
}

func keysAreApart(t *testing.T, b backend) {
	set(t, b, "user:{a}", entryOf(5, "a"))
	set(t, b, "user:{b}", entryOf(1, "b"))
	wantEntry(t, b, "user:{a}", entryOf(5, "a"))
	wantEntry(t, b, "user:{b}", entryOf(1, "b"))
}

func entriesAreBytes(t *testing.T, b backend) {
	content := make([]byte, 256)
	for i := range content {
		content[i] = byte(i)
	}
	set(t, b, "key", entryOf(1, string(content)+"\r\n"))
	wantEntry(t, b, "key", entryOf(1, string(content)+"\r\n"))
	set(t, b, "empty", entryOf(1, ""))
	wantEntry(t, b, "empty", entryOf(1, ""))
}

func entriesAreCopies(t *testing.T, b backend) {
	given := entryOf(1, "a")
	set(t, b, "key", given)
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
	var wg sync.WaitGroup
	for version := range uint64(writers) {
		wg.Go(func() {
			if err := b.SetIfNewer(t.Context(), "key", entryOf(version, "x"), time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantEntry(t, b, "key", entryOf(writers-1, "x"))
}

func removeDeletes(t *testing.T, b backend) {
	set(t, b, "key", entryOf(1, "a"))
	remove(t, b, "key", entryOf(1, "a"))
	wantNothing(t, b)
}

func removeLeavesOthers(t *testing.T, b backend) {
	set(t, b, "key", entryOf(2, "a"))
	remove(t, b, "key", entryOf(1, "a"))
	remove(t, b, "key", entryOf(2, "b"))
	remove(t, b, "another", entryOf(2, "a"))
	wantEntry(t, b, "key", entryOf(2, "a"))
}

func removeOfNothing(t *testing.T, b backend) { remove(t, b, "key", entryOf(1, "a")) }

func removedMayBeOlder(t *testing.T, b backend) {
	set(t, b, "key", entryOf(9, "a"))
	remove(t, b, "key", entryOf(9, "a"))
	set(t, b, "key", entryOf(1, "b"))
	wantEntry(t, b, "key", entryOf(1, "b"))
}

func entryOf(version uint64, content string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, version), content...)
}

// set stores an entry for a minute.
func set(t *testing.T, b backend, key string, entry []byte) {
	t.Helper()
	if err := b.SetIfNewer(t.Context(), key, entry, time.Minute); err != nil {
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

// wantNothing insists that there is nothing under "key".
func wantNothing(t *testing.T, b backend) {
	t.Helper()
	if got, found, err := b.Get(t.Context(), "key"); err != nil || found {
		t.Fatalf("get: %q, found %t, error %v; want nothing", got, found, err)
	}
}
