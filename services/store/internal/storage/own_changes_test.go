package storage

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/audit"
)

const testOwnChanges = 5

func newLimited(t *testing.T, config Config) *Storage {
	t.Helper()
	s := openNew(t, config)
	s.LimitOwnChanges(testOwnChanges)
	return s
}

// asUser is a context of a call of a user.
func asUser(t *testing.T, user account.User) context.Context {
	t.Helper()
	return authn.WithCaller(t.Context(), authn.Caller{UserID: user.ID, SessionID: newID()})
}

var renames atomic.Int64

// rename changes the name of a user to another one.
func rename(ctx context.Context, s *Storage, user account.User, at time.Time) error {
	_, err := s.ChangeUser(ctx, user.ID, at, func(before account.User) (UserChange, error) {
		before.FullName = fmt.Sprint("Ada ", renames.Add(1))
		return UserChange{User: before}, nil
	})
	return err
}

// wantLimited fails unless a change is refused, with the time after which one more is admitted.
func wantLimited(t *testing.T, err error, retryAfter time.Duration) {
	t.Helper()
	limited, ok := errors.AsType[*TooManyChangesError](err)
	if !ok || limited.RetryAfter != retryAfter {
		t.Errorf("error is %v, want one that says to wait for %v", err, retryAfter)
	}
}

func TestLimitOwnChanges(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, s *Storage, ada account.User){
		"profile_within_a_minute": func(t *testing.T, s *Storage, ada account.User) {
			ctx := asUser(t, ada)
			for i := range testOwnChanges {
				if err := rename(ctx, s, ada, actTime.Add(time.Duration(i)*time.Second)); err != nil {
					t.Fatal(err)
				}
			}
			before, events := count(t, s, "changes"), count(t, s, "audit_events")
			late := actTime.Add(50 * time.Second)
			wantLimited(t, rename(ctx, s, ada, late), 10*time.Second)
			if count(t, s, "changes") != before || count(t, s, "audit_events") != events {
				t.Error("a change that is refused has written something")
			}
			if err := rename(ctx, s, ada, late.Add(10*time.Second)); err != nil {
				t.Errorf("after the wait: %v", err)
			}
		},
		"profile_within_a_day": func(t *testing.T, s *Storage, ada account.User) {
			ctx, at := asUser(t, ada), actTime
			for range ownChangesPerDay * testOwnChanges {
				if err := rename(ctx, s, ada, at); err != nil {
					t.Fatal(err)
				}
				at = at.Add(time.Minute)
			}
			wantLimited(t, rename(ctx, s, ada, at), actTime.Add(24*time.Hour).Sub(at))
			if err := rename(ctx, s, ada, actTime.Add(24*time.Hour)); err != nil {
				t.Errorf("after a day: %v", err)
			}
		},
		"log_outs_have_a_limit_of_their_own": func(t *testing.T, s *Storage, ada account.User) {
			ctx := asUser(t, ada)
			for range testOwnChanges {
				if err := rename(ctx, s, ada, actTime); err != nil {
					t.Fatal(err)
				}
			}
			session := addSession(t, s, ada)
			elsewhere := func() error {
				current, err := s.EndAllSessions(ctx, ada.ID, Replacement{Old: session.ID, New: newSession(ada)}, actTime)
				if err == nil {
					session = current.Session
				}
				return err
			}
			for range testOwnChanges { // Although the profile can be changed no more.
				if err := elsewhere(); err != nil {
					t.Fatal(err)
				}
			}
			err := elsewhere()
			wantLimited(t, err, time.Minute)
			// A holder of a stolen token must not prevent its owner from ending all sessions.
			if _, err := s.EndAllSessions(ctx, ada.ID, Replacement{}, actTime); err != nil {
				t.Errorf("a log-out everywhere: %v", err)
			}
			for i := range testOwnChanges + 1 {
				_, err = s.ChangePassword(ctx, ada.ID, passwordHash(i), passwordHash(i+1), Replacement{}, actTime)
				if i < testOwnChanges && err != nil {
					t.Fatal(err)
				}
			}
			wantLimited(t, err, time.Minute)
		},
		"others_are_not_limited": func(t *testing.T, s *Storage, ada account.User) {
			grace := addUser(t, s, "grace@example.com")
			for range 2 * testOwnChanges {
				_ = rename(asUser(t, ada), s, ada, actTime)
			}
			if err := rename(asUser(t, grace), s, grace, actTime); err != nil {
				t.Errorf("another user: %v", err)
			}
			for range 2 * testOwnChanges {
				if err := rename(asUser(t, grace), s, ada, actTime); err != nil { // As an admin does.
					t.Errorf("by an admin: %v", err)
				}
			}
			if err := rename(audit.WithActor(t.Context(), audit.Operator), s, ada, actTime); err != nil {
				t.Errorf("by an operator: %v", err)
			}
		},
		"deletion_is_always_admitted": func(t *testing.T, s *Storage, ada account.User) {
			for range 2 * testOwnChanges {
				_ = rename(asUser(t, ada), s, ada, actTime)
			}
			_, err := s.ChangeUser(asUser(t, ada), ada.ID, actTime, func(before account.User) (UserChange, error) {
				return deleted(before), nil
			})
			if err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, config Config) {
				s := newLimited(t, config)
				test(t, s, addUser(t, s, "ada@example.com"))
			})
		})
	}
}

// passwordHash is one of several.
func passwordHash(i int) string {
	if i == 0 {
		return hash
	}
	return fmt.Sprint(hash, i)
}

// TestLimitOwnChangesConcurrently makes two stores change one profile at once: no more get through than one after the
// other.
func TestLimitOwnChangesConcurrently(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		stores := []*Storage{newLimited(t, config), open(t, config)}
		stores[1].LimitOwnChanges(testOwnChanges)
		ada := addUser(t, stores[0], "ada@example.com")
		admitted := 0
		for _, err := range race(20, func(i int) error { return rename(asUser(t, ada), stores[i%2], ada, actTime) }) {
			_, limited := errors.AsType[*TooManyChangesError](err)
			switch {
			case err == nil:
				admitted++
			case !limited:
				t.Error(err)
			}
		}
		if admitted != testOwnChanges {
			t.Errorf("%d changes were admitted, want %d", admitted, testOwnChanges)
		}
	})
}
