package cache_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
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
	env := newEnv(t, fronts)
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

// lose loses the answers to changes.
func loseAnswer(_ context.Context, method, _ string) error {
	if method == "RefreshSession" || strings.HasPrefix(method, "Read") {
		return nil // Whose session a refresh token is of, the cache cannot know.
	}
	return apierr.Unavailable(nil)
}
