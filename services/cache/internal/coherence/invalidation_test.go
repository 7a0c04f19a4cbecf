package coherence

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
)

// permanentLeases is a backend whose leases remain valid, like those of a Redis that is not restarted.
type permanentLeases struct{ Backend }

func (o permanentLeases) Set(ctx context.Context, lease entry.Lease, writes ...entry.Write) error {
	if lease != "" {
		lease = o.Lease()
	}
	return o.Backend.Set(ctx, lease, writes...)
}

func TestInvalidate(t *testing.T) {
	t.Parallel()
	// If a longer invalidation were dropped for a shorter one, an answer from before the longer one could be cached.
	t.Run("the_longer_of_two_hold_offs_counts", func(t *testing.T) {
		t.Parallel()
		for name, forget := range map[string]func(*Entries){
			"a deletion":                  func(e *Entries) { e.UserDeleted(t.Context(), adaID, "") },
			"a change with a lost answer": func(e *Entries) { e.Invalidate(t.Context(), adaID, "") },
			"another error":               func(e *Entries) { e.InvalidateOutdated(t.Context(), adaID) },
		} {
			memory, clock := openMemory(t, memoryBytes)
			e := newSynced(permanentLeases{memory}, time.Hour, slog.New(slog.DiscardHandler))
			now := time.Now()
			e.now = func() time.Time { return now }
			pass := func(d time.Duration) {
				now = now.Add(d)
				clock.advance(d)
			}
			e.InvalidateOutdated(t.Context(), adaID)
			pass(2*e.leaseTime - 2*time.Second)
			asked := e.AcquireLease()
			forget(e)
			pass(e.leaseTime - time.Second)
			e.Change(t.Context(), asked, ada(2), nil)
			if known := e.Account(t.Context(), adaID, sessionID); known.User != nil {
				t.Errorf("after %s the cache says %v", name, known)
			}
			e.Change(t.Context(), e.AcquireLease(), nil, adasSession(2))
			if known := e.Account(t.Context(), adaID, sessionID); known.Session == nil {
				t.Fatal("the cache keeps nothing at all")
			}
			pass(2 * time.Hour)
			e.Change(t.Context(), e.AcquireLease(), ada(3), nil)
			if known := e.Account(t.Context(), adaID, sessionID); known.User.GetVersion() != 3 {
				t.Errorf("after %s the cache caches nothing", name)
			}
		}
	})
	// An error does not shorten the hold-off of a deletion.
	t.Run("a_short_hold_off_does_not_end_a_longer_one", func(t *testing.T) {
		t.Parallel()
		memory, clock := openMemory(t, memoryBytes)
		e := newSynced(permanentLeases{memory}, time.Hour, slog.New(slog.DiscardHandler))
		e.UserDeleted(t.Context(), adaID, "")
		e.InvalidateOutdated(t.Context(), adaID)
		clock.advance(3 * e.leaseTime)
		e.Fill(t.Context(), e.AcquireLease(), ada(2), nil)
		if known := e.Account(t.Context(), adaID, sessionID); known.User != nil {
			t.Errorf("the cache says %v", known)
		}
	})
	// The pending invalidation of a key is that with the longest hold-off.
	t.Run("the_longest_hold_off_is_pending", func(t *testing.T) {
		t.Parallel()
		e, _ := newDisconnected(t, slog.New(slog.DiscardHandler))
		e.InvalidateOutdated(t.Context(), adaID)
		e.UserDeleted(t.Context(), adaID, sessionID)
		e.InvalidateOutdated(t.Context(), adaID)
		for _, write := range e.pending.snapshot() {
			if write.TTL < e.ttl/2 {
				t.Errorf("%s is pending for %s", write.Key, write.TTL)
			}
		}
		if !e.pending.covers(userKey(adaID)) || !e.pending.covers(SessionKey(adaID, sessionID)) {
			t.Error("the deletion is not pending")
		}
	})
	// An error that tells nothing of what is kept costs nobody a call of the store; a definite one not for long.
	t.Run("after_an_error", func(t *testing.T) {
		t.Parallel()
		const soon = 2 * maxLeaseTime
		for _, test := range []struct {
			err  error
			want time.Duration
		}{
			{apierr.Unavailable(nil), time.Hour * 9 / 10},
			{apierr.Internal(nil), time.Hour * 9 / 10},
			{apierr.DeadlineExceeded(nil), time.Hour * 9 / 10},
			{status.Error(codes.Aborted, "try again"), time.Hour * 9 / 10},
			{apierr.UserNotFound(), soon},
			{apierr.VersionMismatch(), soon},
			{apierr.PasswordWrong(), soon},
			{apierr.LastAdmin(), 0},
			{apierr.RecentLoginRequired(), 0},
			{apierr.RoleRequired(), 0},
			{apierr.SessionNotFound(), 0},
			{apierr.InvalidFields(nil), 0},
			{apierr.Overloaded(time.Second), 0},
		} {
			memory, clock := openMemory(t, memoryBytes)
			e := newSynced(memory, time.Hour, slog.New(slog.DiscardHandler))
			learns := func() bool {
				e.Fill(t.Context(), e.AcquireLease(), ada(1), nil)
				return e.Account(t.Context(), adaID, sessionID).User != nil
			}
			e.OnChangeError(t.Context(), test.err, adaID, "")
			if test.want > 0 {
				clock.advance(test.want - time.Second)
				if learns() {
					t.Errorf("%v: the user is not forgotten for %s", test.err, test.want)
				}
				clock.advance(time.Second + test.want/4)
			}
			if !learns() {
				t.Errorf("%v: the user is forgotten for longer than %s", test.err, test.want)
			}
		}
	})
}
