package cache

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/coherence"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/freshgroup"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/memorybackend"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/minrank"
)

// fakeSessionStore returns one answer to ReadSession, and counts the calls.
type fakeSessionStore struct {
	gatehousev1.SessionServiceClient

	answer *gatehousev1.ReadSessionResponse
	err    error
	asked  int
}

func (s *fakeSessionStore) ReadSession(
	ctx context.Context, _ *gatehousev1.ReadSessionRequest, _ ...grpc.CallOption,
) (*gatehousev1.ReadSessionResponse, error) {
	s.asked++
	if s.answer == nil && s.err == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return proto.CloneOf(s.answer), s.err
}

// newAccounts returns accounts over a store and a memory backend.
func newAccounts(t *testing.T, store *fakeSessionStore) *accounts {
	t.Helper()
	memory := memorybackend.New(memoryBytes, nil)
	t.Cleanup(func() { _ = memory.Close() })
	memory.EnterEpoch(epoch)
	entries := coherence.New(memory, minrank.New(minrank.MaxKeys), time.Hour, slog.New(slog.DiscardHandler))
	entries.SetSynced()
	return &accounts{store: store, entries: entries, reads: freshgroup.New[authn.Account](), now: time.Now}
}

const (
	epoch     = "0190a1b2-0000-7000-8000-00000000000e"
	adaID     = "01970e2c-6f3a-7c41-9d1b-3f0a5e8b7c21"
	sessionID = "01970e2c-7a10-7b5e-8c43-0d6f1a9e2b54"
	otherID   = "01970e2c-6f3a-7c41-9d1b-000000000000"
)

func ada(version int64) *gatehousev1.User {
	return &gatehousev1.User{
		Id: adaID, Email: "ada@example.com", FullName: "Ada Lovelace", Version: version, SessionGeneration: 1,
	}
}

// adasSession expires in 2100.
func adasSession(version int64) *gatehousev1.Session {
	return &gatehousev1.Session{
		Id: sessionID, UserId: adaID, Version: version, Generation: 1,
		ExpireTime: timestamppb.New(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)),
	}
}

func adas() authn.Caller { return authn.Caller{UserID: adaID, SessionID: sessionID} }

func answerOf(user *gatehousev1.User, session *gatehousev1.Session) *gatehousev1.ReadSessionResponse {
	session.Current = true
	return &gatehousev1.ReadSessionResponse{User: user, Session: session}
}

func TestAccounts(t *testing.T) {
	t.Parallel()
	// What the cache says is enough to admit a caller, and never to refuse one except for a tombstone.
	t.Run("reads_the_store_unless_the_session_is_active", func(t *testing.T) {
		t.Parallel()
		expired := adasSession(2)
		expired.ExpireTime = timestamppb.New(time.Now().Add(-time.Second))
		older, newer := adasSession(2), adasSession(2)
		older.Generation, newer.Generation = 0, 2
		for name, test := range map[string]struct {
			user    *gatehousev1.User
			session *gatehousev1.Session
			asked   int
		}{
			"both are known":          {ada(2), adasSession(2), 0},
			"nothing is known":        {nil, nil, 1},
			"only the user":           {ada(2), nil, 1},
			"only the session":        {nil, adasSession(2), 1},
			"the session has expired": {ada(2), expired, 1},
			"an older generation":     {ada(2), older, 1},
			"a newer generation":      {ada(2), newer, 1},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				store := &fakeSessionStore{answer: answerOf(ada(3), adasSession(3))}
				a := newAccounts(t, store)
				a.entries.Fill(t.Context(), a.entries.AcquireLease(), test.user, test.session)
				account, err := a.load(t.Context(), adas())
				want := int64(2 + test.asked)
				if err != nil || account.User.GetVersion() != want || account.Session.GetVersion() != want {
					t.Errorf("load: %v, error %v, want version %d", account, err, want)
				}
				if _, err := a.load(t.Context(), adas()); err != nil {
					t.Errorf("load once more: %v", err)
				}
				if store.asked != test.asked {
					t.Errorf("the store was asked %d times, want %d", store.asked, test.asked)
				}
				if account.Session.GetCurrent() {
					t.Error("what is kept says whose call it is of")
				}
			})
		}
	})
	t.Run("returns_the_answer_of_the_store", func(t *testing.T) {
		t.Parallel()
		stranger := ada(3)
		stranger.Id = otherID
		for name, test := range map[string]struct {
			store fakeSessionStore
			want  gatehousev1.ErrorReason
		}{
			"it cannot be reached": {
				fakeSessionStore{err: apierr.Unavailable(nil)}, gatehousev1.ErrorReason_ERROR_REASON_UNAVAILABLE,
			},
			"it says no": {
				fakeSessionStore{err: apierr.SessionExpired()}, gatehousev1.ErrorReason_ERROR_REASON_SESSION_EXPIRED,
			},
			"it says something else": {fakeSessionStore{err: errors.New("boom")}, gatehousev1.ErrorReason_ERROR_REASON_INTERNAL},
			"it says nothing":        {fakeSessionStore{answer: &gatehousev1.ReadSessionResponse{}}, gatehousev1.ErrorReason_ERROR_REASON_INTERNAL},
			"it speaks of another": {
				fakeSessionStore{answer: answerOf(stranger, adasSession(3))}, gatehousev1.ErrorReason_ERROR_REASON_INTERNAL,
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				a := newAccounts(t, &test.store)
				for asked := range 2 { // It is not kept either.
					_, err := a.load(t.Context(), adas())
					if reason := apierr.ReasonOf(apierr.Status(err)); reason != test.want {
						t.Errorf("error %v, want %v", err, test.want)
					}
					if test.store.asked != asked+1 {
						t.Errorf("the store was asked %d times, want %d", test.store.asked, asked+1)
					}
				}
			})
		}
	})
	t.Run("a_store_that_hangs_is_unavailable", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			a := newAccounts(t, &fakeSessionStore{})
			_, err := a.load(t.Context(), adas())
			if reason := apierr.ReasonOf(apierr.Status(err)); reason != gatehousev1.ErrorReason_ERROR_REASON_UNAVAILABLE {
				t.Errorf("error %v, want UNAVAILABLE", err)
			}
			impatient, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err = a.load(impatient, adas())
			if !errors.Is(err, context.DeadlineExceeded) || isTimeout(apierr.Unavailable(nil)) {
				t.Errorf("error %v, want the caller's own", err)
			}
			time.Sleep(deadlines.SharedRead)
		})
	})
	// A store may have asked a node of the database that lags behind: it does not know yet that all sessions have ended.
	t.Run("an_outdated_answer_is_unavailable", func(t *testing.T) {
		t.Parallel()
		store := &fakeSessionStore{answer: answerOf(ada(2), adasSession(2))}
		a := newAccounts(t, store)
		known := ada(3)
		known.SessionGeneration++
		a.entries.Fill(t.Context(), a.entries.AcquireLease(), known, adasSession(2))
		_, err := a.load(t.Context(), adas())
		if reason := apierr.ReasonOf(apierr.Status(err)); reason != gatehousev1.ErrorReason_ERROR_REASON_UNAVAILABLE {
			t.Errorf("error is %v", err)
		}
		store.answer = answerOf(known, adasSession(3))
		store.answer.Session.Generation = known.GetSessionGeneration()
		if _, err := a.load(t.Context(), adas()); err != nil {
			t.Errorf("once it knows: %v", err)
		}
	})
}
