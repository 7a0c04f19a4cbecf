package cache

import (
	"context"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// users is the UserService of the store with a cache before it. It embeds Unsafe…, not Unimplemented…: a method that
// the contract gains must not be answered here by chance, so leaving it out does not compile.
type users struct {
	gatehousev1.UnsafeUserServiceServer

	store   gatehousev1.UserServiceClient
	entries *entries
}

// CreateUser passes the call on and keeps the user whom the store has made.
func (u *users) CreateUser(
	ctx context.Context, req *gatehousev1.CreateUserRequest,
) (*gatehousev1.CreateUserResponse, error) {
	lease := u.entries.ask()
	response, err := u.store.CreateUser(ctx, req)
	if err != nil {
		return nil, err
	}
	u.entries.fill(ctx, lease, response.GetUser(), nil)
	return response, nil
}

// ReadUser answers with what the caller was admitted by.
func (u *users) ReadUser(
	ctx context.Context, req *gatehousev1.ReadUserRequest,
) (*gatehousev1.ReadUserResponse, error) {
	if _, err := authn.OwnUserID(ctx, req.GetId()); err != nil {
		return nil, err
	}
	account, ok := authn.AccountFrom(ctx)
	if !ok {
		return nil, apierr.AccessTokenMissing()
	}
	return &gatehousev1.ReadUserResponse{User: account.User}, nil
}

// UpdateUser passes the call on.
func (u *users) UpdateUser(
	ctx context.Context, req *gatehousev1.UpdateUserRequest,
) (*gatehousev1.UpdateUserResponse, error) {
	return u.store.UpdateUser(ctx, req)
}

// DeleteUser passes the call on.
func (u *users) DeleteUser(
	ctx context.Context, req *gatehousev1.DeleteUserRequest,
) (*gatehousev1.DeleteUserResponse, error) {
	return u.store.DeleteUser(ctx, req)
}

// ListUsers passes the call on.
func (u *users) ListUsers(
	ctx context.Context, req *gatehousev1.ListUsersRequest,
) (*gatehousev1.ListUsersResponse, error) {
	return u.store.ListUsers(ctx, req)
}
