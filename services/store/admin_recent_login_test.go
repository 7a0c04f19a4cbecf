package store

import (
	"context"
	"strings"
	"testing"
	"time"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

const (
	ownAccount = gatehousev1.ErrorReason_ERROR_REASON_OWN_ACCOUNT
	succeeds   = gatehousev1.ErrorReason_ERROR_REASON_UNSPECIFIED
)

// adminAct is a call that only admins may make about the user with the id, and its outcomes: about somebody else, about
// oneself, and about oneself as the last admin, always soon after the log-in.
type adminAct struct {
	name                string
	call                func(ctx context.Context, store *testStore, id string) error
	other, self, lastOf gatehousev1.ErrorReason
	stale               gatehousev1.ErrorReason // about oneself, later than MaxLoginAge after the log-in
}

func adminActs(t *testing.T) []adminAct {
	t.Helper()
	renames := func(user *gatehousev1.User) func(context.Context, *testStore, string) error {
		return func(ctx context.Context, store *testStore, id string) error {
			user.Id = id
			_, err := store.users.UpdateUser(ctx, &gatehousev1.UpdateUserRequest{User: user})
			return err
		}
	}
	return []adminAct{
		{"DisableUser", func(ctx context.Context, store *testStore, id string) error {
			_, err := store.admin.DisableUser(ctx, &gatehousev1.DisableUserRequest{Id: id})
			return err
		}, succeeds, succeeds, lastAdmin, recentLoginRequired},
		{"EnableUser", func(ctx context.Context, store *testStore, id string) error {
			_, err := store.admin.EnableUser(ctx, &gatehousev1.EnableUserRequest{Id: id})
			return err
		}, succeeds, succeeds, succeeds, recentLoginRequired},
		{"SetRoles", func(ctx context.Context, store *testStore, id string) error {
			_, err := store.admin.SetRoles(ctx, &gatehousev1.SetRolesRequest{Id: id, Roles: []string{"user"}})
			return err
		}, succeeds, succeeds, lastAdmin, recentLoginRequired},
		{"ResetUserPassword", func(ctx context.Context, store *testStore, id string) error {
			_, err := store.admin.ResetUserPassword(ctx,
				&gatehousev1.ResetUserPasswordRequest{Id: id, NewPassword: "seven green bottles"})
			return err
		}, succeeds, ownAccount, ownAccount, recentLoginRequired},
		{"DeleteUserSessions", func(ctx context.Context, store *testStore, id string) error {
			_, err := store.admin.DeleteUserSessions(ctx, &gatehousev1.DeleteUserSessionsRequest{UserId: id})
			return err
		}, succeeds, succeeds, succeeds, recentLoginRequired},
		{"RotateKey", func(ctx context.Context, store *testStore, _ string) error {
			_, err := store.admin.RotateKey(ctx, &gatehousev1.RotateKeyRequest{})
			return err
		}, succeeds, succeeds, succeeds, recentLoginRequired},
		{"UpdateUser", renames(&gatehousev1.User{FullName: "Countess"}), succeeds, succeeds, succeeds, succeeds},
		{
			"UpdateUser of app_metadata", renames(&gatehousev1.User{AppMetadata: object(t, map[string]any{"plan": "pro"})}),
			succeeds, succeeds, succeeds, recentLoginRequired,
		},
		{"DeleteUser", func(ctx context.Context, store *testStore, id string) error {
			_, err := store.users.DeleteUser(ctx, &gatehousev1.DeleteUserRequest{Id: id})
			return err
		}, succeeds, succeeds, lastAdmin, recentLoginRequired},
	}
}

// TestAdminCalls is the matrix of the calls that admins make: about somebody else, oneself and the last admin, by a
// session that was opened just now and by one that was refreshed since but opened too long ago.
func TestAdminCalls(t *testing.T) {
	for _, act := range adminActs(t) {
		t.Run(act.name, func(t *testing.T) {
			withStore(t, func(t *testing.T, store *testStore, clock *clock) {
				root, other := store.logInRoot(t), store.addUser(t, "other@example.com", false)
				me := root.GetSession().GetUserId()
				want := func(what, token, id string, reason gatehousev1.ErrorReason) {
					t.Helper()
					if err := wantErrorReason(act.call(as(t, token), store, id), reason); err != nil {
						t.Errorf("%s: %v", what, err)
					}
				}
				clock.advance(authn.MaxLoginAge + time.Microsecond)
				stale, err := store.refresh(t.Context(), root.GetRefreshToken())
				if err != nil {
					t.Fatal(err)
				}
				for _, token := range []string{root.GetAccessToken(), stale.GetAccessToken()} {
					want("another, stale", token, other.ID, recentLoginRequired)
					for _, id := range []string{"me", me, strings.ToUpper(me)} {
						want("oneself, stale", token, id, act.stale)
					}
				}
				second := store.addUser(t, "second@example.com", true)
				clock.advance(time.Minute)
				fresh := store.logInAs(t, second)
				clock.advance(authn.MaxLoginAge)
				want("another, recent", fresh.GetAccessToken(), other.ID, act.other)
				want("oneself, recent", fresh.GetAccessToken(), strings.ToUpper(second.ID), act.self)
				if act.name == "DisableUser" || act.name == "SetRoles" || act.name == "DeleteUser" {
					last, err := store.sessions.CreateSession(t.Context(),
						&gatehousev1.CreateSessionRequest{Email: "root@example.com", Password: adasPassword})
					if err != nil {
						t.Fatal(err)
					}
					want("the last admin", last.GetAccessToken(), "me", act.lastOf)
				}
			})
		})
	}
}

func TestRecentLogin(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, clock *clock) {
		root := store.logInRoot(t)
		clock.advance(authn.MaxLoginAge)
		rotate := func(token string) error {
			_, err := store.admin.RotateKey(as(t, token), &gatehousev1.RotateKeyRequest{})
			return err
		}
		spared, err := store.sessions.DeleteAllSessions(as(t, root.GetAccessToken()),
			&gatehousev1.DeleteAllSessionsRequest{KeepCurrent: true})
		if err != nil {
			t.Fatal(err)
		}
		clock.advance(time.Microsecond)
		t.Run("a_log-out_everywhere_else_does_not_renew_it", func(t *testing.T) {
			wantReason(t, rotate(spared.GetAccessToken()), recentLoginRequired)
			refreshed, err := store.refresh(t.Context(), spared.GetRefreshToken())
			if err != nil {
				t.Fatal(err)
			}
			wantReason(t, rotate(refreshed.GetAccessToken()), recentLoginRequired)
		})
		t.Run("a_change_of_the_password_does", func(t *testing.T) {
			changed, err := store.sessions.ChangePassword(as(t, spared.GetAccessToken()), &gatehousev1.ChangePasswordRequest{
				Id: "me", CurrentPassword: adasPassword, NewPassword: "seven green bottles",
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := rotate(changed.GetAccessToken()); err != nil {
				t.Error(err)
			}
		})
	})
}

// TestResetUserPassword holds the attack of a thief with an admin's access token: to the admin's own password, and on
// to what asks for a recent log-in.
func TestResetUserPassword(t *testing.T) {
	t.Run("an_admins_own_password_is_not_reset", func(t *testing.T) {
		withStore(t, func(t *testing.T, store *testStore, _ *clock) {
			root := store.logInRoot(t)
			for _, id := range []string{"me", root.GetSession().GetUserId(), strings.ToUpper(root.GetSession().GetUserId())} {
				_, err := store.admin.ResetUserPassword(as(t, root.GetAccessToken()),
					&gatehousev1.ResetUserPasswordRequest{Id: id, NewPassword: "the thief's own password"})
				wantReason(t, err, ownAccount)
			}
			if _, err := store.read(t, root.GetAccessToken()); err != nil {
				t.Errorf("the session was ended: %v", err)
			}
			_, err := store.sessions.CreateSession(t.Context(),
				&gatehousev1.CreateSessionRequest{Email: "root@example.com", Password: "the thief's own password"})
			wantReason(t, err, badCredentials)
		})
	})
}
