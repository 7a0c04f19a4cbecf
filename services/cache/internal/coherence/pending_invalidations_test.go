package coherence

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/breaker"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/memorybackend"
)

// disconnectable is a backend that rejects writes while it is disconnected.
type disconnectable struct {
	Backend

	disconnected atomic.Bool
}

func (c *disconnectable) Set(ctx context.Context, lease entry.Lease, writes ...entry.Write) error {
	if c.disconnected.Load() {
		return breaker.ErrOpen
	}
	return c.Backend.Set(ctx, lease, writes...)
}

// newDisconnected returns entries over a disconnected backend, which has a user and a session.
func newDisconnected(t *testing.T, log *slog.Logger) (*Entries, *disconnectable) {
	t.Helper()
	memory := memorybackend.New(memoryBytes, nil)
	t.Cleanup(func() { _ = memory.Close() })
	memory.EnterEpoch(epoch)
	kept := &disconnectable{Backend: memory}
	e := newSynced(kept, time.Hour, log)
	e.Change(t.Context(), e.AcquireLease(), ada(1), adasSession(1))
	if known := e.Account(t.Context(), adaID, sessionID); known.User == nil || known.Session == nil {
		t.Fatalf("the cache knows %v", known)
	}
	kept.disconnected.Store(true)
	return e, kept
}

func TestPendingInvalidations(t *testing.T) {
	t.Parallel()
	t.Run("hide_entries_until_they_are_flushed", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			e, kept := newDisconnected(t, slog.New(slog.DiscardHandler))
			ctx, stop := context.WithCancel(t.Context())
			go e.pending.run(ctx)
			e.Change(t.Context(), e.AcquireLease(), ada(2), nil)
			e.SessionEnded(t.Context(), adaID, sessionID)
			for range 3 {
				if known := e.Account(t.Context(), adaID, sessionID); known.User != nil || known.Session != nil || known.Ended {
					t.Errorf("the cache says %v", known)
				}
				time.Sleep(10 * flushInterval)
			}
			kept.disconnected.Store(false)
			time.Sleep(2 * flushInterval)
			known := e.Account(t.Context(), adaID, sessionID)
			if known.User != nil || !known.Ended || known.Lease.granted == "" {
				t.Errorf("the cache says %v", known)
			}
			stop()
			synctest.Wait()
		})
	})
	t.Run("are_flushed_in_the_end", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			e, kept := newDisconnected(t, slog.New(slog.DiscardHandler))
			e.SessionEnded(t.Context(), adaID, sessionID)
			kept.disconnected.Store(false)
			ctx, stop := context.WithCancel(t.Context())
			stop()
			e.pending.run(ctx)
			if known := e.Account(t.Context(), adaID, sessionID); !known.Ended {
				t.Errorf("the cache says %v", known)
			}
		})
	})
	// The pending invalidation of a key may be replaced while it is flushed.
	t.Run("an_ack_removes_only_what_was_written", func(t *testing.T) {
		t.Parallel()
		e, _ := newDisconnected(t, slog.New(slog.DiscardHandler))
		e.Change(t.Context(), e.AcquireLease(), nil, adasSession(2))
		pending := e.pending.snapshot()
		if len(pending) != 1 {
			t.Fatalf("the pending writes are %v, want one entry", pending)
		}
		e.SessionEnded(t.Context(), adaID, sessionID)
		e.Change(t.Context(), e.AcquireLease(), nil, adasSession(3)) // One that was slow.
		e.pending.ack(pending[0])
		left := e.pending.snapshot()
		if len(left) != 1 || entry.Rank(left[0].Entry) != tombstoneRank {
			t.Errorf("the pending writes are %v, want a tombstone", left)
		}
		e.pending.ack(left[0])
		e.pending.ack(left[0])
		if e.pending.covers(SessionKey(adaID, sessionID)) {
			t.Error("it is still pending")
		}
	})
	t.Run("too_many_bypass_the_backend", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var logged strings.Builder
			e, kept := newDisconnected(t, slog.New(slog.NewTextHandler(&logged, nil)))
			for i := range maxPending + 10 {
				e.SessionEnded(t.Context(), adaID, fmt.Sprint(i))
			}
			if pending := len(e.pending.snapshot()); pending != maxPending {
				t.Errorf("%d keys are pending, want %d", pending, maxPending)
			}
			kept.disconnected.Store(false)
			e.pending.flush(t.Context())
			if known := e.Account(t.Context(), adaID, sessionID); known.User != nil {
				t.Errorf("the cache says %v", known)
			}
			if lines := strings.Count(logged.String(), "too many pending cache invalidations"); lines != 1 {
				t.Errorf("it was logged %d times", lines)
			}
			time.Sleep(time.Hour + time.Hour/10) // Whatever was there then has expired.
			e.Change(t.Context(), e.AcquireLease(), ada(2), adasSession(2))
			time.Sleep(maxLeaseTime)
			if known := e.Account(t.Context(), adaID, sessionID); known.User == nil {
				t.Error("the backend is bypassed permanently")
			}
		})
	})
}
