package cache

import (
	"context"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/coherence"
)

// users is the UserService of the store with a cache before it. It embeds Unsafe…, not Unimplemented…, so that it does
// not compile without every method of the contract.
type users struct {
	gatehousev1.UnsafeUserServiceServer

	store   gatehousev1.UserServiceClient
	entries *coherence.Entries
}

// CreateUser passes the call on and caches the user that the store has created. With a request id the store may have
// created the user long ago, and repeat its answer: the user may have changed since, so nothing is cached.
func (u *users) CreateUser(
	ctx context.Context, req *gatehousev1.CreateUserRequest,
) (*gatehousev1.CreateUserResponse, error) {
	lease := u.entries.AcquireLease()
	response, err := u.store.CreateUser(ctx, req)
	if err != nil {
		return nil, err
	}
	if req.GetRequestId() == "" {
		u.entries.Fill(ctx, lease, response.GetUser(), nil)
	}
	return response, nil
}

// ReadUser returns the user from the admission of the caller. It passes calls of admins on, those about themselves as
// well: they may see more than is cached.
func (u *users) ReadUser(
	ctx context.Context, req *gatehousev1.ReadUserRequest,
) (*gatehousev1.ReadUserResponse, error) {
	id, err := authn.ManagedUserID(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	if authn.IsAdmin(ctx) {
		response, err := u.store.ReadUser(ctx, req)
		if err != nil {
			u.entries.OnReadError(ctx, err, id)
		}
		return response, err
	}
	account, ok := authn.AccountFrom(ctx)
	if !ok {
		return nil, apierr.AccessTokenMissing()
	}
	return &gatehousev1.ReadUserResponse{User: account.User}, nil
}

// UpdateUser passes the call on and caches the user.
func (u *users) UpdateUser(
	ctx context.Context, req *gatehousev1.UpdateUserRequest,
) (*gatehousev1.UpdateUserResponse, error) {
	return manage(ctx, u.entries, req.GetUser().GetId(), u.store.UpdateUser, req)
}

// DeleteUser passes the call on and caches that the user was deleted.
func (u *users) DeleteUser(
	ctx context.Context, req *gatehousev1.DeleteUserRequest,
) (*gatehousev1.DeleteUserResponse, error) {
	id, err := authn.ManagedUserID(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	about := subject{userID: id}
	if caller, _ := authn.CallerFrom(ctx); caller.UserID == id {
		about.sessionID = caller.SessionID
	}
	return commit(ctx, u.entries, about, u.store.DeleteUser, req, func(coherence.Lease, *gatehousev1.DeleteUserResponse) {
		u.entries.UserDeleted(ctx, about.userID, about.sessionID)
	})
}

// ListUsers passes the call on.
func (u *users) ListUsers(
	ctx context.Context, req *gatehousev1.ListUsersRequest,
) (*gatehousev1.ListUsersResponse, error) {
	return u.store.ListUsers(ctx, req)
}
