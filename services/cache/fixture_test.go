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

// reuse ends a session by a refresh token that was used before.
func (r *replica) reuse(t *testing.T, refreshToken string) {
	t.Helper()
	_, err := r.refresh(t.Context(), refreshToken)
	wantError(t, err, codes.Unauthenticated, tokenReused)
}

// accountFixture is a user with two sessions, on a phone and a laptop, which are cached.
type accountFixture struct {
	*testEnv

	user          string
	phone, laptop *gatehousev1.CreateSessionResponse
	tablet        string // a token of a session that no cache service knows, if there is one
}

func newAccountFixture(t *testing.T, replicas int) *accountFixture {
	t.Helper()
	env := newEnv(t, replicas)
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

// loseAnswer fails changes after the store has made them.
func loseAnswer(_ context.Context, method, _ string) error {
	if method == "RefreshSession" || strings.HasPrefix(method, "Read") {
		return nil // The cache does not know the session of a refresh token.
	}
	return apierr.Unavailable(nil)
}
