package cache_test

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

func TestInvalidatingConn(t *testing.T) {
	t.Parallel()
	// The store refuses one call of an admin whom the cache takes for one still: then no cache takes the admin for one.
	t.Run("a_rejected_admin_is_invalidated", func(t *testing.T) {
		t.Parallel()
		for name, call := range map[string]func(fix *accountFixture, token string) error{
			"a change": func(fix *accountFixture, token string) error {
				return fix.disable(t.Context(), token, authn.Me)
			},
			"a read": func(fix *accountFixture, token string) error {
				return fix.listUsers(t.Context(), token)
			},
			"an update": func(fix *accountFixture, token string) error {
				_, err := fix.users.UpdateUser(as(t.Context(), token), &gatehousev1.UpdateUserRequest{
					User: &gatehousev1.User{Id: authn.Me, AppMetadata: fix.store.user(fix.user).GetAppMetadata()},
				})
				return err
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				fix := newAccountFixture(t, 2)
				token := fix.promote(t)
				fix.changeSilently(func(user *gatehousev1.User) { user.Roles = []string{authn.RoleUser} })
				wantError(t, call(fix, token), codes.PermissionDenied, roleRequired)
				fix.wantNoAdmin(t, token)
				for _, r := range fix.replicas {
					r.wantIn(t, fix.store, token)
				}
			})
		}
	})
	// A user who asks for what only admins may do costs nobody a read of the store.
	t.Run("a_rejected_user_is_not_invalidated", func(t *testing.T) {
		t.Parallel()
		fix := newAccountFixture(t, 1)
		before := fix.store.readCount()
		_, err := fix.users.UpdateUser(as(t.Context(), fix.phone.GetAccessToken()), &gatehousev1.UpdateUserRequest{
			User: &gatehousev1.User{Id: authn.Me, AppMetadata: fix.store.user(fix.user).GetAppMetadata()},
		})
		wantError(t, err, codes.PermissionDenied, roleRequired)
		fix.wantIn(t, fix.store, fix.phone.GetAccessToken())
		fix.wantReads(t, before)
	})
	// The store may know more than this cache: somebody may have spoken to it directly.
	t.Run("any_error_about_an_ended_session_stores_its_tombstone", func(t *testing.T) {
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
	})
}
