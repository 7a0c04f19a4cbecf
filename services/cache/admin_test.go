package cache_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// promote grants the user the role admin, and returns a token with the role.
func (fix *accountFixture) promote(t *testing.T) (token string) {
	t.Helper()
	if err := fix.setRoles(t.Context(), fix.admin, fix.user, authn.RoleAdmin, authn.RoleUser); err != nil {
		t.Fatal(err)
	}
	token = fix.store.anotherToken(fix.phone.GetAccessToken())
	for _, r := range fix.replicas {
		if err := r.listUsers(t.Context(), token); err != nil {
			t.Fatalf("an admin may not list users: %v", err)
		}
	}
	return token
}

// wantNoAdmin fails unless all cache services reject a call for admins without a call of the store.
func (env *testEnv) wantNoAdmin(t *testing.T, token string) {
	t.Helper()
	asked := false
	env.store.hook(func(_ context.Context, method, called string) error {
		asked = asked || called == "Bearer "+token && method == "ListUsers"
		return nil
	}, nil)
	for _, r := range env.replicas {
		wantError(t, r.listUsers(t.Context(), token), codes.PermissionDenied, roleRequired)
	}
	if env.store.hook(nil, nil); asked {
		t.Error("the store was asked to do what only admins may")
	}
}

// adminCalls returns the calls of the contract that need the role admin.
func adminCalls(r *replica, id string) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"DisableUser": func(ctx context.Context) error {
			_, err := r.admins.DisableUser(ctx, &gatehousev1.DisableUserRequest{Id: id})
			return err
		},
		"EnableUser": func(ctx context.Context) error {
			_, err := r.admins.EnableUser(ctx, &gatehousev1.EnableUserRequest{Id: id})
			return err
		},
		"SetRoles": func(ctx context.Context) error {
			_, err := r.admins.SetRoles(ctx, &gatehousev1.SetRolesRequest{Id: id, Roles: []string{authn.RoleUser}})
			return err
		},
		"ResetUserPassword": func(ctx context.Context) error {
			_, err := r.admins.ResetUserPassword(ctx, &gatehousev1.ResetUserPasswordRequest{Id: id, NewPassword: password})
			return err
		},
		"DeleteUserSessions": func(ctx context.Context) error {
			_, err := r.admins.DeleteUserSessions(ctx, &gatehousev1.DeleteUserSessionsRequest{UserId: id})
			return err
		},
		"RotateKey": func(ctx context.Context) error {
			_, err := r.admins.RotateKey(ctx, &gatehousev1.RotateKeyRequest{})
			return err
		},
		"ListAuditEvents": func(ctx context.Context) error {
			_, err := r.admins.ListAuditEvents(ctx, &gatehousev1.ListAuditEventsRequest{})
			return err
		},
		"ListUsers": func(ctx context.Context) error {
			_, err := r.users.ListUsers(ctx, &gatehousev1.ListUsersRequest{})
			return err
		},
	}
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	t.Run("rejects_callers_without_the_role", func(t *testing.T) {
		t.Parallel()
		env, _ := newCountingEnv(t)
		id := env.store.put("ada@example.com")
		token, before := env.store.token(id), env.store.user(id)
		for name, call := range adminCalls(env.replica, authn.Me) {
			wantError(t, call(as(t.Context(), token)), codes.PermissionDenied, roleRequired)
			wantError(t, call(t.Context()), codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_MISSING)
			if !proto.Equal(env.store.user(id), before) {
				t.Errorf("%s was done for one who is no admin", name)
			}
		}
		for _, err := range []error{
			env.deleteUser(t.Context(), token, uuid.NewString()), env.rename(t.Context(), token, uuid.NewString(), "x"),
		} {
			wantError(t, err, codes.NotFound, userNotFound)
		}
		env.wantReads(t, 1)
		for name, call := range adminCalls(env.replica, id) {
			if err := call(as(t.Context(), env.admin)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	// Nobody is asked about a user whom the caller may not change.
	t.Run("rejects_changes_of_others_without_a_call_of_the_store", func(t *testing.T) {
		t.Parallel()
		fix := newAccountFixture(t, 1)
		stranger := fix.store.token(fix.store.put("grace@example.com"))
		fix.wantIn(t, fix.store, stranger)
		fix.store.hook(func(_ context.Context, method, _ string) error {
			t.Errorf("the store was asked for %s", method)
			return nil
		}, nil)
		wantError(t, fix.rename(t.Context(), stranger, fix.user, "x"), codes.NotFound, userNotFound)
		wantError(t, fix.deleteUser(t.Context(), stranger, fix.user), codes.NotFound, userNotFound)
		fix.store.hook(nil, nil)
		fix.wantIn(t, fix.store, fix.phone.GetAccessToken())
	})
	t.Run("a_demotion_is_visible_everywhere", func(t *testing.T) {
		t.Parallel()
		fix := newAccountFixture(t, 3)
		token := fix.promote(t)
		if err := fix.replicas[2].setRoles(t.Context(), fix.admin, fix.user, authn.RoleUser); err != nil {
			t.Fatal(err)
		}
		fix.wantNoAdmin(t, token)
		for _, r := range fix.replicas {
			_, err := r.users.ReadUser(as(t.Context(), token), &gatehousev1.ReadUserRequest{Id: uuid.NewString()})
			wantError(t, err, codes.NotFound, userNotFound)
			r.wantIn(t, fix.store, token) // The user sees no more than users see.
		}
	})
	// An operator gives the role at the database, where no cache learns of it. The token is from after that.
	t.Run("a_role_granted_in_the_database_is_read_from_the_store", func(t *testing.T) {
		t.Parallel()
		fix := newAccountFixture(t, 2)
		fix.changeSilently(func(user *gatehousev1.User) { user.Roles = []string{authn.RoleAdmin, authn.RoleUser} })
		token := fix.store.anotherToken(fix.phone.GetAccessToken())
		for _, r := range fix.replicas {
			if err := r.listUsers(t.Context(), token); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("a_disabled_user_is_rejected_without_the_store", func(t *testing.T) {
		t.Parallel()
		fix := newAccountFixture(t, 2)
		if err := fix.replicas[1].disable(t.Context(), fix.admin, fix.user); err != nil {
			t.Fatal(err)
		}
		fix.store.hook(func(context.Context, string, string) error { return apierr.Unavailable(nil) }, nil)
		for _, r := range fix.replicas {
			if _, err := r.me(t.Context(), fix.phone.GetAccessToken()); err == nil {
				t.Error("a session of a disabled user is let in")
			}
		}
	})
	// What is passed on has its caller's deadline; a change of a user has as long as any change.
	t.Run("calls_passed_on_have_the_deadline_of_the_caller", func(t *testing.T) {
		t.Parallel()
		fix := newAccountFixture(t, 1)
		var left time.Duration
		fix.store.hook(func(ctx context.Context, _, _ string) error {
			until, ok := ctx.Deadline()
			if !ok {
				return errors.New("there is no deadline")
			}
			left = time.Until(until)
			return nil
		}, nil)
		const deadline = 4 * time.Second
		for name, call := range adminCalls(fix.replica, fix.user) {
			ctx, cancel := context.WithTimeout(as(t.Context(), fix.admin), deadline)
			if err := call(ctx); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			cancel()
			passed := slices.Contains([]string{"RotateKey", "ListAuditEvents", "ListUsers"}, name)
			if own := left > deadline; own == passed {
				t.Errorf("%s has %s to go at the store", name, left)
			}
		}
	})
}
