package cache_test

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

func (f *front) rename(ctx context.Context, token, id, name string) error {
	_, err := f.users.UpdateUser(as(ctx, token),
		&gatehousev1.UpdateUserRequest{User: &gatehousev1.User{Id: id, FullName: name}})
	return err
}

func (f *front) deleteUser(ctx context.Context, token, id string) error {
	_, err := f.users.DeleteUser(as(ctx, token), &gatehousev1.DeleteUserRequest{Id: id})
	return err
}

func (f *front) listUsers(ctx context.Context, token string) error {
	_, err := f.users.ListUsers(as(ctx, token), &gatehousev1.ListUsersRequest{})
	return err
}

func (f *front) disable(ctx context.Context, token, id string) error {
	_, err := f.admins.DisableUser(as(ctx, token), &gatehousev1.DisableUserRequest{Id: id})
	return err
}

func (f *front) enable(ctx context.Context, token, id string) error {
	_, err := f.admins.EnableUser(as(ctx, token), &gatehousev1.EnableUserRequest{Id: id})
	return err
}

func (f *front) setRoles(ctx context.Context, token, id string, roles ...string) error {
	_, err := f.admins.SetRoles(as(ctx, token), &gatehousev1.SetRolesRequest{Id: id, Roles: roles})
	return err
}

// way is something to do to a household.
type way struct {
	end    func(t *testing.T, h *household, f *front) error
	spares bool // the laptop
}

// ends are the ways to end the session on the phone, and whether they spare the laptop.
var ends = map[string]way{
	"log out": {func(t *testing.T, h *household, f *front) error {
		return f.logOut(t.Context(), h.phone.GetAccessToken(), authn.Current)
	}, true},
	"log out of another": {func(t *testing.T, h *household, f *front) error {
		return f.logOut(t.Context(), h.laptop.GetAccessToken(), strings.ToUpper(h.phone.GetSessionId()))
	}, true},
	"log out everywhere": {func(t *testing.T, h *household, f *front) error {
		return f.logOutEverywhere(t.Context(), h.laptop.GetAccessToken(), false)
	}, false},
	"log out everywhere, oneself": {func(t *testing.T, h *household, f *front) error {
		return f.logOutEverywhere(t.Context(), h.phone.GetAccessToken(), false)
	}, false},
	"log out everywhere else": {func(t *testing.T, h *household, f *front) error {
		return f.logOutEverywhere(t.Context(), h.laptop.GetAccessToken(), true)
	}, false},
	"change the password": {func(t *testing.T, h *household, f *front) error {
		_, err := f.changePassword(t.Context(), h.laptop.GetAccessToken())
		return err
	}, false},
	"reuse a refresh token": {func(t *testing.T, h *household, f *front) error {
		if _, err := f.refresh(t.Context(), h.phone.GetRefreshToken()); err != nil {
			return err
		}
		f.steal(t, h.phone.GetRefreshToken())
		return nil
	}, true},
	"delete the account": {func(t *testing.T, h *household, f *front) error {
		return f.deleteUser(t.Context(), h.phone.GetAccessToken(), authn.Me)
	}, false},
	"delete the account elsewhere": {func(t *testing.T, h *household, f *front) error {
		return f.deleteUser(t.Context(), h.laptop.GetAccessToken(), strings.ToUpper(h.user))
	}, false},
	"have the account deleted": {func(t *testing.T, h *household, f *front) error {
		return f.deleteUser(t.Context(), h.admin, strings.ToUpper(h.user))
	}, false},
	"have the account disabled": {func(t *testing.T, h *household, f *front) error {
		return f.disable(t.Context(), h.admin, strings.ToUpper(h.user))
	}, false},
	"have the account disabled and enabled": {func(t *testing.T, h *household, f *front) error {
		if err := f.disable(t.Context(), h.admin, h.user); err != nil {
			return err
		}
		return f.enable(t.Context(), h.admin, h.user)
	}, false},
	"have the password reset": {func(t *testing.T, h *household, f *front) error {
		_, err := f.admins.ResetUserPassword(as(t.Context(), h.admin),
			&gatehousev1.ResetUserPasswordRequest{Id: h.user, NewPassword: password})
		return err
	}, false},
	"be logged out by an admin": {func(t *testing.T, h *household, f *front) error {
		_, err := f.admins.DeleteUserSessions(as(t.Context(), h.admin),
			&gatehousev1.DeleteUserSessionsRequest{UserId: h.user})
		return err
	}, false},
}

// updates are the ways to change the user that end no session.
var updates = map[string]way{
	"change the profile": {func(t *testing.T, h *household, f *front) error {
		return f.rename(t.Context(), h.laptop.GetAccessToken(), authn.Me, rand.Text())
	}, true},
	"have the profile changed": {func(t *testing.T, h *household, f *front) error {
		return f.rename(t.Context(), h.admin, strings.ToUpper(h.user), rand.Text())
	}, true},
	"have the roles set": {func(t *testing.T, h *household, f *front) error {
		if err := f.setRoles(t.Context(), h.admin, h.user, authn.RoleAdmin, authn.RoleUser); err != nil {
			return err
		}
		return f.setRoles(t.Context(), h.admin, h.user, authn.RoleUser)
	}, true},
	"have the account enabled": {func(t *testing.T, h *household, f *front) error {
		return f.enable(t.Context(), h.admin, h.user)
	}, true},
}
