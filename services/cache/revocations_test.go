package cache_test

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

func (r *replica) rename(ctx context.Context, token, id, name string) error {
	_, err := r.users.UpdateUser(as(ctx, token),
		&gatehousev1.UpdateUserRequest{User: &gatehousev1.User{Id: id, FullName: name}})
	return err
}

func (r *replica) deleteUser(ctx context.Context, token, id string) error {
	_, err := r.users.DeleteUser(as(ctx, token), &gatehousev1.DeleteUserRequest{Id: id})
	return err
}

func (r *replica) listUsers(ctx context.Context, token string) error {
	_, err := r.users.ListUsers(as(ctx, token), &gatehousev1.ListUsersRequest{})
	return err
}

func (r *replica) disable(ctx context.Context, token, id string) error {
	_, err := r.admins.DisableUser(as(ctx, token), &gatehousev1.DisableUserRequest{Id: id})
	return err
}

func (r *replica) enable(ctx context.Context, token, id string) error {
	_, err := r.admins.EnableUser(as(ctx, token), &gatehousev1.EnableUserRequest{Id: id})
	return err
}

func (r *replica) setRoles(ctx context.Context, token, id string, roles ...string) error {
	_, err := r.admins.SetRoles(as(ctx, token), &gatehousev1.SetRolesRequest{Id: id, Roles: roles})
	return err
}

// revocation is a change of an accountFixture.
type revocation struct {
	end    func(t *testing.T, fix *accountFixture, r *replica) error
	spares bool // whether the session on the laptop remains
}

// ends are the changes that end the session on the phone.
var ends = map[string]revocation{
	"log out": {func(t *testing.T, fix *accountFixture, r *replica) error {
		return r.logOut(t.Context(), fix.phone.GetAccessToken(), authn.Current)
	}, true},
	"log out of another": {func(t *testing.T, fix *accountFixture, r *replica) error {
		return r.logOut(t.Context(), fix.laptop.GetAccessToken(), strings.ToUpper(fix.phone.GetSessionId()))
	}, true},
	"log out everywhere": {func(t *testing.T, fix *accountFixture, r *replica) error {
		return r.logOutEverywhere(t.Context(), fix.laptop.GetAccessToken(), false)
	}, false},
	"log out everywhere, oneself": {func(t *testing.T, fix *accountFixture, r *replica) error {
		return r.logOutEverywhere(t.Context(), fix.phone.GetAccessToken(), false)
	}, false},
	"log out everywhere else": {func(t *testing.T, fix *accountFixture, r *replica) error {
		return r.logOutEverywhere(t.Context(), fix.laptop.GetAccessToken(), true)
	}, false},
	"change the password": {func(t *testing.T, fix *accountFixture, r *replica) error {
		_, err := r.changePassword(t.Context(), fix.laptop.GetAccessToken())
		return err
	}, false},
	"reuse a refresh token": {func(t *testing.T, fix *accountFixture, r *replica) error {
		if _, err := r.refresh(t.Context(), fix.phone.GetRefreshToken()); err != nil {
			return err
		}
		r.reuse(t, fix.phone.GetRefreshToken())
		return nil
	}, true},
	"delete the account": {func(t *testing.T, fix *accountFixture, r *replica) error {
		return r.deleteUser(t.Context(), fix.phone.GetAccessToken(), authn.Me)
	}, false},
	"delete the account elsewhere": {func(t *testing.T, fix *accountFixture, r *replica) error {
		return r.deleteUser(t.Context(), fix.laptop.GetAccessToken(), strings.ToUpper(fix.user))
	}, false},
	"have the account deleted": {func(t *testing.T, fix *accountFixture, r *replica) error {
		return r.deleteUser(t.Context(), fix.admin, strings.ToUpper(fix.user))
	}, false},
	"have the account disabled": {func(t *testing.T, fix *accountFixture, r *replica) error {
		return r.disable(t.Context(), fix.admin, strings.ToUpper(fix.user))
	}, false},
	"have the account disabled and enabled": {func(t *testing.T, fix *accountFixture, r *replica) error {
		if err := r.disable(t.Context(), fix.admin, fix.user); err != nil {
			return err
		}
		return r.enable(t.Context(), fix.admin, fix.user)
	}, false},
	"have the password reset": {func(t *testing.T, fix *accountFixture, r *replica) error {
		_, err := r.admins.ResetUserPassword(as(t.Context(), fix.admin),
			&gatehousev1.ResetUserPasswordRequest{Id: fix.user, NewPassword: password})
		return err
	}, false},
	"be logged out by an admin": {func(t *testing.T, fix *accountFixture, r *replica) error {
		_, err := r.admins.DeleteUserSessions(as(t.Context(), fix.admin),
			&gatehousev1.DeleteUserSessionsRequest{UserId: fix.user})
		return err
	}, false},
}

// updates are the changes of the user that end no session.
var updates = map[string]revocation{
	"change the profile": {func(t *testing.T, fix *accountFixture, r *replica) error {
		return r.rename(t.Context(), fix.laptop.GetAccessToken(), authn.Me, rand.Text())
	}, true},
	"have the profile changed": {func(t *testing.T, fix *accountFixture, r *replica) error {
		return r.rename(t.Context(), fix.admin, strings.ToUpper(fix.user), rand.Text())
	}, true},
	"have the roles set": {func(t *testing.T, fix *accountFixture, r *replica) error {
		if err := r.setRoles(t.Context(), fix.admin, fix.user, authn.RoleAdmin, authn.RoleUser); err != nil {
			return err
		}
		return r.setRoles(t.Context(), fix.admin, fix.user, authn.RoleUser)
	}, true},
	"have the account enabled": {func(t *testing.T, fix *accountFixture, r *replica) error {
		return r.enable(t.Context(), fix.admin, fix.user)
	}, true},
}
