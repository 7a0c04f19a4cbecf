package cache

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/memorybackend"
)

// cutOff is a backend that cannot be written to while it is cut off.
type cutOff struct {
	backend

	cut atomic.Bool
}

func (c *cutOff) Set(ctx context.Context, lease entry.Lease, writes ...entry.Write) error {
	if c.cut.Load() {
		return errOpen
	}
	return c.backend.Set(ctx, lease, writes...)
}

// newIndebted gives entries over a backend that is cut off and knows ada and her session, and what is owed to it.
func newIndebted(t *testing.T, log *slog.Logger) (*entries, *cutOff) {
	t.Helper()
	memory := memorybackend.New(memoryBytes, nil)
	t.Cleanup(func() { _ = memory.Close() })
	memory.Enter(epoch)
	kept := &cutOff{backend: memory}
	e := believing(kept, time.Hour, log)
	e.change(t.Context(), e.ask(), ada(1), adasSession(1))
	if known := e.account(t.Context(), adaID, sessionID); known.User == nil || known.Session == nil {
		t.Fatalf("the cache knows %v", known)
	}
	kept.cut.Store(true)
	return e, kept
}

func TestWhatIsOwedIsNotBelievedUntilItIsPaid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, kept := newIndebted(t, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		go e.owed.run(ctx)
		e.change(t.Context(), e.ask(), ada(2), nil)
		e.end(t.Context(), adaID, sessionID)
		for range 3 {
			if known := e.account(t.Context(), adaID, sessionID); known.User != nil || known.Session != nil || known.ended {
				t.Errorf("the cache says %v", known)
			}
			time.Sleep(10 * retryInterval)
		}
		kept.cut.Store(false)
		time.Sleep(2 * retryInterval)
		known := e.account(t.Context(), adaID, sessionID)
		if known.User != nil || !known.ended || known.lease.kept == "" {
			t.Errorf("the cache says %v", known)
		}
		stop()
		synctest.Wait()
	})
}

func TestWhatIsOwedIsTriedOnceMoreAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, kept := newIndebted(t, slog.New(slog.DiscardHandler))
		e.end(t.Context(), adaID, sessionID)
		kept.cut.Store(false)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		e.owed.run(ctx)
		if known := e.account(t.Context(), adaID, sessionID); !known.ended {
			t.Errorf("the cache says %v", known)
		}
	})
}

// What is owed under a key may grow while it is paid.
func TestOnlyWhatWasPaidIsForgotten(t *testing.T) {
	t.Parallel()
	e, _ := newIndebted(t, slog.New(slog.DiscardHandler))
	e.change(t.Context(), e.ask(), nil, adasSession(2))
	owed := e.owed.all()
	if len(owed) != 1 {
		t.Fatalf("what is owed is %v, want one entry", owed)
	}
	e.end(t.Context(), adaID, sessionID)
	e.change(t.Context(), e.ask(), nil, adasSession(3)) // One that was slow.
	e.owed.paid(owed[0])
	left := e.owed.all()
	if len(left) != 1 || entry.Rank(left[0].Entry) != tombstoneRank {
		t.Errorf("what is owed is %v, want a tombstone", left)
	}
	e.owed.paid(left[0])
	e.owed.paid(left[0])
	if e.owed.any(sessionKey(adaID, sessionID)) {
		t.Error("it is owed still")
	}
}

func TestWhenTooMuchIsOwedNothingIsBelieved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var logged strings.Builder
		e, kept := newIndebted(t, slog.New(slog.NewTextHandler(&logged, nil)))
		for i := range maxOwed + 10 {
			e.end(t.Context(), adaID, fmt.Sprint(i))
		}
		if owed := len(e.owed.all()); owed != maxOwed {
			t.Errorf("%d keys are owed, want %d", owed, maxOwed)
		}
		kept.cut.Store(false)
		e.owed.pay(t.Context())
		if known := e.account(t.Context(), adaID, sessionID); known.User != nil {
			t.Errorf("the cache says %v", known)
		}
		if lines := strings.Count(logged.String(), "too many to remember"); lines != 1 {
			t.Errorf("it was told %d times", lines)
		}
		time.Sleep(time.Hour + time.Hour/10) // Whatever was there then has expired.
		e.change(t.Context(), e.ask(), ada(2), adasSession(2))
		time.Sleep(maxLeaseTime)
		if known := e.account(t.Context(), adaID, sessionID); known.User == nil {
			t.Error("the cache is not believed for good")
		}
	})
}
