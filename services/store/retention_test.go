package store

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/maintenance"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

func TestSweepExpiredSessions(t *testing.T) {
	onEach(t, func(t *testing.T, database storeconfig.Database) {
		clock := newClock()
		first := startStore(t, testConfig(database, clock))
		first.signUp(t)
		token := first.logIn(t).GetRefreshToken()
		clock.advance(30*24*time.Hour + maintenance.SessionRetention)
		startStore(t, testConfig(database, clock)) // It sweeps at its start; the session expired just so long ago.
		_, err := first.refresh(t.Context(), token)
		wantReason(t, err, sessionExpired)
		clock.advance(time.Microsecond)
		startStore(t, testConfig(database, clock))
		testkit.Eventually(t, func() error {
			_, err = first.refresh(t.Context(), token)
			return wantErrorReason(err, sessionEnded)
		})
	})
}

// TestSweepEndedSessions ends sessions in each way. A week later they are gone, and another user's session is
// active.
func TestSweepEndedSessions(t *testing.T) {
	onEach(t, func(t *testing.T, database storeconfig.Database) {
		clock := newClock()
		s := startStore(t, testConfig(database, clock))
		s.signUp(t)
		out, stolen, everywhere := s.logIn(t), s.logIn(t), s.logIn(t)
		other := s.logInAs(t, s.addUser(t, "other@example.com", false))
		_, err := s.sessions.DeleteSession(as(t, out.GetAccessToken()), &gatehousev1.DeleteSessionRequest{Id: "current"})
		if err != nil {
			t.Fatal(err)
		}
		stealSession(t, s, clock, stolen.GetRefreshToken())
		_, err = s.sessions.DeleteAllSessions(as(t, everywhere.GetAccessToken()), &gatehousev1.DeleteAllSessionsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		count := func() (sessions int) {
			t.Helper()
			db := s.service.storage
			for _, response := range []*gatehousev1.CreateSessionResponse{out, stolen, everywhere, other} {
				switch _, err := db.ReadSession(t.Context(), response.GetSessionId()); {
				case err == nil:
					sessions++
				case !errors.Is(err, storage.ErrNotFound):
					t.Fatal(err)
				}
			}
			return sessions
		}
		sweep := func() {
			t.Helper()
			if err := maintenance.SweepOnce(t.Context(), s.service.storage, 0, clock.now()); err != nil {
				t.Fatal(err)
			}
		}
		clock.advance(maintenance.SessionRetention - 10*time.Minute)
		if sweep(); count() != 4 {
			t.Errorf("%d of 4 sessions are there before a week is over", count())
		}
		_, err = s.refresh(t.Context(), stolen.GetRefreshToken())
		wantReason(t, err, reused)
		clock.advance(20 * time.Minute)
		if sweep(); count() != 1 {
			t.Errorf("%d sessions are there after a week, not that of the bystander", count())
		}
		for _, ended := range []*gatehousev1.CreateSessionResponse{out, stolen, everywhere} {
			_, err := s.refresh(t.Context(), ended.GetRefreshToken())
			wantReason(t, err, sessionEnded)
		}
		if _, err := s.refresh(t.Context(), other.GetRefreshToken()); err != nil {
			t.Errorf("a bystander is not served: %v", err)
		}
	})
}

// stealSession ends a session because a refresh token that was traded long ago is used again.
func stealSession(t *testing.T, s *testStore, clock *clock, token string) {
	t.Helper()
	next := token
	for range 3 {
		response, err := s.refresh(t.Context(), next)
		if err != nil {
			t.Fatal(err)
		}
		next = response.GetRefreshToken()
		clock.advance(time.Minute)
	}
	_, err := s.refresh(t.Context(), token)
	wantReason(t, err, reused)
}

func TestSweepManyRows(t *testing.T) {
	onEach(t, func(t *testing.T, database storeconfig.Database) {
		service := newRefreshes(t, database)
		db, err := storage.Open(t.Context(), database, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for range maintenance.SweepBatch + 1 {
			service.open(t)
		}
		if err := maintenance.SweepOnce(t.Context(), db, 0, service.clock.now().Add(365*24*time.Hour)); err != nil {
			t.Fatal(err)
		}
		sessions, err := db.ListSessions(t.Context(), service.userID, time.Unix(0, 0), "", 1)
		if err != nil || len(sessions) != 0 {
			t.Errorf("left are %v, %v", sessions, err)
		}
	})
}
