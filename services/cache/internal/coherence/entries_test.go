package coherence

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/minrank"
)

const (
	// epoch is that of the fake store.
	epoch = "0190a1b2-0000-7000-8000-00000000000e"

	keySize     = 32
	memoryBytes = 64 << 20
)

func cacheKey() []byte { return bytes.Repeat([]byte("c"), keySize) }

// newSynced returns synced entries over a backend that has entered its epoch.
func newSynced(backend Backend, ttl time.Duration, log *slog.Logger) *Entries {
	e := New(backend, minrank.New(minrank.MaxKeys), ttl, log)
	e.SetSynced()
	return e
}

func TestEntries(t *testing.T) {
	t.Parallel()
	// An entry may be lost when its time is over. So nobody may take longer to keep something than that.
	t.Run("a_lease_expires", func(t *testing.T) {
		t.Parallel()
		for ttl, lasts := range map[time.Duration]time.Duration{time.Hour: maxLeaseTime, time.Second: time.Second / 2} {
			memory, _ := openMemory(t, memoryBytes)
			e := newSynced(memory, ttl, slog.New(slog.DiscardHandler))
			now := time.Now()
			e.now = func() time.Time { return now }
			read, asked := e.Account(t.Context(), adaID, sessionID).Lease, e.AcquireLease()
			now = now.Add(lasts)
			for _, lease := range []Lease{read, asked} {
				e.Fill(t.Context(), lease, ada(1), adasSession(1))
				e.Change(t.Context(), lease, nil, adasSession(2))
				known := e.Account(t.Context(), adaID, sessionID)
				if known.User != nil || known.Session != nil {
					t.Errorf("after %s the cache says %v", lasts, known)
				}
			}
			read = e.Account(t.Context(), adaID, sessionID).Lease
			now = now.Add(lasts - 1)
			e.Fill(t.Context(), read, ada(1), adasSession(1))
			e.Fill(t.Context(), read, nil, adasSession(2))
			known := e.Account(t.Context(), adaID, sessionID)
			if known.User.GetVersion() != 1 || known.Session.GetVersion() != 2 {
				t.Errorf("in time the cache says %v", known)
			}
		}
	})
	// A change that has no lease may itself be from before another. What is older than it is hidden all the same.
	t.Run("a_change_without_a_lease_hides_older_entries", func(t *testing.T) {
		t.Parallel()
		memory, _ := openMemory(t, memoryBytes)
		e := newSynced(memory, time.Hour, slog.New(slog.DiscardHandler))
		e.Fill(t.Context(), e.AcquireLease(), ada(1), adasSession(1))
		e.Change(t.Context(), Lease{}, ada(2), adasSession(2))
		e.Fill(t.Context(), e.AcquireLease(), ada(1), adasSession(1))
		if known := e.Account(t.Context(), adaID, sessionID); known.User != nil || known.Session != nil {
			t.Errorf("the cache says %v", known)
		}
		e.Fill(t.Context(), e.AcquireLease(), ada(2), adasSession(2))
		known := e.Account(t.Context(), adaID, sessionID)
		if known.User.GetVersion() != 2 || known.Session.GetVersion() != 2 {
			t.Errorf("the cache says %v", known)
		}
	})
	// What may have changed is not learnt again, until all that may be on its way has arrived. That it has ended is.
	t.Run("an_invalidation_outlasts_slow_answers", func(t *testing.T) {
		t.Parallel()
		memory, _ := openMemory(t, memoryBytes)
		e := newSynced(memory, time.Hour, slog.New(slog.DiscardHandler))
		e.Fill(t.Context(), e.AcquireLease(), ada(1), adasSession(1))
		e.Invalidate(t.Context(), adaID, sessionID)
		e.Change(t.Context(), e.AcquireLease(), ada(9), adasSession(9))
		if known := e.Account(t.Context(), adaID, sessionID); known.User != nil || known.Session != nil {
			t.Errorf("the cache says %v", known)
		}
		e.SessionEnded(t.Context(), adaID, sessionID)
		e.Invalidate(t.Context(), adaID, sessionID)
		if known := e.Account(t.Context(), adaID, sessionID); !known.Ended {
			t.Errorf("the cache says %v", known)
		}
	})
}

func TestJitter(t *testing.T) {
	t.Parallel()
	t.Run("stays_within_a_tenth", func(t *testing.T) {
		t.Parallel()
		low, high := time.Hour, time.Duration(0)
		for range 10_000 {
			ttl := jitter(10 * time.Minute)
			low, high = min(low, ttl), max(high, ttl)
		}
		if low < 9*time.Minute || high > 11*time.Minute || high-low < time.Minute {
			t.Errorf("10m became %s to %s", low, high)
		}
	})
}
