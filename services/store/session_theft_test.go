package store

import (
	"context"
	"testing"
	"time"

	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// theft is a session that its owner and a thief refresh, each with the token of its own last answer.
type theft struct {
	*refreshes

	t            *testing.T
	owner, thief string
	caught       bool
}

func (f *theft) refreshAs(client string, token *string) {
	f.t.Helper()
	if f.caught {
		return
	}
	successor, err := f.refreshFrom(f.t, client, *token)
	switch {
	case err == nil:
		*token = successor
	case wantErrorReason(err, reused) == nil:
		f.caught = true
	default:
		wantReason(f.t, err, invalid)
	}
}

// TestRefreshTheftEndsSession simulates on each database what the simulations of the rules play many times: each way of
// using a copy from another client ends the session within two refreshes of the owner, who is not logged out before.
func TestRefreshTheftEndsSession(t *testing.T) {
	ways := map[string]func(f *theft){
		"strikes after each refresh of the owner": func(f *theft) {
			f.refreshAs(owners, &f.owner)
			f.clock.advance(5 * time.Second)
			f.refreshAs(thiefs, &f.thief)
		},
		"strikes after each, and trades what it got at once": func(f *theft) {
			f.refreshAs(owners, &f.owner)
			f.refreshAs(thiefs, &f.thief)
			f.refreshAs(thiefs, &f.thief)
		},
		"strikes before each refresh of the owner": func(f *theft) {
			f.refreshAs(thiefs, &f.thief)
			f.clock.advance(5 * time.Second)
			f.refreshAs(owners, &f.owner)
		},
		"strikes between": func(f *theft) {
			f.refreshAs(owners, &f.owner)
			f.clock.advance(7 * time.Minute)
			f.refreshAs(thiefs, &f.thief)
		},
	}
	onEach(t, func(t *testing.T, database storeconfig.Database) {
		service := newRefreshes(t, database)
		for name, round := range ways {
			t.Run(name, func(t *testing.T) {
				bystander, first := service.open(t), service.open(t)
				copied, err := service.refreshFrom(t, owners, first)
				if err != nil {
					t.Fatal(err)
				}
				f := &theft{refreshes: service, t: t, owner: copied, thief: copied}
				for range 3 {
					service.clock.advance(15 * time.Minute)
					round(f)
				}
				if !f.caught {
					t.Error("the thief is not found within two more refreshes of the owner")
				}
				if _, err := service.refreshFrom(t, "203.0.113.1", bystander); err != nil {
					t.Errorf("another session of the user: %v", err)
				}
				events, err := service.storage.ListEvents(t.Context(), storage.EventFilter{UserID: service.userID}, 2)
				if err != nil || events[0].Kind != storage.RefreshReused || events[1].Kind != storage.RefreshRepeated {
					t.Errorf("the audit does not tell that it was used again, and found: %+v, %v", events, err)
				}
			})
		}
	})
}

// TestRefreshAncestor exchanges a token three times in quick succession before a copy of the first request arrives.
func TestRefreshAncestor(t *testing.T) {
	for name, test := range map[string]struct {
		client string
		after  time.Duration
		want   gatehousev1.ErrorReason
		ends   bool
	}{
		"from the same client":                    {client: owners},
		"from another client":                     {client: thiefs, want: invalid},
		"after the grace from the same client":    {client: owners, after: 30 * time.Second, want: reused, ends: true},
		"after the grace, from another client":    {client: thiefs, after: 30 * time.Second, want: reused, ends: true},
		"from the same network by another client": {client: owners + "9", want: gatehousev1.ErrorReason_ERROR_REASON_UNSPECIFIED},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, database storeconfig.Database) {
				service := newRefreshes(t, database)
				first := service.open(t)
				current := first
				for range 3 {
					var err error
					if current, err = service.refreshFrom(t, owners, current); err != nil {
						t.Fatal(err)
					}
				}
				service.clock.advance(test.after)
				for range 3 {
					got, err := service.refreshFrom(t, test.client, first)
					if test.want == 0 && (err != nil || got != current) {
						t.Errorf("it is answered with %v, not with the current token", err)
					}
					if test.want != 0 {
						wantReason(t, err, test.want)
					}
				}
				_, err := service.refreshFrom(t, owners, current)
				if test.ends {
					wantReason(t, err, reused)
				} else if err != nil {
					t.Errorf("the owner is logged out: %v", err)
				}
			})
		})
	}
}

// TestRefreshAnotherUserAgent checks that a copy of the token used from the owner's address counts as another client.
func TestRefreshAnotherUserAgent(t *testing.T) {
	onEach(t, func(t *testing.T, database storeconfig.Database) {
		service := newRefreshes(t, database)
		first := service.open(t)
		owned, err := service.refreshFrom(t, owners, first)
		if err != nil {
			t.Fatal(err)
		}
		ctx := callctx.WithClient(t.Context(), callctx.Client{Address: owners, UserAgent: "thief/1"})
		response, err := service.RefreshSession(ctx, &gatehousev1.RefreshSessionRequest{RefreshToken: first})
		if err != nil || response.GetRefreshToken() == owned {
			t.Fatalf("the successor of the owner is given out: %v", err)
		}
		if _, err := service.refreshFrom(t, owners, owned); err != nil {
			t.Fatal(err)
		}
		_, err = service.refreshFrom(t, owners, response.GetRefreshToken())
		wantReason(t, err, reused)
	})
}

func TestSessionClients(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, _ *clock) {
		from := func(address, agent string) context.Context {
			return callctx.WithClient(t.Context(), callctx.Client{Address: address, UserAgent: agent})
		}
		owned := store.logIn(t)
		for range 3 { // The thief gets a sibling each time, which the owner's refresh voids.
			response, err := store.refresh(from(owners, "owner/1"), owned.GetRefreshToken())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := store.refresh(from(thiefs, "thief/1"), owned.GetRefreshToken()); err != nil {
				t.Fatal(err)
			}
			owned.RefreshToken, owned.AccessToken = response.GetRefreshToken(), response.GetAccessToken()
		}
		list, err := store.sessions.ListSessions(as(t, owned.GetAccessToken()), &gatehousev1.ListSessionsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		read, err := store.read(t, owned.GetAccessToken())
		if err != nil {
			t.Fatal(err)
		}
		for _, session := range append(list.GetSessions(), read.GetSession()) {
			if session.GetClientAddress() != thiefs || session.GetUserAgent() != "thief/1" ||
				session.GetPreviousClientAddress() != owners || session.GetPreviousUserAgent() != "owner/1" {
				t.Errorf("the session shows %v", session)
			}
		}
	})
}
