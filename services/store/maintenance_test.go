package store

import (
	"log/slog"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

func TestExpiredSessionsAreForgottenAfterAWhile(t *testing.T) {
	onEach(t, func(t *testing.T, database Database) {
		clock := newClock()
		first := startStore(t, testConfig(database, clock))
		first.signUp(t)
		token := first.logIn(t).GetRefreshToken()
		clock.advance(30*24*time.Hour + sessionRetention)
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

func TestASweepTakesAllThereIs(t *testing.T) {
	onEach(t, func(t *testing.T, database Database) {
		service := newRefreshes(t, database)
		db, err := storage.Open(t.Context(), database, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for range sweepBatch + 1 {
			service.open(t)
		}
		if err := sweepOnce(t.Context(), db, 0, service.now().Add(365*24*time.Hour)); err != nil {
			t.Fatal(err)
		}
		sessions, err := db.ListSessions(t.Context(), service.userID, time.Unix(0, 0), "", 1)
		if err != nil || len(sessions) != 0 {
			t.Errorf("left are %v, %v", sessions, err)
		}
	})
}
