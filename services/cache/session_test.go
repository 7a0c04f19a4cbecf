package cache_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

func (r *replica) logOut(ctx context.Context, token, id string) error {
	_, err := r.sessions.DeleteSession(as(ctx, token), &gatehousev1.DeleteSessionRequest{Id: id})
	return err
}

func (r *replica) logOutEverywhere(ctx context.Context, token string, keepCurrent bool) error {
	_, err := r.sessions.DeleteAllSessions(as(ctx, token),
		&gatehousev1.DeleteAllSessionsRequest{KeepCurrent: keepCurrent})
	return err
}

func (r *replica) changePassword(ctx context.Context, token string) (*gatehousev1.ChangePasswordResponse, error) {
	return r.sessions.ChangePassword(as(ctx, token), &gatehousev1.ChangePasswordRequest{
		Id: authn.Me, CurrentPassword: password, NewPassword: password + "!",
	})
}

func (r *replica) refresh(ctx context.Context, refreshToken string) (*gatehousev1.RefreshSessionResponse, error) {
	return r.sessions.RefreshSession(ctx, &gatehousev1.RefreshSessionRequest{RefreshToken: refreshToken})
}

// steal ends a session by a refresh token that was traded already.
func (r *replica) reuse(t *testing.T, refreshToken string) {
	t.Helper()
	_, err := r.refresh(t.Context(), refreshToken)
	wantError(t, err, codes.Unauthenticated, tokenReused)
}

// household is a user who is logged in twice, on a phone and a laptop, as every cache service knows.
type accountFixture struct {
	*testEnv

	user          string
	phone, laptop *gatehousev1.CreateSessionResponse
	tablet        string // a token of a session that no cache service knows, if there is one
}

func newAccountFixture(t *testing.T, fronts int) *accountFixture {
	t.Helper()
	env, _, _ := newRedisEnvOf(t, fronts)
	return env.newFixture(t)
}

func (env *testEnv) newFixture(t *testing.T) *accountFixture {
	t.Helper()
	return env.newFixtureOf(t, "ada@example.com")
}

func (env *testEnv) newFixtureOf(t *testing.T, email string) *accountFixture {
	t.Helper()
	made := &accountFixture{testEnv: env, user: env.signUp(t, email), phone: env.logIn(t, email), laptop: env.logIn(t, email)}
	for _, r := range env.replicas {
		r.wantIn(t, env.store, made.phone.GetAccessToken())
		r.wantIn(t, env.store, made.laptop.GetAccessToken())
		r.wantIn(t, env.store, env.admin)
	}
	return made
}

func TestWhatHasEndedIsRefusedEverywhere(t *testing.T) {
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
			// What the cache does not know by itself, it asks once for each session, but for those of a deleted user.
			if asked := fix.store.readCount() - before; asked > 2 && fix.store.user(fix.user) != nil {
				t.Errorf("the store was asked %d times", asked)
			}
		})
	}
}

func TestATombstoneNeedsNoStore(t *testing.T) {
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
}

// The store may know more than this cache: somebody may have spoken to it directly.
func TestAnyErrorThatNamesAnEndedSessionEndsItHere(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(ctx context.Context, r *replica, fix *accountFixture) error{
		"ListSessions": func(ctx context.Context, r *replica, fix *accountFixture) error {
			_, err := r.sessions.ListSessions(as(ctx, fix.phone.GetAccessToken()), &gatehousev1.ListSessionsRequest{})
			return err
		},
		"ReadSession": func(ctx context.Context, r *replica, fix *accountFixture) error {
			_, err := r.sessions.ReadSession(as(ctx, fix.phone.GetAccessToken()),
				&gatehousev1.ReadSessionRequest{Id: fix.laptop.GetSessionId()})
			return err
		},
		"RefreshSession": func(ctx context.Context, r *replica, fix *accountFixture) error {
			_, err := r.refresh(ctx, fix.phone.GetRefreshToken())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fix := newAccountFixture(t, 2)
			fix.store.end(fix.phone.GetAccessToken())
			wantError(t, call(t.Context(), fix.replicas[1], fix), codes.Unauthenticated, sessionEnded)
			before := fix.store.readCount()
			fix.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)
			fix.wantReads(t, before)
		})
	}
}

func TestRefreshIsSeenEverywhere(t *testing.T) {
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
}

func TestSessionsOfOthersAreNotFound(t *testing.T) {
	t.Parallel()
	fix := newAccountFixture(t, 1)
	fix.signUp(t, "grace@example.com")
	stranger := fix.logIn(t, "grace@example.com")
	err := fix.logOut(t.Context(), stranger.GetAccessToken(), fix.phone.GetSessionId())
	wantError(t, err, codes.NotFound, gatehousev1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
	fix.wantIn(t, fix.store, fix.phone.GetAccessToken())
}

func TestOtherSessionsAreAskedForAtTheStore(t *testing.T) {
	t.Parallel()
	fix := newAccountFixture(t, 1)
	before := fix.store.readCount()
	response, err := fix.sessions.ReadSession(as(t.Context(), fix.phone.GetAccessToken()),
		&gatehousev1.ReadSessionRequest{Id: fix.laptop.GetSessionId()})
	if err != nil || !proto.Equal(response.GetSession(), authn.ShowSession(t.Context(), fix.store.session(fix.laptop.GetAccessToken()))) {
		t.Errorf("read: %v, error %v", response, err)
	}
	fix.wantReads(t, before+1)
}

// lose loses the answers to changes.
func loseAnswer(_ context.Context, method, _ string) error {
	if method == "RefreshSession" || strings.HasPrefix(method, "Read") {
		return nil // Whose session a refresh token is of, the cache cannot know.
	}
	return apierr.Unavailable(nil)
}

// A change whose answer is lost may have been made: nothing of before is believed any more.
func TestAChangeThatMayHaveFailedIsNotIgnored(t *testing.T) {
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
}

// A thief who gives up at once does not keep the cache from hearing that the session has ended.
func TestAChangeGoesOnWhenItsCallerGivesUp(t *testing.T) {
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
}

// TestAReplacedSession: its tokens are refused at once at each cache service, and the new one is served from the cache.
func TestAReplacedSession(t *testing.T) {
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
}
