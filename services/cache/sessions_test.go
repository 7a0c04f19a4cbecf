package cache_test

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

func TestRevocation(t *testing.T) {
	t.Parallel()
	t.Run("is_visible_everywhere", func(t *testing.T) {
		t.Parallel()
		for name, way := range ends {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				fix := newAccountFixture(t, 2)
				another, before := fix.store.anotherToken(fix.phone.GetAccessToken()), fix.store.readCount()
				if err := way.end(t, fix, fix.replicas[1]); err != nil {
					t.Fatal(err)
				}
				fix.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)
				fix.wantOut(t, another, sessionEnded)
				if way.spares {
					for _, r := range fix.replicas {
						r.wantIn(t, fix.store, fix.laptop.GetAccessToken())
					}
				} else {
					fix.wantOut(t, fix.laptop.GetAccessToken(), sessionEnded)
				}
				// What the cache does not know by itself, it asks once for each session, except for those of a deleted user.
				if asked := fix.store.readCount() - before; asked > 2 && fix.store.user(fix.user) != nil {
					t.Errorf("the store was asked %d times", asked)
				}
			})
		}
	})
	t.Run("a_tombstone_needs_no_store", func(t *testing.T) {
		t.Parallel()
		fix := newAccountFixture(t, 2)
		if err := fix.logOut(t.Context(), fix.phone.GetAccessToken(), authn.Current); err != nil {
			t.Fatal(err)
		}
		before := fix.store.readCount()
		for range 5 {
			fix.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)
		}
		fix.wantReads(t, before)
		_, err := fix.me(t.Context(), fix.phone.GetAccessToken())
		ended, of := apierr.EndedSession(apierr.Status(err))
		if ended != fix.phone.GetSessionId() || of != fix.user {
			t.Errorf("the error is about session %q of user %q", ended, of)
		}
	})
	// A change whose answer is lost may have been made: no earlier entry is used.
	t.Run("with_a_lost_answer_is_visible", func(t *testing.T) {
		t.Parallel()
		for name, way := range ends {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				fix := newAccountFixture(t, 2)
				fix.store.hook(nil, loseAnswer)
				err := way.end(t, fix, fix.replicas[1])
				if name != "reuse a refresh token" {
					wantError(t, err, codes.Unavailable, unavailable)
				}
				fix.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)
			})
		}
	})
	// A thief who gives up at once does not keep the cache from hearing that the session has ended.
	t.Run("continues_when_the_caller_gives_up", func(t *testing.T) {
		t.Parallel()
		fix := newAccountFixture(t, 1)
		if _, err := fix.refresh(t.Context(), fix.phone.GetRefreshToken()); err != nil {
			t.Fatal(err)
		}
		seen, answer := fix.store.block("RefreshSession")
		ctx, giveUp := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := fix.refresh(ctx, fix.phone.GetRefreshToken())
			ended <- err
		}()
		<-seen
		giveUp()
		if err := <-ended; status.Code(err) != codes.Canceled {
			t.Errorf("who gave up got %v", err)
		}
		close(answer)
		testkit.Eventually(t, func() error {
			if _, err := fix.me(t.Context(), fix.phone.GetAccessToken()); apierr.ReasonOf(status.Convert(err)) != sessionEnded {
				return fmt.Errorf("the session has ended, and the answer is of %s", status.Code(err))
			}
			return nil
		})
	})
	// Its tokens are refused at once at each cache service, and the new one is served from the cache.
	t.Run("replaces_the_session", func(t *testing.T) {
		for name, replace := range map[string]func(fix *accountFixture) (token string, err error){
			"change of the password": func(fix *accountFixture) (string, error) {
				response, err := fix.changePassword(t.Context(), fix.laptop.GetAccessToken())
				return response.GetAccessToken(), err
			},
			"log-out everywhere else": func(fix *accountFixture) (string, error) {
				response, err := fix.sessions.DeleteAllSessions(as(t.Context(), fix.laptop.GetAccessToken()),
					&gatehousev1.DeleteAllSessionsRequest{KeepCurrent: true})
				return response.GetAccessToken(), err
			},
		} {
			t.Run(name, func(t *testing.T) {
				fix := newAccountFixture(t, 2)
				token, err := replace(fix)
				if err != nil {
					t.Fatal(err)
				}
				reads := fix.store.readCount()
				for _, r := range fix.replicas {
					_, err := r.sessions.ReadSession(as(t.Context(), fix.laptop.GetAccessToken()),
						&gatehousev1.ReadSessionRequest{Id: authn.Current})
					wantError(t, err, codes.Unauthenticated, sessionEnded)
					if _, err := r.sessions.ReadSession(as(t.Context(), token), &gatehousev1.ReadSessionRequest{Id: authn.Current}); err != nil {
						t.Errorf("the new session: %v", err)
					}
				}
				if got := fix.store.readCount(); got != reads {
					t.Errorf("the store was asked %d times", got-reads)
				}
			})
		}
	})
}

func TestRefreshSession(t *testing.T) {
	t.Parallel()
	t.Run("is_visible_everywhere", func(t *testing.T) {
		t.Parallel()
		fix := newAccountFixture(t, 2)
		before := fix.store.readCount()
		refreshed, err := fix.refresh(t.Context(), fix.phone.GetRefreshToken())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range fix.replicas {
			r.wantIn(t, fix.store, refreshed.GetAccessToken())
			r.wantIn(t, fix.store, fix.phone.GetAccessToken())
		}
		fix.wantReads(t, before)
	})
}

func TestReadSession(t *testing.T) {
	t.Parallel()
	t.Run("sessions_of_others_are_not_found", func(t *testing.T) {
		t.Parallel()
		fix := newAccountFixture(t, 1)
		fix.signUp(t, "grace@example.com")
		stranger := fix.logIn(t, "grace@example.com")
		err := fix.logOut(t.Context(), stranger.GetAccessToken(), fix.phone.GetSessionId())
		wantError(t, err, codes.NotFound, gatehousev1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
		fix.wantIn(t, fix.store, fix.phone.GetAccessToken())
	})
	t.Run("other_sessions_are_read_from_the_store", func(t *testing.T) {
		t.Parallel()
		fix := newAccountFixture(t, 1)
		before := fix.store.readCount()
		response, err := fix.sessions.ReadSession(as(t.Context(), fix.phone.GetAccessToken()),
			&gatehousev1.ReadSessionRequest{Id: fix.laptop.GetSessionId()})
		if err != nil || !proto.Equal(response.GetSession(), authn.ShowSession(t.Context(), fix.store.session(fix.laptop.GetAccessToken()))) {
			t.Errorf("read: %v, error %v", response, err)
		}
		fix.wantReads(t, before+1)
	})
}
