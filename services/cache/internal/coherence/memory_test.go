package coherence

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/memorybackend"
)

// manualClock is an otter.Clock that a test advances.
type manualClock struct{ now atomic.Int64 }

func (c *manualClock) NowNano() int64                      { return c.now.Load() }
func (c *manualClock) Tick(time.Duration) <-chan time.Time { return nil }
func (c *manualClock) advance(by time.Duration)            { c.now.Add(int64(by)) }

func openMemory(t *testing.T, maxBytes uint64) (Backend, *manualClock) {
	t.Helper()
	clock := new(manualClock)
	clock.advance(time.Hour)
	b := memorybackend.New(maxBytes, clock)
	b.EnterEpoch(epoch)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, clock
}

func TestMemory(t *testing.T) {
	t.Parallel()
	t.Run("conformance", func(t *testing.T) {
		t.Parallel()
		conformance(t, func(t *testing.T) (Backend, func(time.Duration)) {
			b, clock := openMemory(t, memoryBytes)
			return b, clock.advance
		})
	})
	// Eviction runs behind the writes, so the test waits for it to catch up.
	t.Run("is_bounded", func(t *testing.T) {
		t.Parallel()
		const maxBytes, entryBytes, written = 1 << 20, 1 << 10, 8 << 10
		b, _ := openMemory(t, maxBytes)
		content := strings.Repeat("x", entryBytes)
		for i := range written {
			set(t, b, fmt.Sprint("key", i), entryOf(1, content))
		}
		held := 0
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
			held = 0
			for i := range written {
				if found, _ := get(t.Context(), b, fmt.Sprint("key", i)); found != nil {
					held++
				}
			}
			if held > 0 && held <= maxBytes/entryBytes {
				return
			}
		}
		t.Errorf("%d entries of %d bytes are held by a backend of %d", held, entryBytes, maxBytes)
	})
	// What is full may give up what was put last. So that the session had ended is known for as long as a fill may be on
	// its way that says otherwise.
	t.Run("rejects_fills_older_than_an_evicted_write", func(t *testing.T) {
		t.Parallel()
		b, _ := openMemory(t, memoryBytes)
		_, read, err := b.Get(t.Context(), "user:{x}", "session:{x}:1")
		if err != nil {
			t.Fatal(err)
		}
		changed := b.Lease()
		set(t, b, "session:{x}:1", entryOf(tombstoneRank, ""))
		remove(t, b, "session:{x}:1", entryOf(tombstoneRank, "")) // as if it had been refused
		for _, lease := range []entry.Lease{read, changed} {
			fill := entry.Write{Key: "session:{x}:1", Entry: entryOf(2, "living"), TTL: time.Minute}
			if err := b.Set(t.Context(), lease, fill); err != nil {
				t.Fatal(err)
			}
		}
		wantNoEntry(t, b, "session:{x}:1")
	})
	t.Run("fills_do_not_invalidate_leases", func(t *testing.T) {
		t.Parallel()
		b, _ := openMemory(t, memoryBytes)
		early, late := b.Lease(), b.Lease()
		for rank, lease := range map[uint64]entry.Lease{2: late, 4: early} {
			fill := entry.Write{Key: fmt.Sprint("session:{x}:", rank), Entry: entryOf(rank, ""), TTL: time.Minute}
			if err := b.Set(t.Context(), lease, fill); err != nil {
				t.Fatal(err)
			}
			wantEntry(t, b, fill.Key, fill.Entry)
		}
	})
}
